"""Settings of the study of NormGrad."""

from dataclasses import dataclass, field

from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """Sizes of the networks and of the sets of images.

    Attributes:
        n_train: Training canvases, half of them with a second digit as the distractor, half with a Fashion item.
        channels: Of each block of convolution, batch norm and ReLU; all but the last end with pooling.
        n_test: Canvases on which maps are scored by the place of the digit.
        n_tune: Canvases of two digits on which the inner step and the score are chosen.
        n_pairs: Other canvases of two digits, on which class sensitivity is measured.
        eps: Inner steps that are tried.
        digits: Data set of the labelled objects.
        items: Data set of the other distractors.
    """

    seeds: int | Looks = field(default_factory=lambda: Looks((3, 5, 8)))
    n_train: int = 4000
    epochs: int = 10
    channels: tuple[int, ...] = (8, 16, 32, 32)
    n_test: int = 200
    n_tune: int = 16
    n_pairs: int = 50
    eps: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    digits: str = "mnist"
    items: str = "fashion-mnist"
