"""The rows of active and passive latent variables."""

import torch

from assay.representation import compare_representations, total_correlation, variable_types
from assay.representation.latent_variables import (
    correlation_matrix,
    effective_rank,
    mutual_information_score,
    sampled_correlation,
)
from helpers.rows.standalone import Formula


def _codes(source, n):
    return (torch.randn(n, 3, generator=source, dtype=torch.float64),)


def _variances(source, n):
    return (torch.rand(n, 3, generator=source, dtype=torch.float64),)


def _posterior(source, n):
    return (*_codes(source, n), torch.randn(n, 3, generator=source, dtype=torch.float64))


ROWS = (
    Formula(variable_types, _variances, rowwise=False, refuses=("axis", "empty")),
    Formula(correlation_matrix, _codes, rowwise=False, refuses=("axis", "empty")),
    Formula(total_correlation, _codes, rowwise=False, refuses=("axis", "empty")),
    Formula(mutual_information_score, _codes, rowwise=False, refuses=("axis", "empty")),
    Formula(effective_rank, _codes, rowwise=False, refuses=("axis", "empty")),
    Formula(sampled_correlation, _posterior, rowwise=False),
    Formula(compare_representations, _posterior, rowwise=False),
)
