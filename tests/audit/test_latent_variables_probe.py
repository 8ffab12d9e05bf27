"""The probe of latent variables on encoders whose variables are known."""

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe, Subject
from assay.core import seeded, squared_error
from helpers.probe_calls import ask
from helpers.stand_ins import small_subject

X = torch.randn(400, 3, generator=seeded(0))


class KnownVAE(nn.Module):
    """Two active variables, a passive one whose mean follows the first, and the decoder of the means."""

    def __init__(self, second: float = 0.03) -> None:
        super().__init__()
        self.decoder = nn.Linear(3, 3)
        self.variances = (0.02, second, 1.0)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = torch.stack([x[:, 0], x[:, 1], 0.01 * x[:, 0]], 1) + 0.001 * x
        return mean, torch.tensor(self.variances).log().expand(len(x), 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encode(x)
        return self.decoder(mean), mean, log_variance


def autoencoder(model: nn.Module, x: torch.Tensor = X) -> Subject:
    return Subject(model=model.eval(), loss=squared_error, train=(x, x), outputs=0, input_range=(-9.0, 9.0))


def test_known_variables_are_told_apart(context):
    finding = ask("latent_variables", autoencoder(KnownVAE()), context)
    assert finding.severity == "low"
    assert [row[:2] for row in finding.tables[0].rows] == [(0, "active"), (1, "active"), (2, "passive")]
    assert finding.measures["passive variables"] == 1
    assert finding.measures["largest correlation of a passive variable, means"] > 0.9
    assert finding.measures["largest correlation of a passive variable, samples"] < 0.2
    assert "2 of 3 latent variables are active" in finding.headline


def test_codes_that_say_nothing_are_a_medium_finding(context):
    network = KnownVAE(0.97)
    network.variances = (0.99, 0.97, 1.0)
    assert ask("latent_variables", autoencoder(network), context).severity == "medium"


def test_with_less_time_fewer_samples_are_used_and_that_is_said(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.latent_variables.measure_seconds", lambda work: 50 * 0.01)
    finding = ask("latent_variables", autoencoder(KnownVAE()), Context(seconds=4.0))
    assert finding.measures["samples used"] == 200
    assert "it used 200 of 400 training samples" in finding.limits
    with pytest.raises(SkipProbe, match="one probe may take"):
        ask("latent_variables", autoencoder(KnownVAE()), Context(seconds=0.5))


def test_other_networks_are_told_what_it_is_for(context):
    with pytest.raises(SkipProbe, match="variational autoencoders"):
        ask("latent_variables", small_subject(), context)
    standard = KnownVAE()
    standard.variances = (1.0, 2.0, 3.0)
    with pytest.raises(SkipProbe, match="never negative"):
        ask("latent_variables", autoencoder(standard), context)
    with pytest.raises(SkipProbe, match="50 samples"):
        ask("latent_variables", autoencoder(KnownVAE(), X[:20]), context)


def test_an_encoder_of_another_form_is_refused(context):
    network = KnownVAE()
    network.encode = lambda x: x
    network.forward = lambda x: network.decoder(x)
    subject = Subject(model=network.eval(), loss=squared_error, train=(X, X), input_range=(-9.0, 9.0))
    with pytest.raises(SkipProbe, match="returns something else"):
        ask("latent_variables", subject, context)
