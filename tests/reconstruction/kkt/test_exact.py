import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.nets import mlp
from assay.reconstruction import exact_samples
from assay.reconstruction.kkt.exact import _consistent, _search
from assay.reconstruction.kkt.exact_rows import Rows, choose, distinct_rows, rescale, sharpness

N, UNITS = 12, 200


def planted(seed=0, spread=0.0):
    """Rows that are sums of known samples over the active sides of known planes, each plane on two samples' kinks."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(N, N, generator=source).double()
    constant = torch.randn(N, generator=source).double()
    planes = torch.randn(UNITS, N, generator=source).double()
    gates = torch.empty(UNITS, N).double()
    for unit in range(UNITS):
        kinks = torch.randperm(N, generator=source)[:2]
        span = torch.linalg.qr(z[kinks].T)[0]
        planes[unit] -= span @ (span.T @ planes[unit])
        gates[unit] = ((z @ planes[unit]) * (z @ constant).sign() > 0).double()
        gates[unit, kinks] = 0.1 + 0.8 * torch.rand(2, generator=source).double()
    factor = 1 + spread * (2 * torch.rand(UNITS, 1, generator=source).double() - 1)
    planes = planes / planes.norm(dim=1, keepdim=True)
    return Rows(factor * (gates @ z), planes, constant), z, gates


def search(rows, seed=0):
    return _search(rows, 100, 3, torch.Generator().manual_seed(seed))


def network(outputs=1, hidden=(9,), **options):
    return mlp((12, *hidden, outputs), generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("spread", [0.0, 0.04])
def test_planted_samples_come_back_exactly(spread):
    rows, z, _ = planted(spread=spread)
    fit = search(rows)
    sure = fit.consistent() & (fit.held + fit.duals >= N + 1)
    found = fit.z[sure]
    cosines = nn.functional.normalize(found) @ nn.functional.normalize(z).T
    assert len(cosines.argmax(1).unique()) == len(found) >= N - 2
    torch.testing.assert_close(cosines.amax(1), torch.ones(len(found)).double(), rtol=0, atol=1e-6)
    # Duals are scaled to open gates of one, which leaves the mean of the rows' factors to the samples.
    lengths = found.norm(dim=1) / z[cosines.argmax(1)].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(len(found)).double(), rtol=0, atol=max(spread, 1e-4))
    assert torch.equal(fit.z, search(rows).z)


def test_a_dual_that_belongs_to_no_sample_is_left_out():
    rows, z, _ = planted()
    duals = torch.linalg.inv(z).T
    false = nn.functional.normalize(torch.randn(1, N, generator=torch.Generator().manual_seed(3)).double())
    kept = _consistent(rows, torch.cat([duals, false * duals.norm(dim=1).mean()]))
    assert kept.tolist() == list(range(N))


def test_rows_without_structure_give_nothing():
    source = torch.Generator().manual_seed(0)
    values, planes = (torch.randn(UNITS, N, generator=source).double() for _ in range(2))
    fit = search(Rows(values, nn.functional.normalize(planes), torch.ones(N).double()))
    assert fit is None or not (fit.consistent() & (fit.held + fit.duals >= N + 1)).any()


def test_row_factors_are_found_from_open_gates():
    rows, z, _ = planted(spread=0.04)
    even, duals = rescale(rows, torch.linalg.inv(z).T)
    whole = planted()[0].values
    # All but the rows with hardly an open gate; what all of them have in common stays with the samples.
    ratio = (even.values * whole).sum(1) / whole.square().sum(1)
    assert ((ratio / ratio.median() - 1).abs() < 0.01).double().mean() > 0.9
    assert sharpness(even.gates(duals)).min() > sharpness(rows.gates(torch.linalg.inv(z).T)).max()


def test_units_that_agree_become_one_row():
    incoming = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, -3.0], [0.0, 1e-3]]).double()
    rows = distinct_rows(incoming, torch.tensor([2.0, 1.0, -3.0, 1e-3]).double(), torch.tensor([0.0, 1.0]).double())
    torch.testing.assert_close(rows.values.sort(0).values, torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double())
    assert sorted(rows.planes.tolist()) == [[0.0, -1.0], [1.0, 0.0]]


def test_chosen_gate_vectors_are_independent_and_in_order():
    gates = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]).double()
    assert choose(gates, torch.tensor([3, 4, 2, 1]), least=1).tolist() == [1, 0, 3]
    assert choose(gates, torch.tensor([3, 4, 2, 1]), least=2).tolist() == [1, 0]


@pytest.mark.parametrize("hidden", [(9,), (300,)])
def test_untrained_networks_give_nothing_and_come_back_as_they_were(hidden):
    model = network(hidden=hidden)
    before = [value.clone() for value in model.parameters()]
    assert exact_samples(model).samples.shape == (0, 12)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("model", [network(3), network(hidden=(9, 9)), network(bias="none"), nn.Linear(3, 1)])
def test_other_networks_are_refused(model):
    with pytest.raises(InvalidInputError, match="one hidden layer"):
        exact_samples(model)


def test_numbers_must_be_positive():
    with pytest.raises(InvalidInputError, match="n_starts"):
        exact_samples(network(), n_starts=0)
