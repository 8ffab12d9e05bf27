"""Membership ROC of reconstructions (Maciazek and Allison, 2025)."""

from dataclasses import dataclass

from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from assay.core import ROC, InvalidInputError, check_samples, find_copies, roc
from assay.reconstruction.scoring.similarity import normalized_correlation


@dataclass(frozen=True, eq=False)
class ReconstructionROC:
    """Hold the ROC of membership by the best correlation with a candidate.

    Attributes:
        members: Best correlation of each training sample.
        nonmembers: Best correlation of each other sample.
        curve: True against false positive rate over the thresholds, and the area under the curve.
        n_shared: Non-members that are copies of a member, which no score can tell from it.
    """

    members: Float[Tensor, " n"]
    nonmembers: Float[Tensor, " k"]
    curve: ROC
    n_shared: int = 0

    def tpr_at(self, fpr: float) -> float:
        """Return the true positive rate at a false positive rate of at most `fpr`."""
        return self.curve.tpr_at(fpr)

    def __str__(self) -> str:
        lowest = max(0.01, 1 / len(self.nonmembers))
        return (
            f"At a false positive rate of {lowest:.2g} over {len(self.nonmembers)} non-members, "
            f"{self.tpr_at(lowest):.0%} of {len(self.members)} members are identified by their best candidate "
            f"(area under the curve {self.curve.auc:.2f})."
            + (f" {self.n_shared} non-members are members too: give held-out samples." if self.n_shared else "")
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the curve, beside the diagonal of chance.

        Args:
            ax: Axes to draw on; a new figure when None.
        """
        from matplotlib import pyplot as plt

        if ax is None:
            ax = plt.subplots(figsize=(3.5, 3.5))[1]
        ax.plot(self.curve.fpr, self.curve.tpr, drawstyle="steps-post", label="best candidate")
        ax.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="chance")
        ax.set_xlabel("non-members above the threshold")
        ax.set_ylabel("members above the threshold")
        ax.legend(frameon=False)
        return ax


def reconstruction_roc(
    candidates: Float[Tensor, "m ..."],
    members: Float[Tensor, "n ..."],
    nonmembers: Float[Tensor, "k ..."],
    *,
    mean: Float[Tensor, "..."] | None = None,
    either_sign: bool = False,
) -> ReconstructionROC:
    r"""Compute the ROC of membership inference by the score $\max_j \mathrm{NCC}(x, \hat x_j)$.

    A success rate means little without the false positive rate, which the curve shows beside it.

    Cost: time O((n + k) m d), memory O((n + k) m).

    Args:
        candidates: Reconstructions or a whole pool, in the input space of the network.
        members: Training samples before the mean is subtracted.
        nonmembers: Held-out samples of the same distribution.
        mean: Mean that was subtracted from the training samples; zero when None.
        either_sign: Count the negative of a candidate as well, for attacks that cannot know the sign.

    Returns:
        Scores and curve.

    Raises:
        InvalidInputError: Shapes differ, or an argument is empty or not finite.

    Source: Maciazek and Allison, Vulnerability of Transfer-Learned Neural Networks to Data Reconstruction Attacks in
    Small-Data Regime (2025), section on the Neyman-Pearson evaluation, here with the correlation as the score.

    >>> import torch
    >>> x = torch.eye(6)
    >>> reconstruction_roc(x[:3], x[:3], x[3:]).tpr_at(0.01)
    1.0
    """
    for value, name in ((candidates, "candidates"), (members, "members"), (nonmembers, "nonmembers")):
        check_samples(value, name)
        if value[0].numel() != members[0].numel():
            raise InvalidInputError(
                f"{name} have shape {tuple(value.shape[1:])}, members {tuple(members.shape[1:])}; reshape one of them"
            )
    if mean is not None and mean.numel() != members[0].numel():
        raise InvalidInputError(
            f"mean has shape {tuple(mean.shape)}, members {tuple(members.shape[1:])}; give the mean of one sample"
        )
    pool, inside, outside = (
        value.detach().to(members).reshape(-1, *members.shape[1:]) for value in (candidates, members, nonmembers)
    )
    shift = 0 if mean is None else mean.detach().to(members).reshape(members.shape[1:])

    def best(x: Tensor) -> Tensor:
        ncc = normalized_correlation(x - shift, pool)
        return (ncc.abs() if either_sign else ncc).amax(1)

    scores = best(inside), best(outside)
    curve = roc(scores[0].tolist(), scores[1].tolist())
    return ReconstructionROC(*scores, curve, sum(map(bool, find_copies(outside, inside))))
