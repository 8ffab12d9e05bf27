"""Input of the reconstruction attack: the dense part of a network, and the coordinates of its candidates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.audit.probe import SkipProbe
from assay.audit.subject import Subject
from assay.core import (
    InvalidInputError,
    LossFunction,
    binary_cross_entropy,
    cross_entropy,
    loss_kind,
    preserved,
    seeded,
)
from assay.reconstruction.kkt import Objective, default_objective, dense_head, first_layer, first_layer_inputs

_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Reading:
    """The network that is attacked, and the map from samples to the coordinates of candidates.

    Attributes:
        model: The network that is attacked: the subject's, or its dense head.
        kind: "samples" where candidates are inputs of the subject, "features" where they are inputs of its first
            dense layer.
        shape: Shape of one candidate.
        samples: Maps inputs of the subject to the candidates' coordinates, with the mean added back.
        mean: The mean that the network subtracts from samples; None for features.
        scale: The scale that the network divides samples by; candidates times the scale are samples less the mean.
    """

    model: nn.Module
    kind: str
    shape: tuple[int, ...] | None
    samples: Callable[[Tensor], Tensor]
    mean: Tensor | None
    scale: Tensor | None

    def unscaled(self, candidates: Tensor) -> Tensor:
        """Return candidates, or rows of that many entries, at the scale of the samples."""
        return candidates if self.scale is None else candidates * self.scale.reshape(candidates.shape[1:])


def of_each_step(rows: Tensor, size: int) -> Tensor:
    """Return rows for samples of several steps, of which the first layer reads each alone: a block of rows a step.

    >>> of_each_step(torch.ones(1, 2), 4).tolist()
    [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    return torch.block_diag(*[rows] * (size // rows.shape[1]))


def read(subject: Subject) -> Reading:
    """Find the dense part of a subject's network and the coordinates of its inputs.

    Raises:
        SkipProbe: The network has no dense part that the attack covers.
    """
    shape, model = subject.sample_shape, subject.model
    if shape is None:
        raise SkipProbe("it needs the shape of an input: give data, or input_shape")
    like = next(model.parameters())
    try:
        if isinstance(first_layer(model)[1], nn.Linear):
            return _whole_network(subject, shape, like)
        trial = torch.rand(4, *shape, generator=seeded(0)).to(like)
        head = dense_head(model, trial)[0]
    except InvalidInputError as error:
        raise SkipProbe(str(error)) from error
    return Reading(head, "features", None, lambda x: dense_head(model, x)[1], None, None)


def _whole_network(subject: Subject, shape: tuple[int, ...], like: Tensor) -> Reading:
    """Attack a dense network in its inputs where it only shifts and scales their entries, else in features."""
    model = subject.model

    def entry(x: Tensor) -> Tensor:
        return first_layer_inputs(model, x).reshape(len(x), -1)

    zero, one = entry(like.new_zeros(1, *shape)), entry(like.new_ones(1, *shape))
    trial = torch.rand(4, *shape, generator=seeded(0)).to(like)
    slope, seen = one - zero, entry(trial)
    size = torch.Size(shape).numel()
    if seen.shape[1] != size or bool((slope == 0).any()):
        return Reading(model, "features", None, entry, None, None)
    expected = zero + slope * trial.flatten(1)
    if (seen - expected).abs().max() > _ROUNDING * seen.abs().max():
        return Reading(model, "features", None, entry, None, None)
    inside = (-zero / slope).reshape(shape)
    mean = inside if subject.mean is None else inside + subject.mean.to(like).reshape(shape)
    scale = None if bool((slope == 1).all()) else 1 / slope
    return Reading(model, "samples", shape, subject.raw, mean, scale)


def objective(subject: Subject) -> Objective:
    """Return the kind of objective that the network was trained by, from its loss and its number of outputs."""
    n_outputs = _n_outputs(subject)
    kind = loss_kind(subject.loss) or _kind_by_values(subject, n_outputs)
    fitting = "cross_entropy" if n_outputs > 1 else "binary_cross_entropy"
    return default_objective(n_outputs) if kind == fitting else "regression"


def _kind_by_values(subject: Subject, n_outputs: int) -> str | None:
    """Tell whether a function of the user's own is a cross-entropy, by its values on random scores."""
    like = next(subject.model.parameters())
    scores = torch.randn(8, n_outputs, generator=seeded(0)).to(like)
    y = torch.arange(8, device=like.device) % max(n_outputs, 2)
    kind, known = ("cross_entropy", cross_entropy) if n_outputs > 1 else ("binary_cross_entropy", binary_cross_entropy)
    forms = (y,) if n_outputs > 1 else (y, y.to(like), y.to(like)[:, None])
    return kind if any(_gives(subject.loss, scores, form, known(scores, y)) for form in forms) else None


def _gives(loss: LossFunction, scores: Tensor, y: Tensor, expected: Tensor) -> bool:
    try:
        return bool(torch.isclose(loss(scores, y), expected, rtol=1e-3))
    except Exception:  # what another loss says of such targets
        return False


def _n_outputs(subject: Subject) -> int:
    like = next(subject.model.parameters())
    with preserved(subject.model), torch.no_grad():
        return subject.model(like.new_zeros(2, *(subject.sample_shape or ()))).reshape(2, -1).shape[1]
