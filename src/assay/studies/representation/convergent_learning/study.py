"""Convergent Learning: Do different neural networks learn the same representations? (Li et al., 2016).

Networks of one architecture are trained from several seeds, each with its own initial weights and its own order of the
data, and their units are compared behind the ReLU on held-out images: perceptrons with two hidden layers of 32 units on
the digits, convolution networks with three convolutions on Fashion-MNIST, and perceptrons with 64 hidden units for the
clusters. Every value is of one pair of networks, and no two pairs share a network. The controls are a copy with
permuted units, shuffled rows, the same networks before training, and a random rotation of one network's units, matched
by absolute correlation.

The paper compares four AlexNets on ImageNet. Its tables were not available; its claims are stated in words, with bars
that are ours.
"""

import numpy as np

from assay.lab import Claim, Grid, Lab, Looks, Paper, Study
from assay.nets import Recipe
from assay.studies.representation.convergent_learning.cells import (
    clustered_pair,
    conv_pair,
    dense_pair,
    exact_controls,
)
from assay.studies.representation.convergent_learning.figures import draw_matches, draw_prediction
from assay.studies.representation.convergent_learning.settings import Settings

N_LAYERS = {"perceptron": 2, "convolution network": 3}

STUDY = Study(
    slug="convergent-learning",
    paper=Paper(
        "Convergent Learning: Do different neural networks learn the same representations?",
        "Li, Yosinski, Clune, Lipson, Hopcroft",
        2016,
        arxiv="1511.07543",
        venue="ICLR 2016",
    ),
    methods=(
        "representation.convergent_learning",
        "representation.unit_statistics",
        "representation.match_units",
        "representation.sparse_prediction",
        "representation.matching.cluster_units",
        "representation.matching.percentile_mutual_information",
    ),
    claims={
        "C1": Claim(
            "Correlations of activations on the same inputs tell which units of two networks correspond",
            paper="section 2.2, states no number",
        ),
        "C2": Claim(
            "Units can be aligned one to one, one to few, and many to many",
            paper="sections 3 to 5, states no single number",
        ),
        "C3": Claim(
            "Some features are learned by every network, others are not",
            paper="section 3, figures of sorted matched correlations, states no single number",
        ),
        "C4": Claim(
            "Networks share subspaces, but not the units that span them",
            paper="sections 4 and 5, states no number",
        ),
        "C5": Claim(
            "The code is between local and fully distributed: few units predict a unit, one does not",
            paper="section 4: 3 to 6 sources a unit in conv1 at a penalty of 1e-3 (from memory)",
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            dense=Recipe(hidden=(12, 12), epochs=2, lr=3e-3, batch_size=64, schedule=None),
            wide=Recipe(hidden=24, epochs=2, lr=3e-3, batch_size=64, schedule=None),
            conv=Recipe(channels=(6, 6, 6), hidden=8, epochs=1, batch_size=64),
            conv_samples=128,
            held_out=50,
            penalties=(0.0, 1e-2, 1e-1),
            clusters=4,
        ),
        "small": Settings(seeds=Looks((3, 5, 8))),
        "paper": Settings(
            seeds=10,
            conv=Recipe(channels=(96, 256, 384), hidden=256, epochs=20, batch_size=128),
            conv_samples=60_000,
            held_out=10_000,
            penalties=(0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure the exact controls, then dense and convolution layers, then the clusters."""
    images = lab.data("fashion-mnist")
    exact = lab.cached("exact-controls", lambda: exact_controls(settings))
    dense = lab.grid(dense_pair, settings, seed=settings.seeds)
    conv = lab.grid(conv_pair, settings, seed=settings.seeds, images=(images,))
    conv = conv.at(images=images)
    clustered = lab.grid(clustered_pair, settings, seed=settings.seeds)
    grids = {"perceptron": dense, "convolution network": conv}
    at = settings.penalties.index(1e-2)
    what = "share of live units matched with their own copy, in a network and itself with permuted units"
    lab.measure("C1", exact["units in place"], at_least=1.0, what=what)
    what = "least matched correlation between a network and itself with permuted units"
    lab.measure("C1", exact["least"], at_least=1 - 1e-5, what=what)
    for name, grid in grids.items():
        for layer in range(N_LAYERS[name]):
            measure_layer(lab, grid, name, layer, at)
    gain = min(float((grid["semi"] - grid["match"]).min()) for grid in grids.values())
    what = "least gain in mean matched correlation where units may share a partner, all pairs and layers"
    lab.measure("C2", gain, at_least=0.0, what=what)
    measure_clusters(lab, clustered)
    tables(lab, grids, clustered, at)
    caption = "Matched correlations of the units, one line a pair of networks; dashed, the mean before training"
    lab.figure("matches", draw_matches(grids, N_LAYERS), caption=caption)
    caption = "Unexplained variance of a unit by share of sources, along the penalty; squares: its one partner"
    lab.figure("prediction", draw_prediction(grids, N_LAYERS), caption=caption)


def measure_layer(lab: Lab, grid: Grid, name: str, layer: int, at: int) -> None:
    """C1, C2, C3, C4 and C5 on one hidden layer; `at` is the place of the penalty 0.01."""
    found = {key: grid[key][:, layer] for key in grid.cells[0] if key not in ("accuracy",) and "scores" not in key}
    where, dense = f"{name}, layer {layer + 1}", name == "perceptron"
    what = f"mean matched correlation with shuffled rows, {where}"
    lab.measure("C1", found["shuffled"], what=what, at_most=0.15 if dense else None)
    gain = found["match"] - found["untrained match"]
    what = f"mean matched correlation of trained less that of untrained pairs, {where}"
    lab.measure("C3", gain, what=what, at_least=0.15 if dense else None)
    if dense:
        what = f"share of units with a matched correlation above 0.8, {where}"
        lab.measure("C3", found["above 0.8"], at_least=0.1, what=what)
        what = f"share of units with a matched correlation below 0.4, {where}"
        lab.measure("C3", found["below 0.4"], at_least=0.05, what=what)
    else:
        lab.measure("C3", found["above 0.8"], what=f"share of units with a matched correlation above 0.8, {where}")
        lab.measure("C3", found["below 0.4"], what=f"share of units with a matched correlation below 0.4, {where}")
    linear, one = 1 - found["errors"][:, 0], found["one-to-one r2"]
    if dense:
        lab.measure("C4", linear, at_least=0.9, what=f"variance that all units of the other network predict, {where}")
        lab.measure("C4", one, at_most=0.7, what=f"variance that the matched unit predicts, {where}")
        share = found["sources"][:, at] / found["units"]
        lab.measure("C5", share, at_most=0.5, what=f"share of sources in use at a penalty of 0.01, {where}")
        what = f"unexplained variance at a penalty of 0.01, {where}"
        lab.measure("C5", found["errors"][:, at], at_most=0.1, what=what)
    else:
        what = f"variance that all units of the other network predict less that of the matched unit, {where}"
        lab.measure("C4", linear - one, at_least=0.25, what=what)
    what = f"mean matched absolute correlation less that after a random rotation of one network, {where}"
    lab.measure("C5", found["absolute match"] - found["rotated match"], what=what)


def measure_clusters(lab: Lab, clustered: Grid) -> None:
    """C2 and C5 on clusters of two wide perceptrons."""
    what = "mean correlation between networks inside shared clusters of units, perceptrons of 64 units"
    lab.measure("C2", clustered["inside"], at_least=0.4, what=what)
    what = "mean correlation between networks outside shared clusters of units, perceptrons of 64 units"
    lab.measure("C2", clustered["outside"], at_most=0.1, what=what)
    what = "mean correlation inside clusters after the labels of one network were permuted, perceptrons of 64 units"
    lab.measure("C2", clustered["permuted"], what=what)
    what = "share of clusters with units of one network only, perceptrons of 64 units"
    lab.measure("C2", clustered["one-sided"] / clustered["clusters"], at_most=1 / 12, what=what)
    what = "share of units with the same partner by mutual information as by correlation, perceptrons of 64 units"
    lab.measure("C2", clustered["same partner"], what=what)
    what = "matched correlation lost where partners are chosen by mutual information, perceptrons of 64 units"
    lab.measure("C2", clustered["match"] - clustered["match by information"], what=what)


def tables(lab: Lab, grids: dict[str, Grid], clustered: Grid, at: int) -> None:
    """Tabulate means over pairs, a row a layer."""
    rows = []
    for name, grid in grids.items():
        for layer in range(N_LAYERS[name]):
            mean = {key: float(grid[key][:, layer].mean()) for key in ("match", "semi", "untrained match", "shuffled")}
            mean |= {key: float(grid[key][:, layer].mean()) for key in ("one-to-one r2", "rotated match", "redundancy")}
            errors, sources = (np.asarray(grid[key][:, layer].mean(0)) for key in ("errors", "sources"))
            rows.append(
                {"network": name, "layer": layer + 1}
                | {key: round(value, 3) for key, value in mean.items()}
                | {"linear error": round(float(errors[0]), 3), "error at 0.01": round(float(errors[at]), 3)}
                | {"sources at 0.01": round(float(sources[at]), 1), "error at 0.1": round(float(errors[-1]), 3)}
                | {"sources at 0.1": round(float(sources[-1]), 1), "dead": float(grid["dead"][:, layer].mean())}
            )
    lab.table("layers", rows, caption="Means over pairs of networks, by layer; errors are shares of variance")
    accuracies = [{"network": name, "test accuracy": float(grid["accuracy"].mean())} for name, grid in grids.items()]
    lab.table("accuracy", accuracies, caption="Mean test accuracy of the trained networks")
    columns = ("inside", "outside", "permuted", "one-sided", "same partner", "match", "match by information")
    lab.table("clusters", clustered, columns=columns, caption="Clusters of the units of two wide perceptrons")
