"""Published networks with weights from local files: nothing is downloaded."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from assay.core import InvalidInputError, MissingDataError
from assay.nets.conv import small_conv
from assay.nets.resnet import CifarResNet, Normalize


@dataclass(frozen=True)
class _Published:
    """A file of weights, its origin, and the network that it fits."""

    file: str
    source: str
    build: Callable[[], nn.Module]
    prefix: str = ""
    """Prefix of every parameter's name in the file."""
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def _resnet(depth: int, digest: str) -> _Published:
    return _Published(
        file=f"cifar10_resnet{depth}-{digest}.th",
        source="github.com/akamaster/pytorch_resnet_cifar10 (BSD-2-Clause)",
        build=partial(CifarResNet, depth),
        prefix="module.",
        normalize=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    )


def _provable(dataset: str) -> _Published:
    return _Published(
        file=f"{dataset}_provable_linf0.1.pth",
        source="github.com/locuslab/convex_adversarial (MIT)",
        build=partial(small_conv, (1, 28, 28), 10),
    )


_NETWORKS = {
    "cifar10-resnet20": _resnet(20, "12fca82f"),
    "cifar10-resnet32": _resnet(32, "d509ac18"),
    "cifar10-resnet44": _resnet(44, "014dd654"),
    "cifar10-resnet56": _resnet(56, "4bfd9763"),
    "fashion-mnist-provable": _provable("fashion_mnist"),
    "mnist-provable": _provable("mnist"),
}


def pretrained_names() -> tuple[str, ...]:
    """List the networks that `load_pretrained` knows.

    >>> pretrained_names()[:2]
    ('cifar10-resnet20', 'cifar10-resnet32')
    """
    return tuple(sorted(_NETWORKS))


def load_pretrained(name: str, root: str | Path | None = None) -> nn.Module:
    """Load a published network by name, for images in `[0, 1]`: any normalisation is inside the model.

    `cifar10-resnet20`, `-32`, `-44` and `-56` are standard residual networks for CIFAR-10 (about 92 to 93% accurate,
    not robust). `mnist-provable` and `fashion-mnist-provable` are small convolution networks that Wong and Kolter
    (2018) trained for provable robustness at 0.1 in the infinity norm.

    Args:
        name: One of `pretrained_names()`.
        root: Folder whose `weights` folder holds the file; the environment variable `ASSAY_DATA` when None.

    Returns:
        The network, in evaluation mode.

    Raises:
        InvalidInputError: The name is unknown, or the file is damaged or holds another network.
        MissingDataError: The file is not there; the message names its place and its origin.

    Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016), section 4.2; Wong and Kolter,
    "Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope" (2018), section on
    experiments.

    >>> try:
    ...     load_pretrained("cifar10-resnet20", root="nowhere")
    ... except MissingDataError:
    ...     print("put the file into nowhere/weights")
    put the file into nowhere/weights
    """
    if name not in _NETWORKS:
        raise InvalidInputError(f"there is no network {name!r}; choose one of: {', '.join(pretrained_names())}")
    published = _NETWORKS[name]
    folder = root if root is not None else os.environ.get("ASSAY_DATA")
    if not folder:
        raise MissingDataError(
            f"the weights of {name} are read from a file, and no folder was given; pass root= or set the environment "
            f"variable ASSAY_DATA to the folder that holds weights/{published.file}"
        )
    path = Path(folder) / "weights" / published.file
    if not path.is_file():
        raise MissingDataError(f"the weights of {name} were not found: looked for {path}; from {published.source}")
    model = published.build()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state = stored.get("state_dict", stored)
        model.load_state_dict({key.removeprefix(published.prefix): value for key, value in state.items()})
    except Exception as error:  # a damaged file fails in many ways: EOFError, RuntimeError, UnpicklingError, ...
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInputError(f"{path} does not hold the weights of {name} ({reason}); restore the file") from error
    return (nn.Sequential(Normalize(*published.normalize), model) if published.normalize else model).eval()
