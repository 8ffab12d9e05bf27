import math

import pytest
import torch
from torch import nn

from assay.core import DenseOperator, affordable_batch, cross_entropy, seeded, sign_probes, squared_error
from assay.landscape import hessian_spectrum, lanczos
from assay.landscape.bulk import estimated_bulk


def spread_spectrum(n: int = 500) -> torch.Tensor:
    """Half of the eigenvalues near zero, and a tail over three orders of magnitude without a gap."""
    return torch.cat([torch.zeros(n // 2), torch.logspace(-4, 0, n - n // 2)]).double()


def run(eigenvalues: torch.Tensor, *, n_iter: int, probes: int = 10, seed: int = 0):
    source = seeded(seed)
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=source, dtype=torch.float64))[0]
    operator = DenseOperator(basis * eigenvalues @ basis.T)
    return lanczos(operator, sign_probes(operator, probes, source), n_iter=n_iter, generator=source)


def test_the_first_steps_are_those_of_a_shorter_run():
    spectrum = spread_spectrum(60)
    for short, whole in zip(run(spectrum, n_iter=7).ritz(), run(spectrum, n_iter=20).first(7).ritz(), strict=True):
        torch.testing.assert_close(short, whole)


@pytest.mark.parametrize("radius", [1e-3, 1e-2, 0.1])
def test_an_estimate_that_is_given_is_within_four_of_its_errors(radius):
    spectrum = spread_spectrum()
    truth = (spectrum <= radius).double().mean().item()
    for n_iter in (10, 20, 40, 80):
        for seed in range(3):
            bulk = estimated_bulk(run(spectrum, n_iter=n_iter, seed=seed), radius)
            assert bulk.fraction is None or abs(bulk.fraction - truth) < 4 * bulk.error + 0.02
            assert bulk.fraction is None or bulk.error <= 0.1


def test_too_few_steps_are_refused_and_more_are_not():
    spectrum = spread_spectrum()
    assert estimated_bulk(run(spectrum, n_iter=6), 1e-3).fraction is None
    assert estimated_bulk(run(spectrum, n_iter=120), 1e-1).fraction is not None


def test_an_exhausted_krylov_space_leaves_the_error_over_probes_only():
    spectrum = torch.cat([torch.zeros(30), torch.tensor([1.0, 2.0])]).double()
    steps = run(spectrum, n_iter=20, probes=40)
    bulk = estimated_bulk(steps, 1e-3)
    shares = (steps.ritz()[1] * (steps.ritz()[0].abs() <= 1e-3)).sum(1)
    assert bulk.error == pytest.approx(shares.std().item() / math.sqrt(40))
    assert bulk.fraction == pytest.approx(30 / 32, abs=5 * bulk.error)


def test_the_report_says_what_is_not_resolved():
    source = seeded(1)
    model = nn.Linear(500, 1, bias=False).double()
    x = torch.linalg.qr(torch.randn(500, 500, generator=source, dtype=torch.float64))[0]
    spectrum = spread_spectrum() / 10  # but for the first, so that six steps find the outlier
    spectrum[0] = 1.0
    x = x * (250 * spectrum).sqrt()
    report = hessian_spectrum(
        model, x, torch.zeros(500), loss=squared_error, method="lanczos", n_iter=6, outlier_threshold=0.5
    )
    dense = hessian_spectrum(model, x, torch.zeros(500), loss=squared_error, method="dense")
    assert dense.bulk.error == 0
    assert report.bulk_fraction is None
    assert "unresolved" in str(report)
    assert "unresolved" not in str(dense)


def test_the_default_batch_is_bounded_by_memory():
    model, x = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 3)), torch.zeros(10_000, 50)
    few, many = affordable_batch(model, x, columns=1, limit=10**7), affordable_batch(model, x, columns=9, limit=10**7)
    assert 1 <= many < few < 10_000
    assert few / many == pytest.approx(5, rel=0.05)  # (1 + 9) / (1 + 1)
    assert affordable_batch(model, x, columns=1, limit=1) == 1
    assert affordable_batch(model, x[:7], columns=1) == 7


def test_the_default_batch_gives_the_same_spectrum(net, data, monkeypatch):
    monkeypatch.setattr("assay.landscape.spectrum.affordable_batch", lambda model, x, columns: 7)
    small = hessian_spectrum(net, *data, loss=cross_entropy)
    whole = hessian_spectrum(net, *data, loss=cross_entropy, batch_size=len(data[0]))
    torch.testing.assert_close(small.eigenvalues, whole.eigenvalues)
