import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.representation import variable_types


def test_variables_of_known_types() -> None:
    variances = torch.tensor([0.02, 0.05, 1.0, 0.95, 1.0], dtype=torch.float64).repeat(10, 1)
    variances[::2, 4] = 0.02
    found = variable_types(variances)
    assert (found.active.tolist(), found.passive.tolist(), found.mixed.tolist()) == ([0, 1], [2, 3], [4])
    torch.testing.assert_close(found.means[4], torch.tensor(0.51, dtype=torch.float64))
    torch.testing.assert_close(found.variances[4], torch.tensor(0.49**2, dtype=torch.float64))


def test_the_thresholds_are_those_of_the_definition() -> None:
    at = torch.tensor([[0.1, 0.9, 1.1, 0.11, 0.89, 1.11]], dtype=torch.float64)
    found = variable_types(at, mean_tolerance=0.1 + 1e-12)
    assert (found.active.tolist(), found.passive.tolist(), found.mixed.tolist()) == ([0], [1, 2], [3, 4, 5])
    assert variable_types(torch.tensor([[0.0], [0.2]]), variance_threshold=0.009).mixed.tolist() == [0]


@given(st.integers(0, 10_000), st.floats(0.001, 1.0), st.floats(0.01, 0.49))
def test_the_sets_are_a_partition(seed, threshold, tolerance) -> None:
    variances = 1.5 * torch.rand(4, 6, generator=seeded(seed)) ** 3
    found = variable_types(variances, variance_threshold=threshold, mean_tolerance=tolerance)
    together = torch.cat([found.active, found.passive, found.mixed])
    assert sorted(together.tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("variances", "options", "message"),
    [
        (-torch.ones(3, 2), {}, "sigma squared"),
        (torch.ones(0, 2), {}, "non-empty batch"),
        (torch.ones(3, 2), {"mean_tolerance": 0.6}, "mean_tolerance"),
        (torch.ones(3, 2), {"variance_threshold": 0.0}, "variance_threshold"),
    ],
)
def test_bad_input_is_refused(variances, options, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        variable_types(variances, **options)
