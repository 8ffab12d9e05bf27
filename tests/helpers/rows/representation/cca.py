"""The rows of stochastic CCA."""

import torch

from assay.nets import mlp
from assay.representation import DeepCCA, EckartYoungLoss, eckart_young_loss
from assay.representation.cca import (
    BarlowTwinsLoss,
    FullCCALoss,
    LinearCCA,
    VICRegLoss,
    canonical_correlations,
    cca_gep,
    closed_form_cca,
    gep_subspace,
    total_correlation_captured,
)
from helpers.rows.standalone import Formula, Module


def _views(source, n):
    return tuple(torch.randn(n, 2, generator=source, dtype=torch.float64) for _ in range(2))


def _problem(source, n):
    a, b = torch.randn(2, n, 4, generator=source, dtype=torch.float64)
    return a.mT @ a, b.mT @ b + torch.eye(4, dtype=torch.float64)


def _maps(z1, z2):
    one = torch.eye(2, dtype=z1.dtype)
    return LinearCCA((one, one), (z1.new_zeros(2), z1.new_zeros(2)), z1.new_ones(2))


ROWS = (
    Formula(eckart_young_loss, _views, run=lambda *views: eckart_young_loss(views), rowwise=False),
    Formula(cca_gep, _views, run=lambda *views: cca_gep(views, ridge=0.1), rowwise=False),
    Formula(closed_form_cca, _views, run=lambda *views: closed_form_cca(views, 1).eigenvalues, rowwise=False),
    Formula(LinearCCA, _views, run=lambda *views: _maps(*views).correlations(views), rowwise=False),
    Formula(gep_subspace, _problem, run=lambda a, b: gep_subspace(a, b, 2).eigenvalues, rowwise=False),
    Formula(canonical_correlations, _views, rowwise=False),
    Formula(total_correlation_captured, _views, rowwise=False),
    Module(EckartYoungLoss, _views, rowwise=False),
    Module(FullCCALoss, _views, options={"ridge": 0.1}, rowwise=False),
    Module(BarlowTwinsLoss, _views, rowwise=False),
    Module(VICRegLoss, _views, rowwise=False),
    Module(
        DeepCCA,
        _views,
        build=lambda source: DeepCCA([mlp((2, 3, 2), generator=source), mlp((2, 3, 2), generator=source)]),
    ),
)
