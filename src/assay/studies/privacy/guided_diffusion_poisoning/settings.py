"""Settings of the study of poisons from guided diffusion."""

from dataclasses import dataclass

from assay.nets import Recipe

RECIPE = Recipe((64, 64), epochs=20, lr=3e-3, batch_size=50)


@dataclass(frozen=True)
class Model:
    """One diffusion model: its data, averaged down to a size, its sampler, and the number of targets attacked."""

    source: str
    size: int
    targets: int
    recurrence: int
    stride: int


@dataclass(frozen=True)
class Settings:
    """How poisons are made and tried.

    Surrogate, judge and victims have one recipe. `backdoors` pairs of classes are tried with the mixture, which has
    `components` for each class. `matching` and `labelling` weigh the guidance's two losses. Attacks move a pixel by up
    to `eps`; images lie in [0, 1].
    """

    mixture: Model = Model("digits", 8, targets=20, recurrence=3, stride=1)
    unet: Model = Model("mnist", 14, targets=5, recurrence=2, stride=4)
    backdoors: int = 10
    victims: int = 3
    n_clean: int = 1200
    n_poisons: int = 40
    recipe: Recipe = RECIPE
    components: int = 3
    channels: tuple[int, int] = (16, 32)
    unet_steps: int = 600
    unet_batch: int = 64
    strength: float = 5.0
    matching: float = 1.0
    labelling: float = 0.3
    eps: float = 0.3
    steps: int = 60
    lr: float = 0.05
