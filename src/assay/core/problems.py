"""Problems of a network, each with its place and its remedy."""

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import Literal

import torch
from torch import Tensor, nn

from assay.core.parameters import first_line

Kind = Literal[
    "weights",
    "dropout",
    "batch-norm",
    "in-place",
    "reused",
    "tied",
    "type",
    "range",
    "input",
    "output",
    "noise",
    "state",
    "batch-statistics",
    "sequence-first",
    "mixes-samples",
    "writes-input",
]

_BATCH_FIRST = "build it with batch_first=True, or transpose the first two axes before and after it"


@dataclass(frozen=True)
class Problem:
    """A problem of a model or its data that makes measurements invalid.

    Attributes:
        kind: The check that found it.
        where: The module, parameter or tensor.
        what: The problem.
        mend: Its remedy.
    """

    kind: Kind
    where: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.mend}"


def unusable_weights(model: nn.Module) -> Iterator[Problem]:
    """Name each weight or layer that holds no finite floating-point values; the gravest kind first.

    Integer weights beside floating-point ones count as usable.
    """
    parameters = dict(model.named_parameters())
    values = parameters | dict(model.named_buffers())
    lazy = [name for name, value in values.items() if nn.parameter.is_lazy(value)]
    parameters, values = ({name: held[name] for name in held if name not in lazy} for held in (parameters, values))
    floating = any(value.is_floating_point() for value in parameters.values())
    tests = (
        (
            [name for name, value in values.items() if value.is_meta],
            "on the meta device, which holds no values",
            "load the weights, or build the network on a real device",
        ),
        (lazy, "not initialised", "pass one batch through the network, and train it"),
        (
            [name or "model" for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)],
            "compiled by TorchScript, which takes no hooks",
            "pass the nn.Module that was scripted or traced",
        ),
        (
            [name for name, module in model.named_modules() if _is_quantised(module)],
            "quantised",
            "pass the network with floating-point weights, as it was before quantisation",
        ),
        (
            [name for name, value in parameters.items() if not (floating or value.is_complex())],
            "integers",
            "pass the network with floating-point weights, as it was before quantisation",
        ),
        (
            [name for name, value in parameters.items() if value.is_complex()],
            "complex",
            "keep their real and imaginary parts as real parameters, by torch.view_as_real",
        ),
        (
            [name for name, value in values.items() if value.is_inference()],
            "made inside torch.inference_mode, where autograd cannot follow",
            "pass copy.deepcopy(model), made outside that block",
        ),
        (
            [name for name, value in parameters.items() if _is_broken(value)],
            "NaN or infinite",
            "training diverged or the file is damaged: load a healthy checkpoint",
        ),
    )
    for names, what, mend in tests:
        yield from (Problem("weights", name, what, mend) for name in names)


def _is_broken(value: Tensor) -> bool:
    has_values = not value.is_meta and (value.is_floating_point() or value.is_complex())
    return has_values and not bool(torch.isfinite(value.detach()).all())


def _is_quantised(module: nn.Module) -> bool:
    place = type(module).__module__
    return place.startswith("torch.ao.nn.") and "quantized" in place and "Packed" not in type(module).__name__


def not_accepted(model: nn.Module, sample: Tensor, error: Exception) -> Problem:
    """Name why a network does not accept a sample: its type, its device, or what the network raised."""
    what = f"does not accept a sample of shape {tuple(sample.shape)} and dtype {sample.dtype}"
    weights = [value for value in model.parameters() if value.is_floating_point()]
    types = sorted({str(value.dtype) for value in weights})
    devices = sorted({str(value.device) for value in weights})
    if sample.is_floating_point() and types and str(sample.dtype) not in types:
        mend = f"convert the inputs with x.to({types[0]}), or the weights with model.to({sample.dtype})"
        return Problem("type", "model", f"{what}, for its weights are {' and '.join(types)}", mend)
    if devices and str(sample.device) not in devices:
        what = f"{what} on {sample.device}, for its weights are on {' and '.join(devices)}"
        return Problem("type", "model", what, f"move the inputs with x.to({devices[0]!r})")
    return Problem("input", "model", f"{what} ({reason(error)})", _input_mend(model, sample, error))


def _input_mend(model: nn.Module, sample: Tensor, error: Exception) -> str:
    if isinstance(error, NotImplementedError) and "forward" in str(error):
        return "pass a network with a forward method"
    if isinstance(error, TypeError) and "missing" in str(error):
        return "wrap it in a module whose forward takes the inputs alone"
    mend = "reshape the data to what the first layer expects"
    if any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in model.modules()):
        return mend if sample.dtype == torch.int64 else f"{mend}, or convert token indices with x.long()"
    return mend if sample.is_floating_point() else f"{mend}, or convert it with x.float()"


def reason(error: Exception) -> str:
    """Return the first line of an error, shortened."""
    return shorten(first_line(error), 200, placeholder=" ...")


def rows_or_problem(model: nn.Module, outputs: object, n: int) -> Tensor | Problem:
    """Return outputs that are one real tensor with a row for each of n samples, or name what keeps them from it."""
    if not isinstance(outputs, Tensor):
        return Problem("output", "model", *container(outputs, n))
    if not outputs.is_floating_point():
        what = f"returns values of type {outputs.dtype} in place of real scores"
        mend = "leave out argmax and thresholds, and take the real part or the modulus of complex values"
        return Problem("output", "model", what, mend)
    if outputs.ndim and len(outputs) == n:
        return outputs
    what = f"returns shape {tuple(outputs.shape)} for {n} samples in place of one row for each"
    name = sequence_first(model)
    if name is not None:
        return Problem("sequence-first", name, f"{what}, with time on the first axis of {name}", _BATCH_FIRST)
    return Problem("output", "model", what, "return scores of shape (n, c), before any mean or loss over the batch")


def container(outputs: object, n: int) -> tuple[str, str]:
    """Describe outputs that are no tensor, and how to reach the tensor in them."""
    places = output_parts(outputs)
    kind = type(outputs).__name__
    rows = list(rows_among(outputs, n))
    if not rows:
        what = f"returns a {kind} in place of one tensor with a row of scores for each sample"
        return what, "wrap it in a module whose forward returns that tensor"
    held = ", ".join(place.strip("[].") for place in places)
    chosen = next((place for place in rows if "logits" in place), rows[0])
    mend = f"wrap it in a module whose forward returns self.model(x){chosen}"
    return f"returns a {kind} (of {held}) in place of one tensor", mend


def rows_among(outputs: object, n: int) -> dict[str, Tensor]:
    """Return the floating-point tensors in a container with a row for each of n samples, by their places.

    >>> list(rows_among({"scores": torch.zeros(2, 3), "loss": torch.tensor(1.0)}, 2))
    ["['scores']"]
    """
    parts = output_parts(outputs).items()
    tensors = {place: value for place, value in parts if isinstance(value, Tensor)}
    return {
        place: value for place, value in tensors.items() if value.is_floating_point() and value.ndim and len(value) == n
    }


def output_parts(outputs: object) -> dict[str, object]:
    """Return what a dict, a tuple, a list or a structure with fields holds, by the expression that reaches it.

    >>> output_parts({"logits": 1}), output_parts((1, 2))
    ({"['logits']": 1}, {'[0]': 1, '[1]': 2})
    """
    if isinstance(outputs, dict):
        return {f"[{key!r}]": value for key, value in outputs.items()}
    fields = getattr(outputs, "_fields", None)  # of a named tuple
    if fields is not None:
        return {f".{name}": getattr(outputs, name) for name in fields}
    if isinstance(outputs, (tuple, list)):
        return {f"[{place}]": value for place, value in enumerate(outputs)}
    return {f".{name}": value for name, value in getattr(outputs, "__dict__", {}).items() if name.isidentifier()}


def unsteady(draws: list[tuple[str, str]]) -> Problem:
    """Name why two calls disagree, from the functions that drew random numbers and the modules they were called in."""
    what = "gives another answer to the same samples at a second call"
    if not draws:
        mend = "keep no counter or cache between calls of forward, and draw no random numbers in it"
        return Problem("state", "model", what, mend)
    function, where = draws[0]
    if "dropout" in function:
        mend = "pass training=self.training to F.dropout, and leave nn.Dropout in evaluation mode"
        return Problem("noise", where, f"{what}, with dropout on in evaluation mode ({function} in {where})", mend)
    if function == "scaled_dot_product_attention":
        mend = "pass dropout_p=0.0 unless self.training"
        return Problem("noise", where, f"{what}, with dropout on in evaluation mode ({function} in {where})", mend)
    what = f"{what}, with random numbers drawn in evaluation mode ({function} in {where})"
    return Problem("noise", where, what, "draw them only if self.training, or keep fixed ones in a buffer")


def mixing(model: nn.Module, batch_statistics: list[str]) -> Problem:
    """Name why a row depends on the others, from the modules that took statistics of the batch."""
    what = "mixes samples, so that the answer to one depends on the others in its batch"
    if batch_statistics:
        where = batch_statistics[0]
        what = f"{what}, by batch-norm with the batch's own statistics in evaluation mode (in {where})"
        mend = "train it with track_running_stats=True and leave it in evaluation mode, or use GroupNorm"
        return Problem("batch-statistics", where, what, mend)
    name = sequence_first(model)
    if name is not None:
        return Problem("sequence-first", name, f"{what}, with time on the first axis of {name}", _BATCH_FIRST)
    mend = "take no mean, sorting, softmax, attention or limit of places over the first axis in evaluation mode"
    return Problem("mixes-samples", "model", what, mend)


def sequence_first(model: nn.Module) -> str | None:
    """Return the first recurrent or attention module that takes the first axis as time."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and not module.batch_first:
            return name or "model"
    return None
