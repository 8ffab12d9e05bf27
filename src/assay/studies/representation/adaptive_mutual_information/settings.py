"""Settings of the study of information compression."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How many networks are trained with which activations and penalties, and when they are measured.

    Attributes:
        n_models: Networks of each activation and penalty, of one batched computation.
        activations: Activation functions of the hidden layers.
        penalty: Factor of the sum of squared hidden weights, against none.
        widths: Units of each hidden layer.
        epochs: Epochs at which layers are measured; the last one ends training.
        lr: Learning rate of Adam.
        batch_size: Samples a step.
        train_share: Share of the 4096 inputs that is trained on.
    """

    n_models: int = 24
    activations: tuple[str, ...] = ("tanh", "relu", "softplus", "elu")
    penalty: float = 0.01
    widths: tuple[int, ...] = (10, 7, 5, 4, 3)
    epochs: tuple[int, ...] = (0, 2, 5, 10, 20, 50, 100, 200, 300)
    lr: float = 2e-3
    batch_size: int = 256
    train_share: float = 0.5
