"""Kinds of networks: their data, architecture and training, how many are trained, and how often each is attacked."""

from dataclasses import dataclass, replace

from assay.studies.reconstruction.reconstruction_multiclass.settings import Settings
from assay.studies.reconstruction.shared.victims import Victim

CONVERGED = "converged binary networks"
COLOUR = "networks of vehicles and animals"
TEN_CLASSES = "networks of ten classes"


@dataclass(frozen=True)
class Kind:
    """One kind of network, how many of them are trained, and how many searches each is attacked with."""

    victim: Victim
    seeds: int
    n_restarts: int


def binary_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the binary networks of C1 and C6."""
    one, restarts = Victim(settings.source, settings.n, (settings.width,), settings.steps), settings.n_restarts
    deep = replace(one, hidden=settings.deep, steps=settings.deep_steps)
    kinds = {
        CONVERGED: Kind(one, settings.seeds, restarts),
        "binary networks of short training": Kind(replace(one, steps=settings.short_steps), settings.seeds, restarts),
        "binary networks of two hidden layers": Kind(deep, settings.seeds, restarts),
        "binary networks of three hidden layers": Kind(
            replace(deep, hidden=settings.deeper), settings.deeper_seeds, restarts
        ),
    }
    kinds |= {
        f"binary networks of {n} images": Kind(replace(one, n=n), seeds, restarts) for n, seeds in settings.larger
    }
    return kinds | colour_kinds(settings)


def colour_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the binary networks of colour images; none without such images."""
    if settings.colour is None:
        return {}
    n, seeds = settings.colour_images
    one = Victim(settings.colour, n, settings.colour_hidden, settings.colour_steps, learning_rate=settings.colour_rate)
    kinds = {COLOUR: Kind(one, seeds, settings.n_restarts)}
    for n, seeds, restarts in settings.colour_larger:
        larger = replace(one, n=n, hidden=settings.colour_larger_hidden)
        kinds[f"{COLOUR}, {n} images"] = Kind(larger, seeds, restarts)
    return kinds


def ten_class_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the networks of ten classes, of C2 and C3."""
    ten = Victim(settings.source, settings.n, (settings.width,), settings.steps, classes=10)
    kinds = {TEN_CLASSES: Kind(ten, settings.seeds, settings.n_restarts)}
    for n, seeds in settings.ten_larger:
        kinds[f"{TEN_CLASSES}, {n} images"] = Kind(replace(ten, n=n), seeds, settings.n_restarts)
    return kinds


def decay_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the networks of C4, by weight decay, the first without."""
    one = Victim(settings.source, settings.n, (settings.width,), settings.decay_steps)
    return {
        f"weight decay {decay:g}": Kind(replace(one, weight_decay=decay), settings.seeds, settings.n_restarts)
        for decay in settings.decays
    }
