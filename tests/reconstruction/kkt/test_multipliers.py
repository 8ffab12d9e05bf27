import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, margins
from assay.nets import mlp
from assay.reconstruction import oracle_multipliers, stationarity_residual
from assay.reconstruction.kkt import with_surrogate_relu
from assay.reconstruction.kkt.multipliers import (
    FreeMultipliers,
    MarginMultipliers,
    SimplexMultipliers,
    check_objective,
    margin_cotangents,
    start_multipliers,
)
from assay.reconstruction.kkt.search import StationarityGap

OBJECTIVES = [("binary", 1), ("multiclass", 4), ("vector", 3), ("regression", 1), ("regression", 2)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(outputs, seed=0, bias="first"):
    return mlp((5, 8, outputs), bias=bias, generator=generator(seed)).double()


def samples(n, d=5, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def drawn(objective, outputs, n, seed=0):
    """Start, then move every raw value, so that no two multipliers are alike."""
    x = samples(n, seed=seed)[None]
    multipliers = start_multipliers(objective, x, outputs, 0.7, [generator(seed)])
    return multipliers.at([value + 0.5 * torch.randn(value.shape, generator=generator(1)) for value in multipliers.raw])


def gradient_sum(model, x, cotangents):
    """The definition, one sample and one output after the other."""
    total = [torch.zeros_like(value) for value in model.parameters()]
    for sample, cotangent in zip(x, cotangents, strict=True):
        for output, weight in zip(model(sample[None])[0], cotangent, strict=True):
            parts = torch.autograd.grad(output, list(model.parameters()), retain_graph=True)
            total = [one + weight * part for one, part in zip(total, parts, strict=True)]
    return dict(zip(dict(model.named_parameters()), [part.detach() for part in total], strict=True))


@pytest.mark.parametrize(("objective", "outputs"), OBJECTIVES)
def test_a_planted_solution_has_no_gap_and_its_neighbours_have_one(objective, outputs):
    model = with_surrogate_relu(network(outputs), 20.0)
    x, multipliers = samples(6)[None], drawn(objective, outputs, 6)
    cotangents = multipliers.cotangents(model(x[0])[None])[0].detach()
    gap = StationarityGap(model, goal=gradient_sum(model, x[0], cotangents))
    assert gap(x, [multipliers]).item() <= 1e-20
    for i in range(6):
        moved = x.clone()
        moved[0, i] += 0.1
        assert gap(moved, [multipliers]).item() > 1e-8
        for k in range(len(multipliers.raw)):
            raw = [value.clone() for value in multipliers.raw]
            raw[k][0, i].view(-1)[0] += 0.1
            # The own class's entry of the simplex's logits is masked.
            masked = objective == "vector" and k == 1 and multipliers.labels[i] == 0
            assert (gap(x, [multipliers.at(raw)]).item() > 1e-8) != masked


def test_a_planted_solution_of_a_convolutional_network_has_no_gap():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        nn.utils.vector_to_parameters(samples(1, 101)[0] / 2, plain.double().parameters())
    model = with_surrogate_relu(plain, 20.0)
    x, multipliers = samples(2 * 4, 25).reshape(2, 4, 1, 5, 5), drawn("regression", 1, 4)
    multipliers = multipliers.at([multipliers.raw[0].expand(2, -1, -1)])
    gap = StationarityGap(model, goal=gradient_sum(model, x[0], multipliers.raw[0][0] * multipliers.scale))
    assert not gap.is_chain
    first, second = gap(x, [multipliers]).tolist()
    assert first <= 1e-20
    assert second > 1e-4


@pytest.mark.parametrize("kinds", [1, 2])
def test_a_planted_displacement_has_no_gap(kinds):
    end, start = with_surrogate_relu(network(2), 20.0), with_surrogate_relu(network(2, seed=5), 20.0)
    nets = [end, start][:kinds]
    x, multipliers = samples(4)[None], [drawn("displacement", 2, 4, seed) for seed in range(kinds)]
    sums = [gradient_sum(net, x[0], one.values()[0]) for net, one in zip(nets, multipliers, strict=True)]
    goal = {name: sum(part[name] for part in sums) for name in sums[0]}
    points = [{name: value.detach() for name, value in net.named_parameters()} for net in nets]
    gap = StationarityGap(end, goal=goal, points=points)
    assert gap(x, multipliers).item() <= 1e-20
    assert gap(x + 0.1, multipliers).item() > 1e-4


def test_simplex_of_two_classes_is_the_binary_case():
    # Outputs (-f, f) / sqrt 2 have the energy of f, and cotangents (-a, a) / sqrt 2 on them pull as a does on f.
    binary, double = network(1), network(2)
    with torch.no_grad():
        for one, other in zip(double[0].parameters(), binary[0].parameters(), strict=True):
            one.copy_(other)
        double[2].weight.copy_(torch.cat([-binary[2].weight, binary[2].weight]) / 2**0.5)
    x, y, raw = samples(6)[None], torch.arange(6) % 2, samples(1, 6)
    one = StationarityGap(with_surrogate_relu(binary))(x, [MarginMultipliers((raw,), 1.0, y)])
    simplex = SimplexMultipliers((raw, samples(6, 2)[None]), 1 / 2**0.5, y)
    two = StationarityGap(with_surrogate_relu(double))(x, [simplex])
    free = FreeMultipliers((nn.functional.softplus(raw)[..., None] * (2 * y - 1)[:, None],), 1.0, None)
    torch.testing.assert_close(two, one, rtol=1e-12, atol=0)
    torch.testing.assert_close(StationarityGap(with_surrogate_relu(binary))(x, [free]), one, rtol=1e-12, atol=0)


def test_simplex_is_the_gradient_of_cross_entropy():
    logits, y = samples(7, 4, seed=3).requires_grad_(), torch.arange(7) % 4
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), logits)
    p = logits.detach().softmax(1)
    strength = (1 - p.gather(1, y[:, None]).squeeze(1)).expm1().log()  # softplus undoes it
    simplex = SimplexMultipliers((strength[None], logits.detach()[None]), 1.0, y)
    torch.testing.assert_close(simplex.values()[0], -slope)


@pytest.mark.parametrize("outputs", [1, 3])
def test_margin_cotangents_are_the_gradient_of_the_weighted_margins(outputs):
    scores, y = samples(8, outputs).requires_grad_(), torch.arange(8) % max(outputs, 2)
    weights = torch.rand(8, generator=generator(), dtype=torch.float64)
    (expected,) = torch.autograd.grad(weights @ margins(scores, y), scores)
    torch.testing.assert_close(margin_cotangents(scores, y, weights), expected)


@pytest.mark.parametrize(("objective", "outputs"), [*OBJECTIVES, ("displacement", 2)])
def test_batches_give_the_gradient_of_the_whole(objective, outputs):
    model = with_surrogate_relu(network(outputs), 5.0)
    x, state = samples(2 * 7).reshape(2, 7, 5).requires_grad_(), network(outputs, seed=2).state_dict()
    both = objective == "displacement"
    options = {"points": [dict(model.named_parameters()), state], "goal": state} if both else {}
    multipliers = [start_multipliers(objective, x, outputs, 1.0, [generator(k), generator(9)]) for k in range(1 + both)]
    multipliers = [one.at([value.requires_grad_() for value in one.raw]) for one in multipliers]
    gaps, gradients = StationarityGap(model, **options).gradients(x, multipliers)
    for size in (1, 3, 7, 20):
        batched = StationarityGap(model, **options, batch_size=size)
        found, parts = batched.gradients(x, multipliers)
        torch.testing.assert_close(found, gaps, rtol=1e-10, atol=0)
        torch.testing.assert_close(batched.measure(x, multipliers), gaps, rtol=1e-10, atol=0)
        torch.testing.assert_close(parts, gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("objective", "outputs"), [*OBJECTIVES, ("displacement", 3)])
def test_oracle_multipliers_find_what_was_planted(objective, outputs):
    # Networks whose weights are their samples' weighted gradients at other weights: taken as displacements, so that
    # the goal is any vector wanted, and planted with the multipliers' own form.
    model, x, y = network(outputs), samples(6), torch.arange(6) % max(outputs, 2)
    multipliers = drawn(objective, outputs, 6)
    planted = multipliers.cotangents(model(x)[None])[0].detach()
    pull = gradient_sum(model, x, planted)
    if objective == "displacement":
        start = {name: value - pull[name] for name, value in model.state_dict().items()}
        options = {"objective": objective, "init_state": start}
        found, rest = oracle_multipliers(model, x, **options)
        assert rest < 1e-12
        torch.testing.assert_close(found, planted)
        assert stationarity_residual(model, x, found, **options).total_relative < 1e-12
        return
    found, rest = oracle_multipliers(model, x, y, objective=objective)
    assert rest == pytest.approx(stationarity_residual(model, x, found, y, objective=objective).total_relative)
    # The optimum is no further than any other multipliers of the form, here the planted ones.
    other = multipliers.values()[0].detach()
    assert rest <= stationarity_residual(model, x, other, y, objective=objective).total_relative
    if objective == "vector":
        own = found.gather(1, y[:, None]).squeeze(1)
        assert (own >= 0).all()
        assert (found.scatter(1, y[:, None], 0.0) <= 0).all()
        torch.testing.assert_close(found.sum(1), torch.zeros(6, dtype=torch.float64))


def test_multipliers_of_free_sign_are_drawn_by_restart():
    x = torch.zeros(2, 3, 4)
    one = start_multipliers("regression", x, 2, 1.0, [generator(0), generator(1)])
    two = start_multipliers("regression", x[:1], 2, 1.0, [generator(0)])
    assert torch.equal(one.raw[0][:1], two.raw[0])
    assert one.labels is None
    assert one.values().shape == (2, 3, 2)
    assert start_multipliers("regression", x, 1, 1.0, [generator(0), generator(1)]).values().shape == (2, 3)


@pytest.mark.parametrize(
    ("objective", "outputs", "message"),
    [("binary", 3, "'multiclass' or 'vector'"), ("vector", 1, "use 'binary'"), ("regressive", 1, "must be one of")],
)
def test_bad_input(objective, outputs, message):
    with pytest.raises(InvalidInputError, match=message):
        check_objective(objective, outputs)
