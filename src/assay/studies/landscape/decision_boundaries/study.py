"""Can Neural Nets Learn the Same Model Twice? Reproducibility and Double Descent (Somepalli et al., 2022).

Three experiments on digits, each with two networks that differ in their random start only and see the same planes
through triplets of test images. Architectures: MLPs, narrow and wide, and a CNN. Random features: minimum-norm
least-squares classifiers, which are convex in their weights and interpolate at as many features as images (the
pseudo-inverse and the centred targets move the threshold up a little). Noisy labels: networks of one hidden layer.

The paper trains ResNet-18 of width 1 to 64 on CIFAR-10 for 4000 epochs. At this size a narrow network of ten classes is
poor and depends on its start, so that the return of reproducibility on the narrow side is judged on random features.
"""

import numpy as np
import torch
from torch import nn

from assay.core import predict, seeded
from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.landscape.regions import Plane, directional_margin, fragmentation_score, plane_predictions
from assay.studies.landscape.decision_boundaries.cells import architectures, noisy_networks, random_features
from assay.studies.landscape.decision_boundaries.figures import draw_maps, draw_widths
from assay.studies.landscape.decision_boundaries.settings import Settings

STUDY = Study(
    slug="decision-boundaries",
    paper=Paper(
        "Can Neural Nets Learn the Same Model Twice? Investigating Reproducibility and Double Descent from the "
        "Decision Boundary Perspective",
        "Somepalli, Fowl, Bansal, Yeh-Chiang, Dar, Baraniuk, Goldblum, Goldstein",
        2022,
        arxiv="2203.08124",
    ),
    methods=(
        "landscape.regions.plot_decision_regions",
        "landscape.regions.plane_predictions",
        "landscape.regions.reproducibility_score",
        "landscape.regions.fragmentation_score",
        "landscape.regions.directional_margin",
        "landscape.regions.path_class_changes",
    ),
    claims={
        "C1": Claim("Decision regions of networks can be drawn on planes through samples", paper="figures 1 and 2"),
        "C2": Claim(
            "Architecture changes the regions; runs of one architecture are alike, more so when it is wide",
            paper="abstract, states no number",
        ),
        "C3": Claim(
            "Reproducibility depends strongly on width and shows double descent",
            paper="section 5: interpolation near width 10 of ResNet-18 with 20% label noise",
        ),
        "C4": Claim(
            "Near the interpolation threshold regions break into many pieces and are not reproducible",
            paper="section 5: fragmentation peaks and reproducibility dips near width 10",
        ),
        "C5": Claim(
            "Very narrow and very wide models are reproducible and have few regions",
            paper="section 5, states no number",
        ),
        "C6": Claim(
            "Double descent of these measures appears in convex models too, by the variance of the interpolating fit",
            paper="section 5, a discussion, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            2,
            planes=12,
            resolution=12,
            epochs=2,
            wide=64,
            feature_planes=8,
            feature_resolution=12,
            feature_widths=(50, 250, 1000),
            threshold=(250,),
            anchors=(50, 1000),
            net_samples=100,
            net_planes=8,
            net_widths=(8, 64),
            net_steps=100,
            margin_samples=10,
        ),
        "small": Settings(),
        "paper": Settings(10, planes=500, feature_planes=1000, feature_resolution=50, net_planes=1000),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Check the geometry on known classifiers (C1), then compare networks (C2), features (C3 to C6) and widths."""
    measure_geometry(lab)
    families = lab.grid(architectures, settings, seed=settings.seeds)
    measure_architectures(lab, families)
    noises = (0.0, settings.noise)
    features = lab.grid(
        random_features,
        settings,
        classes=(3, 10),
        noise=noises,
        width=settings.feature_widths,
        seed=settings.seeds,
    )
    measure_features(lab, settings, features)
    networks = lab.grid(noisy_networks, settings, width=settings.net_widths, seed=settings.seeds)
    measure_networks(lab, settings, networks)

    lab.table("architectures", families, caption="Share of equal predictions of two networks of the same or two kinds")
    lab.table("features", features, caption="Random-feature classifiers by classes, label noise and features")
    lab.table("networks", networks, caption="Networks with noisy labels by hidden units")
    caption = "Decision regions on one plane through three test digits: two networks of each kind"
    lab.figure("maps", draw_maps(settings, lab.seed), caption=caption)
    x = "random features (log)"
    draw = draw_widths(features, "reproducibility", "share of equal predictions", x)
    lab.figure("reproducibility-by-features", draw, caption="Random features: reproducibility by their number")
    draw = draw_widths(features, "fragmentation", "pieces a plane", x)
    lab.figure("fragmentation-by-features", draw, caption="Random features: pieces a plane by their number")
    draw = draw_widths(networks, "reproducibility", "share of equal predictions", "hidden units (log)")
    lab.figure("reproducibility-by-width", draw, caption="Networks with noisy labels: reproducibility by width")


def measure_geometry(lab: Lab) -> None:
    """C1 on classifiers with known regions; the bars are exact up to rounding and one step of the grid."""
    source = seeded(lab.seed)
    plane = Plane(*torch.randn(3, 20, generator=source, dtype=torch.float64))
    rebuilt = plane.x1 + plane.coords @ plane.basis
    error = (rebuilt - torch.stack([plane.x1, plane.x2, plane.x3])).abs().max()
    lab.measure("C1", error, at_most=1e-5, what="largest error of the three samples at their coordinates on the plane")
    affine = nn.Linear(20, 1).double()
    planes = [plane]
    with torch.no_grad():
        affine.weight.copy_(plane.basis[0])
        affine.bias.copy_(-(plane.basis[0] @ (plane.x1 + 0.3 * (plane.x2 - plane.x1))))
    pieces = fragmentation_score(plane_predictions(affine, planes)).mean
    lab.measure("C1", abs(pieces - 2), at_most=0, what="pieces of a linear classifier that cuts the plane, minus 2")
    samples = torch.randn(50, 20, generator=source, dtype=torch.float64)
    step = 0.01
    deltas = torch.arange(1, 3001, dtype=torch.float64) * step
    found = directional_margin(affine, samples, -samples, n_directions=1, deltas=deltas, generator=seeded(lab.seed))
    chosen = torch.randint(50, (50, 1), generator=seeded(lab.seed)).flatten()
    towards = -samples[chosen] - samples
    scores = predict(affine, samples).flatten()
    slopes = (towards / towards.norm(dim=1, keepdim=True)) @ affine.weight.detach().flatten()
    exact = (-scores / slopes)[found.kept]
    lab.measure(
        "C1",
        (found.margins - exact).abs().max(),
        at_most=step,
        what="error of the margin of a linear classifier against |w x + b| / |w direction|, in steps of 0.01",
    )


def measure_architectures(lab: Lab, found: Grid) -> None:
    """C2: pairs of one kind against pairs of two kinds, by seed."""
    for family in ("wide MLP", "CNN"):
        gain = found[f"{family} and {family}"] - found["wide MLP and CNN"]
        what = f"reproducibility of two runs of the {family} minus that of a wide MLP and a CNN, trained on digits"
        lab.measure("C2", gain, at_least=0.0, what=what)
    gain = found["wide MLP and wide MLP"] - found["narrow MLP and narrow MLP"]
    lab.measure("C2", gain, at_least=0.0, what="reproducibility of wide MLPs minus that of narrow ones, on digits")


def measure_features(lab: Lab, settings: Settings, found: Grid) -> None:
    """C3 to C6 on random features of ten classes with noisy labels; the bars come from the specification."""
    noisy = found.at(classes=10, noise=settings.noise)
    alike, pieces = noisy["reproducibility"], noisy["fragmentation"]
    widths = np.array(settings.feature_widths)
    near = np.isin(widths, settings.threshold)
    narrow, wide = (settings.feature_widths.index(width) for width in settings.anchors)
    lowest, most = alike.min(0), pieces.max(0)
    ends = f"{settings.anchors[0]} and {settings.anchors[1]} random features"
    where = f"{settings.feature_samples} images with {settings.noise:.0%} noise, ten classes"
    what = f"lowest reproducibility over the lower one at {ends}, {where}"
    lab.measure("C3", lowest / np.minimum(alike[narrow], alike[wide]), at_most=0.5, what=what)
    gap = alike[near].min(0) - np.where(near[:, None], np.inf, alike).min(0)
    what = f"lowest reproducibility near the threshold ({settings.threshold} features) minus that elsewhere, {where}"
    lab.measure("C4", gap, at_most=0.0, what=what)
    gap = pieces[near].max(0) - np.where(near[:, None], -np.inf, pieces).max(0)
    what = f"most pieces a plane near the threshold ({settings.threshold} features) minus those elsewhere, {where}"
    lab.measure("C4", gap, at_least=0.0, what=what)
    for place, side in ((narrow, "narrow"), (wide, "wide")):
        what = f"most pieces a plane over those of the {side} model of {widths[place]} features, {where}"
        lab.measure("C5", most / pieces[place], at_least=1.6, what=what)
        what = f"reproducibility of the {side} model of {widths[place]} features over the lowest, {where}"
        lab.measure("C5", alike[place] / lowest, at_least=2.0, what=what)
    clean = found.at(classes=10, noise=0.0)
    accuracies = noisy["test accuracy"]
    what = f"test accuracy of the convex fit near the threshold minus the lower one at {ends}, {where}"
    fall = accuracies[near].min(0) - np.minimum(accuracies[narrow], accuracies[wide])
    lab.measure("C6", fall, at_most=0.0, what=what)
    depth = lambda grid: grid["reproducibility"][wide] - grid["reproducibility"].min(0)  # noqa: E731
    what = "fall of reproducibility from the widest model to the threshold, without noise (to report)"
    lab.measure("C6", depth(clean), what=what)


def measure_networks(lab: Lab, settings: Settings, found: Grid) -> None:
    """C3 to C5 on trained networks: from the smallest width that interpolates to the widest, and margins."""
    enough = found["train accuracy"].mean(1) >= 0.99
    first = int(np.argmax(enough)) if enough.any() else len(enough) - 1
    width, widest = settings.net_widths[first], settings.net_widths[-1]
    where = f"{settings.net_samples} digits with {settings.noise:.0%} noise"
    rise = found["reproducibility"][-1] - found["reproducibility"][first]
    what = f"reproducibility of networks of {widest} hidden units minus that of {width}, the first to interpolate"
    lab.measure("C3", rise, at_least=0.2, what=f"{what}, {where}")
    ratio = found["fragmentation"][first] / found["fragmentation"][-1]
    what = f"pieces a plane of networks of {width} hidden units, the first to interpolate, over those of {widest}"
    lab.measure("C4", ratio, at_least=1.1, what=f"{what}, {where}")
    margins = found["margin of correct"][-1] / found["margin of mislabelled"][-1]
    what = f"margin of correctly labelled training images over that of mislabelled ones, {widest} hidden units, {where}"
    lab.measure("C4", margins, at_least=1.3, what=what)
