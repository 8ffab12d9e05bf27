import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn

from assay.adversarial import malt_scores, malt_targets
from assay.adversarial.attacks import naive_targets
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import linear, points, random_linear, random_mlp

NORMS = (2, math.inf)


def linear_problem(n: int) -> tuple[nn.Linear, Tensor, Tensor]:
    source = seeded(0)
    model, x = random_linear(20, 12, source), points(n, 20, source)
    return model, x, model(x).argmax(1)


def without_label(y: Tensor, n_classes: int) -> Tensor:
    return torch.stack([torch.tensor([k for k in range(n_classes) if k != label]) for label in y.tolist()])


@pytest.mark.parametrize("norm", NORMS)
def test_scores_and_ranking_on_a_linear_model_are_the_exact_distances(norm):
    model, x, y = linear_problem(200)
    weight, bias = model.weight.detach(), model.bias.detach()
    scores, targets = malt_scores(model, x, y, norm=norm), malt_targets(model, x, y, norm=norm, k=11)
    for row, label in enumerate(y.tolist()):
        distances = {}
        for k in range(12):
            if k != label:
                plane, offset = weight[k] - weight[label], bias[k] - bias[label]
                length = plane.abs().sum() if norm == math.inf else plane.square().sum().sqrt()
                distances[k] = (-(plane @ x[row] + offset) / length).item()
                assert scores[row, k].item() == pytest.approx(distances[k], rel=1e-6)
        assert targets[row].tolist() == sorted(distances, key=lambda k: distances[k])
        assert scores[row, label] == math.inf


def test_scores_on_a_linear_model_are_what_a_linear_program_finds():
    """The smallest t with |delta_i| <= t and f_k(x + delta) >= f_y(x + delta)."""
    model, x, y = linear_problem(10)
    weight, logits = model.weight.detach(), model(x).detach()
    scores = malt_scores(model, x, y, norm=math.inf)
    eye = torch.eye(20, dtype=torch.float64)
    column = torch.ones(20, 1, dtype=torch.float64)
    box = torch.cat([torch.cat([eye, -column], 1), torch.cat([-eye, -column], 1)])
    cost = [0.0] * 20 + [1.0]
    for row, others in enumerate(without_label(y, 12)):
        for k in others.tolist():
            plane = torch.cat([weight[y[row]] - weight[k], torch.zeros(1, dtype=torch.float64)])
            limits = [0.0] * 40 + [-(logits[row, y[row]] - logits[row, k]).item()]
            solved = linprog(cost, A_ub=torch.cat([box, plane[None]]).numpy(), b_ub=limits, bounds=[(None, None)] * 21)
            assert solved.status == 0
            assert scores[row, k].item() == pytest.approx(solved.fun, rel=1e-6)


def networks():
    source = seeded(1)
    yield random_mlp([6, 16, 16, 7], source), points(9, 6, source)
    images = torch.randn(9, 2, 5, 5, generator=source, dtype=torch.float64)
    convolutional = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 7)
    ).double()
    yield convolutional.eval(), images


@pytest.mark.parametrize(("model", "x"), list(networks()))
@pytest.mark.parametrize("norm", NORMS)
def test_batched_scores_equal_one_gradient_at_a_time(model, x, norm):
    y = model(x).argmax(1)
    scores = malt_scores(model, x, y, norm=norm, batch_size=4)
    for row, label in enumerate(y.tolist()):
        for k in range(7):
            if k == label:
                continue
            point = x[row : row + 1].clone().requires_grad_()
            logits = model(point)[0]
            (gradient,) = torch.autograd.grad(logits[k] - logits[label], point)
            length = gradient.abs().sum() if norm == math.inf else gradient.square().sum().sqrt()
            expected = (logits[label] - logits[k]) / length
            torch.testing.assert_close(scores[row, k], expected, rtol=1e-10, atol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_scaling_the_scores_leaves_the_distances(seed, scale):
    source = seeded(seed)
    model, x = random_mlp([4, 64, 5], source), points(3, 4, source)
    y = model(x).argmax(1)
    before = malt_scores(model, x, y, norm=2)
    model[-1].weight.data.mul_(scale)
    model[-1].bias.data.mul_(scale)
    torch.testing.assert_close(malt_scores(model, x, y, norm=2), before, rtol=1e-9, atol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_renaming_the_classes_renames_the_targets(seed):
    source = seeded(seed)
    model, x = random_mlp([4, 64, 6], source), points(3, 4, source)
    y = model(x).argmax(1)
    before = malt_targets(model, x, y, k=5)
    order = torch.randperm(6, generator=source)  # class order[i] becomes class i
    renamed = order.argsort()
    model[-1].weight.data.copy_(model[-1].weight.data[order])
    model[-1].bias.data.copy_(model[-1].bias.data[order])
    assert torch.equal(malt_targets(model, x, renamed[y], k=5), renamed[before])


def test_naive_targets_are_the_likeliest_other_classes():
    model, x, y = linear_problem(50)
    y = (y + torch.arange(50) % 2) % 12  # half of the labels are wrong
    targets = naive_targets(model, x, y, k=3)
    for row, scores in enumerate(model(x).tolist()):
        others = sorted((k for k in range(12) if k != y[row]), key=lambda k: -scores[k])
        assert targets[row].tolist() == others[:3]


def test_only_candidates_are_scored():
    model, x, y = linear_problem(30)
    all_scores, some = malt_scores(model, x, y), malt_scores(model, x, y, candidates=4)
    likeliest = naive_targets(model, x, y, k=4)
    torch.testing.assert_close(some.gather(1, likeliest), all_scores.gather(1, likeliest))
    assert (some.isinf().sum(1) == 8).all()


@pytest.mark.parametrize("rank", [malt_targets, naive_targets])
def test_more_targets_than_classes_are_clamped_and_the_label_is_never_one(rank):
    model, x, y = linear_problem(20)
    targets = rank(model, x, y, k=500)
    assert torch.equal(targets.sort(1).values, without_label(y, 12))


def test_a_class_without_gradient_is_the_last_resort():
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    model = linear(weight, torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64))
    x, y = torch.tensor([[5.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    assert malt_scores(model, x, y)[0].tolist() == [math.inf, math.inf, pytest.approx(10.1 / 2)]
    assert malt_targets(model, x, y, k=2).tolist() == [[2, 1]]


def test_where_all_gradients_vanish_the_order_is_that_of_confidence():
    model = linear(torch.zeros(4, 3, dtype=torch.float64), torch.tensor([4.0, 1.0, 3.0, 2.0], dtype=torch.float64))
    x, y = torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0, 0])
    assert malt_targets(model, x, y, k=3).tolist() == [[2, 3, 1], [2, 3, 1]]


@pytest.mark.parametrize("options", [{"norm": 3}, {"candidates": 0}, {"k": 0}])
def test_impossible_options_are_refused(options):
    model, x, y = linear_problem(2)
    with pytest.raises(InvalidInputError):
        malt_targets(model, x, y, **options)
