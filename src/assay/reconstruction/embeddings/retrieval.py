"""Retrieval of training records by reconstructed embeddings."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_flags, check_samples


@dataclass(frozen=True, eq=False)
class RetrievalAudit:
    """Hold the precision and recall of retrieval by reconstructed embeddings.

    Attributes:
        retrieved: Index in the pool of the nearest record of each representative.
        precision: Share of the representatives whose nearest record is a member.
        recall: Share of the members that are the nearest record of some representative.
        chance: Share of members in the pool: the precision of a random choice.
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
    members: Shaped[Tensor, " _"],
    k: int,
) -> RetrievalAudit:
    r"""Look up the nearest record of a pool, $\arg\max_j \cos(\hat x_i, x_j)$, for each of the first k representatives.

    This shows a leak even without a way to invert embeddings.

    Cost: time O(k n d), memory O(k n).

    Args:
        representatives: Reconstructed embeddings, the best first.
        pool_embeddings: Embeddings of known records, among them the training samples, in the input space of the
            network: centred and scaled like its inputs. Without centring all cosines are high.
        members: Training samples among the records, as booleans or 0 and 1.
        k: Number of representatives to look up; all of them if there are fewer.

    Returns:
        The retrieved records, precision, recall and chance level.

    Raises:
        InvalidInputError: Shapes differ, k is not positive, or the pool lacks members or non-members.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024),
    section 3.1, for the embeddings; the measure is ours.

    >>> import torch
    >>> pool = torch.eye(4)
    >>> print(retrieval_audit(pool[:2] + 0.1, pool, torch.tensor([True, False, False, True]), k=2))
    Of 2 representatives, 50% lead to a training sample (chance 50.0%), and 50% of the training samples are found.
    """
    representatives = check_samples(representatives, "representatives")
    pool_embeddings = check_samples(pool_embeddings, "pool_embeddings")
    members = check_flags(members, "members")
    shapes = representatives.shape[1:], pool_embeddings.shape[1:]
    if shapes[0] != shapes[1] or representatives.ndim != 2 or members.shape != (len(pool_embeddings),):
        raise InvalidInputError(
            f"representatives {tuple(representatives.shape)}, pool_embeddings {tuple(pool_embeddings.shape)} and "
            f"members {tuple(members.shape)} do not fit: pass embeddings of one length, and one flag per record"
        )
    check_count(k, "k")
    if members.all() or not members.any():
        raise InvalidInputError(
            f"the pool must hold members and other records, got {int(members.sum())} members among {len(members)}; "
            "add the records that are missing"
        )
    retrieved = (F.normalize(representatives[:k]) @ F.normalize(pool_embeddings).T).argmax(1)
    hits = members[retrieved]
    found = len(retrieved[hits].unique())
    chance = float(members.double().mean())
    return RetrievalAudit(retrieved, float(hits.double().mean()), found / int(members.sum()), chance)
