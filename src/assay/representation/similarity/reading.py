"""Representations of a network's layers, a few layers at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_finite, find_layer, layer_outputs
from assay.representation.matching import unit_rows

BYTES = 2**30


@dataclass(frozen=True)
class Reader:
    """Layers of a network to read.

    Attributes:
        model: The network.
        layers: Their names.
        pool: "flatten" or "mean", see `represent`.
        batch_size: Samples a forward pass.
    """

    model: nn.Module
    layers: tuple[str, ...]
    pool: str
    batch_size: int

    def __post_init__(self) -> None:
        if not self.layers:
            raise InvalidInputError("a network has no layer to compare; name modules that run once, in layers_a")


def represent(output: Float[Tensor, "n *h"], layer: nn.Module, pool: str) -> Float[Tensor, "n d"]:
    """Return a row a sample: all entries of a layer's output, or the mean of each unit over positions.

    >>> import torch
    >>> represent(torch.ones(2, 3, 4, 4), nn.ReLU(), "mean").shape
    torch.Size([2, 3])
    """
    if pool == "flatten" or output.ndim < 3:
        return output.flatten(1)
    return unit_rows(output, layer).unflatten(0, (len(output), -1)).mean(1)


def all_prepared(reader: Reader, x: Tensor, prepare: Callable[[Tensor], Any]) -> Iterator[Any]:
    """Yield what is prepared from each layer's representation, in the order of the layers.

    Outputs are held for as many layers at once as take 1 GiB.

    Raises:
        InvalidInputError: A layer cannot be read, or is constant on these samples.
        NumericalError: A layer's output is NaN or infinite.
    """
    probed = layer_outputs(reader.model, x[:2], reader.layers, batch_size=reader.batch_size)
    group: list[str] = []
    held = 0
    for place, name in enumerate(reader.layers):
        group.append(name)
        held += probed[name].nbytes * len(x) // 2
        following = reader.layers[place + 1 : place + 2]
        if following and held + probed[following[0]].nbytes * len(x) // 2 <= BYTES:
            continue
        outputs = layer_outputs(reader.model, x, group, batch_size=reader.batch_size)
        for each in group:
            rows = represent(outputs.pop(each), find_layer(reader.model, each), reader.pool)
            check_finite(rows, f"the output of layer {each!r}")
            try:
                yield prepare(rows)
            except InvalidInputError as error:
                raise InvalidInputError(f"layer {each!r}: {error}") from error
        group, held = [], 0
