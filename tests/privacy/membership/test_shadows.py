from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.core import (
    InvalidInputError,
    SequentialTrainer,
    StackedTrainer,
    cross_entropy,
    fit,
    seeded,
)
from assay.nets import mlp
from assay.privacy import ShadowEnsemble
from assay.privacy.membership.shadows import membership_matrix

SGD = partial(torch.optim.SGD, lr=0.1)


def build(source):
    return mlp((4, 3), generator=source).double()


@pytest.fixture
def data():
    return torch.rand(10, 4, generator=seeded(0), dtype=torch.float64), torch.arange(10) % 3


@given(st.integers(2, 20), st.integers(1, 20), st.floats(0.05, 0.95), st.integers(0, 99))
def test_every_sample_is_in_exactly_its_share_of_the_models(m, n, keep, seed):
    if not 0 < round(keep * m) < m:
        return
    drawn = membership_matrix(m, n, keep=keep, generator=seeded(seed))
    assert drawn.shape == (m, n)
    assert drawn.sum(0).tolist() == [round(keep * m)] * n


def test_models_are_in_the_same_part_as_often_as_chance_has_it():
    # Of two samples, both are in a model with probability 1/4; 4 standard errors over 4000 x 4 cells.
    both = membership_matrix(4, 8000, keep=0.5, generator=seeded(0)).view(4, 4000, 2).all(2)
    assert both.double().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 16000) ** 0.5)


@pytest.mark.parametrize("keep", [0.0, 1.0, 0.01])
def test_a_share_that_leaves_no_contrast_is_refused(keep, data):
    with pytest.raises(InvalidInputError):
        ShadowEnsemble.fit(*data, model_fn=build, trainer=SequentialTrainer(lambda *_: None), n_models=4, keep=keep)


def test_each_model_is_trained_on_its_own_part(data):
    calls = []

    def train(model, x, y, source):
        calls.append((x, y, source.initial_seed()))
        fit(model, x, y, loss=cross_entropy, optimizer=SGD, n_iter=3)

    shadows = ShadowEnsemble.fit(*data, model_fn=build, trainer=SequentialTrainer(train), n_models=4, random_state=3)
    for (x, y, _), kept in zip(calls, shadows.membership, strict=True):
        assert torch.equal(x, data[0][kept])
        assert torch.equal(y, data[1][kept])
    assert len({seed for _, _, seed in calls}) == 4
    assert not torch.equal(shadows.models[0][0].weight, shadows.models[1][0].weight)


def test_the_same_seed_gives_the_same_shadows(data):
    trainer = StackedTrainer(cross_entropy, SGD, epochs=3, batch_size=2)
    before = torch.get_rng_state()
    one, same, other = (
        ShadowEnsemble.fit(*data, model_fn=build, trainer=trainer, n_models=4, random_state=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(one.confidences(*data), same.confidences(*data))
    assert not torch.equal(one.confidences(*data), other.confidences(*data))
    assert torch.equal(before, torch.get_rng_state())


def test_confidence_is_the_log_odds_of_each_model(shadows, images):
    x, y = images
    confidence = shadows.confidences(x, y, batch_size=5)
    for model, row in zip(shadows.models, confidence, strict=True):
        p = model(x).softmax(1)[torch.arange(12), y]
        torch.testing.assert_close(row, (p / (1 - p)).log().detach())


def test_samples_are_found_in_the_pool_by_their_content(shadows, images):
    x, _ = images
    order = torch.tensor([7, 0, 3])
    assert torch.equal(shadows.membership_of(x[order]), shadows.membership[:, order])
    assert not shadows.membership_of(x + 1e-9).any()
    twice = ShadowEnsemble(shadows.models, shadows.membership, x[torch.arange(12) // 2])
    assert twice.membership_of(x[:1]).all()  # one copy is in the first two models, the other in the last two


def test_what_does_not_fit_is_refused(shadows, networks, images):
    with pytest.raises(InvalidInputError, match="as the shadows were given them"):
        shadows.membership_of(images[0].float())
    with pytest.raises(InvalidInputError, match="rows"):
        ShadowEnsemble(networks, shadows.membership, images[0])
    with pytest.raises(InvalidInputError, match="columns"):
        ShadowEnsemble(shadows.models, shadows.membership[:, :5], torch.rand(6, 4))


def test_a_bad_pool_is_refused():
    with pytest.raises(InvalidInputError, match="non-empty"):
        ShadowEnsemble((nn.Identity(),), torch.ones(1, 0) > 0, torch.zeros(0, 2))
