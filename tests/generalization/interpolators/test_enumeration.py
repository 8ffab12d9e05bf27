from itertools import product

import pytest
import torch

from assay.core import InvalidInputError
from assay.generalization import QuantizedMLP, enumerate_functions

DOMAIN = torch.cartesian_prod(*2 * [torch.tensor([-1.0, 0.0, 1.0])])
TEACHER = torch.where(DOMAIN.sum(1) > 0, 1, -1)


@pytest.mark.parametrize("scaled", [False, True])
def test_counts_are_those_of_a_loop_over_all_weights(scaled):
    prior = QuantizedMLP((2, 1, 1), scaled_neurons=scaled)
    expected = {}
    for weights in product((-1.0, 0.0, 1.0), repeat=prior.n_parameters):
        w1, w2, bias, *rest = weights
        scale, (out, out_bias) = (rest[0], rest[1:]) if scaled else (1.0, rest)
        signs = tuple(
            1 if out * max(scale * (w1 * a + w2 * b) + bias, 0) + out_bias > 0 else -1 for a, b in DOMAIN.tolist()
        )
        expected[signs] = expected.get(signs, 0) + 1
    found = enumerate_functions(prior, DOMAIN, batch_size=100)
    assert {
        tuple(signs): count for signs, count in zip(found.signs.tolist(), found.counts.tolist(), strict=True)
    } == expected


def test_the_prior_of_wider_networks_is_as_computed_for_the_specification():
    found = [enumerate_functions(QuantizedMLP((2, width, 1)), DOMAIN) for width in (1, 2)]
    assert [len(prior.counts) for prior in found] == [26, 150]
    assert [prior.teacher_probability(TEACHER) for prior in found] == pytest.approx([3 / 243, 0.0158], abs=1e-4)
    assert [float(prior.probabilities[0]) for prior in found] == pytest.approx([0.535, 0.447], abs=1e-3)


def test_risk_is_the_posterior_mean_of_the_error():
    prior, index = enumerate_functions(QuantizedMLP((2, 1, 1)), DOMAIN), torch.tensor([0, 5, 5])
    mass, risk = 0.0, 0.0
    for signs, count in zip(prior.signs, prior.counts, strict=True):
        if all(signs[i] == TEACHER[i] for i in index):
            mass += float(count)
            risk += float(count) * float((signs != TEACHER).double().mean())
    assert prior.risk(index, TEACHER) == pytest.approx(risk / mass)
    assert float(prior.posterior(index, TEACHER[index]).sum()) == pytest.approx(1)


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="too many to enumerate"):
        enumerate_functions(QuantizedMLP((2, 9, 1)), DOMAIN)
    prior = enumerate_functions(QuantizedMLP((2, 1, 1)), DOMAIN)
    with pytest.raises(InvalidInputError, match="label the whole domain"):
        prior.teacher_probability(TEACHER[:3])
    with pytest.raises(InvalidInputError, match="no weights fit"):
        prior.posterior(torch.tensor([0, 0]), torch.tensor([1, -1]))
