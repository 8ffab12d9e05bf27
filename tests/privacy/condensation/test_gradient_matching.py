import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.core import InvalidInputError, NumericalError, cross_entropy, seeded
from assay.nets import mlp, normalized_conv
from assay.privacy.condensation import ClassWiseGradientMatching, ContrastiveGradientMatching, gradient_distance


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def rowwise(a, b):
    """The distance from its formula, row by row."""
    total = 0.0
    for name in a:
        if a[name].ndim == 1:
            continue
        for one, other in zip(a[name], b[name], strict=True):
            one, other = one.flatten(), other.flatten()
            total = total + 1 - (one @ other) / (one.norm() * other.norm() + 1e-6)
    return total


def gradient(model, x, y, **options):
    values = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()), **options)
    return dict(zip(dict(model.named_parameters()), values, strict=True))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_distance_is_its_formula(n_out, n_in, seed):
    a, b = (
        {"c": drawn(n_out, n_in, 3, 3, seed=s), "w": drawn(n_out, n_in, seed=s + 1), "b": drawn(n_out, seed=s + 2)}
        for s in (seed, seed + 9)
    )
    torch.testing.assert_close(gradient_distance(a, b), rowwise(a, b))
    torch.testing.assert_close(gradient_distance(a, b), gradient_distance(b, a))


def test_distance_identities():
    a, b = {"w": drawn(5, 4), "b": drawn(5)}, {"w": drawn(5, 4, seed=1), "b": drawn(5, seed=1)}
    assert gradient_distance(a, a).item() == pytest.approx(0, abs=1e-5)
    assert gradient_distance(a, {"w": -a["w"], "b": a["b"]}).item() == pytest.approx(10, abs=1e-5)
    scaled = {"w": a["w"] * torch.tensor([[1.0], [2.0], [3.0], [40.0], [0.5]]).double(), "b": 7 * b["b"]}
    torch.testing.assert_close(gradient_distance(scaled, b), gradient_distance(a, b), rtol=1e-5, atol=0)
    assert gradient_distance({"w": 0 * a["w"]}, {"w": b["w"]}).item() == 5


def test_other_metrics_read_all_entries_as_one_vector():
    a, b = {"w": drawn(5, 4), "b": drawn(5)}, {"w": drawn(5, 4, seed=1), "b": drawn(5, seed=1)}
    one, other = (torch.cat([g["w"].flatten(), g["b"]]) for g in (a, b))
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
    torch.testing.assert_close(gradient_distance(a, b, metric="cosine"), 1 - cosine, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        gradient_distance(a, b, metric="mse"), torch.nn.functional.mse_loss(one, other), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("build", [lambda: mlp((6, 5, 4)), lambda: normalized_conv((1, 4, 4), 4, channels=(3,))])
@pytest.mark.parametrize("metric", ["rowwise_cosine", "cosine", "mse"])
def test_losses_and_their_gradients_are_those_of_a_loop_over_classes(build, metric):
    model = build().double()
    shape = (6,) if isinstance(model[0], nn.Linear) else (1, 4, 4)
    x, y = drawn(7, *shape).requires_grad_(), torch.tensor([0, 1, 2, 3, 0, 2, 2])
    real_x, real_y = drawn(13, *shape, seed=1), torch.tensor([3, 0, 0, 1, 1, 2, 2, 2, 3, 1, 0, 2, 1])
    synthetic = [gradient(model, x[y == c], y[y == c], create_graph=True) for c in range(4)]
    real = [gradient(model, real_x[real_y == c], real_y[real_y == c]) for c in range(4)]
    by_class = sum(gradient_distance(*pair, metric=metric) for pair in zip(synthetic, real, strict=True))
    summed = [{name: sum(g[name] for g in each) / 4 for name in each[0]} for each in (synthetic, real)]
    expected = {
        ClassWiseGradientMatching: by_class,
        ContrastiveGradientMatching: gradient_distance(*summed, metric=metric),
    }
    for kind, loss in expected.items():
        got = kind(metric)(model, x, y, real_x, real_y)
        torch.testing.assert_close(got, loss, rtol=1e-9, atol=1e-12)
        slopes = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (got, loss)]
        torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [ClassWiseGradientMatching, ContrastiveGradientMatching])
def test_the_gradient_passes_finite_differences_and_none_reaches_the_real_samples(kind):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y, real_x = drawn(4, 3).requires_grad_(), torch.arange(4) % 2, drawn(6, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kind()(model, x, y, real_x.detach(), torch.arange(6) % 2), x)
    kind()(model, x, y, real_x, torch.arange(6) % 2).backward()
    assert x.grad is not None
    assert real_x.grad is None
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("common", [0.0, 3.0, 100.0])
def test_a_linear_softmax_models_summed_gradient_knows_no_common_vector(common):
    # With zero weights and balanced classes its row r is (mean of all - mean of class r) / C.
    n_classes, y = 4, torch.arange(20) % 4
    z = drawn(20, 6)
    x = z + common * drawn(1, 6, seed=1)
    model = nn.Linear(6, n_classes).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    rows = torch.stack([(z.mean(0) - z[y == r].mean(0)) / n_classes for r in range(n_classes)])
    summed = gradient(model, x, y)["weight"]
    torch.testing.assert_close(summed, rows, rtol=1e-8, atol=1e-12)
    probe = drawn(4, 6, seed=2)
    got = ContrastiveGradientMatching()(model, probe, torch.arange(4), x, y)
    expected = gradient_distance({"w": gradient(model, probe, torch.arange(4))["weight"]}, {"w": rows})
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


def test_a_linear_softmax_models_class_wise_gradients_carry_the_common_vector_only():
    n_classes, y = 4, torch.arange(200) % 4
    means = torch.nn.functional.normalize(drawn(n_classes, 6))
    common = 10 * torch.nn.functional.normalize(drawn(1, 6, seed=1))
    x = means[y] + common + 0.1 * drawn(200, 6, seed=2)
    model = nn.Linear(6, n_classes).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    rows = [gradient(model, x[y == c], y[y == c])["weight"] for c in range(n_classes)]
    for one in range(n_classes):
        for other in range(one):
            cosines = torch.nn.functional.cosine_similarity(rows[one], rows[other])
            for r in range(n_classes):
                assert cosines[r] < -0.97 if r in (one, other) else cosines[r] > 0.97


def test_bad_input():
    model, x, y = mlp((3, 2)), torch.rand(4, 3, generator=seeded(0)), torch.arange(4) % 2
    with pytest.raises(InvalidInputError, match="gradients of one network"):
        gradient_distance({"w": x}, {"w": x.T})
    with pytest.raises(InvalidInputError, match="no parameter has rows"):
        gradient_distance({"b": x[0]}, {"b": x[0]})
    for kind in (ClassWiseGradientMatching, ContrastiveGradientMatching):
        with pytest.raises(InvalidInputError, match=r"classes \[0\] are synthetic"):
            kind()(model, x[y == 0], y[y == 0], x, y)
        with pytest.raises(InvalidInputError, match="outputs"):
            kind()(model, x, y + 1, x, y + 1)
        with pytest.raises(InvalidInputError, match="real ones"):
            kind()(model, x, y, x[:, None], y)
        with pytest.raises(InvalidInputError, match="non-empty"):
            kind()(model, x[:0], y[:0], x, y)


@pytest.mark.parametrize("metric", ["rowwise_cosine", "cosine", "mse"])
def test_a_gradient_that_is_no_number_has_no_distance(metric):
    broken = {"weight": torch.full((2, 2), torch.nan)}
    with pytest.raises(NumericalError, match="distance of two gradients"):
        gradient_distance(broken, {"weight": torch.eye(2)}, metric=metric)
