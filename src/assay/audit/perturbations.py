"""Perturbations of a subject's inputs: their unit, the classifier they are tried on, and what they are worth."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.audit.classifier import RawClassifier
from assay.audit.pictures import is_image
from assay.audit.probe import Severity, SkipProbe
from assay.audit.subject import Subject

_LEVELS = 255  # one unit is one step of eight bits for images,
_PARTS = 80  # and this part of a standard deviation for others: eight units are a tenth of one
_ROUNDING = 1e-5  # of the range's width

KEPT_RULE = "high below 10%, medium below 50%, low below 90%, otherwise info"


def kept_severity(kept: float) -> Severity:
    """Return how severe it is that a share of correct answers is kept under perturbation, by `KEPT_RULE`."""
    return "high" if kept < 0.1 else "medium" if kept < 0.5 else "low" if kept < 0.9 else "info"


@dataclass(frozen=True, eq=False)
class Perturbed:
    """A subject's samples and its classifier, in the coordinates in which perturbations are measured.

    Attributes:
        model: Classifier of samples in these coordinates.
        x: The samples: raw inputs of images, for others each feature divided by its standard deviation.
        unit: Length of one unit in these coordinates.
        input_range: Range of the coordinates; features are held in the subject's range by the classifier.
        image: Whether the inputs are images.
        kind: Kind of the subject's loss.
        constant: Features that do not vary over the subject's data and are never changed.
    """

    model: nn.Module
    x: Tensor
    unit: float
    input_range: tuple[float, float]
    image: bool
    kind: str
    constant: int = 0

    def name(self, size: float) -> str:
        """Return the name of a size, given in units."""
        return f"{size:g}/{_LEVELS}" if self.image else f"{size / _PARTS:g} standard deviations"

    def phrase(self, size: float) -> str:
        """Return a size with what it is a part of."""
        return f"{self.name(size)} of {'the input range' if self.image else 'each feature'}"

    @property
    def axis(self) -> str:
        """What the units of sizes are, for the axis of a figure."""
        return f"{_LEVELS}ths of the input range" if self.image else f"{_PARTS}ths of a standard deviation"


def perturbed(subject: Subject, x: Tensor) -> Perturbed:
    """Choose the unit in which inputs are perturbed, by their shape.

    Samples of one or three channels, height and width are images, and one unit is 1/255 of the input range. In all
    others a range that holds for every feature means nothing: the unit is 1/80 of each feature's standard deviation
    over the subject's data.

    Args:
        subject: A classifier.
        x: Some of its inputs, with any mean subtracted.

    Raises:
        SkipProbe: It is no classifier, or no feature varies.
    """
    model, raw = RawClassifier(subject), subject.raw(x)
    low, high = subject.input_range
    if is_image(tuple(x.shape[1:])):
        return Perturbed(model, raw, (high - low) / _LEVELS, (low, high), True, model.kind)
    centre, spread = feature_spread(subject)
    scaled = Rescaled(model, centre, spread, subject.input_range)
    coordinates = torch.where(spread > 0, (raw - centre) / spread.clamp_min(torch.finfo(raw.dtype).tiny), 0.0)
    constant = int((spread == 0).sum())
    if constant == spread.numel():
        raise SkipProbe("no feature varies over the data, which leaves no unit to measure perturbations in")
    unbounded = (-math.inf, math.inf)
    return Perturbed(scaled, coordinates.to(raw), 1 / _PARTS, unbounded, False, model.kind, constant)


def feature_spread(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature over all data of a subject, before any mean is subtracted."""
    parts = [subject.raw(pairs[0]) for pairs in (subject.train, subject.test) if pairs is not None]
    x = torch.cat(parts)
    constant = (x == x[0]).all(0)
    wide = x.double()
    spread = wide.std(0, correction=0).to(x.dtype).masked_fill(constant, 0.0)
    return torch.where(constant, x[0], wide.mean(0).to(x.dtype)), spread


class Rescaled(nn.Module):
    """Give a network its features, from features in standard deviations.

    Args:
        model: The network.
        centre: Mean of each feature.
        spread: Standard deviation of each feature; 0 holds a feature at its mean.
        input_range: Lowest and highest value; features are held within, but for rounding.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self, model: nn.Module, centre: Tensor, spread: Tensor, input_range: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.training = False  # not eval(), which would change the modes of the user's modules
        self.model = model
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        low, high = input_range or (-math.inf, math.inf)
        # A value at an end of the range must keep its gradient when it is rounded beyond.
        room = max(_ROUNDING * (high - low), 4 * torch.finfo(centre.dtype).eps * max(abs(low), abs(high)))
        self.bounds = (low - room, high + room) if input_range else None

    def forward(self, z: Tensor) -> Tensor:
        """Return the network's outputs."""
        x = self.centre + self.spread * z
        return self.model(x if self.bounds is None else x.clamp(*self.bounds))


def unit_caveats(subject: Subject, at: Perturbed, size: float) -> Iterator[str]:
    """Yield what a size means in the subject's own units.

    Args:
        subject: The subject.
        at: Its samples as they are perturbed.
        size: In units.
    """
    if at.image:
        yield from _range_caveats(subject, at, size)
        return
    yield (
        f"Inputs of shape {tuple(at.x.shape[1:])} are taken for features, not for an image, which has one or three "
        "channels, height and width: sizes are in standard deviations of each feature over the subject's data."
    )
    if at.constant:
        yield f"{at.constant} feature{'s' if at.constant > 1 else ''} that do not vary there are never changed."


def _range_caveats(subject: Subject, at: Perturbed, size: float) -> Iterator[str]:
    low, high = subject.input_range
    step, name = size * at.unit, at.name(size)
    if (low, high) != (0.0, 1.0):
        yield f"{name} of the input range [{low:g}, {high:g}] is {step:.2g} in the units of the inputs."
    seen = (at.x.max() - at.x.min()).item()
    if 2 * seen < high - low:
        yield (
            f"The inputs span only [{at.x.min().item():.2g}, {at.x.max().item():.2g}] of the stated range [{low:g}, "
            f"{high:g}], so that {name} of the range is {step / seen if seen else float('inf'):.0%} of what they span; "
            "state the range that holds."
        )
