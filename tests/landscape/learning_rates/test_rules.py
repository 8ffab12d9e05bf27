import pytest
import torch
from torch.optim import SGD

from assay.core import InvalidInputError, NumericalError
from assay.landscape import max_learning_rate, scale_learning_rate
from assay.landscape.learning_rates import HessianNoise


def noise(largest=0.5, batch_largest=2.5, q=0.25):
    tops = torch.full((2,), batch_largest)
    return HessianNoise("hessian", 10, 1000, 50, largest, 0.0, tops, 0 * tops, q, 0.0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_steps_are_stable_below_the_limit_and_not_above(momentum):
    """Heavy ball in one dimension with the batch's curvature: the iterates shrink at 0.99, and grow at 1.01 of it."""
    found = noise()
    limit = max_learning_rate(10, found, momentum=momentum)
    assert limit == pytest.approx(2 * (1 + momentum) / 2.5)
    for factor, stable in ((0.99, True), (1.01, False)):
        theta = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = SGD([theta], lr=factor * limit, momentum=momentum)
        for _ in range(3000):
            theta.grad = 2.5 * theta.detach()
            optimizer.step()
        assert (theta.abs().item() < 1e-3) is stable


def test_the_limit_is_linear_in_small_batches_and_constant_in_large_ones():
    found = noise(largest=1e-3, batch_largest=1.0)
    small = [max_learning_rate(size, found, dataset_size=10**9) for size in (1, 2, 4)]
    assert small[1] / small[0] == pytest.approx(2, rel=1e-2)
    assert small[2] / small[0] == pytest.approx(4, rel=1e-2)
    assert max_learning_rate(1000, found) == pytest.approx(2 / 1e-3)


@pytest.mark.parametrize(("damping", "exponent"), [(0.0, 0.5), (1e6, 1.0)])
def test_adam_is_a_square_root_with_small_and_linear_with_large_damping(damping, exponent):
    found = noise(largest=1e-6, batch_largest=1.0)
    options = {"optimizer": "adam", "damping": damping, "dataset_size": 10**9}
    ratio = max_learning_rate(8, found, **options) / max_learning_rate(2, found, **options)
    assert ratio == pytest.approx(4**exponent, rel=1e-3)


def test_the_rule_of_the_formula_moves_along_the_limit():
    found = noise()
    for optimizer in ("sgd", "adam"):
        moved = scale_learning_rate(0.3, 10, 100, "rmt", curvature=found, optimizer=optimizer)
        there, here = (max_learning_rate(size, found, optimizer=optimizer) for size in (100, 10))
        assert moved == pytest.approx(0.3 * there / here)
    # The spec's own form: s(B) = 1 / (lambda + q0 b0 / (b lambda)), isolated at both batch sizes.
    s = [1 / (0.5 + q / 0.5) for q in (noise(q=0.1).q_at(100), 0.1)]
    moved = scale_learning_rate(0.3, 10, 100, "rmt", curvature=noise(q=0.1), prediction="iid")
    assert moved == pytest.approx(0.3 * s[0] / s[1])


@pytest.mark.parametrize("rule", ["linear", "sqrt", "rmt"])
def test_there_and_back_is_no_change(rule):
    options = {"curvature": noise()} if rule == "rmt" else {}
    there = scale_learning_rate(0.7, 32, 256, rule, dataset_size=1000, **options)
    assert there > 0.7
    assert scale_learning_rate(there, 256, 32, rule, dataset_size=1000, **options) == pytest.approx(0.7)


def test_pure_rules_use_the_effective_batch_size():
    assert scale_learning_rate(1.0, 10, 50, dataset_size=100) == pytest.approx(100 / (10 / 0.9))
    assert scale_learning_rate(1.0, 10, 50, "sqrt", dataset_size=100) == pytest.approx(9**0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"damping": -1.0, "optimizer": "adam"}, "damping"),
        ({"damping": 1.0}, "belongs"),
        ({"momentum": 0.5, "optimizer": "adam"}, "belongs"),
        ({"batch_size": 2000}, "cannot be drawn"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        max_learning_rate(**({"batch_size": 10, "curvature": noise()} | options))


def test_no_positive_curvature_is_an_error():
    with pytest.raises(NumericalError, match="positive curvature"):
        max_learning_rate(10, noise(largest=-1.0, batch_largest=-1.0))


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((0.0, 1, 2), {}, "lr"),
        ((0.1, 1, 2, "rmt"), {}, "curvature="),
        ((0.1, 1, 2), {"curvature": noise()}, "belong to the rule"),
        ((0.1, 1, 2, "sqrt"), {"optimizer": "adam"}, "belong to the rule"),
        ((0.1, 1, 20), {"dataset_size": 20}, "no noise"),
        ((0.1, 1, 0), {}, "batch size"),
    ],
)
def test_rules_refuse_what_they_cannot_use(given, options, message):
    with pytest.raises(InvalidInputError, match=message):
        scale_learning_rate(*given, **options)
