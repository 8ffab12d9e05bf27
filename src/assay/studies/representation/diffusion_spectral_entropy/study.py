"""Noise-Resilient Diffusion Spectral Entropy (Liao et al., 2023).

Binning puts every sample of a wide layer into a cell of its own. The entropy of the eigenvalues of a diffusion matrix
measures how many directions the samples spread in. It is compared with values in closed form and, on signals in noise,
with binning; the information on labels, with its true value on blobs of which a share of labels is shuffled, beside
binning, nearest neighbours (NPEET's kind) and a trained critic (MINE), all at their usual settings. Perceptrons with
hidden layers of 256 and 64 units are followed on 1000 test images; the paper trains ConvNets and transformers for 200
epochs. STL-10 is left out. C7 ranks a zoo of 20 perceptrons in the place of 962 networks of ImageNet.

At a fixed bandwidth the entropy grows with the norm of activations, so that every measurement of training is repeated
at the median distance of two samples, which takes the scale out (C8).

C2 fails where nearest neighbours and the critic are nearer to the true information on blobs; the entropies of signals
hold all bars. C5 fails: information on the input rises on CIFAR-10 as well. C6 fails: the small start has the lower
entropy and learns worse in three epochs. C8 fails: with the scale taken out, the entropy rises only at first, so that
part of C3 at a fixed bandwidth is growth of activations. Each was run at one bandwidth and one learning rate; other
estimators were not tuned either.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from assay.lab import Claim, Lab, Paper, Study
from assay.studies.representation.diffusion_spectral_entropy.cells import (
    EPOCHS,
    agreement,
    closed_forms,
    shuffled_blobs,
    signal_in_noise,
    zoo,
)
from assay.studies.representation.diffusion_spectral_entropy.figures import (
    draw_blobs,
    draw_inputs,
    draw_signals,
    draw_training,
)
from assay.studies.representation.diffusion_spectral_entropy.measures import measure_start, measure_training
from assay.studies.representation.diffusion_spectral_entropy.settings import Settings

STUDY = Study(
    slug="diffusion-spectral-entropy",
    paper=Paper(
        "Assessing Neural Network Representations During Training Using Noise-Resilient Diffusion Spectral Entropy",
        "Liao, Liu, Christensen, Tong, Huguet, Wolf, Nickel, Adelstein, Krishnaswamy",
        2023,
        arxiv="2312.04823",
        venue="CISS 2024",
    ),
    methods=(
        "representation.diffusion_spectral_entropy",
        "representation.diffusion_spectral_mutual_information",
        "representation.representation_trajectory",
    ),
    claims={
        "C1": Claim(
            "Binned entropies saturate in high dimension; diffusion entropy uses the geometry of the data",
            paper="section on definitions, and figure of the toy data (binned entropy constant), states no number",
        ),
        "C2": Claim(
            "Diffusion entropy and information measure dimension and dependence despite noise, better than binning, "
            "nearest neighbours and MINE",
            paper="figure of blobs: d = 20,000 without corruption, DSMI 0.58, MINE about 0.05; d = 20 from 1.3, 1.03 "
            "(MINE), 0.37 (NPEET) and 0 (binned) to 0 as corruption goes from 0 to 1",
        ),
        "C3": Claim("The entropy of the representation increases during training", paper="figures, state no number"),
        "C4": Claim(
            "Information on the label grows in training that generalises, and hardly under wrong labels",
            paper="figures, state no number",
        ),
        "C5": Claim("Information on the input rises on MNIST and falls on CIFAR-10", paper="figures, state no number"),
        "C6": Claim(
            "Low entropy at the start, from small convolution weights, trains faster and better",
            paper="figure of initialisations (0.01: near 0, 0.1: near log2 n), states no accuracy",
        ),
        "C7": Claim(
            "Information on the label predicts accuracy across networks",
            paper="figure of 962 networks of ImageNet, positive correlation; the value is not known to us",
        ),
        "C8": Claim("Entropy and information grow in training also where the scale is taken out", ours=True),
        "C9": Claim("The entropy from products with the kernel agrees with that of all eigenvalues", ours=True),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            training_seeds=2,
            toy_samples=80,
            toy_dim=64,
            signals=(5, 30, 64),
            noises=(0.1,),
            blob_samples=60,
            blob_dims=(20,),
            corruptions=(0.0, 0.5, 1.0),
            critic_epochs=5,
            clothes="digits",
            digits="digits",
            colour=None,
            n_train=150,
            n_test=80,
            epochs=2,
            random_epochs=2,
            stds=(0.01, 0.1),
            init_epochs=1,
            zoo=3,
            zoo_epochs=2,
            agreement_samples=150,
        ),
        "small": Settings(),
        "paper": Settings(
            seeds=10,
            toy_samples=500,
            toy_dim=2048,
            signals=(5, 25, 100, 400, 1000, 2048),
            blob_samples=5000,
            blob_dims=(20, 100, 1000, 20_000),
            n_train=60_000,
            epochs=200,
            random_epochs=200,
            zoo=200,
            agreement_samples=8000,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure what is known exactly first, then simulated data, then networks in training."""
    colour = settings.colour and lab.data(settings.colour, instead=None)
    clothes, digits = lab.data(settings.clothes), lab.data(settings.digits, instead="digits")
    settings = replace(settings, clothes=clothes, digits=digits, colour=colour)
    measure_exact(lab, settings)
    measure_blobs(lab, settings)
    true, random, more = measure_training(lab, settings)
    epochs = [epoch for epoch in EPOCHS if epoch <= max(settings.epochs, settings.random_epochs)]
    lab.figure("training", draw_training(epochs, true, random), caption=f"Last hidden layer on test {settings.clothes}")
    lab.figure("inputs", draw_inputs(epochs, more), caption="Information of the last hidden layer on the input")
    measure_start(lab, settings)
    found = lab.grid(zoo, settings, seed=settings.seeds)
    what = f"rank correlation of information on the label with test accuracy over {settings.zoo} perceptrons, {clothes}"
    lab.measure("C7", found["information rank"], at_least=0.5, what=f"{what}, bandwidth 10")
    lab.measure("C7", found["scale-free rank"], what=f"{what}, scale taken out")


def measure_exact(lab: Lab, settings: Settings) -> None:
    """C1 and C9, and the signals of C2."""
    exact = lab.cached("closed-forms", partial(closed_forms, settings))
    bars = {
        "clusters": (1e-8, "entropy of five tight clusters less log2 5"),
        "within a cluster": (1e-8, "largest entropy within one of five tight clusters"),
        "constant label": (1e-6, "information of five tight clusters on a constant label"),
        "one point": (1e-10, "entropy of 50 equal points"),
        "apart": (1e-8, "entropy of 64 points far apart less 6"),
        "long diffusion": (1e-6, "entropy at t = 4000 of five clusters with noise of 5, less log2 5"),
        "eigenvalues": (1e-12, "largest difference of an eigenvalue from that of the Markov matrix of 80 points"),
        "invariance": (1e-9, "change of the entropy under rotation, translation, permutation and scaling with sigma"),
    }
    for name, (bar, what) in bars.items():
        lab.measure("C1", exact[name], at_most=bar, what=what)
    toy = lab.grid(signal_in_noise, settings, noise=settings.noises, seed=settings.seeds)
    gap = np.abs(toy["binned"] - np.log2(settings.toy_samples)).max()
    lab.measure(
        "C1", gap, at_most=0.01, what="largest distance of the binned entropy (2 bins) from log2 n, all signals"
    )
    for noise, found in toy.by("noise").items():
        what = f"smallest rise of diffusion entropy from one number of signal dimensions to the next, noise {noise:g}"
        lab.measure("C2", found["least step"], at_least=0, what=what)
    lab.figure("signals", draw_signals(settings, toy), caption="Entropy of signals in noise")
    same = lab.grid(agreement, settings, t=(1, 2, 5), seed=settings.seeds)
    for t, found in same.by("t").items():
        what = f"difference of both ways to the entropy over the stated error, Gaussian points, t = {t}"
        lab.measure("C9", found["in errors"].max(), at_most=3, what=f"largest {what}")
    lab.table(
        "agreement", same, columns=("exact", "gap", "error"), caption="Entropy in bits; the estimate's gap, error"
    )


def measure_blobs(lab: Lab, settings: Settings) -> None:
    """C2: information of blobs on shuffled labels."""
    blobs = lab.grid(shuffled_blobs, settings, dim=settings.blob_dims, seed=settings.seeds)
    for dim, found in blobs.by("dim").items():
        what = f"three blobs in {dim} dimensions"
        lab.measure(
            "C2", found["falls"], at_most=-0.9, what=f"rank correlation of DSMI with corruption from 0.2, {what}"
        )
        lab.measure("C2", np.abs(found["DSMI"][:, -1]), at_most=0.05, what=f"|DSMI|, all labels shuffled, {what}")
        lab.measure("C2", np.abs(found["CSMI"]).max(), at_most=0.01, what=f"largest |CSMI|, 5 bins, {what}")
        bar = 0.0 if dim == settings.blob_dims[-1] else None
        for name in ("MINE", "kNN", "CSMI"):
            gain = found[f"{name} error"] - found["DSMI error"]
            lab.measure("C2", gain, at_least=bar, what=f"mean error in bits of {name} less that of DSMI, {what}")
    columns = ("DSMI error", "CSMI error", "kNN error", "MINE error")
    lab.table("blobs", blobs, columns=columns, caption="Mean distance in bits from the true information on the label")
    lab.figure("blobs", draw_blobs(settings, blobs), caption="Information on labels of which a share is shuffled")
