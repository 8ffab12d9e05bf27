import math

import pytest
import torch
from torch import nn

from assay.adversarial import PGD, ExpectedScores, Lp, robust_accuracy
from assay.core import InvalidInputError, input_gradient, predict, seeded
from helpers.adversarial_networks import points, random_mlp

THREAT = Lp(norm=math.inf, eps=0.1, input_range=(-9.0, 9.0))


class Noisy(nn.Module):
    """A network on inputs with noise."""

    def __init__(self, inner, scale=0.3):
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x):
        return self.inner(x + self.scale * torch.randn(x.shape, dtype=x.dtype))


def test_the_mean_of_a_linear_network_is_that_of_its_draws():
    """For a linear network the noise adds the same to each sample, and the gradient is that without noise."""
    source = seeded(0)
    inner, x = nn.Linear(4, 3).double(), points(6, 4, source)
    expected = ExpectedScores(Noisy(inner), n_draws=400)
    shift = predict(expected, x) - predict(inner, x)
    torch.testing.assert_close(shift, shift[:1].expand(6, -1))
    # The mean of 400 draws is within five standard errors.
    assert (shift[0].abs() < 5 * 0.3 * inner.weight.detach().norm(dim=1) / 20).all()
    gradients = [input_gradient(model, x, lambda scores: scores[:, 0])[1] for model in (expected, inner)]
    torch.testing.assert_close(*gradients)


def test_a_sample_has_the_same_scores_in_every_batch_and_at_every_call():
    source = seeded(1)
    model, x = ExpectedScores(Noisy(random_mlp([5, 8, 3], source)), n_draws=3), points(20, 5, source)
    before = torch.get_rng_state()
    together = model(x)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(torch.cat([model(x[i : i + 1]) for i in range(20)]), together)
    assert not torch.allclose(ExpectedScores(model.model, n_draws=3, random_state=1)(x), together)


def test_attacks_take_the_mean_where_they_refuse_the_random_network():
    source = seeded(2)
    noisy, x = Noisy(random_mlp([5, 20, 3], source)), points(40, 5, source)
    model = ExpectedScores(noisy, n_draws=50)
    y = predict(model, x).argmax(1)
    with pytest.raises(InvalidInputError, match="another answer"):
        PGD(THREAT)(noisy, x, y)
    report = robust_accuracy(model, x, y, threat=THREAT, attacks={"PGD": PGD(THREAT, n_iter=5)})
    fresh = ExpectedScores(noisy, n_draws=100, random_state=9)
    broken = predict(fresh, report.x_adv[report.broken_by >= 0]).argmax(1) != y[report.broken_by >= 0]
    assert (report.broken_by >= 0).sum() > 5
    assert broken.float().mean() > 0.5, "what was found on some draws holds on others"


def test_robust_accuracy_takes_the_mean_of_a_random_network_itself_and_says_so():
    noisy, x = Noisy(random_mlp([5, 20, 3], seeded(3)), 1.0), points(30, 5, seeded(4))
    y = predict(noisy.inner, x).argmax(1)
    options = {"threat": THREAT, "attacks": {"PGD": PGD(THREAT, n_iter=5)}}
    report = robust_accuracy(noisy, x, y, random_state=3, **options)
    expected = robust_accuracy(ExpectedScores(noisy, random_state=3), x, y, **options)
    assert torch.equal(report.x_adv, expected.x_adv)
    assert torch.equal(report.broken_by, expected.broken_by)
    assert "mean of its scores over fixed draws" in str(report)
    assert not expected.noise
    noisy.scale = 0.0
    assert not robust_accuracy(noisy, x, y, **options).noise, "it draws, but answers alike"


def test_what_vmap_cannot_run_is_refused():
    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    noisy, x, y = Noisy(Branching(2, 3)), torch.rand(4, 2, generator=seeded(5)), torch.tensor([0, 1, 2, 0])
    with pytest.raises(InvalidInputError, match="another answer to the same samples"):
        robust_accuracy(noisy, x, y, threat=THREAT)
    with pytest.raises(InvalidInputError, match=r"torch\.func\.vmap"):
        ExpectedScores(Branching(2, 3))(torch.ones(2, 2))
    with pytest.raises(InvalidInputError, match="n_draws"):
        ExpectedScores(nn.Linear(2, 3), n_draws=0)
