import math

import pytest
import torch

from assay.adversarial import MALT, Lp, TargetedStep, linear_response_radius
from assay.adversarial.logit_gaps import linear_response_error
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import points, random_linear, random_mlp

UNBOUNDED = (-math.inf, math.inf)


@pytest.mark.parametrize("norm", [2, math.inf])
def test_on_a_linear_model_the_prediction_is_the_measurement_point_by_point(norm):
    source = seeded(0)
    model, x = random_linear(8, 5, source), points(200, 8, source)
    radius = linear_response_radius(model, x, norm=norm)
    eps = torch.tensor([0.01, 0.03, 0.1, 0.3, 1.0], dtype=torch.float64)
    predicted = predict(model, x).argmax(1)
    errors = []
    for size in eps.tolist():
        threat = Lp(norm=norm, eps=size, input_range=UNBOUNDED)
        flipped = MALT(TargetedStep(threat), k=4).run(model, x, predicted).success
        assert torch.equal(flipped, radius < size)
        errors.append(flipped.double().mean())
    assert torch.equal(linear_response_error(model, x, eps=eps, norm=norm), torch.stack(errors))
    assert 0 < errors[0] < errors[-1]


def test_along_a_direction_the_prediction_is_the_measurement_point_by_point():
    source = seeded(1)
    model, x, way = random_linear(8, 5, source), points(300, 8, source), points(300, 8, source)
    radius = linear_response_radius(model, x, direction=way, batch_size=100)
    for size in (0.01, 0.1, 1.0, 10.0):
        flipped = predict(model, x + size * way).argmax(1) != predict(model, x).argmax(1)
        assert torch.equal(flipped, radius < size)
    assert radius.isinf().any(), "some samples lie in a cone that the direction never leaves"
    eps = torch.tensor([0.1, 1.0], dtype=torch.float64)
    expected = (radius[:, None] < eps).double().mean(0)
    assert torch.equal(linear_response_error(model, x, eps=eps, direction=way), expected)


def test_the_radius_is_first_order_by_hand():
    source = seeded(2)
    model, x = random_mlp([6, 16, 4], source), points(7, 6, source)
    direction = points(7, 6, source)
    along = linear_response_radius(model, x, direction=direction)
    for index, sample in enumerate(x):
        jacobian, h = torch.func.jacrev(model)(sample).detach(), model(sample).detach()
        first = int(h.argmax())
        others = [j for j in range(4) if j != first]
        by_class = [float((h[first] - h[j]) / (jacobian[j] - jacobian[first]).abs().sum()) for j in others]
        assert linear_response_radius(model, x)[index].item() == pytest.approx(min(by_class))
        slopes = {j: float((jacobian[j] - jacobian[first]) @ direction[index]) for j in others}
        ahead = [float(h[first] - h[j]) / slope for j, slope in slopes.items() if slope > 0]
        assert along[index].item() == pytest.approx(min(ahead, default=math.inf))


def test_bad_input_is_named():
    model, x = random_linear(8, 5, seeded(3)), points(3, 8, seeded(3))
    with pytest.raises(InvalidInputError, match="NaN"):
        linear_response_radius(model, x, direction=x * math.nan)
    with pytest.raises(InvalidInputError, match="norm must be"):
        linear_response_radius(model, x, norm=3)
    with pytest.raises(InvalidInputError, match="one output"):
        linear_response_radius(random_linear(8, 1, seeded(3)), x)
