from collections.abc import Callable

import captum.attr
import pytest
import torch

from assay.attribution import find_causal_graph
from assay.core import seeded
from assay.lab import Run
from assay.nets import small_conv
from assay.studies.attribution.causal_explanation import attributions, cells, planted


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("causal-explanation")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def network_and_images():
    model = small_conv((1, 8, 8), 3, channels=(3, 5), hidden=6, generator=seeded(1)).double()
    return model, torch.rand(4, 1, 8, 8, generator=seeded(2), dtype=torch.float64)


@pytest.mark.parametrize(
    ("ours", "peer", "options"),
    [
        (attributions.saliency, captum.attr.Saliency, {}),
        (attributions.input_x_gradient, captum.attr.InputXGradient, {}),
    ],
)
def test_attributions_agree_with_captum(ours, peer, options):
    model, x = network_and_images()
    expected = peer(model).attribute(x.clone().requires_grad_(True), target=1, **options)
    torch.testing.assert_close(ours(model, 1, x), expected.sum(1).detach())


def test_integrated_gradients_agree_with_captum():
    model, x = network_and_images()
    peer = captum.attr.IntegratedGradients(model)
    expected = peer.attribute(x, target=1, n_steps=12, method="riemann_middle")
    torch.testing.assert_close(attributions.integrated_gradients(model, 1, x), expected.sum(1).detach())


def test_the_strongest_units_are_as_many_as_the_graphs():
    model, x = network_and_images()
    target = int(model(x)[0].argmax())
    graph = find_causal_graph(model, x, target)
    assert len(attributions.strongest_units(model, graph, x)) == sum(map(len, graph.causes[1:]))


def test_planted_causes_have_no_errors() -> None:
    assert planted.planted_errors(5) == {"missed": 0, "false": 0}


def test_the_timed_loop_leaves_the_weights() -> None:
    model, x = network_and_images()
    graph = find_causal_graph(model, x, int(model(x)[0].argmax()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert cells.naive_seconds(model, graph, x) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
