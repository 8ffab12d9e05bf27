from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from assay.core import seeded
from assay.lab import Run
from assay.studies.representation.stochastic_cca import cells, images
from assay.studies.representation.stochastic_cca.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("stochastic-cca")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == set(STUDY.claims)


def test_principal_cosines_are_those_of_known_planes() -> None:
    identity = torch.eye(3, dtype=torch.float64)
    turned = torch.tensor([[1.0, 0.0], [0.0, 0.6], [0.0, 0.8]], dtype=torch.float64)
    assert cells.smallest_cosine(identity[:, :2], turned, identity) == pytest.approx(0.6)
    stretched = torch.diag(torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64))
    assert cells.smallest_cosine(identity[:, :2], turned, stretched) == pytest.approx(0.6 / (0.36 + 4 * 0.64) ** 0.5)


def test_pairs_are_two_images_of_one_class_and_splits_are_disjoint() -> None:
    found = images.pairs(replace(SMOKE, deep_pairs=100), "fashion", 0)
    assert [len(found[name][0]) for name in ("train", "validation", "test")] == [100, 25, 25]
    assert found["train"][0].mean(0).abs().max() < 1e-6


def test_augmentations_differ_and_keep_the_shape() -> None:
    x, source = torch.rand(4, 1, 28, 28, generator=seeded(0)), seeded(1)
    first, second = images.augmented(x, source), images.augmented(x, source)
    assert first.shape == x.shape
    assert not torch.equal(first, second)
