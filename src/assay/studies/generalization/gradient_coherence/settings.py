"""Settings of the study of gradient coherence."""

from dataclasses import dataclass

from assay.lab import Looks

LOOKS = Looks((3, 5, 8))


@dataclass(frozen=True)
class Settings:
    """Sizes of the data, of training, and of the samples on which coherence is measured.

    Attributes:
        n_train: Training samples; the other digits are test samples.
        n_eval: Training samples of which coherence is measured.
        least_epochs: Epochs of training on true and on random labels, while coherence is traced, where all labels are
            fitted by then.
        trace_epochs: Most epochs of it.
        noisy_epochs: Epochs of training on labels of which half are permuted.
        sgd_epochs: Epochs of the baseline of robust descent.
        robust_epochs: Epochs of robust descent.
        lrs: Learning rates of the baseline and of winsorized descent, the best of which counts; that of medians is 0.3.
        clipped: Samples that are clipped on each side, of 50.
        batches: Mini-batches of each size in the estimate without gradients of samples.
        stability_steps: Steps of full-batch descent on data of which one sample is replaced.
        replacements: Replaced samples, one in each pair of runs.
    """

    seeds: int | Looks = LOOKS
    n_train: int = 1000
    n_eval: int = 500
    least_epochs: int = 200
    trace_epochs: int = 600
    noisy_epochs: int = 400
    sgd_epochs: int = 300
    robust_epochs: int = 150
    lrs: tuple[float, ...] = (0.1, 0.3, 0.5)
    clipped: tuple[int, ...] = (2,)
    batches: int = 2000
    stability_steps: int = 200
    replacements: int = 5
