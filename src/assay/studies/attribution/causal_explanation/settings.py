"""Settings of the study of causal explanations."""

from dataclasses import dataclass

from assay.lab import Looks
from assay.nets import Recipe

LOOKS = Looks((3, 5, 8))

RECIPE = Recipe(hidden=48, channels=(12, 24), epochs=5, lr=2e-3, batch_size=64)


@dataclass(frozen=True)
class Settings:
    """Networks, classes, and how many samples each measurement takes.

    Attributes:
        recipe: Network and training.
        n_train: Training samples.
        classes: Classes whose graphs are found.
        n_samples: Samples that a graph is found on.
        n_held_out: Samples of a class on which edits are measured, at most.
        n_random: Random graphs of the same size.
        betas: Lower ends of the soft interventions' weights.
        n_repeats: Draws for each.
        n_images: Images of each class whose maps are compared.
        n_neighbours: Noisy neighbours of each, of the estimate of the Lipschitz constant.
        poisoned: Share of the training samples that carry the patch of the backdoor.
    """

    seeds: int | Looks = LOOKS
    recipe: Recipe = RECIPE
    n_train: int = 8000
    classes: tuple[int, ...] = (0, 3, 8)
    n_samples: int = 100
    n_held_out: int = 300
    n_random: int = 20
    betas: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    n_repeats: int = 3
    n_images: int = 34
    n_neighbours: int = 10
    poisoned: float = 0.05
