"""The rows of the faithfulness of attributions."""

import torch

from assay.attribution import block_images, diffroar, input_gradient_attribution, leakage
from assay.attribution.faithfulness import (
    attribute,
    mean_neuron_margin,
    predicted_classes,
    rank_coordinates,
    simplified_blocks,
    unmask,
)
from assay.core import SequentialTrainer
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Sampler
from helpers.rows.subjects import copied


def _diffroar(model, x, y, generator, batch_size=256):
    """Networks are copies of the model, not trained further: training is tried in the method's own test."""
    trainer = SequentialTrainer(lambda model, x, y, source: None)
    options = {"model_fn": lambda source: copied(model), "trainer": trainer, "fractions": (0.5, 1.0), "n_runs": 1}
    return diffroar(model, x, y, x, y, **options, batch_size=batch_size, generator=generator)


def _attribute(model, x, y, generator, batch_size=256):
    return attribute(
        lambda model, x, y: x * input_gradient_attribution(model, x, y), model, x, y, batch_size=batch_size
    )


def _scores(source, n):
    return (torch.randn(n, 5, generator=source, dtype=torch.float64),)


def _neurons(source, n):
    return tuple(torch.randn(n, *shape, generator=source, dtype=torch.float64) for shape in ((8,), ()))


def _images(source, n):
    return torch.rand(n, 1, 4, 4, generator=source, dtype=torch.float64), torch.arange(n) % 3


ROWS = (
    Analysis(diffroar, run=_diffroar),
    Analysis(input_gradient_attribution),
    Analysis(input_gradient_attribution, variant="loss", options={"of": "loss"}),
    Analysis(attribute, run=_attribute),
    Analysis(predicted_classes),
    Formula(rank_coordinates, _scores, refuses=("empty",)),
    Formula(
        unmask,
        lambda source, n: (*_scores(source, n), rank_coordinates(*_scores(source, n))),
        run=lambda x, ranks: unmask(x, ranks, 0.4),
    ),
    Formula(
        leakage,
        lambda source, n: (*_scores(source, n), torch.tensor([True, False, False, True, False]).expand(n, 5).clone()),
        run=lambda scores, mask: leakage(scores, mask, fraction=0.4).null_energy,
    ),
    Formula(mean_neuron_margin, _neurons, options={"blocks": 4}),
    Formula(block_images, _images, run=lambda x, y: block_images(x, y, placement="top").x, refuses=("rows", "empty")),
    Sampler(simplified_blocks, lambda generator, n: simplified_blocks(n, 4, noise=0.1, generator=generator).x, (4,)),
)
