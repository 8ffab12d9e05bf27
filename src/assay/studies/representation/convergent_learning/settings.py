"""Settings of the study of convergent learning."""

from dataclasses import dataclass

from assay.lab import Looks
from assay.nets import Recipe

DENSE = Recipe(hidden=(32, 32), epochs=60, lr=3e-3, batch_size=64, schedule=None)
WIDE = Recipe(hidden=64, epochs=60, lr=3e-3, batch_size=64, schedule=None)
CONV = Recipe(channels=(32, 32, 64), hidden=64, epochs=4, batch_size=64)


@dataclass(frozen=True)
class Settings:
    """Networks, data and penalties.

    Attributes:
        seeds: Pairs of networks; each pair has seeds of its own for weights and order of the data.
        dense: Perceptron with two hidden layers, trained on the digits.
        wide: Perceptron whose hidden layer is clustered.
        conv: Convolution network, trained on Fashion-MNIST.
        conv_samples: Training images of the convolution network.
        held_out: Test images on which activations are compared.
        penalties: Weights of the L1 norm in sparse prediction.
        clusters: Clusters of the units of two wide networks.
    """

    seeds: int | Looks
    dense: Recipe = DENSE
    wide: Recipe = WIDE
    conv: Recipe = CONV
    conv_samples: int = 12_000
    held_out: int = 1000
    penalties: tuple[float, ...] = (0.0, 1e-3, 1e-2, 1e-1)
    clusters: int = 12
