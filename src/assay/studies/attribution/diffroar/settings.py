"""Settings of the study of DiffROAR."""

from dataclasses import dataclass, field

from assay.lab import Looks


@dataclass(frozen=True)
class Training:
    """Size and training of a network; standard and robust training share them.

    Attributes:
        samples: Training samples.
        hidden: Units of each hidden layer.
        epochs: Epochs of Adam, standard and adversarial; the learning rate falls to 0 along a cosine.
        lr: Its learning rate.
        weight_decay: Decoupled weight decay.
        norm: "inf" or "2", the norm of the adversarial perturbations.
        eps: Their radius, which grows linearly over the first half of the epochs.
        attack_steps: Steps of PGD.
    """

    samples: int
    hidden: tuple[int, ...]
    epochs: int
    lr: float
    norm: str
    eps: float
    attack_steps: int
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Settings:
    """Data, networks and retraining.

    Attributes:
        seeds: Independent repetitions of all networks.
        noise: Scale of the noise of the vectors.
        features: Coordinates of the vectors, half of them relevant.
        vectors: Networks on the vectors; the standard one is trained by SGD.
        sgd_epochs: Epochs of SGD at 0.1 there.
        digits: Data of the signal blocks.
        blocks: Networks on BlockMNIST.
        clothes: Real data.
        images: Networks on them.
        retrain_epochs: Epochs of Adam of each retrained network.
        n_runs: Retrained networks at each level and end, for each seed; the seeds repeat them too.
        fractions: Shares of pixels kept on real data.
        test: Test samples.
    """

    seeds: int | Looks = field(default_factory=lambda: Looks((3, 5, 7)))
    noise: float = 0.05
    features: int = 20
    vectors: Training = Training(2000, (500,), 60, 3e-3, "inf", 0.45, 8)
    sgd_epochs: int = 30
    digits: str = "mnist"
    blocks: Training = Training(3000, (128, 128), 12, 3e-3, "2", 2.0, 7, weight_decay=5.0)
    clothes: str = "fashion-mnist"
    images: Training = Training(4000, (128, 128), 12, 1e-3, "2", 1.5, 7)
    retrain_epochs: int = 10
    n_runs: int = 1
    fractions: tuple[float, ...] = (0.05, 0.2, 0.5)
    test: int = 2000
