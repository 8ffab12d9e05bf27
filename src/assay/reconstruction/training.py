"""Training to where the theory of reconstruction holds, at the price of the data's span."""

import copy
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import FitResult, InvalidInputError, LossFunction, check_pairs, fit


def train_in_span(
    model: nn.Sequential,
    x: Float[Tensor, "n d"],
    y: Tensor,
    *,
    loss: LossFunction,
    weight_decay: float,
    steps: int,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    progress: bool = False,
) -> FitResult:
    r"""Train a dense network in place by full-batch gradient descent, in coordinates of the data's span.

    With $x = c V$ for an orthonormal basis $V$ of the $r \le n$ dimensions that the data span, the gradient of the
    first layer $W$ lies in that span: $W V^\top$ is trained on $c$, and what $W$ has outside only decays, all of it by
    one factor. This is exact, and a step costs O(n r h) instead of O(n d h) for h hidden units. The learning rate
    falls to zero along a cosine.

    Args:
        model: Network that starts with `nn.Linear`.
        x: Flat inputs, of the weights' dtype.
        y: Targets.
        loss: Mean loss over the batch.
        weight_decay: Factor of the weights in the gradient.
        steps: Gradient steps.
        learning_rate: Where the cosine starts.
        momentum: Of the gradient.
        progress: Draw a bar on standard error.

    Returns:
        What training did, as `core.fit` returns it.

    Raises:
        InvalidInputError: The network does not start with a dense layer, or the data do not fit.
        NumericalError: The loss became NaN or infinite.

    >>> from assay.core import binary_cross_entropy
    >>> x, net = torch.eye(2, 5), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> options = {"loss": binary_cross_entropy, "weight_decay": 1e-3, "steps": 300}
    >>> train_in_span(net, x, torch.tensor([0, 1]), **options).loss < 0.1
    True
    """
    check_pairs(x, y)
    if not isinstance(next(iter(model), None), nn.Linear):
        raise InvalidInputError("the network must start with nn.Linear; put nn.Flatten in front after training")
    basis = torch.linalg.svd(x, full_matrices=False)[2][: torch.linalg.matrix_rank(x)]
    initial = model.get_parameter("0.weight").detach().clone()
    inside = initial @ basis.T
    outside = initial - inside @ basis
    narrow = copy.deepcopy(model)
    narrow[0].register_parameter("weight", nn.Parameter(inside))
    sgd = partial(torch.optim.SGD, lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    result = fit(narrow, x @ basis.T, y, loss=loss, optimizer=sgd, schedule="cosine", steps=steps, progress=progress)
    left = _decayed(sgd, steps, x)
    weights = narrow.state_dict()
    model.load_state_dict({**weights, "0.weight": weights["0.weight"] @ basis + left * outside})
    model.eval()
    return result


def _decayed(sgd: partial[torch.optim.SGD], steps: int, like: Tensor) -> Tensor:
    """Return what weight decay alone leaves of a weight without gradient."""
    left = nn.Parameter(torch.ones((), dtype=like.dtype, device=like.device))
    optimizer = sgd([left])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    left.grad = torch.zeros_like(left)
    for _ in range(steps):
        optimizer.step()
        schedule.step()
    return left.detach()
