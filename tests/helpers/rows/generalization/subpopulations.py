"""The rows of subpopulations."""

import torch

from assay.generalization import (
    moon_shape,
    subgroup_accuracy,
)
from assay.generalization.subpopulations import (
    balanced_accuracy,
    balanced_subgroups,
    count_cells,
    draw_cells,
    mixture_accuracy,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Sampler


def _cells(n):
    """Labels and groups of n samples, each cell in turn."""
    return torch.arange(n) % 2, torch.arange(n) // 2 % 2


def _drawn(generator, n):
    table = torch.tensor([[n - n // 2, 0], [0, n // 2]])
    return draw_cells(*_cells(8 * n), table, generator=generator)


def _shares(source, n):
    return torch.rand(2, n, generator=source, dtype=torch.float64).unbind()


def _answers(source, n):
    return torch.rand(n, generator=source) < 0.5, torch.randint(2, (n,), generator=source), torch.arange(n) % 2


def _moon(a, b):
    found = moon_shape(a, b, n_majority=100, n_minority=100)
    return a.new_tensor([found.fits.r2_quadratic, found.probit.r2_linear, found.knee.r2, found.chord_deviation])


ROWS = (
    Analysis(subgroup_accuracy, options=lambda model, x, y: {"groups": torch.arange(len(x)) % 2}),
    Sampler(draw_cells, _drawn, ()),
    Sampler(balanced_subgroups, lambda source, n: balanced_subgroups(*_cells(2 * n), generator=source)[0][:n], ()),
    Formula(count_cells, _answers, run=lambda *cells: count_cells(*cells).right, rowwise=False),
    Formula(
        balanced_accuracy,
        lambda source, n: (torch.randint(9, (n, 2, 2), generator=source),),
        run=lambda right: balanced_accuracy(right, torch.full((2, 2), 9), torch.eye(2).bool()),
        refuses=(),
    ),
    Formula(mixture_accuracy, _shares, options={"share": 0.9}, refuses=("rows",)),
    Formula(moon_shape, _shares, run=_moon, rowwise=False),
)
