"""Settings of the study of attacks that know more than the weights."""

from dataclasses import dataclass

from assay.studies.reconstruction.shared.victims import Victim

CONVERGED_ENOUGH = Victim("mnist", 30, (500,), 7_000)


@dataclass(frozen=True)
class Settings:
    """Networks and attacks.

    Networks with known start have the `widths`, from narrow to wide, and are trained for `steps` at a rate `lr` that is
    small, so that few gates change. Simulated training has `digits` images; `shadows` teach a network to read linear
    heads, `head_victims` are attacked. The `ablation` has networks with weight decay and unknown start.
    """

    seeds: int = 3
    source: str = "mnist"
    n: int = 30
    widths: tuple[int, int, int] = (128, 512, 2048)
    steps: int = 6_000
    lr: float = 1e-3
    n_restarts: int = 2
    max_iter: int = 1500
    digits: int = 6
    digit_steps: int = 8
    digit_lr: float = 0.5
    digit_iter: int = 500
    shadows: int = 4_000
    head_victims: int = 300
    head_steps: int = 30
    head_lr: float = 0.5
    noises: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    reader_steps: int = 1_000
    ablation: Victim = CONVERGED_ENOUGH
    ablation_seconds: float = 30.0
