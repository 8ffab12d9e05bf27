"""Class sensitivity: correlation of the maps of the highest and the lowest class (Rebuffi et al., 2020)."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from scipy.stats import rankdata
from torch import Tensor, nn

from assay.attribution.saliency.class_scores import class_rows
from assay.core import InvalidInputError, NumericalError, check_choice, check_pairs, predict


@runtime_checkable
class Attributor(Protocol):
    """An object with captum's `attribute`, such as `NormGrad` or captum's own."""

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:
        """Return a map for each input."""
        ...


@dataclass(frozen=True)
class ClassSensitivity:
    """Correlation of the maps of two classes.

    Attributes:
        mean: Mean over images: near 1 for maps that show the same whatever the class, lower for sensitive ones.
        per_image: Correlation of each image.
        max_class: Class of the first map: that of the highest score, by default.
        min_class: Class of the second: that of the lowest score.
    """

    mean: float
    per_image: Float[Tensor, " n"]
    max_class: Int[Tensor, " n"]
    min_class: Int[Tensor, " n"]

    def __str__(self) -> str:
        """Describe the result in a sentence."""
        low, high = self.per_image.double().quantile(
            torch.tensor([0.1, 0.9], dtype=torch.float64).to(self.per_image.device)
        )
        return (
            f"The maps of the highest and the lowest class correlate by {self.mean:.2f} on average over "
            f"{len(self.per_image)} images (from {low:.2f} to {high:.2f} in the middle 80%)."
        )


def map_correlation(
    a: Float[Tensor, "n *positions"],
    b: Float[Tensor, "n *positions"],
    method: Literal["spearman", "pearson"] = "spearman",
) -> Float[Tensor, " n"]:
    """Compute the correlation of two maps over positions, of ranks (ties share the mean rank) or of values.

    Args:
        a: Maps.
        b: Other maps of the same shape.
        method: "spearman" or "pearson".

    Raises:
        InvalidInputError: The maps have other shapes, or a single position.
        NumericalError: A map is constant, or not finite.

    Source: Rebuffi et al., There and Back Again (2020), main text, the sensitivity metric.

    >>> map_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 4.0, 9.0]])).tolist()
    [1.0]
    """
    check_choice(method, ("spearman", "pearson"), "method")
    a, b = check_pairs(a, b)
    if a.shape != b.shape or a[0].numel() < 2:
        raise InvalidInputError(f"maps of shape {tuple(a.shape)} and {tuple(b.shape)} have no correlation; pass pairs")
    pair = []
    for value in (a, b):
        flat = value.flatten(1).double()
        if method == "spearman":
            flat = torch.from_numpy(rankdata(flat.cpu().numpy(), axis=1)).to(flat.device)
        centred = flat - flat.mean(1, keepdim=True)
        norm = torch.linalg.vector_norm(centred, dim=1)
        constant = (value.flatten(1) == value.flatten(1)[:, :1]).all(1)
        if constant.any():
            raise NumericalError(
                f"the maps of {int(constant.sum())} of {len(norm)} images are constant and have no correlation; leave "
                "these images out, or take another layer, score or aggregate"
            )
        pair.append(centred / norm[:, None])
    return (pair[0] * pair[1]).sum(1).clamp(-1, 1).to(a.dtype)


def class_sensitivity(
    attributor: Attributor,
    x: Shaped[Tensor, "n *d"],
    *,
    model: nn.Module | None = None,
    method: Literal["spearman", "pearson"] = "spearman",
    classes: tuple[Tensor, Tensor] | None = None,
) -> ClassSensitivity:
    r"""Correlate each image's map of its highest-scoring class with that of its lowest-scoring class.

    Maps that point out the evidence for one class differ between the two, and correlate little or negatively; those
    that find edges or objects of any class correlate by nearly 1.

    Cost: two maps an image.

    Args:
        attributor: Object with `attribute(inputs, target=...)`, such as `NormGrad` or captum's.
        x: Images.
        model: Network that ranks the classes; the attributor's own by default.
        method: "spearman" or "pearson".
        classes: Two classes for each image, instead of the highest and the lowest.

    Returns:
        The correlations, their mean, and the classes.

    Raises:
        InvalidInputError: The attributor has no `attribute`, its network is not known, or there are fewer than two
            classes.
        NumericalError: A map is constant.

    Source: Rebuffi et al., There and Back Again (2020), main text, the class-sensitivity metric; the kind of
    correlation is not known from the sources read, so that both are offered.

    >>> from assay.attribution.saliency import NormGrad
    >>> from assay.core import seeded
    >>> from assay.nets import normalized_conv
    >>> network = normalized_conv((1, 8, 8), 3, channels=(4, 4), generator=seeded(0))
    >>> x = torch.rand(2, 1, 8, 8, generator=seeded(1))
    >>> -1 <= class_sensitivity(NormGrad(network, "2"), x).mean <= 1
    True
    """
    if not callable(getattr(attributor, "attribute", None)):
        raise InvalidInputError(f"attributor must have attribute(inputs, target=...), got {type(attributor).__name__}")
    if classes is None:
        network = (
            model if model is not None else getattr(attributor, "model", getattr(attributor, "forward_func", None))
        )
        if not isinstance(network, nn.Module):
            raise InvalidInputError("the attributor does not say which network ranks the classes; pass model=")
        rows, _ = class_rows(predict(network, x), None)
        if rows.shape[1] < 2:
            raise InvalidInputError("the network gives a single score; pass classes= as two labels for each image")
        classes = rows.argmax(1), rows.argmin(1)
    maps = [attributor.attribute(x, target=some).detach() for some in classes]
    found = map_correlation(maps[0], maps[1], method)
    return ClassSensitivity(float(found.double().mean()), found, *classes)
