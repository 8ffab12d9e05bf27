"""The likelihood-ratio test of membership, against what shadow models make of the same queries."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.core import InvalidInputError, NumericalError, check_finite


@dataclass(frozen=True)
class LiRA:
    r"""Score how much likelier a target's confidence is if the sample was in its training set.

    Shadow models that saw sample i give $\phi$ with median $\mu^{in}_{iq}$ on its query q, those that did not
    $\mu^{out}_{iq}$. With the target's own $\phi_{iq}$, averaged over queries,

    - online: $\log \mathcal N(\phi; \mu^{in}, s_{in}) - \log \mathcal N(\phi; \mu^{out}, s_{out})$;
    - offline, one tail: $\log \Phi\big((\phi - \mu^{out}) / s_{out}\big)$, which needs no model that saw the sample;
    - offline, two tails: $-\log \mathcal N(\phi; \mu^{out}, s_{out})$, which takes unusually low confidence for
      membership too and is much weaker.

    Args:
        online: Use the models that saw the sample as well.
        variance: Where $s$ comes from. "global": the standard deviation of all raw $\phi$, over samples, models and
            queries, as in the released code of Wen et al.; "residual": the same after subtracting the medians;
            "per_sample": over the models, for each sample and query, which needs many models.
        tail: Of the offline score; the paper's text has one, its released code two.

    Raises:
        InvalidInputError: `variance` or `tail` is not one of those.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022); the medians and the global
    variance follow Wen et al., "Canary in a Coalmine" (2023).

    >>> shadow_phi = torch.tensor([[3.0], [4.0], [0.0], [1.0]])[:, :, None]
    >>> seen = torch.tensor([[True], [True], [False], [False]])
    >>> (LiRA().score(torch.tensor([[3.5]]), shadow_phi, seen) > 0).item()
    True
    """

    online: bool = True
    variance: Literal["global", "residual", "per_sample"] = "global"
    tail: Literal["one", "two"] = "one"

    def __post_init__(self) -> None:
        if self.variance not in ("global", "residual", "per_sample"):
            raise InvalidInputError(f'variance must be "global", "residual" or "per_sample", got {self.variance!r}')
        if self.tail not in ("one", "two"):
            raise InvalidInputError(f'tail must be "one" or "two", got {self.tail!r}')

    def score(
        self,
        target_phi: Float[Tensor, "*t n q"],
        shadow_phi: Float[Tensor, "m n q"],
        membership: Bool[Tensor, "m n"],
    ) -> Float[Tensor, "*t n"]:
        """Return one score a sample, and a target where there are several; higher for members.

        Args:
            target_phi: The target's `logit_confidence` on q queries of n samples.
            shadow_phi: That of m shadow models.
            membership: Which shadow saw which sample.

        Raises:
            InvalidInputError: Some sample was seen by every shadow, or by none where the score is online.
            NumericalError: The shadows' confidences do not vary, or are not finite.
        """
        check_finite(shadow_phi, "the shadows' confidence")
        out_mean, out_std = self._normal(shadow_phi, ~membership, "did not see")
        standard = (target_phi - out_mean) / out_std
        if self.online:
            in_mean, in_std = self._normal(shadow_phi, membership, "saw")
            log_ratio = (standard.square() - ((target_phi - in_mean) / in_std).square()) / 2 + (out_std / in_std).log()
        elif self.tail == "one":
            log_ratio = torch.special.log_ndtr(standard)
        else:
            log_ratio = standard.square() / 2 + out_std.log()
        scores = log_ratio.mean(-1)
        check_finite(scores, "the membership score")
        return scores

    def _normal(self, phi: Tensor, chosen: Tensor, what: str) -> tuple[Tensor, Tensor]:
        """Return medians and standard deviations of the chosen models' phi, which broadcast to (n, q)."""
        needed = 2 if self.variance == "per_sample" else 1
        counts = chosen.sum(0)
        if counts.min() < needed:
            raise InvalidInputError(
                f"sample {int(counts.argmin())} has {int(counts.min())} shadow models that {what} it, {needed} needed; "
                "train more of them, or use the offline score for samples that none saw"
            )
        masked = phi.masked_fill(~chosen[:, :, None], float("nan"))
        median = masked.nanquantile(0.5, 0)
        if self.variance == "per_sample":
            deviation = masked - masked.nanmean(0)
            std = (deviation.square().nansum(0) / (counts[:, None] - 1)).sqrt()
        else:
            values = masked if self.variance == "global" else masked - median
            std = values[chosen].std()
        if not (std > 0).all():
            raise NumericalError(f"the shadow models that {what} a sample agree exactly; train them from several seeds")
        return median, std
