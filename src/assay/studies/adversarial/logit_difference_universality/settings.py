"""Settings of the study of logit gaps."""

from dataclasses import dataclass

from assay.nets import Recipe

RECIPE = Recipe(hidden=(64, 64), epochs=10, batch_size=128)


@dataclass(frozen=True)
class Settings:
    """How the networks are trained, and how many images are attacked.

    Attributes:
        seeds: Networks of each of the five kinds.
        cheap_seeds: Seeds of the exact cases, the followed network and the search.
        other_seeds: Networks on other data and at each weight of the entropy.
        source: Data set of all networks but those on other data.
        digits: The other data set.
        n_train: Training images.
        recipe: The perceptrons and their training.
        train_eps: Radius of the adversarial training.
        n_fgsm: Images of the main error curves.
        n_other: Images of the other attacks and of the first-order prediction.
        n_rare: Images that are attacked instead where a network flips too few of them for a fit.
        n_law: Independent scores whose exponents are read off.
        n_followed: Training images of the followed network.
        entropy_weights: Weights of the entropy in the loss.
        n_attacked: Images on which these networks are attacked.
        children: Architectures that a search draws.
        child_train: Training images of a drawn architecture.
        child_epochs: Epochs of a drawn architecture.
        n_reward: Images that an architecture is chosen on, and as many that the choice is tested on.
    """

    seeds: int = 6
    cheap_seeds: int = 10
    other_seeds: int = 3
    source: str = "fashion-mnist"
    digits: str = "mnist"
    n_train: int = 20_000
    recipe: Recipe = RECIPE
    train_eps: float = 0.05
    n_fgsm: int = 5000
    n_other: int = 2000
    n_rare: int = 10_000
    n_law: int = 400_000
    n_followed: int = 60_000
    entropy_weights: tuple[float, ...] = (-0.5, 0.0, 0.5, 1.0)
    n_attacked: int = 2000
    children: int = 12
    child_train: int = 5000
    child_epochs: int = 3
    n_reward: int = 1000
