import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from assay.attribution.faithfulness import attribute, input_gradient_attribution, predicted_classes
from assay.core import InvalidInputError, NumericalError, seeded
from assay.nets import mlp

captum = pytest.importorskip("captum.attr")

X = torch.randn(9, 4, generator=seeded(0), dtype=torch.float64)
Y = torch.arange(9) % 3


def network(outputs=3):
    return mlp((4, 8, outputs), generator=seeded(1)).double()


def test_gradients_are_those_of_captum_and_of_autograd_by_sample():
    model = network()
    found = input_gradient_attribution(model, X, Y, batch_size=4)
    torch.testing.assert_close(found, captum.Saliency(model).attribute(X.clone().requires_grad_(), target=Y))
    for x, y, own in zip(X, Y, input_gradient_attribution(model, X, Y, of="loss"), strict=True):
        slope = torch.func.grad(lambda point, y=y: F.cross_entropy(model(point[None]), y[None]))(x)
        torch.testing.assert_close(own, slope.abs())


def test_the_predicted_class_is_the_default():
    model = network()
    predicted = model(X).argmax(1)
    assert torch.equal(predicted_classes(model, X), predicted)
    assert torch.equal(input_gradient_attribution(model, X), input_gradient_attribution(model, X, predicted))


def test_logit_and_loss_rank_alike_for_one_logit_and_for_opposite_logits():
    one = network(1)
    opposite = nn.Sequential(one, nn.Linear(1, 2, bias=False).double())
    opposite[1].weight.data = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    for model in (one, opposite):
        by_logit, by_loss = (input_gradient_attribution(model, X, Y.clamp(max=1), of=of) for of in ("logit", "loss"))
        assert torch.equal(by_logit.argsort(1), by_loss.argsort(1))
    assert not torch.equal(
        input_gradient_attribution(network(), X, Y).argsort(1),
        input_gradient_attribution(network(), X, Y, of="loss").argsort(1),
    )


@pytest.mark.parametrize("kind", ["IntegratedGradients", "DeepLift", "GradientShap", "InputXGradient", "NoiseTunnel"])
@pytest.mark.filterwarnings("ignore")
def test_methods_of_captum_run_in_batches_and_leave_the_model_and_random_states(kind):
    model = network().train()
    method = captum.NoiseTunnel(captum.Saliency(model)) if kind == "NoiseTunnel" else getattr(captum, kind)(model)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = attribute(method, model, X, Y, batch_size=4)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(found, attribute(method, model, X, Y, batch_size=4))
    if kind == "InputXGradient":
        torch.testing.assert_close(found.abs(), X.abs() * input_gradient_attribution(model, X, Y))
    if kind in ("IntegratedGradients", "DeepLift"):  # completeness, within the error of 50 steps
        change = (model(X) - model(torch.zeros_like(X))).gather(1, Y[:, None])[:, 0]
        torch.testing.assert_close(found.sum(1), change, atol=0.02, rtol=0)


def test_one_logit_goes_through_captum_and_so_do_scores_without_an_axis():
    one = network(1)
    labels = Y.clamp(max=1)
    flat = nn.Sequential(one, nn.Flatten(0))
    for model in (one, flat):
        found = attribute(captum.Saliency(model), model, X, labels)
        torch.testing.assert_close(found, input_gradient_attribution(model, X))


def test_a_function_gets_the_model_the_inputs_and_the_classes():
    model = network()
    found = attribute(input_gradient_attribution, model, X, Y, batch_size=2)
    torch.testing.assert_close(found, input_gradient_attribution(model, X, Y))


def test_bad_attributions_are_refused():
    model = network()
    with pytest.raises(InvalidInputError, match=r"shape \(9, 3\)"):
        attribute(lambda model, x, y: model(x), model, X, Y)
    with pytest.raises(NumericalError):
        attribute(lambda model, x, y: x / 0, model, X, Y)
    with pytest.raises(ZeroDivisionError):
        attribute(lambda model, x, y: 1 / 0, model, X, Y)
    with pytest.raises(InvalidInputError, match="probabilities"):
        input_gradient_attribution(nn.Sequential(model, nn.Softmax(1)), X, Y, of="loss")
    with pytest.raises(InvalidInputError, match="labels from"):
        input_gradient_attribution(model, X, Y + 1)
