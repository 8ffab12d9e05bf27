import pytest
import torch
from scipy.stats import chisquare

from assay.core import InvalidInputError, seeded
from assay.generalization import QuantizedMLP, enumerate_functions, guess_and_check

PRIOR = QuantizedMLP((2, 1, 1))
DOMAIN = torch.cartesian_prod(*2 * [torch.tensor([-1.0, 0.0, 1.0])])
INDEX, LABELS = torch.tensor([0, 5, 7]), torch.tensor([-1, 1, 1])


def test_networks_follow_the_enumerated_posterior():
    found = guess_and_check(PRIOR, DOMAIN[INDEX], LABELS, n_networks=3000, generator=seeded(0))
    exact = enumerate_functions(PRIOR, DOMAIN)
    law = exact.posterior(INDEX, LABELS)
    drawn = 2 * (PRIOR.forward_batch(found.parameters, DOMAIN) > 0).long() - 1
    counts = (drawn[:, None] == exact.signs).all(2).sum(0)
    assert counts[law == 0].sum() == 0
    assert chisquare(counts[law > 0].numpy(), (3000 * law[law > 0]).numpy()).pvalue > 1e-3
    p = float(exact.probabilities[law > 0].sum())
    # The number of guesses is geometric; three standard errors.
    assert abs(float(found.guesses.double().mean()) - 1 / p) < 3 * (1 - p) ** 0.5 / p / 3000**0.5


def test_the_first_fit_in_the_order_of_draws_is_returned_whatever_the_batch():
    weights = PRIOR.sample(4000, seeded(3))
    fits = ((PRIOR.forward_batch(weights, DOMAIN[INDEX]) > 0) == (LABELS > 0)).all(1).nonzero()[:, 0]
    for size in (1, 7, 4000):
        options = {"batch_size": size, "generator": seeded(3)}
        found = guess_and_check(PRIOR, DOMAIN[INDEX], LABELS, n_networks=2, **options)
        assert torch.equal(found.parameters, weights[fits[:2]])
        assert found.guesses.cumsum(0).tolist() == [int(place) + 1 for place in fits[:2]]
        assert found.drawn == int(fits[1]) + 1


def test_labels_that_no_network_has_are_not_found():
    found = guess_and_check(PRIOR, DOMAIN[[0, 0]], torch.tensor([0, 1]), max_guesses=100)
    assert not found.accepted
    assert found.parameters.shape == (0, 5)
    assert found.drawn == 100
    assert "0 of 1 networks found in 100 draws" in str(found)


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="max_guesses"):
        guess_and_check(PRIOR, DOMAIN[INDEX], LABELS, max_guesses=0)
    with pytest.raises(InvalidInputError, match="binary labels"):
        guess_and_check(PRIOR, DOMAIN[INDEX], torch.tensor([0, 1, 2]))
    with pytest.raises(InvalidInputError, match="2 features"):
        guess_and_check(PRIOR, torch.zeros(3, 4), LABELS)
