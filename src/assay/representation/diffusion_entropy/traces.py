"""Diffusion entropy and information of a network's layers, and of one layer over training (Liao et al., 2023)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    as_generator,
    check_count,
    check_finite,
    check_pairs,
    copy_network,
    layer_names,
    layer_outputs,
    track,
    unwrapped,
    unwrapped_state,
)
from assay.representation.diffusion_entropy.entropy import diffusion_spectral_entropy
from assay.representation.diffusion_entropy.information import (
    cluster_reference,
    diffusion_spectral_mutual_information,
    group_labels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class RepresentationTrace:
    """Entropy and information of representations of the same samples, layer by layer or over training.

    Attributes:
        places: Names of the layers, or of the checkpoints.
        entropy: Diffusion spectral entropy, in bits.
        label_information: Diffusion spectral mutual information with the labels, in bits.
        input_information: The same with clusters of the inputs.
        median_distance: Of two samples' representations; at a fixed bandwidth entropy grows with it.
        sigma: Bandwidth, a number or "median".
        n_samples: Samples.
    """

    places: tuple[str, ...]
    entropy: Float[Tensor, " l"]
    label_information: Float[Tensor, " l"]
    input_information: Float[Tensor, " l"]
    median_distance: Float[Tensor, " l"]
    sigma: float | Literal["median"]
    n_samples: int

    def __str__(self) -> str:
        ends = (
            f"from {values[0]:.3g} to {values[-1]:.3g}"
            for values in (self.entropy, self.label_information, self.input_information, self.median_distance)
        )
        entropy, label, inputs, distance = ends
        return (
            f"From {self.places[0]} to {self.places[-1]}, the diffusion entropy of {self.n_samples} samples goes "
            f"{entropy} bits, the information on the label {label}, that on the input {inputs}; the median distance "
            f"goes {distance}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the three by layer or checkpoint, and return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        axes.plot(self.places, self.entropy.cpu(), "o-", color="0.5", label="entropy")
        axes.plot(self.places, self.label_information.cpu(), "s-", color="C0", label="information on the label")
        axes.plot(self.places, self.input_information.cpu(), "^-", color="C1", label="information on the input")
        axes.set_ylabel("bits")
        axes.tick_params(axis="x", rotation=30 if len(self.places) > 6 else 0)
        axes.legend()
        return axes


@torch.inference_mode(False)
def entropy_by_layer(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Shaped[Tensor, "n *e"],
    *,
    layers: Collection[str] | None = None,
    reference: Int64[Tensor, " n"] | None = None,
    sigma: float | Literal["median"] = "median",
    t: float = 1.0,
    n_clusters: int = 10,
    n_repeats: int = 5,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> RepresentationTrace:
    r"""Compute, for each layer, the diffusion entropy and what it holds of the label and of the input.

    The layers of a network differ in scale: the bandwidth is by default the median distance of each.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Labels, or numbers, see `diffusion_spectral_mutual_information`.
        layers: Names of layers; by default all that run once and give a row for each sample.
        reference: Clusters of the inputs; by default those of `cluster_reference`. Tokens need it.
        sigma: Bandwidth; "median" is the median distance in each layer.
        t: Power of the eigenvalues.
        n_clusters: Clusters of the inputs, and of targets that are not labels.
        n_repeats: Random subsets of each group.
        batch_size: Samples of a forward pass.
        generator: Source of the subsets; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        Entropy, both informations and the median distance of each layer.

    Raises:
        InvalidInputError: The model, the data or an option is unusable, a layer cannot be read, or most samples
            coincide in it.
        NumericalError: A layer gives NaN or infinite values.

    Cost: n forward passes, and for L layers of d entries time O(L (n² d + R n m² + n³)) with m samples a group;
    memory O(n (n + L d)).

    Source: Liao et al. (2023), arXiv 2312.04823, main text: entropy and information of hidden layers; the paper follows
    the penultimate one.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> trace = entropy_by_layer(model, torch.eye(4).repeat(10, 1), torch.arange(40) % 4, n_clusters=4)
    >>> trace.places
    ('0', '1', '2')
    """
    x, y = check_pairs(x, y, tokens=True)
    network = unwrapped(model)  # a compiled network runs no hooks
    names = list(layers) if layers is not None else layer_names(network, x)
    if not names:
        raise InvalidInputError("the network has no layer that runs once and gives a row for each sample; name some")
    outputs = layer_outputs(network, x, names, batch_size=batch_size)
    options = {"sigma": sigma, "t": t, "n_repeats": n_repeats, "progress": progress}
    return _trace(outputs, x, y, reference, n_clusters, as_generator(generator), **options)


@torch.inference_mode(False)
def representation_trajectory(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Shaped[Tensor, "n *e"],
    *,
    layer: str,
    checkpoints: Sequence[Mapping[str, Tensor]] | Mapping[str, Mapping[str, Tensor]],
    reference: Int64[Tensor, " n"] | None = None,
    sigma: float | Literal["median"] = 10.0,
    t: float = 1.0,
    n_clusters: int = 10,
    n_repeats: int = 5,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> RepresentationTrace:
    r"""Compute the diffusion entropy and information of one layer at each of a network's checkpoints.

    At a fixed bandwidth entropy grows with the norm of the activations: look at the median distance beside it, or take
    `sigma="median"`.

    Args:
        model: Network of the checkpoints; it comes back as it was.
        x: Inputs, the same for all checkpoints; integers for a network that reads tokens.
        y: Labels, or numbers, see `diffusion_spectral_mutual_information`.
        layer: Name of the layer, such as the last but one.
        checkpoints: State dicts, in order, or by name.
        reference: Clusters of the inputs; by default those of `cluster_reference`, found once. Tokens need it.
        sigma: Bandwidth; "median" is the median distance at each checkpoint.
        t: Power of the eigenvalues.
        n_clusters: Clusters of the inputs, and of targets that are not labels.
        n_repeats: Random subsets of each group.
        batch_size: Samples of a forward pass.
        generator: Source of the subsets; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        Entropy, both informations and the median distance at each checkpoint.

    Raises:
        InvalidInputError: The model, the data, a checkpoint or an option is unusable, or the layer cannot be read.
        NumericalError: The layer gives NaN or infinite values.

    Cost: as `entropy_by_layer`, with checkpoints in place of layers.

    Source: Liao et al. (2023), arXiv 2312.04823, figures of entropy and information over epochs.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> x, y = torch.eye(4).repeat(10, 1), torch.arange(40) % 4
    >>> states = [model.state_dict(), model.state_dict()]
    >>> representation_trajectory(model, x, y, layer="1", checkpoints=states, n_clusters=4).places
    ('0', '1')
    """
    x, y = check_pairs(x, y, tokens=True)
    states = checkpoints if isinstance(checkpoints, Mapping) else {str(i): s for i, s in enumerate(checkpoints)}
    if not states:
        raise InvalidInputError("there is no checkpoint; pass state dicts")
    own = unwrapped(copy_network(model))
    outputs = {}
    for name, state in states.items():
        try:
            own.load_state_dict(unwrapped_state(state, own.state_dict().keys()))
        except RuntimeError as error:
            raise InvalidInputError(f"checkpoint {name!r} does not fit the network: {error}") from error
        outputs[name] = layer_outputs(own, x, [layer], batch_size=batch_size)[layer]
    options = {"sigma": sigma, "t": t, "n_repeats": n_repeats, "progress": progress}
    return _trace(outputs, x, y, reference, n_clusters, as_generator(generator), **options)


def _trace(
    outputs: Mapping[str, Tensor],
    x: Shaped[Tensor, "n *d"],
    y: Shaped[Tensor, "n *e"],
    reference: Int64[Tensor, " n"] | None,
    n_clusters: int,
    generator: torch.Generator,
    *,
    sigma: float | Literal["median"],
    t: float,
    n_repeats: int,
    progress: bool,
) -> RepresentationTrace:
    """Measure each representation; clusters are found once, and all are compared by the same subsets."""
    check_count(n_repeats, "n_repeats", at_least=2)
    labels = group_labels(y, n_clusters, generator)
    if reference is None:
        if not x.is_floating_point():
            raise InvalidInputError("tokens have no distance to cluster by; pass reference=, one group for each sample")
        reference = cluster_reference(x, n_clusters, generator=generator)
    elif reference.shape != (len(x),):
        raise InvalidInputError(
            f"reference must hold one cluster for each of {len(x)} samples, got {tuple(reference.shape)}"
        )
    found: list[tuple[float, ...]] = []
    start = generator.get_state()
    for name, rows in track(outputs.items(), "diffusion entropy", enabled=progress):
        check_finite(rows, f"the output of {name!r}")
        generator.set_state(start)
        options = {"sigma": sigma, "t": t, "generator": generator}
        try:
            whole = diffusion_spectral_entropy(rows, **options)
        except InvalidInputError as error:
            raise InvalidInputError(f"{name!r}: {error}") from error
        about = [
            diffusion_spectral_mutual_information(rows, groups, n_repeats=n_repeats, **options).value
            for groups in (labels, reference)
        ]
        found.append((whole.value, *about, whole.median_distance))
    dtype = torch.promote_types(next(iter(outputs.values())).dtype, torch.float32)
    columns = torch.tensor(found, dtype=dtype, device=x.device).T
    return RepresentationTrace(tuple(outputs), *columns, sigma=sigma, n_samples=len(x))
