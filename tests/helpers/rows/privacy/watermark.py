"""The rows of `assay.privacy.watermark`."""

from functools import partial

import torch

from assay.privacy import (
    SmoothedWatermark,
    TriggerSet,
    certify_watermark,
)
from assay.privacy.watermark import (
    Pruning,
    Quantisation,
    RandomShift,
    Retraining,
    TriggerAscent,
    percentile_bounds,
    smoothed_trigger_accuracy,
    smoothed_trigger_gradient,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Sampler
from helpers.rows.subjects import relu_network

sgd = partial(torch.optim.SGD, lr=0.1)


def _triggers(model, x, y):
    return {"triggers": TriggerSet(x, label=1), "sigma": 0.3, "n": 9}


def _removal(attack, **row):
    def run(model, x, y, generator):
        triggers = TriggerSet(x, label=1)
        options = {"test": (x, y), "sigma": 0.3, "n_draws": 5, "generator": generator}
        report = attack.run(model, x, y, triggers=triggers, **options)
        return report.model, report.norm, report.history

    return Analysis(type(attack), run=run, **row)


def _taught(model, x, y, generator):
    watermark = SmoothedWatermark(sigma=0.1, n_levels=2, n_noise=3, warmup=1)
    options = {"triggers": TriggerSet(x, label=1), "optimizer": sgd, "epochs": 2, "generator": generator}
    return watermark.train(model, x, y, **options)


def _noisy_triggers(generator, n):
    return TriggerSet.from_noise(torch.full((n, 4), 0.5), generator=generator, input_range=(-9.0, 9.0)).x


ROWS = (
    Analysis(smoothed_trigger_accuracy, options=_triggers, random=True),
    Analysis(smoothed_trigger_gradient, options=_triggers, random=True),
    _removal(TriggerAscent(0.5, sigma=0.3, n_noise=5, n_iter=3), random=True),
    _removal(RandomShift(0.5), random=True),
    _removal(Pruning()),
    _removal(Quantisation()),
    _removal(Retraining(0.5, epochs=2, lr=0.01), model=relu_network),  # dropout would draw other masks in float32
    Analysis(SmoothedWatermark, run=_taught, trains=True, model=relu_network, random=True),
    Sampler(TriggerSet, lambda generator, n: _noisy_triggers(generator, n), (4,)),
    Formula(
        certify_watermark,
        lambda source, n: (torch.rand(200, generator=source).double(), 1.0, [0.0, 0.5]),
        rowwise=False,
    ),
    Formula(
        percentile_bounds,
        lambda source, n: (0.5, 1.0, 1.0),
        rowwise=False,
        wrong={"no fraction": lambda: (1.5, 1.0, 1.0), "no noise": lambda: (0.5, 1.0, 0.0)},
    ),
)
