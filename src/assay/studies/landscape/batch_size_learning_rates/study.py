"""Learning Rates as a Function of Batch Size: A Random Matrix Theory Approach (Granziol, Zohren, Roberts, 2022).

A batch's Hessian has larger extreme eigenvalues than that of all samples, the more so the smaller the batch; the
largest stable learning rate follows. The two formulas are compared with random matrices, as means of ten draws, since
one draw fluctuates by about a percent. A tanh network on standardised digits, warmed up to one loss by Adam on all
samples, then gives the curvature of batches, and the largest rate that 150 further steps survive: all rates train at
once on the same batches, and the rate that half of the runs survive is estimated on a grid of half octaves.

Set in development, before the recorded run: a run counts as stable where it ends below its loss at the start and never
had more than twice that. The end alone counts runs that jump far away into another region and recover, and found no
plateau of SGD at large batches; it is reported beside. The learner takes a quarter of Polyak's rate, which is for a
quadratic, with the Ritz values of weight above 1e-6, on batches of 256; on batches of 64 it was not stable.

After eight seeds four claims are undecided. C2: means of ten sample covariances still fluctuate by about two percent
where P is four times b, and the bar is three; everything on the network holds. C3: SGD's largest rate still grows a
little from batches of 128 to 512, by 0.5 in log2, and the bar is 0.6. C4: Adam's slope is close to its upper bar of
0.8, nearer to SGD's than a square root is. C6: thirty Lanczos steps leave the smallest curvature of the quadratic so
uncertain that the momentum is off by up to three percent, and the bar is two; and where the learner has reached the
loss of the best rate it does not always stay there. Nothing else was tried: more seeds, draws or steps, planned after
this look, would not be a test. Noise with independent entries predicts a fiftieth of the excess on the network; the
one-parameter fit is the prediction to use. In a first recorded run the covariance cell raised the variance of the wrong
entries where there are as many samples as features; the random matrices alone were computed again.

Of the paper only the abstract was read, so that no number of its is beside ours.
"""

from assay.lab import Claim, Lab, Looks, Paper, Study
from assay.studies.landscape.batch_size_learning_rates.cells import (
    ceiling,
    convolutional,
    inflation,
    learner,
    predictions,
    quadratic,
)
from assay.studies.landscape.batch_size_learning_rates.figures import draw_ceilings, draw_inflation, draw_learner
from assay.studies.landscape.batch_size_learning_rates.matrices import additive, covariance
from assay.studies.landscape.batch_size_learning_rates.measures import (
    MATRICES,
    SMALL,
    measure_adam,
    measure_images,
    measure_inflation,
    measure_learner,
    measure_matrices,
    measure_sgd,
)
from assay.studies.landscape.batch_size_learning_rates.settings import Settings

ABSTRACT = "abstract, states no number"

STUDY = Study(
    slug="batch-size-learning-rates",
    paper=Paper(
        "Learning Rates as a Function of Batch Size: A Random Matrix Theory Approach to Neural Network Training",
        "Granziol, Zohren, Roberts",
        2022,
        arxiv="2006.09092",
        venue="JMLR",
    ),
    methods=(
        "landscape.batch_hessian_extremes",
        "landscape.learning_rates.batch_gauss_newton_extremes",
        "landscape.estimate_hessian_noise",
        "landscape.max_learning_rate",
        "landscape.scale_learning_rate",
        "landscape.LanczosLR",
    ),
    claims={
        "C1": Claim(
            "Extreme eigenvalues of a batch's Hessian are larger in magnitude than the full Hessian's, as in the "
            "spiked model (means of ten random matrices)",
            paper=ABSTRACT,
        ),
        "C2": Claim(
            "The largest eigenvalue of a batch's Gauss-Newton matrix is larger too (means of ten random matrices)",
            paper=ABSTRACT,
        ),
        "C3": Claim(
            "The largest stable learning rate of SGD grows linearly with the batch size, up to a plateau",
            paper=ABSTRACT,
        ),
        "C4": Claim("That of Adam grows as the square root of the batch size, slower than SGD's", paper=ABSTRACT),
        "C5": Claim("This holds for VGG and WideResNet on CIFAR-100 and ImageNet", paper=ABSTRACT),
        "C6": Claim(
            "Lanczos runs on batch Hessians set rate and momentum without repeated training (a quarter of Polyak's "
            "rate, Ritz values of weight above 1e-6)",
            paper="abstract, states good preliminary results and no number",
        ),
    },
    scales={
        "smoke": Settings(
            2,
            size=200,
            draws=2,
            matrix_batches=(50, 1000),
            ratios=(1.0,),
            samples=300,
            loss=1.5,
            curvature_batches=(16, 64, 256),
            batches=3,
            rate_batches=(2, 32, 128),
            plateau=(32, 128),
            n_iter=20,
            orders=1,
            learner_batch=64,
            learner_steps=20,
            images=100,
            image_seeds=1,
            image_epochs=1,
        ),
        "small": Settings(Looks((5, 8))),
        "paper": Settings(Looks((10, 20)), batches=50, orders=8, images=2000, image_seeds=5),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure random matrices first, then the curvature of batches, largest rates, and the learner."""
    seeds = settings.seeds
    spiked = lab.grid(additive, settings, seed=seeds)
    covariances = lab.grid(covariance, settings, ratio=settings.ratios, seed=seeds)
    sizes = settings.curvature_batches
    found = lab.grid(inflation, settings, matrix=tuple(MATRICES), batch=sizes, seed=seeds)
    rates = lab.grid(ceiling, settings, optimizer=("SGD", "Adam"), batch=settings.rate_batches, seed=seeds)
    small = tuple(size for size in settings.rate_batches if size <= SMALL)
    damped = lab.grid(ceiling, settings, name="damped", optimizer=("Adam, damping 1",), batch=small, seed=seeds)
    predicted = lab.grid(predictions, settings, seed=seeds)
    quadratics = lab.grid(quadratic, settings, seed=seeds)
    learnt = lab.grid(learner, settings, seed=seeds)
    images = lab.grid(convolutional, settings, batch=(16, 64), seed=settings.image_seeds)
    measure_matrices(lab, spiked, covariances, settings)
    for claim, matrix in (("C1", "hessian"), ("C2", "gauss_newton")):
        measure_inflation(lab, claim, MATRICES[matrix], found.at(matrix=matrix), settings)
    measure_sgd(lab, rates.at(optimizer="SGD"), predicted, settings)
    measure_adam(lab, rates, damped, settings)
    measure_images(lab, images)
    measure_learner(lab, quadratics, learnt, settings)
    columns = ("full", "mean", "iid excess", "excess", "excess times b", "smallest", "mean smallest")
    lab.table("inflation", found, columns=columns, caption="Extreme eigenvalues by matrix and batch size")
    lab.table("rates", rates, columns=("stable", "lower"), caption="log2 of the largest learning rate")
    columns = ("full", "mean", "excess", "iid excess", "training loss")
    lab.table("images", images, columns=columns, caption="Hessian of a convolutional network on Fashion-MNIST")
    columns = ("steps", "best rate", "target", "loss at as many steps")
    lab.table("learner", learnt, columns=columns, caption="Steps of the learner over those of the best hand-tuned rate")
    caption = "Largest learning rate at which training is stable, by batch size, and the two predictions for SGD"
    lab.figure("ceilings", draw_ceilings(rates, damped, predicted, settings.rate_batches), caption=caption)
    caption = "Largest eigenvalue on batches over that on all samples, and what noise with independent entries gives"
    lab.figure("inflation", draw_inflation(found), caption=caption)
    caption = "Training loss of the learner and of SGD with momentum 0.9 at the best of five rates"
    lab.figure("learner", draw_learner(learnt, settings.learner_steps), caption=caption)
