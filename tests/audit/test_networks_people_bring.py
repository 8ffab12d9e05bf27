"""Networks that training frameworks and papers make: every probe answers or says why not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.audit import run_audit
from assay.core import cross_entropy
from helpers.stand_ins import small_network, small_subject

pytestmark = pytest.mark.usefixtures("quick_attack")


class Lightning(nn.Module):
    """What a LightningModule is: it knows how it is trained, and refuses its trainer where it has none."""

    def __init__(self):
        super().__init__()
        self.model = small_network()

    def forward(self, x):
        return self.model(x)

    @property
    def trainer(self):
        raise RuntimeError("Lightning is not attached to a `Trainer`.")

    def training_step(self, batch, number):
        return cross_entropy(self(batch[0]), batch[1])

    def on_fit_start(self):
        raise RuntimeError("no fit has started")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Tied(nn.Module):
    """A classifier behind an autoencoder that encodes and decodes with one weight."""

    def __init__(self):
        super().__init__()
        self.encode, self.again, self.head = nn.Linear(16, 6), nn.Linear(16, 6), nn.Linear(16, 3)
        self.again.weight = self.encode.weight

    def forward(self, x):
        hidden = self.encode(x.flatten(1)).relu()
        hidden = self.again(F.linear(hidden, self.encode.weight.T)).relu()
        return self.head(F.linear(hidden, self.encode.weight.T))


def zero():
    network = small_network()
    for value in network.parameters():
        nn.init.zeros_(value)
    return network


@pytest.mark.parametrize("build", [Lightning, Tied, zero])
def test_every_probe_answers_or_says_why_not(tmp_path, build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subject = small_subject(model=build().eval())
    result = run_audit(subject, out=tmp_path / "audit", minutes=30)
    assert [f"{answer.probe}: {answer.reason}" for answer in result.answers if answer.status == "failed"] == []
    skipped = {answer.probe: answer.reason for answer in result.answers if answer.status == "skipped"}
    assert all(len(reason) > 20 for reason in skipped.values())
    if build is Lightning:
        # Eleven samples without groups, and no autoencoder.
        assert skipped.keys() == {"explanation_gap", "latent_variables", "membership", "subgroups"}
    if build is zero:
        assert result.quality.warnings[0].startswith("All 163 weights are zero")
        assert result.worst in ("info", "low")
