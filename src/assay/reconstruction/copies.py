"""Candidates that stand for the same sample, put together."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize


def merge_copies(
    x: Float[Tensor, "r m *d"], multipliers: Float[Tensor, "r m *c"], *, labels: Int[Tensor, " m"] | None = None
) -> Float[Tensor, "r m *d"]:
    r"""Give every candidate its share of the others in its restart that point its way.

    Training leaves samples on the kinks of many hidden units, where a gate may be anything between shut and open. Sharp
    gates can say this only by several copies of a sample, some on either side: what the weights hold is their weighted
    sum. Each candidate becomes

    $$\tilde x_k = \frac{\sum_j w_{kj} x_j}{\sum_j w_{kj}}, \qquad
    w_{kj} = [\cos(\mu_k, \mu_j)]_+ \lVert\mu_j\rVert\, [\cos(x_k, x_j)]_+^3,$$

    over those of its own class. Time and memory of one restart at a time are quadratic in m.

    Args:
        x: Candidates of each restart.
        multipliers: Their multipliers, one number or one for each output.
        labels: Classes of one restart's candidates; one for all when None.

    >>> merge_copies(torch.tensor([[[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]]), torch.tensor([[1.0, 1.0, 0.0]]))[0, 0]
    tensor([1.0000, 0.0030])
    """
    together = []
    for points, pulls in zip(x.flatten(2), multipliers.reshape(*x.shape[:2], -1), strict=True):
        directions = normalize(points)
        weight = (normalize(pulls) @ pulls.mT).relu() * (directions @ directions.mT).relu().pow(3)
        if labels is not None:
            weight = weight * (labels[:, None] == labels)
        total = weight.sum(1, keepdim=True)
        together.append(torch.where(total > 0, weight @ points / total, points))
    return torch.stack(together).reshape(x.shape)
