"""Multipliers predicted by the training loss at a stationary point (Buzaglo et al., 2023)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    LossFunction,
    check_finite,
    check_outputs,
    check_pairs,
    check_positive,
    mean_over_samples,
    preserved,
)


def predicted_multipliers(
    model: nn.Module, x: Shaped[Tensor, "n ..."], y: Tensor, *, loss: LossFunction, weight_decay: float
) -> Float[Tensor, " n"] | Float[Tensor, "n c"]:
    r"""Compute the multipliers $\lambda_i = -\ell'(\Phi(x_i), y_i) / (w n)$ of training with weight decay.

    At a zero of the gradient of $\frac1n \sum_i \ell(\Phi(x_i), y_i) + \frac w2 \lVert\theta\rVert^2$,
    $\theta = \sum_i J_\Phi(x_i)^\top \lambda_i$: without margins or homogeneity, and with multipliers of either sign.
    For the squared error $\lambda_i = 2 (y_i - \Phi_i) / (w n)$, for softmax cross-entropy
    $\lambda_i = (e_{y_i} - p_i) / (w n)$.

    Cost: time and memory of one forward pass.

    Args:
        model: Trained network; it comes back as it was.
        x: Its training samples, all of them; integers for a network that reads tokens.
        y: Their targets, as `loss` takes them.
        loss: Mean loss over all samples, as in training; class weights and ignored labels are taken into account.
        weight_decay: The factor w of the weights in the gradient, as in training.

    Returns:
        One number per sample for a network with one output, else one per output. They are finite for any network: that
        they explain its weights is for `stationarity_residual` to say.

    Raises:
        InvalidInputError: `x` and `y` do not fit each other, the model or the loss, or the weight decay is not
            positive.
        NumericalError: A multiplier is NaN or infinite.

    Source: Buzaglo et al., Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses (2023),
    equation of the multipliers of a general loss.

    >>> from assay.core import squared_error
    >>> zero = nn.Linear(2, 1).requires_grad_(False)
    >>> zero.weight[:], zero.bias[:] = 0, 0
    >>> predicted_multipliers(zero, torch.ones(2, 2), torch.tensor([1.0, -1.0]), loss=squared_error, weight_decay=0.1)
    tensor([ 10., -10.])
    """
    x, y = check_pairs(x, y, tokens=True)
    check_outputs(model, x)
    check_positive(weight_decay, "weight_decay")
    mean = mean_over_samples(loss, model, x, y)
    with preserved(model):
        outputs = model(x).detach().requires_grad_()
        (slope,) = torch.autograd.grad(mean(outputs, y), outputs)
    multipliers = -slope.reshape(len(x), -1) / weight_decay
    check_finite(multipliers, "a multiplier")
    return multipliers.squeeze(1) if multipliers.shape[1] == 1 else multipliers
