"""Unconstrained Stochastic CCA: Unifying Multiview and Self-Supervised Learning (Chapman et al., 2024).

CCA and PLS ask for the top subspace of a generalised eigenvalue problem. A loss without constraints has that subspace
as its only minimum, and mini-batches give unbiased gradients. On the halves of scikit-learn's digits (K = 4) the
minimum is compared with the eigenproblem's solution, and training by mini-batches with the exact correlation and with
the stochastic generalised Hebbian algorithm (SGHA), both under Adam with the best of five learning rates. Encoders for
pairs of Fashion-MNIST images of one class (K = 10) are compared with linear CCA and with deep CCA's own loss on the
same mini-batches. A small convolutional network is trained on augmentations by the loss and by Barlow Twins. PLS of
20,000 features streams from a file.

Chosen before the record, after a look at seeds of their own: the norm of the first weights (0.03, 0.1, 0.3 and 1 were
tried, under Adam and SGD with momentum; 1 is worse for both rules, Hebbian most) and the learning rate of PLS. For the
other norms the two rules differ by less than 0.09 of 3.01, far less than where the Hebbian rule is started or tuned
worse. The learning rate of a run is the one with the best outcome, for both rules alike. The variance weight of VICReg
was 25 at first, under which its minimum is another subspace; 5 was chosen.

C5 fails in its error: the rate 0.02 ended 0.6% off on the data that it was chosen on, and 13% off on the record's own;
0.1 was 14% off. A falling rate was not tried. C3 and C4 miss their bars at batches of 100 in deep CCA, and C4 in three
cells of the linear comparison, where the best of five rates brings the Hebbian rule as far.
"""

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.representation.stochastic_cca.cells import (
    exact,
    gradient_means,
    large_pls,
    linear,
    linear_peers,
)
from assay.studies.representation.stochastic_cca.figures import draw_deep, draw_linear
from assay.studies.representation.stochastic_cca.images import (
    LOSSES,
    SSL_LOSSES,
    deep,
    linear_reference,
    self_supervised,
)
from assay.studies.representation.stochastic_cca.settings import Settings

RULES = ("eckart-young", "hebbian")

STUDY = Study(
    slug="stochastic-cca",
    paper=Paper(
        "Unconstrained Stochastic CCA: Unifying Multiview and Self-Supervised Learning",
        "Chapman, Wells, Lawry Aguila",
        2024,
        arxiv="2310.01012",
        venue="ICLR 2024",
    ),
    methods=(
        "representation.eckart_young_loss",
        "representation.EckartYoungLoss",
        "representation.StochasticCCA",
        "representation.StochasticPLS",
        "representation.DeepCCA",
        "representation.cca.closed_form_cca",
        "representation.cca.gep_subspace",
    ),
    claims={
        "C1": Claim(
            "CCA, canonical ridge and PLS are one family of generalised eigenvalue problems",
            paper="abstract, states no number",
        ),
        "C2": Claim(
            "An unconstrained loss characterises the top subspace of the problem",
            paper="main proposition, states no number",
        ),
        "C3": Claim(
            "Stochastic gradients of it give fast stochastic PLS, CCA and deep CCA",
            paper="abstract, states no number",
        ),
        "C4": Claim(
            "They converge faster and capture more correlation than earlier stochastic methods",
            paper="abstract: far faster convergence, higher correlations; the numbers of its figures were not read",
        ),
        "C5": Claim(
            "They make PLS of very many features feasible",
            paper="abstract: over 33,000 individuals and 500,000 features",
        ),
        "C6": Claim(
            "The loss matches CCA-family methods of self-supervised learning with little tuning",
            paper="abstract: on CIFAR-10 and CIFAR-100; the numbers of its table were not read",
        ),
        "C7": Claim(
            "Barlow Twins and VICReg with linear encoders find the top CCA subspace",
            paper="theory, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            starts=1,
            n_iter=100,
            ridges=(1.0,),
            draws=100,
            seeds=2,
            batches=(100,),
            epochs=(1, 5),
            rates=(0.1,),
            data="fashion",
            deep_seeds=2,
            deep_pairs=400,
            deep_batches=(100,),
            deep_epochs=1,
            deep_rates=(1e-3,),
            linear_ridges=(0.1,),
            ssl_seeds=2,
            ssl_images=250,
            ssl_epochs=1,
            probe_images=250,
            pls_rows=400,
            pls_features=400,
            pls_epochs=2,
        ),
        "small": Settings(),
        "paper": Settings(
            seeds=10,
            deep_seeds=5,
            deep_pairs=40_000,
            deep_epochs=50,
            ssl_images=60_000,
            ssl_epochs=200,
            probe_images=60_000,
            pls_rows=33_000,
            pls_features=250_000,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure the exact problem first, then training by mini-batches, then images."""
    data = lab.data(settings.data) or "fashion"
    solved = lab.grid(exact, settings, ridge=settings.ridges, start=tuple(range(settings.starts)))
    peers = lab.grid(linear_peers, settings, loss=("Barlow Twins", "VICReg"), start=tuple(range(settings.starts)))
    means = lab.grid(gradient_means, settings, seed=1)
    trained = lab.grid(
        linear, settings, rule=RULES, batch=settings.batches, epochs=settings.epochs, seed=settings.seeds
    )
    large = lab.grid(large_pls, settings, seed=1)
    reference = lab.grid(linear_reference, settings, data=(data,), seed=settings.deep_seeds)
    encoders = lab.grid(
        deep, settings, data=(data,), loss=tuple(LOSSES), batch=settings.deep_batches, seed=settings.deep_seeds
    )
    probes = lab.grid(self_supervised, settings, data=(data,), loss=tuple(SSL_LOSSES), seed=settings.ssl_seeds)
    encoders, reference, probes = encoders.at(data=data), reference.at(data=data), probes.at(data=data)
    measure_exact(lab, solved, peers)
    measure_gradients(lab, means)
    measure_linear(lab, trained)
    measure_deep(lab, encoders, reference)
    measure_large(lab, large)
    measure_probes(lab, probes)
    caption = "Best correlation on the training rows over learning rates, digits, and its share of the exact one"
    lab.table("linear", trained, columns=("correlation", "share"), caption=caption)
    lab.table("deep", encoders, columns=("correlation",), caption="Test correlation captured by deep CCA, of 10")
    lab.table("probes", probes, columns=("accuracy",), caption="Test accuracy of a logistic probe")
    caption = "Share of the exact correlation on the training rows; bars are standard deviations over seeds"
    lab.figure("linear", draw_linear(trained), caption=caption)
    lab.figure("deep", draw_deep(encoders, reference), caption="Test correlation of deep CCA on pairs of one class")


def measure_exact(lab: Lab, solved: Grid, peers: Grid) -> None:
    """C1, C2 and C7: minima of the losses against the eigenproblem, from several starts."""
    for ridge, found in solved.by("ridge").items():
        name = f"ridge {ridge:g}, digits, K = 4"
        what = f"largest difference of an eigenvalue of `closed_form_cca` from SciPy's, {name}"
        lab.measure("C1", found["closed form"].max(), at_most=1e-6, what=what)
        what = f"difference of the loss at its minimum from minus the sum of squared eigenvalues, worst start, {name}"
        lab.measure("C2", found["gap"].max(), at_most=1e-6, what=what)
        what = f"smallest principal cosine of the minimiser and SciPy's top eigenvectors, worst start, {name}"
        lab.measure("C2", found["cosine"].min(), at_least=1 - 1e-6, what=what)
    for loss, found in peers.by("loss").items():
        what = f"smallest principal cosine of {loss}'s minimiser over linear maps and CCA's space, worst start, digits"
        lab.measure("C7", found["cosine"].min(), at_least=0.999, what=what)


def measure_gradients(lab: Lab, means: Grid) -> None:
    """C3: gradients of two batches are unbiased, those of one are not."""
    what = "mean gradient of pairs of batches of ten less the full gradient, along the weights, in standard errors"
    lab.measure("C3", means["two batches"][0], at_most=3, what=what)
    what = "mean gradient of single batches of ten less the full gradient, along the weights, in standard errors"
    lab.measure("C3", means["one batch"][0], at_least=3, what=what)


def measure_linear(lab: Lab, trained: Grid) -> None:
    """C3 and C4: the share of the exact correlation, and the difference from the Hebbian rule."""
    for batch in trained.factors["batch"]:
        for epochs in trained.factors["epochs"]:
            ours, theirs = (trained.at(rule=rule, batch=batch, epochs=epochs)["correlation"] for rule in RULES)
            where = (
                f"digits, K = 4, batches of {batch}, {epochs} epochs"
                if epochs > 1
                else (f"digits, K = 4, batches of {batch}, one epoch")
            )
            what = f"correlation captured on the training rows, Eckart-Young less Hebbian, {where}"
            lab.measure("C4", ours - theirs, at_least=0.0, what=what)
            share = trained.at(rule="eckart-young", batch=batch, epochs=epochs)["share"]
            bar = {5: 0.97, 20: 0.99}.get(epochs)
            lab.measure("C3", share, at_least=bar, what=f"share of the exact correlation captured, {where}")


def measure_deep(lab: Lab, encoders: Grid, reference: Grid) -> None:
    """C3 and C4: deep CCA against linear CCA, and against its own loss."""
    for batch in encoders.factors["batch"]:
        ours, theirs = (encoders.at(loss=loss, batch=batch)["correlation"] for loss in LOSSES)
        where = f"pairs of one class, K = 10, batches of {batch}"
        what = f"test correlation of deep CCA by the Eckart-Young loss less that of linear CCA, {where}"
        lab.measure("C3", ours - reference["correlation"], at_least=1.0, what=what)
        what = f"test correlation of deep CCA by the Eckart-Young loss less that by the full objective, {where}"
        lab.measure("C4", ours - theirs, at_least=1.0 if batch == 20 else 0.0, what=what)


def measure_large(lab: Lab, large: Grid) -> None:
    """C5: singular values and memory of PLS from a file."""
    what = (
        "largest relative error of the three leading singular values, 20,000 features, against SciPy's Lanczos solver"
    )
    lab.measure("C5", large["error"][0], at_most=0.02, what=what)
    what = "growth of the process's peak memory over the size of the views' cross-covariance in float32"
    lab.measure("C5", large["memory"][0], at_most=0.1, what=what)


def measure_probes(lab: Lab, probes: Grid) -> None:
    """C6: accuracy of a probe against Barlow Twins and the network before training."""
    ours, twins, random = (probes.at(loss=loss)["accuracy"] for loss in SSL_LOSSES)
    what = "accuracy of a logistic probe, Eckart-Young loss less Barlow Twins, Fashion-MNIST"
    lab.measure("C6", ours - twins, at_least=-0.02, what=what)
    what = "accuracy of a logistic probe, Eckart-Young loss less random weights, Fashion-MNIST"
    lab.measure("C6", ours - random, at_least=0.01, what=what)
