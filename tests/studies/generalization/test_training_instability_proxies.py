import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from assay.core import seeded
from assay.generalization import lr_sensitivity
from assay.lab import Run
from assay.studies.generalization.training_instability_proxies import cells
from assay.studies.generalization.training_instability_proxies.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("training-instability-proxies")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5", "C6"}


def test_windows_are_stretches_of_the_text_and_what_follows() -> None:
    train, held_out, variety = cells.text(SMOKE.characters)
    assert len(train) + len(held_out) == SMOKE.characters
    assert int(torch.cat([train, held_out]).max()) == variety - 1
    x, y = cells.windows(torch.arange(100), 50, 7, seeded(0))
    assert torch.equal(x + 1, y)
    assert torch.equal(x[:, :1] + torch.arange(7), x)


def test_the_bigram_loss_is_that_of_counts() -> None:
    settings = replace(SMOKE, characters=3000, windows=4)
    train, held_out, variety = cells.text(3000)
    pairs, starts = Counter(zip(train[:-1].tolist(), train[1:].tolist(), strict=True)), Counter(train[:-1].tolist())
    x, y = cells.windows(held_out, 4, SMOKE.context, seeded(0))
    found = [
        -math.log((pairs[a, b] + 1) / (starts[a] + variety))
        for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)
    ]
    assert cells.bigram_loss(settings) == pytest.approx(sum(found) / len(found))


def test_a_sweep_is_the_same_again_and_has_the_sensitivity_of_its_losses() -> None:
    one, two = (cells.sweep_effect(SMOKE, "qk-layernorm", 3) for _ in range(2))
    assert torch.equal(one["loss"], two["loss"])
    assert one["sensitivity"].item() == pytest.approx(lr_sensitivity(one["loss"], one["initial loss"].item()))
    assert one["loss"].shape == one["max logit"].shape == (len(SMOKE.effect_lrs),)


@pytest.mark.parametrize(("name", "rates"), [("qk-layernorm", {0.1}), ("muParam (full)", {0.1, 0.05})])
def test_muparam_halves_the_rate_of_linear_layers_at_twice_the_base_width(name, rates) -> None:
    recipe = cells.RECIPES[name]
    model = cells.network(SMOKE, recipe, seeded(0))
    groups = cells.optimizer_of(SMOKE, recipe, model, 0.1).param_groups
    assert {group["lr"] for group in groups} == rates
    assert (model.blocks[0].get_parameter("attention.query.weight") == 0).all() == (name == "muParam (full)")


def test_updates_vanish_with_the_usual_eps() -> None:
    found = cells.vanishing_updates()
    assert found["1e-08"] < 0.2 < 0.8 < found["1e-15"]
