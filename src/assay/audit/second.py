"""Second network of a subject, in the form of the first."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from assay.audit import foreign
from assay.core import InvalidInputError, predict

if TYPE_CHECKING:
    from assay.audit.subject import Subject

_COMPARED = 200  # samples that it is tried on


def second_network(subject: "Subject", samples: Tensor | None, outputs: foreign.Selector | None) -> nn.Module:
    """Return the second network in the form of the first: unwrapped, with its scores alone as outputs.

    Args:
        subject: The subject, its own network and data already in their final form.
        samples: A few inputs.
        outputs: Which of several outputs holds the scores.

    Raises:
        InvalidInputError: It cannot be audited, or its outputs have another shape than the first one's.
    """
    second = subject.second_model
    if foreign.is_estimator(second):
        second = foreign.Estimator(second).network
    data = subject.train or subject.test
    few = None if data is None else (data[0][:_COMPARED], data[1][:_COMPARED])
    options = {"input_range": subject.input_range, "mean": subject.mean, "input_shape": subject.input_shape}
    network = type(subject)(second, subject.loss, few, outputs=outputs, name="second_model", **options).model
    if samples is not None:
        first, other = (tuple(predict(model, samples).shape[1:]) for model in (subject.model, network))
        if first != other:
            raise InvalidInputError(f"it has outputs of shape {other}, the model of {first}; give two of the same task")
    return network
