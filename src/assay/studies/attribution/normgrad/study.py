"""There and Back Again: Revisiting Backpropagation Saliency Methods (Rebuffi et al., 2020).

Canvases hold a digit, which is the class, beside an item of Fashion-MNIST or a second digit, so that what a map should
show is known. A network of four blocks ends with global average pooling and a linear layer. Maps of the digit's class
are scored by the pointing game and by the share of the map on the digit, at each block and combined. Class sensitivity
is the rank correlation between maps of the highest and the lowest class, at the last block but one. Score and inner
step are chosen on other images, the score for the maps without a step, too.

C2 is undecided after all eight seeds: the gain at the first block is about 0.24 and differs much between seeds, so that
its interval reaches just below the bar of 0.15. C5 fails: the step lowers the correlation of NormGrad a little, as the
paper says, but not that of the two signed methods, whose correlation is low without it. Steps from 1e-4 to 0.1 and both
scores were tried; the smallest step, which changes least, was chosen for these two in most seeds. At the last block
NormGrad shows the same map for every class, since the gradient is constant over positions there.
"""

from dataclasses import replace

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.attribution.normgrad.cells import (
    LOCALIZED,
    WITH_STEP,
    identities,
    localize,
    sensitivity,
    train,
)
from assay.studies.attribution.normgrad.figures import NAMES, draw_blocks, draw_examples, draw_sensitivity
from assay.studies.attribution.normgrad.settings import Settings

STUDY = Study(
    slug="normgrad",
    paper=Paper(
        "There and Back Again: Revisiting Backpropagation Saliency Methods",
        "Rebuffi, Fong, Ji, Vedaldi",
        2020,
        arxiv="2004.02866",
        venue="CVPR 2020",
    ),
    methods=(
        "attribution.NormGrad",
        "attribution.class_sensitivity",
        "attribution.combine_saliency",
        "attribution.make_localization",
    ),
    claims={
        "C1": Claim(
            "Saliency methods extract each position's share in a weight gradient, and aggregate it to a map",
            paper="main text, the framework, states no number",
        ),
        "C2": Claim(
            "NormGrad, the norm of a convolution's gradient at each position, works at any layer",
            paper="pointing game on VOC07 and COCO14; the tables were not read",
        ),
        "C3": Claim(
            "Maps of several layers complement each other, and Grad-CAM fails where gradients vary over positions",
            paper="weighted combination of layers; the tables were not read",
        ),
        "C4": Claim(
            "The correlation between maps of the highest and lowest class measures class sensitivity",
            paper="main text, states no number that was read",
        ),
        "C5": Claim(
            "An inner step of SGD makes the maps of any method more sensitive to the class",
            paper="abstract, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            n_train=128,
            epochs=1,
            channels=(4, 4, 4),
            n_test=12,
            n_tune=2,
            n_pairs=4,
            eps=(0.01,),
            digits="digits",
            items="fashion",
        ),
        "small": Settings(),
        "paper": Settings(seeds=10, n_train=40_000, channels=(32, 64, 128, 128), n_test=2000, n_tune=100, n_pairs=500),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure the identities first, then train networks, and score their maps."""
    sets = {"digits": lab.data(settings.digits, instead="digits"), "items": lab.data(settings.items)}
    settings = replace(settings, **sets)
    exact = lab.cached("identities", lambda: identities(settings))
    networks = lab.grid(train, settings, seed=settings.seeds)
    places = lab.grid(localize, settings, after=networks)
    classes = lab.grid(sensitivity, settings, after=networks)
    measure_identities(lab, exact)
    measure_places(lab, places)
    measure_constancy(lab, places)
    measure_sensitivity(lab, classes)
    columns = (
        "accuracy",
        "chance",
        *(
            f"{name} {how} {score}"
            for name in LOCALIZED[2:]
            for how in ("product", "sum")
            for score in ("hits", "energy")
        ),
    )
    caption = "Accuracy beside items, share of the canvas that the digit's box fills, and scores of combined maps"
    lab.table("combined", places, columns=columns, caption=caption)
    columns = tuple(f"{name} {place}" for name in LOCALIZED for place in ("middle", "last"))
    caption = (
        "Correlation between maps of the highest and lowest class for the logit, at the last block but one and the last"
    )
    lab.table("correlations", classes, columns=columns, caption=caption)
    caption = "Maps of the digit's class on six canvases, network of the first seed"
    lab.figure("examples", draw_examples(settings, networks.cells[0]), caption=caption)
    caption = "Scores by block; dashed: product over blocks of NormGrad selective; dotted: share of the digit's box"
    lab.figure("blocks", draw_blocks(places), caption=caption)
    caption = "Class sensitivity without and with the inner step, one line a seed"
    lab.figure("sensitivity", draw_sensitivity(classes), caption=caption)


def measure_identities(lab: Lab, exact: dict[str, float]) -> None:
    """C1 and C2: sums of contributions against autograd, and closed forms against explicit matrices."""
    what = "largest relative error of summed contributions against the weight gradient of an inserted identity, float64"
    lab.measure("C1", exact["virtual"], at_most=1e-10, what=what)
    what = (
        "relative error of summed contributions against a real convolution's gradient (stride 2, dilation 2), float64"
    )
    lab.measure("C1", exact["real"], at_most=1e-10, what=what)
    what = "largest relative change of the logits by an inserted identity, float64"
    lab.measure("C1", exact["outputs"], at_most=1e-12, what=what)
    what = "largest relative error of the closed forms of norms against explicit matrices, float64"
    lab.measure("C2", exact["closed form"], at_most=1e-10, what=what)


def measure_places(lab: Lab, places: Grid) -> None:
    """C2 and C3: hit rates by block, and the combination against single blocks."""
    what = "hit rate of NormGrad selective less that of Grad-CAM at the first block, digit beside a Fashion item"
    lab.measure("C2", places["normgrad_selective hits"][:, 0] - places["grad_cam hits"][:, 0], at_least=0.15, what=what)
    for name in LOCALIZED:
        for block, values in enumerate(places[f"{name} hits"].T, 1):
            lab.measure("C2", values, what=f"hit rate of {NAMES[name]} at block {block}")
    lab.measure("C2", places["chance"], what="share of the canvas inside the digit's box: a random map's hit rate")
    single, both = places["normgrad energy"], places["normgrad product energy"]
    what = "share of the map on the digit: product of NormGrad over blocks less the best single block of each seed"
    lab.measure("C3", both - single.max(1), at_least=-0.02, what=what)
    what = "share of the map on the digit: product of NormGrad over blocks less the mean of the blocks"
    lab.measure("C3", both - single.mean(1), at_least=0.03, what=what)
    for name, how in (("normgrad", "sum"), ("normgrad_selective", "product"), ("normgrad_selective", "sum")):
        gain = places[f"{name} {how} energy"] - places[f"{name} energy"].max(1)
        what = f"share of the map on the digit: {how} of {NAMES[name]} over blocks less the best single block"
        lab.measure("C3", gain, what=what + ", reported beside the product of NormGrad")


def measure_constancy(lab: Lab, places: Grid) -> None:
    """C3: Grad-CAM is the linear approximation where gradients are constant over positions, and only there."""
    what = "largest relative difference of Grad-CAM and the positive linear approximation at the last block, float64"
    lab.measure("C3", places["gap"][:, -1], at_most=1e-10, what=what)
    what = "share of the squared gradient that its mean over positions loses, last block"
    lab.measure("C3", places["spread"][:, -1], at_most=1e-10, what=what)
    what = "rank correlation of Grad-CAM and the positive linear approximation, first block"
    lab.measure("C3", places["rank"][:, 0], at_most=0.9, what=what)
    what = "share of the squared gradient that its mean over positions loses, first block"
    lab.measure("C3", places["spread"][:, 0], at_least=0.01, what=what)


def measure_sensitivity(lab: Lab, classes: Grid) -> None:
    """C4: the control of the metric; C5: correlations with an inner step against those without."""
    what = "smallest correlation of two maps of the same class, three methods, all images"
    lab.measure("C4", classes["same class"], at_least=1 - 1e-6, what=what)
    for name in WITH_STEP:
        plain, step = classes[f"{name} plain"], classes[f"{name} step"]
        what = f"correlation between maps of the highest and lowest class of {NAMES[name]}, two digits"
        lab.measure("C4", plain, what=what)
        what = f"correlation of {NAMES[name]} with an inner step, chosen on other images, less that without"
        lab.measure("C5", step - plain, at_most=0.0, what=what)
        what = f"correlation of {NAMES[name]} with the inner step's weights as constants, less that without a step"
        lab.measure("C5", classes[f"{name} first order"] - plain, what=what)
        lab.measure("C5", classes[f"{name} eps"], what=f"inner step chosen for {NAMES[name]}")
