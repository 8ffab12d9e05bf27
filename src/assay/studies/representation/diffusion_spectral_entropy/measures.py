"""Measurements of networks in training: entropy, information on label and input, and the start."""

from assay.lab import Grid, Lab
from assay.studies.representation.diffusion_spectral_entropy.cells import initialized, training
from assay.studies.representation.diffusion_spectral_entropy.settings import Settings


def measure_training(lab: Lab, settings: Settings) -> tuple[Grid, Grid, Grid]:
    """C3, C4, C5, and C8 with the scale taken out."""
    seeds = settings.training_seeds
    true = lab.grid(training, settings, name="true", source=(settings.clothes,), labels=("true",), seed=seeds)
    random = lab.grid(training, settings, name="random", source=(settings.clothes,), labels=("random",), seed=seeds)
    others = tuple(dict.fromkeys(name for name in (settings.digits, settings.colour) if name))
    more = lab.grid(training, settings, name="others", source=others, labels=("true",), seed=seeds)
    ends = true["end"][0, 0] / random["end"][0, 0]
    free = true["scale-free end"][0, 0] / random["scale-free end"][0, 0]
    entropy = "rank correlation of entropy with the epoch"
    lab.measure("C3", true["entropy trend"][0, 0], at_least=0.9, what=f"{entropy}, {settings.clothes}")
    lab.measure("C4", ends, at_least=2, what=f"information on the label, true over random labels, {settings.clothes}")
    rise = true["scale-free entropy trend"][0, 0]
    lab.measure("C8", rise, at_least=0.9, what=f"{entropy} where the scale is taken out, {settings.clothes}")
    what = f"information on the label, true over random labels, where the scale is taken out, {settings.clothes}"
    lab.measure("C8", free, at_least=2, what=what)
    spread = true["distance"][0, 0]
    what = f"median distance of two test images in the last hidden layer, last epoch over first, {settings.clothes}"
    lab.measure("C8", spread[:, -1] / spread[:, 0], what=what)
    for number, name in enumerate(others):
        lab.measure("C3", more["entropy trend"][number, 0], at_least=0.9, what=f"{entropy}, {name}, as a further set")
    measure_inputs(lab, settings, more, others)
    columns = ("train accuracy", "test accuracy", "entropy trend", "scale-free entropy trend", "input trend", "end")
    for name, grid in (("true", true), ("random", random), ("others", more)):
        caption = f"Networks in training, {name if name != 'others' else 'true'} labels"
        lab.table(f"training-{name}", grid, columns=columns, caption=f"{caption}; end: information on the label, bits")
    return true, random, more


def measure_inputs(lab: Lab, settings: Settings, more: Grid, others: tuple[str, ...]) -> None:
    """C5: the sign of the trend of information on the input."""
    what = "rank correlation of information on the input with the epoch"
    lab.measure("C5", more["input trend"][0, 0], at_least=0, what=f"{what}, {others[0]}")
    free = more["scale-free input trend"]
    lab.measure("C5", free[0, 0], what=f"{what}, scale taken out, {others[0]}")
    if len(others) > 1:
        lab.measure("C5", more["input trend"][1, 0], at_most=0, what=f"{what}, {others[1]}")
        lab.measure("C5", free[1, 0], what=f"{what}, scale taken out, {others[1]}")
    else:
        lab.measure("C5", untested="CIFAR-10 is not on this machine", at_most=0, what=f"{what}, CIFAR-10")


def measure_start(lab: Lab, settings: Settings) -> None:
    """C6: two standard deviations of convolution weights."""
    start = lab.grid(initialized, settings, std=settings.stds, seed=settings.seeds)
    small, large = settings.stds[:2]
    entropy, right = start["entropy at start"], start["accuracy"]
    what = f"convolution weights of {large:g} less {small:g}, {settings.clothes}"
    lab.measure("C6", entropy[1] - entropy[0], at_least=0, what=f"entropy in bits before training, {what}")
    what = f"convolution weights of {small:g} less {large:g}, {settings.clothes}"
    epochs = settings.init_epochs
    lab.measure("C6", right[0] - right[1], at_least=0, what=f"test accuracy after {epochs} epochs, {what}")
    columns = ("entropy at start", "distance at start", "accuracy")
    lab.table("start", start, columns=columns, caption=f"Entropy before training and accuracy after {epochs} epochs")
