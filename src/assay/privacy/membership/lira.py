"""LiRA, the likelihood-ratio attack with shadow models (Carlini et al., 2022, algorithm 1)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import InvalidInputError, NumericalError, check_choice, check_finite, check_flags


@dataclass(frozen=True)
class LiRA:
    r"""Score membership by the likelihood ratio of a target's logit-scaled confidence, as member and as non-member.

    Shadow models trained on sample i have a confidence of median $\mu^{in}_{iq}$ on its query q, the others of median
    $\mu^{out}_{iq}$. With the target's own confidence $\phi_{iq}$, averaged over queries,

    - online: $\log \mathcal N(\phi; \mu^{in}, s_{in}) - \log \mathcal N(\phi; \mu^{out}, s_{out})$;
    - offline, one tail: $\log \Phi\big((\phi - \mu^{out}) / s_{out}\big)$, which needs no model trained on the sample;
    - offline, two tails: $-\log \mathcal N(\phi; \mu^{out}, s_{out})$, which also ranks unusually low confidence as
      membership.

    Args:
        online: Use the models trained on the sample as well.
        variance: Estimate of $s$. "global": the standard deviation of all raw confidences, over samples, models and
            queries, as in the released code of Wen et al.; "residual": the same after subtracting the medians;
            "per_sample": over the models, for each sample and query, which needs many models.
        tail: Tails of the offline score: one in equation 4 of Carlini et al., two in the released code of Wen et al.

    Raises:
        InvalidInputError: `variance` or `tail` has another value.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), algorithm 1 (online) and
    equation 4 (offline); the medians and the global variance follow the released code of Wen et al., "Canary in a
    Coalmine" (2023).

    >>> of_shadows = torch.tensor([[3.0], [4.0], [0.0], [1.0]])[:, :, None]
    >>> membership = torch.tensor([[True], [True], [False], [False]])
    >>> (LiRA().score(torch.tensor([[3.5]]), of_shadows, membership) > 0).item()
    True
    """

    online: bool = True
    variance: Literal["global", "residual", "per_sample"] = "global"
    tail: Literal["one", "two"] = "one"

    def __post_init__(self) -> None:
        check_choice(self.variance, ("global", "residual", "per_sample"), "variance")
        check_choice(self.tail, ("one", "two"), "tail")

    def score(
        self,
        target_confidence: Float[Tensor, "*t n q"],
        shadow_confidence: Float[Tensor, "m n q"],
        membership: Shaped[Tensor, "m n"],
    ) -> Float[Tensor, "*t n"]:
        """Return one score for each sample and target, higher for members.

        Args:
            target_confidence: `logit_confidence` of one target or t of them on q queries of n samples.
            shadow_confidence: `logit_confidence` of m shadow models.
            membership: Which shadow model was trained on which sample, as booleans or 0 and 1.

        Returns:
            The scores, in float32 where the confidences are in half precision.

        Raises:
            InvalidInputError: The shapes do not fit each other, or some sample is in the training set of every shadow
                model, or of none where the score is online.
            NumericalError: The shadow models' confidences do not vary, or are not finite.
        """
        membership = check_flags(membership, "membership")
        shape = tuple(shadow_confidence.shape)
        if len(shape) != 3 or membership.shape != shape[:2] or target_confidence.shape[-2:] != shape[1:]:
            raise InvalidInputError(
                f"confidences of targets {tuple(target_confidence.shape)} and shadow models {shape}, and membership "
                f"{tuple(membership.shape)} do not fit; give (..., n, q), (m, n, q) and (m, n)"
            )
        wide = torch.promote_types(shadow_confidence.dtype, torch.float32)  # half precision has no quantiles
        target_confidence, shadow_confidence = target_confidence.to(wide), shadow_confidence.to(wide)
        check_finite(shadow_confidence, "the shadow models' confidence")
        out_mean, out_std = self._normal(shadow_confidence, ~membership, "not trained on")
        out_z = (target_confidence - out_mean) / out_std
        if self.online:
            in_mean, in_std = self._normal(shadow_confidence, membership, "trained on")
            in_z = (target_confidence - in_mean) / in_std
            log_ratio = (out_z.square() - in_z.square()) / 2 + (out_std / in_std).log()
        elif self.tail == "one":
            log_ratio = torch.special.log_ndtr(out_z)
        else:
            log_ratio = out_z.square() / 2 + out_std.log()
        scores = log_ratio.mean(-1)
        check_finite(scores, "the membership score")
        return scores

    def _normal(self, confidence: Tensor, chosen: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Return medians and standard deviations of the chosen models' confidence, which broadcast to (n, q)."""
        needed = 2 if self.variance == "per_sample" else 1
        counts = chosen.sum(0)
        if counts.min() < needed:
            raise InvalidInputError(
                f"sample {int(counts.argmin())} has {int(counts.min())} shadow models {kind} it, {needed} needed; "
                "train more of them, or use the offline score for samples outside the shadow models' training sets"
            )
        masked = confidence.masked_fill(~chosen[:, :, None], float("nan"))
        median = masked.nanquantile(0.5, 0)
        if self.variance == "per_sample":
            deviation = masked - masked.nanmean(0)
            std = (deviation.square().nansum(0) / (counts[:, None] - 1)).sqrt()
        else:
            values = masked if self.variance == "global" else masked - median
            std = values[chosen].std()
        if not (std > 0).all():
            raise NumericalError(f"the shadow models {kind} a sample agree exactly; train them from several seeds")
        return median, std
