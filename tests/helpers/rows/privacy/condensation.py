"""The rows of `assay.privacy.condensation`."""

from functools import partial

import torch

from assay.core import seeded
from assay.privacy import CondensedReplay, DatasetCondenser, evaluate_condensed
from assay.privacy.condensation import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    SiameseAugmentation,
    gradient_distance,
    kernel_velocity,
)
from helpers.rows.base import Analysis, Estimator
from helpers.rows.standalone import Formula, Sampler
from helpers.rows.subjects import copy_of


def _gradient_matching(model, x, y, generator):
    synthetic = (1 - x).requires_grad_(x.is_floating_point())
    losses = [kind()(model, synthetic, y, x, y) for kind in (ClassWiseGradientMatching, ContrastiveGradientMatching)]
    return torch.stack(losses).detach(), torch.autograd.grad(sum(losses), synthetic)[0]


def _condenser(model, x, y):
    return {
        "n_per_class": 1,
        "model_fn": partial(copy_of, model),
        "n_outer_iter": 2,
        "n_inner_iter": 2,
        "outer_warmup": 1,
    }


def _replay(model, x, y, generator):
    condenser = DatasetCondenser(1, model_fn=partial(copy_of, model), n_outer_iter=1, n_inner_iter=1)
    return CondensedReplay(condenser).observe(x, y).memory


def _on_itself(model, x, y, generator):
    report = evaluate_condensed(x, y, x, y, model_fn=partial(copy_of, model), n_models=2, epochs=2)
    return report.accuracies


def _states(model, x, y):
    return {"states": [model.state_dict(), {name: -value for name, value in model.state_dict().items()}]}


def _two_gradients(source, n):
    return tuple({"weight": torch.randn(3, 4, generator=source).double(), "bias": torch.ones(3)} for _ in range(2))


def _augmented(generator, n):
    return SiameseAugmentation()(torch.rand(n, 1, 8, 8, generator=seeded(1)), generator)


ROWS = (
    Estimator(
        DatasetCondenser,
        options=_condenser,
        fit=lambda condenser, model, x, y: condenser.fit(x, y),
        needs_data=True,
        mini_batches=True,
    ),
    Analysis((ClassWiseGradientMatching, ContrastiveGradientMatching), run=_gradient_matching),
    Analysis(CondensedReplay, run=_replay),
    Analysis(evaluate_condensed, run=_on_itself),
    Analysis(kernel_velocity, options=_states),
    Formula(gradient_distance, _two_gradients, rowwise=False),
    Sampler(SiameseAugmentation, _augmented, (1, 8, 8), optional=False),
)
