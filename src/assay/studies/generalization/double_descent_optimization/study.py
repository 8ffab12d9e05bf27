"""Understanding the Role of Optimization in Double Descent (Liu and Flanigan, 2023).

The peak of the test error in width is often weak without explicit regularisation, because training does not reach the
low-loss minimum that carries it: near the interpolation threshold the least-squares problem is ill-conditioned. On
random features of digits with a fifth of the labels redrawn, gradient descent is computed in closed form for any number
of steps, so that the achieved loss and the height of the peak can be followed exactly; factors of training are varied
one at a time; two-layer networks are trained for long and for short. Only the paper's abstract was read: settings, bars
and the measures of a peak (the largest median test loss within half of the threshold over that of the widest model,
present above 1.5) and of a low loss (below 0.15 of that of zero outputs) are ours.

C6 is an implication, "unlikely to be a problem in real set-ups". What was tested: on clean labels of digits and
Fashion-MNIST, two-layer networks trained by Adam and by SGD with momentum, batches of 32, and random features after
1000 steps of gradient descent show a peak in few runs, while an exact solution on the same images shows a high one.
"""

import numpy as np
from scipy.stats import spearmanr

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.generalization.double_descent_optimization.cells import (
    NORMALIZATIONS,
    PROCEDURES,
    descent_curves,
    exact_identities,
    procedure_losses,
)
from assay.studies.generalization.double_descent_optimization.figures import draw_curves, draw_heights, draw_networks
from assay.studies.generalization.double_descent_optimization.settings import Settings
from assay.studies.generalization.double_descent_optimization.training import (
    ARMS,
    DESIGNED,
    FACTORS,
    PRACTICES,
    SETTINGS,
    factors,
    practice,
    two_layers,
    two_layers_arm,
)

STUDY = Study(
    slug="double-descent-optimization",
    paper=Paper(
        "Understanding the Role of Optimization in Double Descent",
        "Liu, Flanigan",
        2023,
        arxiv="2312.03951",
        venue="NeurIPS 2023 Workshop on Optimization for Machine Learning",
    ),
    methods=(
        "generalization.double_descent_curve",
        "generalization.factor_study",
        "generalization.gradient_descent_path",
        "generalization.RandomFeatures",
    ),
    claims={
        "C1": Claim(
            "Without explicit regularisation the peak can be absent or weak", paper="abstract, states no number"
        ),
        "C2": Claim(
            "Initialisation, normalisation, batch size, learning rate and optimiser all act through optimisation",
            paper="abstract, states no number",
        ),
        "C3": Claim(
            "The peak is observed if and only if the optimiser finds a minimum of sufficiently low loss",
            paper="abstract, states no number",
        ),
        "C4": Claim(
            "These factors change the condition number of the problem or of the optimiser, and so the peak",
            paper="abstract, states no number",
        ),
        "C5": Claim(
            "Random feature models and two-layer networks show it in controlled experiments",
            paper="abstract, figures; states no number",
        ),
        "C6": Claim(
            "Double descent is unlikely to be a problem in real set-ups; strong peaks need careful design",
            paper="abstract, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            draws=2,
            n=100,
            widths=(50, 75, 100, 125, 150, 300),
            factor_seeds=1,
            factor_draws=1,
            factor_n=40,
            factor_widths=(20, 40, 60, 120),
            factor_iter=100,
            net_seeds=2,
            net_widths=(5, 15, 40),
            short=20,
            long=150,
            arm_seeds=1,
            practice_seeds=1,
            practice_n=64,
            practice_widths=(2, 8, 32),
            practice_epochs=10,
        ),
        "small": Settings(),
        "paper": Settings(seeds=30, factor_seeds=20, net_seeds=30, long=20_000, arm_seeds=10, practice_seeds=20),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure closed forms first, then factors of training, networks, and ordinary training."""
    widths = tuple(dict.fromkeys((settings.widths[0], settings.widths[1], settings.n, *settings.widths[-2:])))
    exact = lab.grid(exact_identities, settings, width=widths)
    found = lab.grid(descent_curves, settings, normalization=NORMALIZATIONS, seed=settings.seeds)
    procedures = lab.grid(procedure_losses, settings, procedure=tuple(PROCEDURES), seed=settings.seeds)
    varied = lab.grid(factors, settings, seed=settings.factor_seeds)
    nets = lab.grid(two_layers, settings, seed=settings.net_seeds)
    arms = lab.grid(two_layers_arm, settings, arm=tuple(ARMS), seed=settings.arm_seeds)
    recipes = {"data": ("digits", "fashion"), "recipe": (*PRACTICES, DESIGNED)}
    ordinary = lab.grid(practice, settings, **recipes, seed=settings.practice_seeds)
    measure_absence(lab, found, settings)
    measure_identities(lab, exact)
    measure_loss_and_peak(lab, found, varied, settings)
    measure_factors(lab, procedures, varied)
    measure_conditioning(lab, found, varied, settings)
    measure_networks(lab, nets, arms, settings)
    measure_practice(lab, ordinary)
    columns = ("train loss at the threshold", "test loss at the threshold")
    columns += ("train loss at the largest width", "test loss at the largest width", "effective modes")
    caption = f"Centred features, {settings.procedure_iter} steps; L is the largest eigenvalue"
    lab.table("procedures", procedures, columns=columns, caption=caption)
    lab.table(
        "factors", factor_rows(varied), caption="One factor of training changed at a time; medians over data sets"
    )
    columns = ("loss peak height", "error peak height", "test error at the largest width")
    lab.table("practice", ordinary, columns=columns, caption="Clean labels; highest local maximum, 1 for none")
    caption = "Test and training loss by width after more and more steps of gradient descent, medians"
    lab.figure("curves", draw_curves(found, settings), caption=caption)
    caption = "Height of the peak by training loss at the threshold; dotted: where a peak counts and a loss is low"
    lab.figure("heights", draw_heights(found, varied, SETTINGS, FACTORS), caption=caption)
    lab.figure("networks", draw_networks(nets, settings), caption="Two-layer networks after short and long training")


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


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's correlation of two rows of figures; 0 where one is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.asarray(spearmanr(x, y))[0])
