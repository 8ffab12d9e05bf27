from collections.abc import Callable

import pytest
import torch

from assay.lab import Run
from assay.studies.attribution.normgrad import cells
from assay.studies.attribution.normgrad.settings import Settings


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("normgrad")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def test_identities_are_exact() -> None:
    assert max(cells.identities(Settings()).values()) < 1e-12


def test_a_network_that_marks_the_digit_alone_has_it_all() -> None:
    settings = Settings(digits="digits", items="fashion")
    test = cells.canvases(settings, 6, "test", "item", 0)
    assert cells.hits(test.masks.double(), test) == 1
    assert cells.energy(test.masks.double(), test) == 1
    assert cells.energy(test.distractor_masks.double(), test) == 0


def test_layers_are_those_behind_the_activations() -> None:
    settings = Settings(channels=(4, 5, 6))
    model = cells.build(settings, 0)
    names = cells.block_layers(settings)
    assert [type(model.get_submodule(name)) for name in names] == 3 * [torch.nn.ReLU]
    assert cells.step_layer(settings) == names[1]
    assert model.eval()(torch.rand(2, 1, 56, 56)).shape == (2, 10)
    assert cells.informative_correlation(cells.NormGrad(model, names[-1]), torch.rand(2, 1, 56, 56)) == pytest.approx(1)
