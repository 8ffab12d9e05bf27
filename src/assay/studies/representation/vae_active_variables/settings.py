"""Settings of the study of active and passive latent variables."""

from dataclasses import dataclass, field

from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """How many autoencoders are trained on how many squares, and how.

    Attributes:
        betas: Weights of the divergence at which representations are compared and used.
        hidden: Units of each of the two hidden layers there.
        sweep_betas: Weights of the divergence in the sweep.
        sweep_hidden: Units of each hidden layer there, and where half of the images are blank.
        samples: Squares; half of them train the models that read the codes, the other half test them.
        side: Pixels of an image's side.
        n_latents: Latent variables.
        n_iter: Steps of Adam.
        batch_size: Samples a step.
        lr: Learning rate.
    """

    seeds: int | Looks = field(default_factory=lambda: Looks((3, 5, 8)))
    betas: tuple[float, ...] = (1.0, 4.0)
    hidden: int = 256
    sweep_betas: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    sweep_hidden: int = 128
    samples: int = 8000
    side: int = 16
    n_latents: int = 10
    n_iter: int = 3000
    batch_size: int = 128
    lr: float = 1e-3
