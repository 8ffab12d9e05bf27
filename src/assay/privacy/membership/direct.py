"""LiRA as it was published: query the sample itself, or shifted copies of it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

from assay.core import InvalidInputError
from assay.privacy.membership.base import MembershipAttack


@dataclass(frozen=True, eq=False)
class DirectAttack(MembershipAttack):
    """Query each sample itself and, where more queries are asked for, copies shifted at random.

    Shifted copies help where the target was trained on such; elsewhere they are off its training distribution.

    Args:
        ensemble: Shadow models.
        scorer: The likelihood-ratio test.
        n_queries: Queries a sample; the first is the sample. Carlini et al. and Wen et al. compare ten.
        max_shift: Largest shift of the copies of an image, in pixels either way; what is moved in is zero.

    Raises:
        InvalidInputError: `n_queries` or `max_shift` is below one.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022).

    >>> from assay.privacy import ShadowEnsemble
    >>> seen = torch.tensor([[True, False], [False, True]])
    >>> shadows = ShadowEnsemble((torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)), seen, torch.eye(2))
    >>> DirectAttack(shadows).score([torch.nn.Linear(2, 3)], torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([1, 2])
    """

    n_queries: int = 1
    max_shift: int = 2

    def __post_init__(self) -> None:
        if self.n_queries < 1 or self.max_shift < 1:
            raise InvalidInputError(
                f"n_queries and max_shift must be at least 1, got {self.n_queries} and {self.max_shift}"
            )

    def propose(
        self,
        x: Float[Tensor, "n *d"],
        y: Num[Tensor, " n"],
        *,
        batch_size: int,
        generator: torch.Generator,
        progress: bool,
    ) -> Float[Tensor, "n q *d"]:
        """Return each sample and its shifted copies; all samples are shifted alike.

        Raises:
            InvalidInputError: More than one query is asked for of samples that are no images.
        """
        if self.n_queries == 1:
            return x[:, None]
        if x.ndim != 4:
            raise InvalidInputError(
                f"samples of shape {tuple(x.shape[1:])} cannot be shifted as images; use n_queries=1"
            )
        reach, (height, width) = self.max_shift, x.shape[-2:]
        padded = F.pad(x, (reach,) * 4)
        corners = torch.randint(2 * reach + 1, (self.n_queries - 1, 2), generator=generator, device=generator.device)
        shifted = [padded[..., top : top + height, left : left + width] for top, left in corners.tolist()]
        return torch.stack([x, *shifted], 1)
