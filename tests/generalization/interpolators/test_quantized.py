import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.generalization import QuantizedMLP


def by_hand(prior, flat, x):
    """Evaluate one network in NumPy, by the formula of the paper."""
    flat, hidden, widths = flat.numpy(), x.numpy(), prior.widths
    for layer in range(1, len(widths)):
        n_in, n_out, last = widths[layer - 1], widths[layer], layer == len(widths) - 1
        weight, flat = flat[: n_in * n_out].reshape(n_out, n_in), flat[n_in * n_out :]
        bias, flat = flat[:n_out], flat[n_out:]
        hidden = hidden @ weight.T
        if prior.scaled_neurons and not last:
            hidden, flat = hidden * flat[:n_out], flat[n_out:]
        hidden = hidden + bias
        if not last:
            hidden = np.maximum(hidden, 0)
    assert len(flat) == 0
    return hidden[:, 0]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans(), st.integers(0, 99))
def test_outputs_are_those_of_the_formula(widths, scaled, seed):
    prior = QuantizedMLP((*widths, 1), (-2.0, -0.5, 0.0, 1.0), scaled)
    weights = prior.sample(3, seeded(seed), dtype=torch.float64)
    x = torch.randn(5, widths[0], dtype=torch.float64, generator=seeded(seed + 1))
    expected = np.stack([by_hand(prior, one, x) for one in weights])
    np.testing.assert_allclose(prior.forward_batch(weights, x).numpy(), expected, atol=1e-12)


def test_weights_are_uniform_on_the_levels():
    weights = QuantizedMLP((3, 4, 1)).sample(20_000, seeded(0))
    shares = [(weights == level).double().mean(0) for level in (-1, 0, 1)]
    # Four standard errors of a share of 1/3; 63 shares are compared.
    assert all((share - 1 / 3).abs().max() < 4 * (2 / 9 / 20_000) ** 0.5 for share in shares)


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="widths must be"):
        QuantizedMLP((2, 3))
    with pytest.raises(InvalidInputError, match="levels must be"):
        QuantizedMLP((2, 1), (1.0, 1.0))
    with pytest.raises(InvalidInputError, match="2 features"):
        QuantizedMLP((2, 1)).forward_batch(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(InvalidInputError, match="3 columns"):
        QuantizedMLP((2, 1)).forward_batch(torch.zeros(1, 4), torch.zeros(1, 2))
