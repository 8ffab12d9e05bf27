"""Which records of a data base reconstructed embeddings point at."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.core import InvalidInputError, check_samples


@dataclass(frozen=True, eq=False)
class RetrievalAudit:
    """Say how many members reconstructed embeddings lead to.

    Attributes:
        retrieved: Index in the pool of what is nearest to each representative.
        precision: Share of the representatives whose nearest record is a member.
        recall: Share of the members that are nearest to some representative.
        chance: Share of members in the pool: the precision of pointing blindly.
    """

    retrieved: Int[Tensor, " k"]
    precision: float
    recall: float
    chance: float

    def __str__(self) -> str:
        return (
            f"Of {len(self.retrieved)} representatives, {self.precision:.0%} lead to a training sample "
            f"(chance {self.chance:.1%}), and {self.recall:.0%} of the training samples are found."
        )


def retrieval_audit(
    representatives: Float[Tensor, "r d"],
    pool_embeddings: Float[Tensor, "n _"],  # its shape is compared below
    members: Bool[Tensor, " _"],
    k: int,
) -> RetrievalAudit:
    r"""Look up the nearest record of a pool, $\arg\max_j \cos(\hat x_i, x_j)$, for each of the first k representatives.

    This shows a leak where nothing can turn an embedding back into what it encodes. Time is O(k n d).

    Args:
        representatives: Reconstructed embeddings, the best first.
        pool_embeddings: Embeddings of known records, the training samples hidden among them, in the space that the
            network takes: centred and scaled as its inputs were. Without centring all cosines are high.
        members: Which of them the network was trained on.
        k: How many representatives to look up; all where there are fewer.

    Raises:
        InvalidInputError: Shapes differ, k is not positive, or the pool holds no member or nothing else.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024); the
    measure is ours.

    >>> import torch
    >>> pool = torch.eye(4)
    >>> print(retrieval_audit(pool[:2] + 0.1, pool, torch.tensor([True, False, False, True]), k=2))
    Of 2 representatives, 50% lead to a training sample (chance 50.0%), and 50% of the training samples are found.
    """
    check_samples(representatives, "representatives")
    check_samples(pool_embeddings, "pool_embeddings")
    if representatives.shape[1] != pool_embeddings.shape[1] or len(members) != len(pool_embeddings):
        raise InvalidInputError(
            f"representatives {tuple(representatives.shape)}, pool_embeddings {tuple(pool_embeddings.shape)} and "
            f"members {tuple(members.shape)} do not fit: give embeddings of one length, and one flag a record"
        )
    if k < 1 or members.all() or not members.any():
        raise InvalidInputError(
            f"k must be at least 1 and the pool hold members and others; got k={k} and {int(members.sum())} members "
            f"among {len(members)}"
        )
    retrieved = (F.normalize(representatives[:k]) @ F.normalize(pool_embeddings).T).argmax(1)
    hits = members[retrieved]
    found = len(retrieved[hits].unique())
    chance = float(members.double().mean())
    return RetrievalAudit(retrieved, float(hits.double().mean()), found / int(members.sum()), chance)
