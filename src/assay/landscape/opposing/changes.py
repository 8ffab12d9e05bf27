"""Change of each sample's loss between two networks (Rosenfeld and Risteski, 2024, section 2)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    LossFunction,
    MeanLoss,
    batched,
    check_finite,
    check_outputs,
    check_pairs,
    mean_over_samples,
    predict,
)


@torch.inference_mode(False)
def per_sample_loss_change(
    model_before: nn.Module,
    model_after: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    r"""Compute $D_i = \ell(f_{w'}(x_i), y_i) - \ell(f_w(x_i), y_i)$, the change of each sample's loss.

    The mean of the changes is the change of the loss on all samples.

    Args:
        model_before: Network with weights $w$; it comes back as it was.
        model_after: Network with weights $w'$, such as the next iterate; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples; class weights and ignored labels are folded into one mean over all of them.
        batch_size: Samples evaluated at once.

    Returns:
        One change a sample.

    Raises:
        InvalidInputError: A model or the data are unusable, or the two networks differ in the shape of their outputs.
        NumericalError: A loss is NaN or infinite.

    Cost: two passes over the data, memory O(n c).

    Source: Rosenfeld and Risteski, "Outliers with Opposing Signals Have an Outsized Effect on Neural Network
    Optimization" (2024), arXiv 2311.04163, section 2: samples with the most positive and most negative change.

    >>> from assay.core import squared_error
    >>> layer, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> for network, weight in ((layer, 0.0), (other, 1.0)):
    ...     _ = nn.init.constant_(network.weight, weight)
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> per_sample_loss_change(layer, other, x, torch.tensor([1.0, -1.0]), loss=squared_error).tolist()
    [-1.0, 8.0]
    """
    x, y = check_pairs(x, y, tokens=True)
    mean = mean_over_samples(loss, model_before, x, y)
    shapes = [check_outputs(model, x).shape[1:] for model in (model_before, model_after)]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(
            f"the two networks return outputs of shape {tuple(shapes[0])} and {tuple(shapes[1])} a sample; pass two "
            "states of one network"
        )
    before, after = (
        per_sample_losses(model, x, y, mean, batch_size=batch_size) for model in (model_before, model_after)
    )
    return after - before


def per_sample_losses(
    model: nn.Module, x: Shaped[Tensor, "n *d"], y: Tensor, loss: MeanLoss, *, batch_size: int = 256, look: bool = True
) -> Float[Tensor, " n"]:
    """Compute each sample's loss.

    Args:
        model: Network; it comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean over samples.
        batch_size: Samples evaluated at once.
        look: Look at the network first; a caller that has looked leaves it out, and gets losses that may be infinite.

    Raises:
        NumericalError: A loss is NaN or infinite.
    """
    outputs = predict(model, x, batch_size=batch_size, look=look)
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # half precision keeps three digits
    with torch.no_grad():
        losses = batched(lambda scores, target: loss(scores[None], target[None]), (0, 0))(outputs, y)
    if look:
        check_finite(losses, "a sample's loss")
    return losses
