"""Direct queries of LiRA: the sample itself and shifted copies of it (Carlini et al., 2022, section IV-C)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_count
from assay.privacy.membership.base import MembershipAttack, QueryTask


@dataclass(frozen=True, eq=False)
class DirectAttack(MembershipAttack):
    """Query each sample itself and, for more than one query, copies shifted and mirrored at random.

    Such copies match targets that were trained with the same augmentation; for other targets they are off the training
    distribution.

    Args:
        ensemble: Shadow models.
        scorer: The likelihood-ratio test.
        n_queries: Queries per sample; the first is the sample. Carlini et al. and Wen et al. compare ten.
        max_shift: Largest shift of an image's copies, in pixels in each direction; the border is filled with zeros.
            Code of Wen et al.: 4.
        flip: Mirror each copy left and right with probability one half, as the code of Wen et al. does.

    Raises:
        InvalidInputError: `n_queries` or `max_shift` is below one.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), section IV-C.

    >>> from assay.privacy import ShadowEnsemble
    >>> membership = torch.tensor([[True, False], [False, True]])
    >>> shadows = ShadowEnsemble((torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)), membership, torch.eye(2))
    >>> DirectAttack(shadows).score([torch.nn.Linear(2, 3)], torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([1, 2])
    """

    n_queries: int = 1
    max_shift: int = 2
    flip: bool = False

    def __post_init__(self) -> None:
        check_count(self.n_queries, "n_queries")
        check_count(self.max_shift, "max_shift")

    def propose(self, task: QueryTask) -> Shaped[Tensor, "n q *d"]:
        """Return each sample and its changed copies; all samples are changed alike.

        Raises:
            InvalidInputError: The samples are not images, and `n_queries` is above one.
        """
        x, source = task.x, task.generator
        if self.n_queries == 1:
            return x[:, None]
        if x.ndim != 4:
            raise InvalidInputError(
                f"samples of shape {tuple(x.shape[1:])} cannot be shifted as images; use n_queries=1"
            )
        reach, (height, width) = self.max_shift, x.shape[-2:]
        padded = F.pad(x, (reach,) * 4)
        corners = torch.randint(2 * reach + 1, (self.n_queries - 1, 2), generator=source, device=source.device)
        copies = [padded[..., top : top + height, left : left + width] for top, left in corners.tolist()]
        if self.flip:
            mirrored = torch.rand(len(copies), generator=source, device=source.device) < 0.5
            copies = [each.flip(-1) if turn else each for each, turn in zip(copies, mirrored.tolist(), strict=True)]
        return torch.stack([x, *copies], 1)
