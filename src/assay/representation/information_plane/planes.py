"""Information plane: what layers tell of the input and of the label in the course of training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_outputs,
    check_samples,
    copy_network,
    find_layer,
    layer_outputs,
    track,
    unwrapped,
    unwrapped_state,
)
from assay.representation.information_plane.binning import activation_lower_bound
from assay.representation.information_plane.discrete import LayerInformation, adaptive_information

if TYPE_CHECKING:
    from matplotlib.axes import Axes

InformationEstimator = Callable[[Tensor, Tensor], LayerInformation]
"""A function of activations and labels, such as `kde_information`."""


@dataclass(frozen=True, eq=False)
class InformationPlane:
    """Information of layers about input and label, by epoch.

    Attributes:
        layers: Names of the layers.
        epochs: Epochs of the checkpoints, in increasing order.
        input_bits: I(T; X) in bits, one row a layer.
        label_bits: I(T; Y) in bits, one row a layer.
    """

    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    input_bits: Float[Tensor, "k t"]
    label_bits: Float[Tensor, "k t"]

    @property
    def compression(self) -> Float[Tensor, " k"]:
        """The largest I(T; X) of each layer over the epochs less that at the last epoch, in bits.

        It is at least 0, and noise raises it: compare runs at the same epochs only.
        """
        return self.input_bits.amax(1) - self.input_bits[:, -1]

    def __str__(self) -> str:
        parts = [
            f"{name} {bits[-1]:.2f} bits of the input and {label[-1]:.2f} of the label, {lost:.2f} below its maximum"
            for name, bits, label, lost in zip(
                self.layers, self.input_bits, self.label_bits, self.compression, strict=True
            )
        ]
        return f"At epoch {self.epochs[-1]} layers have: " + "; ".join(parts) + "."

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw I(T; Y) against I(T; X), a path a layer that ends in a dot, and return the axes."""
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        for name, inputs, labels in zip(self.layers, self.input_bits.cpu(), self.label_bits.cpu(), strict=True):
            (line,) = ax.plot(inputs, labels, "-", marker=".", markersize=4, linewidth=0.9, label=name)
            ax.plot(inputs[-1:], labels[-1:], "o", color=line.get_color())
        ax.set(xlabel="I(T; X), bits", ylabel="I(T; Y), bits")
        ax.legend(title="layer")
        return ax


def trace_information(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    layers: Sequence[str],
    checkpoints: Mapping[int, Mapping[str, Tensor]],
    *,
    estimator: InformationEstimator | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> InformationPlane:
    """Compute the information plane of a network from the weights that it had in the course of training.

    Every layer is measured anew at every epoch. How many activations are equal depends on their type: float32 makes
    saturated ones equal sooner, so give `model.double()` and inputs in float64 where that matters.

    Args:
        model: Network; it comes back as it was.
        x: All inputs that X is uniform over, such as the whole domain or a sample of it.
        y: Labels: whole numbers or booleans, one a sample.
        layers: Names of `named_modules`, such as those of the activation functions; `core.layer_names` lists them.
        checkpoints: State dicts by epoch.
        estimator: Function of activations and labels. By default `adaptive_information` with 30 bins, and a bin for the
            lower bound of the activation function where the layer is one of torch's.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Returns:
        The information of each layer at each epoch.

    Raises:
        InvalidInputError: The model, the data, a layer or a state dict is unusable, or there is no checkpoint.

    Cost: for each checkpoint n forward passes and one estimate a layer; memory O(n h), for h units in all layers.

    Source: Chelombiev, Houghton and O'Donnell, "Adaptive Estimators Show Information Compression in Deep Neural
    Networks" (2019), abstract and the figures of information planes.

    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> x, y = torch.arange(4.0)[:, None], torch.tensor([0, 0, 1, 1])
    >>> trace_information(model, x, y, ["1"], {0: model.state_dict()}).compression.tolist()
    [0.0]
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    if isinstance(layers, str) or not layers or not checkpoints:
        raise InvalidInputError(
            f"layers must be a list of names, and checkpoints state dicts by epoch, got {layers!r} and "
            f"{len(checkpoints)} checkpoints"
        )
    network = copy_network(unwrapped(model))
    lower = {name: activation_lower_bound(find_layer(network, name)) for name in layers}
    found: list[list[LayerInformation]] = []
    epochs = sorted(checkpoints)
    for epoch in track(epochs, "tracing information", enabled=progress):
        load(network, checkpoints[epoch], epoch)
        outputs = layer_outputs(network, x, list(layers), batch_size=batch_size)
        found.append(
            [
                adaptive_information(outputs[name], y, lower=lower[name])
                if estimator is None
                else estimator(outputs[name], y)
                for name in layers
            ]
        )
    figures = [[(layer.input_bits, layer.label_bits) for layer in row] for row in found]
    bits = torch.tensor(figures, dtype=x.dtype if x.is_floating_point() else torch.float64, device=x.device)
    return InformationPlane(tuple(layers), tuple(epochs), bits[:, :, 0].T.clone(), bits[:, :, 1].T.clone())


def load(network: nn.Module, state: Mapping[str, Tensor], epoch: int) -> None:
    """Write a state dict into a network.

    Raises:
        InvalidInputError: It does not fit.
    """
    try:
        network.load_state_dict(unwrapped_state(state, list(network.state_dict())))
    except RuntimeError as error:
        raise InvalidInputError(
            f"the checkpoint of epoch {epoch} does not fit the network ({str(error).splitlines()[0]}); pass "
            "model.state_dict() of the same network"
        ) from error
