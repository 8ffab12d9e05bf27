"""The rows of explanation disparities."""

import torch

from assay.attribution import bootstrap_gap, explanation_disparity
from assay.attribution.disparities import (
    simulate_concept_shift,
    simulate_covariate_shift,
    simulate_omitted_variable,
    simulate_sample_size,
)
from helpers.rows.standalone import Formula, Sampler


def _explained(source, n):
    p = torch.rand(2, n, generator=source, dtype=torch.float64)
    return p[0], p[1], torch.arange(n) % 2


def _gap(*explained):
    return bootstrap_gap(*explained, n_bootstrap=20, n_permutations=20)


ROWS = (
    Formula(explanation_disparity, _explained, rowwise=False),
    Formula(bootstrap_gap, _explained, run=_gap, rowwise=False),
    *(
        Sampler(draw, lambda generator, n, draw=draw: draw(n, generator=generator).x, (d,))
        for draw, d in (
            (simulate_sample_size, 2),
            (simulate_covariate_shift, 3),
            (simulate_concept_shift, 4),
            (simulate_omitted_variable, 2),
        )
    ),
)
