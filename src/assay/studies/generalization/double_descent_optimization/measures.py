"""Evidence of the study of optimisation in double descent: what is read off the cells, and its bars."""

import numpy as np
from scipy.stats import spearmanr

from assay.lab import Grid, Lab
from assay.studies.generalization.double_descent_optimization.cells import NORMALIZATIONS
from assay.studies.generalization.double_descent_optimization.settings import Settings
from assay.studies.generalization.double_descent_optimization.training import DESIGNED, FACTORS, PRACTICES, SETTINGS


def factor_rows(varied: Grid) -> list[dict[str, object]]:
    """Return the table of settings."""
    columns = ("train loss", "peak height", "error peak", "condition number", "effective condition number")
    medians = {name: np.median(varied[name], axis=0) for name in (*columns, "effective modes")}
    return [
        {"setting": name, **{column: float(f"{values[place]:.4g}") for column, values in medians.items()}}
        for place, name in enumerate(SETTINGS)
    ]


def measure_absence(lab: Lab, found: Grid, settings: Settings) -> None:
    """C1: without normalisation the peak is absent after few steps, high after many, and grows in between."""
    heights = found.at(normalization="none")["peak height"]
    few, many = settings.n_iter.index(settings.compared[0]), settings.n_iter.index(settings.longest)
    what = f"peak height of random features without normalisation after {settings.compared[0]:.0e} steps, per data set"
    lab.measure("C1", heights[:, few], at_most=1.3, what=what)
    what = f"peak height of random features without normalisation after {settings.longest:.0e} steps, per data set"
    lab.measure("C1", heights[:, many], at_least=5.0, what=what)
    what = "least ratio of the peak height after ten times as many steps to that before, 1e2 to 1e8 steps, per data set"
    lab.measure("C1", (heights[:, 1:] / heights[:, :-1]).min(1), at_least=1.0, what=what)
    errors = found.at(normalization="none")["error peak height"][:, many]
    what = f"peak height of the test error, random features without normalisation after {settings.longest:.0e} steps"
    lab.measure("C1", errors, what=what)


def measure_identities(lab: Lab, exact: Grid) -> None:
    """C3: the closed form that all else rests on."""
    what = "largest difference of a weight between the closed form and 200 looped steps, random start, all widths"
    lab.measure("C3", exact["closed form"].max(), at_most=1e-8, what=what)
    what = "relative difference of outputs at (lr, 2T) and (2 lr, T), lr lambda_max = 0.01, worst width"
    lab.measure("C3", exact["halved"].max(), at_most=0.02, what=what)
    what = "relative difference of the limit from NumPy's least-squares solution, worst width"
    lab.measure("C3", exact["limit"].max(), at_most=1e-6, what=what)


def measure_loss_and_peak(lab: Lab, found: Grid, varied: Grid, settings: Settings) -> None:
    """C3: over settings the peak follows the training loss at the threshold, in rank and in kind."""
    places = [settings.n_iter.index(steps) for steps in (*settings.compared, settings.longest)]
    losses, heights = (found[name][..., places].swapaxes(0, 1) for name in ("train loss", "peak height"))
    pairs = zip(losses.reshape(len(losses), -1), heights.reshape(len(heights), -1), strict=True)
    ranks = [rank_correlation(-loss, height) for loss, height in pairs]
    what = "rank correlation of minus training loss at the threshold and peak height, 3 normalisations x 3 steps"
    lab.measure("C3", ranks, at_least=0.9, what=what)
    agreed = (found["low loss"] == found["peak"]).mean((0, 2))
    what = "share of settings with both low loss and a peak or neither, 3 normalisations x 7 numbers of steps"
    lab.measure("C3", agreed, at_least=0.9, what=what)
    agreed = (varied["low loss"] == varied["peak"]).mean(1)
    what = f"share of settings with both low loss and a peak or neither, {len(SETTINGS)} settings of training"
    lab.measure("C3", agreed, at_least=0.9, what=what)
    for name, grid in (
        ("3 normalisations x 7 numbers of steps", found),
        (f"{len(SETTINGS)} settings of training", varied),
    ):
        losses, peaks = (
            np.moveaxis(grid[key], -2, 0).reshape(grid[key].shape[-2], -1) for key in ("train loss", "peak")
        )
        order = [separation(loss, peak) for loss, peak in zip(losses, peaks, strict=True)]
        what = f"chance that a setting with a peak has lower training loss than one without, {name}"
        lab.measure("C3", order, at_least=0.9, what=what)
    table = varied["table"].sum(0)
    for row, loss in enumerate(("low", "no low")):
        for column, peak in enumerate(("a", "no")):
            what = f"settings of training with {loss} loss and {peak} peak, of {table.sum():.0f} over all data sets"
            lab.measure("C3", table[row, column], what=what)


def measure_factors(lab: Lab, procedures: Grid, varied: Grid) -> None:
    """C2: faster procedures have lower loss and a higher peak; over all factors the peak follows the loss."""
    train, test = (procedures[f"{name} loss at the threshold"] for name in ("train", "test"))
    what = "largest ratio of a procedure's training loss at the threshold to that of the next slower one, 5 procedures"
    lab.measure("C2", (train[1:] / train[:-1]).max(0), at_most=1.0, what=what)
    what = "least ratio of a procedure's test loss at the threshold to that of the next slower one, 5 procedures"
    lab.measure("C2", (test[1:] / test[:-1]).min(0), at_least=1.0, what=what)
    what = "largest less smallest test loss at the largest width of the four faster procedures"
    lab.measure("C2", np.ptp(procedures["test loss at the largest width"][1:], axis=0), at_most=0.05, what=what)
    what = f"rank correlation of minus training loss at the threshold and peak height over {len(SETTINGS)} settings"
    lab.measure("C2", varied["correlation"], at_least=0.8, what=what)
    for factor, members in FACTORS.items():
        own = [SETTINGS.index(name) for name in members]
        pairs = zip(varied["train loss"][:, own], varied["peak height"][:, own], strict=True)
        what = f"rank correlation of minus training loss and peak height over {len(own)} settings of the {factor} alone"
        lab.measure("C2", [rank_correlation(-loss, height) for loss, height in pairs], what=what)


def measure_conditioning(lab: Lab, found: Grid, varied: Grid, settings: Settings) -> None:
    """C4: normalisation lowers the condition number and raises the peak; so do faster optimisers."""
    kappa = np.log10(found["condition number"][..., 0])
    steps = {f"{count:.0e} steps": settings.n_iter.index(count) for count in settings.compared}
    for before, after in ((0, 1), (1, 2)):
        names = f"{NORMALIZATIONS[after]} less {NORMALIZATIONS[before]}"
        what = f"log10 of the condition number at the threshold, {names}, paired by data set"
        lab.measure("C4", kappa[after] - kappa[before], at_most=0.0, test="wilcoxon", what=what)
        for name, place in steps.items():
            heights = found["peak height"][..., place]
            what = f"peak height after {name}, {names}, paired by data set"
            lab.measure("C4", heights[after] - heights[before], at_least=0.0, test="wilcoxon", what=what)
    own = [SETTINGS.index(name) for name in FACTORS["optimiser"]]
    pairs = zip(varied["effective condition number"][:, own], varied["peak height"][:, own], strict=True)
    what = "rank correlation of minus the optimiser's condition number and peak height, 5 optimisers"
    lab.measure("C4", [rank_correlation(-kappa, height) for kappa, height in pairs], at_least=0.7, what=what)


def measure_networks(lab: Lab, nets: Grid, arms: Grid, settings: Settings) -> None:
    """C5: the excess of two-layer networks at the threshold after long training against short."""
    gain = nets["long excess"] - nets["short excess"]
    what = f"excess test loss at the threshold over the widest net, {settings.long} less {settings.short} steps of Adam"
    lab.measure("C5", gain, at_least=0.0, test="wilcoxon", what=what)
    for name, steps in (("long", settings.long), ("short", settings.short)):
        what = f"training loss of two-layer networks at the threshold over that of zero outputs, {steps} steps of Adam"
        lab.measure("C5", nets[f"{name} train loss"], what=what)
        for figure in ("peak height", "error peak height"):
            what = f"{figure} of two-layer networks between any widths, {steps} steps of Adam"
            lab.measure("C5", nets[f"{name} {figure}"], what=what)
    for arm, found in arms.by("arm").items():
        what = f"excess of two-layer networks at the threshold, {settings.long} less {settings.short} steps, {arm}"
        lab.measure("C5", found["long excess"] - found["short excess"], what=what)


def measure_practice(lab: Lab, ordinary: Grid) -> None:
    """C6: peaks of ordinary training on clean labels, and of a design that brings them out."""
    for kind in ("loss", "error"):
        usual = np.stack([ordinary.at(recipe=recipe)[f"{kind} peak"] for recipe in PRACTICES])
        what = f"runs of ordinary training with a peak of the test {kind} between any widths, 3 recipes x 2 data sets"
        lab.measure("C6", usual.sum((0, 1)), of=usual[..., 0].size, at_most=0.1, what=what)
    heights = ordinary.at(recipe=DESIGNED)["loss peak height"].min(0)
    what = "peak height of the test loss of random features solved exactly on clean labels, the lower of 2 data sets"
    lab.measure("C6", heights, at_least=5.0, test="wilcoxon", what=what)


def separation(losses: np.ndarray, peaks: np.ndarray) -> float:
    """Return the share of pairs, one setting with a peak and one without, in which the first has lower loss."""
    lower = losses[peaks == 1][:, None] < losses[peaks == 0][None]
    return float(lower.mean()) if lower.size else 1.0


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's correlation of two rows of figures; 0 where one is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.asarray(spearmanr(x, y))[0])
