"""The curvature probe beside the dense Hessian."""

import pytest
import torch
from torch import nn

from assay.core import mean_loss, seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_network, small_subject


def test_curvature_is_the_largest_eigenvalue_of_the_dense_hessian(context):
    x, y = torch.rand(6, 1, 4, 4, generator=seeded(0), dtype=torch.float64), torch.arange(6) % 3
    subject = small_subject(model=small_network().double(), train=(x, y), test=None)
    finding = ask("curvature", subject, context)
    named = dict(subject.model.named_parameters())

    def loss(flat):
        pieces = flat.split([value.numel() for value in named.values()])
        values = {name: piece.view_as(named[name]) for name, piece in zip(named, pieces, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(subject.model, values, (x,)), y)

    start = torch.cat([value.detach().flatten() for value in named.values()])
    assert loss(start).item() == pytest.approx(mean_loss(subject.model, x, y, subject.loss))
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start))
    assert finding.measures["largest eigenvalue"] == pytest.approx(eigenvalues[-1].item(), rel=1e-9)
    assert finding.measures["smallest eigenvalue"] == pytest.approx(eigenvalues[0].item(), rel=1e-6)
    (slope,) = torch.autograd.grad(loss(start.requires_grad_()), start)
    assert finding.measures["norm of the gradient"] == pytest.approx(slope.norm().item())


def test_curvature_leaves_frozen_parameters_out(context):
    x, y = torch.rand(6, 1, 4, 4, generator=seeded(0)), torch.arange(6) % 3
    model = small_network()
    next(model.parameters()).requires_grad_(False)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    finding = ask("curvature", small_subject(model=model, train=(x, y), test=None), context)
    assert f" of {trained:,} eigenvalues" in finding.headline


def test_with_little_time_the_ends_of_the_spectrum_are_found_by_a_few_steps(context, monkeypatch):
    x, y = torch.rand(80, 1, 4, 4, generator=seeded(0), dtype=torch.float64), torch.arange(80) % 3
    subject = small_subject(model=small_network().double(), train=(x, y), test=None)
    enough = ask("curvature", small_subject(model=subject.model, train=context.sample((x, y), 50), test=None), context)
    # Seconds that a step takes on one sample: 40 steps do not fit, 15 steps with half of the vectors do.
    monkeypatch.setattr("assay.audit.probes.curvature._time_each", lambda *_: (False, context.seconds / 50 / 8))
    finding = ask("curvature", subject, context)
    assert finding.measures["Lanczos steps"] == 15
    assert finding.measures["samples used"] == 50
    assert finding.headline.startswith("The loss curves by at least")
    assert finding.measures["largest eigenvalue"] == pytest.approx(enough.measures["largest eigenvalue"], rel=1e-3)
    assert "used 50 of 80 training samples" in finding.limits
