"""Settings of the study of training instabilities."""

from dataclasses import dataclass

from assay.generalization.instability import LEARNING_RATES
from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """Sizes of the networks and lengths of their training.

    Attributes:
        seeds: Networks at each learning rate of every sweep, and of each forecast.
        lrs: Learning rates of the sweeps without and with qk-layernorm and with all techniques together.
        n_iter: Steps of these, of the runs with a z-loss and of those with enforced logits.
        few_seeds: Networks for each coefficient of the z-loss and each kappa.
        effect_lrs: Learning rates at which the other interventions are compared.
        effect_iter: Steps of these.
        dim: Width, with one head.
        depth: Blocks.
        mup_base_dim: Width from which muParam transfers the learning rate.
        deep: Width, blocks and heads of the network that is deepened.
        wide: Those of the network that is widened to as many parameters.
        penalties: Coefficients of the z-loss.
        growth_lrs: Learning rates at which output logits are followed without a z-loss.
        forecast_dims: Widths, with heads of size 8; the last is forecast from the others.
        forecast_lrs: Learning rates of the forecasts.
        forecast_iter: Step at which logits and gradients are read, in a schedule of `n_iter` steps.
        kappas: Enforced mean squares of queries and keys.
        context: Characters that a network reads.
        batch_size: Windows of text a step.
        characters: Characters of text in all; the last tenth is for validation.
        windows: Windows of the validation loss.
    """

    seeds: int | Looks = 3
    lrs: tuple[float, ...] = LEARNING_RATES
    n_iter: int = 300
    few_seeds: int = 4
    effect_lrs: tuple[float, ...] = LEARNING_RATES[3:]
    effect_iter: int = 150
    dim: int = 32
    depth: int = 2
    mup_base_dim: int = 16
    deep: tuple[int, int, int] = (16, 4, 2)
    wide: tuple[int, int, int] = (24, 2, 3)
    penalties: tuple[float, ...] = (0.0, 1e-3, 1e-1)
    growth_lrs: tuple[float, ...] = (3e-3, 3e-1)
    forecast_dims: tuple[int, ...] = (8, 16, 24, 32, 40, 48)
    forecast_lrs: tuple[float, ...] = (1e-2, 1e-1)
    forecast_iter: int = 100
    kappas: tuple[float, ...] = (1.0, 1e4)
    context: int = 32
    batch_size: int = 16
    characters: int = 400_000
    windows: int = 256
