import pytest
import torch
from torch import nn

from assay.core import seeded
from assay.reconstruction import normalized_correlation
from assay.reconstruction.known_start.exact import corrected, exact_samples, owners
from assay.reconstruction.known_start.inactive_units import certified, read_unit_rows, unmixed
from assay.reconstruction.known_start.path import read_ends
from assay.reconstruction.known_start.prior import Prior

N, D, WIDTH = 6, 20, 120


def network(weight, bias):
    net = nn.Sequential(nn.Linear(D, WIDTH, bias=bias is not None), nn.ReLU(), nn.Linear(WIDTH, 1)).double()
    net[0].weight.data = weight
    if bias is not None:
        net[0].bias.data = bias
    return net


def trained(*, biases=True, inactive=True, dtype=torch.float64, size=0.05, alike=False):
    """Return both ends of a training that added to each unit multiples of the samples that activate it, and these."""
    source = seeded(0)
    samples = torch.randn(N, D, generator=source).double()
    samples[1] = samples[0] + 0.5 * samples[1] if alike else samples[1]
    weight = torch.randn(WIDTH, D, generator=source).double() / D**0.5
    bias = 0.1 * torch.randn(WIDTH, generator=source).double() if biases else None
    learned = size * torch.randn(WIDTH, N, generator=source).double()
    if inactive:
        learned *= weight @ samples.T + (0 if bias is None else bias[:, None]) > 0
    ends = [
        network(weight, bias),
        network(weight + learned @ samples, None if bias is None else bias + learned.sum(1)),
    ]
    return read_ends(*(end.to(dtype) for end in ends), share=1.0), samples, learned


def coordinates(ends, samples):
    return samples @ ends.moved.basis.double().T


def near(ends, samples, error):
    """Return candidates near the samples, three for each."""
    noise = error * torch.randn(3 * N, N, generator=seeded(1)).double()
    return coordinates(ends, samples).repeat(3, 1) + noise


PRIOR = Prior(torch.zeros(N).double(), torch.ones(N).double())


@pytest.mark.parametrize("biases", [True, False])
def test_candidates_near_the_samples_lead_to_the_samples_themselves(biases):
    ends, samples, _ = trained(biases=biases)
    found = exact_samples(read_unit_rows(ends, PRIOR), near(ends, samples, 0.5), seed=0)
    assert found.n_found == N
    assert float(found.agreement.min()) > 0.8
    best = normalized_correlation(coordinates(ends, samples), found.samples).argmax(1)
    assert sorted(best.tolist()) == list(range(N))
    rest = found.samples[best] - coordinates(ends, samples)
    if biases:
        assert float(rest.abs().max()) < 1e-6
    else:  # sign and scale are those of a candidate
        assert (
            float(normalized_correlation(samples, found.samples[best] @ ends.moved.basis).diagonal().min()) > 1 - 1e-9
        )


def test_directions_are_zero_on_the_units_that_their_sample_never_activated():
    ends, samples, learned = trained()
    units = read_unit_rows(ends, PRIOR)
    duals = torch.linalg.inv(coordinates(ends, samples)).T * units.values
    assert torch.equal(units.is_zero(duals), learned.T == 0)


def test_nothing_is_certified_where_every_unit_learned_from_every_sample():
    ends, samples, _ = trained(inactive=False)
    found = exact_samples(read_unit_rows(ends, PRIOR), near(ends, samples, 0.1), seed=0)
    assert found.n_found == 0
    assert found.samples is None
    torch.testing.assert_close(found.candidates, near(ends, samples, 0.1))


def test_mixtures_of_known_directions_are_dropped():
    ends, samples, _ = trained()
    units = read_unit_rows(ends, PRIOR)
    duals = nn.functional.normalize(torch.linalg.inv(coordinates(ends, samples)).T * units.values, dim=1)
    mixture = nn.functional.normalize(duals[:1] + 0.7 * duals[1:2], dim=1)
    order = units.largest_activation(coordinates(ends, samples)).argsort(dim=1)
    some = torch.cat([mixture, duals[:3], -duals[:1]])
    kept = certified(units, duals[:0], some, order[[0, 0, 1, 2, 0]])
    likeness = (kept @ duals.T).abs()
    assert len(kept) == 3
    assert sorted(likeness.argmax(1).tolist()) == [0, 1, 2]
    assert float(likeness.amax(1).min()) > 1 - 1e-9


def test_a_mixture_of_two_samples_with_almost_the_same_zeros_is_taken_apart():
    ends, samples, learned = trained(alike=True)
    units = read_unit_rows(ends, PRIOR)
    duals = nn.functional.normalize(torch.linalg.inv(coordinates(ends, samples)).T * units.values, dim=1)
    mixed = torch.cat([nn.functional.normalize(duals[:1] + 0.7 * duals[1:2], dim=1), duals[1:]])
    inactive = learned[learned.any(1)].T == 0
    found = unmixed(units, mixed, inactive)
    torch.testing.assert_close((found @ duals.T).abs().diagonal(), torch.ones(N).double())
    assert torch.equal(unmixed(units, mixed, torch.zeros_like(inactive)), mixed)


def test_zeros_elsewhere_than_on_the_candidates_least_active_units_certify_nothing():
    ends, samples, _ = trained()
    units = read_unit_rows(ends, PRIOR)
    duals = nn.functional.normalize(torch.linalg.inv(coordinates(ends, samples)).T * units.values, dim=1)
    order = units.largest_activation(coordinates(ends, samples)).argsort(dim=1)
    assert len(certified(units, duals[:0], duals, order)) == N
    assert len(certified(units, duals[:0], duals, order.flip(1))) == 0


def test_known_directions_correct_the_candidates_of_their_own_and_of_other_samples():
    ends, samples, _ = trained()
    units, true = read_unit_rows(ends, PRIOR), coordinates(ends, samples)
    known = (torch.linalg.inv(true).T * units.values)[:4]
    candidates = near(ends, samples, 0.2)[:N]
    own = owners(units, known, candidates)
    assert own[:4, :4].diagonal().sum() >= 3
    assert not own[4:].any()
    plane = torch.linalg.solve(true, torch.ones(N).double())
    better = corrected(units, known, candidates, plane, own)
    parts = better @ (known / units.values).T
    assert float(parts[~own].abs().max()) < 1e-9
    assert float((better @ plane - 1).abs().max()) < 1e-9
    assert float((better - true).norm()) < 0.7 * float((candidates - true).norm())


def test_weights_that_were_stored_in_half_precision_hide_the_zeros():
    ends, _, _ = trained(dtype=torch.bfloat16, size=0.002)
    assert read_unit_rows(ends, PRIOR) is None
