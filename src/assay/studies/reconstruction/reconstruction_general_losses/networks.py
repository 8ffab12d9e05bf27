"""Kinds of networks by name: their data, architecture and training."""

from dataclasses import replace

from assay.studies.reconstruction.reconstruction_general_losses.settings import Settings
from assay.studies.reconstruction.shared.victims import Victim

NEAR_ZERO = "no weight decay, first layer from near zero"
SQUARED_ERROR = "regression with squared error"
HUBER_LOSS = "regression with Huber loss"


def each_of_ten(each: int) -> str:
    """Name a network of C1 by its images of each class."""
    return f"networks of ten classes, {each} images each"


def decayed(decay: float) -> str:
    """Name a network of C4."""
    return f"weight decay {decay:g}"


def wide(width: int) -> str:
    """Name a network of C5 of some width."""
    return f"{width} hidden units"


def sized(n: int) -> str:
    """Name a network of C5 of some number of images."""
    return f"{n} images"


def ten_classes(settings: Settings) -> dict[str, Victim]:
    """Return the networks of C1."""
    one = Victim(settings.source, 0, (settings.ten_width,), settings.ten_steps, classes=10)
    return {each_of_ten(each): replace(one, n=10 * each) for each in settings.ten_each}


def convolutions(settings: Settings) -> dict[str, Victim]:
    """Return the networks of C2."""
    victim = Victim(
        settings.convolution_source,
        settings.convolution_n,
        (settings.convolution_hidden,),
        settings.convolution_steps,
        weight_decay=settings.convolution_decay,
        channels=settings.channels,
    )
    return {
        "convolutional networks of ten classes": replace(victim, classes=10),
        "convolutional networks of two classes": victim,
    }


def regressions(settings: Settings) -> dict[str, Victim]:
    """Return the networks of C3, without labels; the rates are near the largest at which training is stable."""
    one = Victim(settings.source, settings.regression_n, (settings.regression_width,), settings.regression_steps)
    one = replace(one, weight_decay=settings.regression_decay)
    return {
        SQUARED_ERROR: replace(one, loss="squared", learning_rate=0.02),
        HUBER_LOSS: replace(one, loss="huber", learning_rate=0.04),
    }


def trends(settings: Settings) -> dict[str, Victim]:
    """Return the networks of C4 and C5; some of them are one by several names."""
    one = Victim(settings.source, settings.n, settings.widths[-1:], settings.steps, weight_decay=settings.decay)
    kinds = {decayed(decay): replace(one, weight_decay=decay) for decay in settings.decays}
    kinds[NEAR_ZERO] = replace(one, weight_decay=0.0, first_layer_std=settings.near_zero)
    kinds |= {wide(width): replace(one, hidden=(width,)) for width in settings.widths}
    kinds |= {sized(n): replace(one, n=n) for n in settings.sizes}
    return kinds
