"""Modules of TorchScript, beside the networks that they were made of."""

import io
import warnings

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.audit import probes as registry
from assay.core import InvalidInputError, copy_network, cross_entropy, parameter_gradients
from helpers.stand_ins import small_network, small_subject

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")


class Branching(nn.Module):
    """Batch-norm, a branch on the size of the batch, and a weight that is used twice."""

    def __init__(self):
        super().__init__()
        self.norm, self.first, self.second, self.head = (
            nn.BatchNorm2d(1),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 3),
        )
        self.second.weight = self.first.weight

    def forward(self, x):
        hidden = self.norm(x).flatten(1)
        if x.shape[0] > 1000:
            hidden = -hidden
        return self.head(self.second(self.first(hidden).relu()).relu())


def branching():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Branching().eval()
    network.norm.running_mean.fill_(0.5)
    return network


def loaded(script):
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    return torch.jit.load(file)


def traced(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trace takes one branch
        return torch.jit.trace(network, small_subject().train[0])


HOWS = {
    "scripted": torch.jit.script,
    "traced": traced,
    "loaded": lambda network: loaded(torch.jit.script(network)),
}


@pytest.mark.parametrize("how", HOWS.values(), ids=HOWS.keys())
@pytest.mark.parametrize("build", [small_network, branching])
def test_derivatives_are_those_of_the_network(build, how):
    network = build()
    subject = small_subject(model=how(network))
    x, y = subject.train
    assert torch.equal(subject.model(x), network(x))
    assert dict(subject.model.named_parameters()).keys() == dict(network.named_parameters()).keys()
    assert subject.n_parameters == sum(value.numel() for value in network.parameters())
    for per_sample in (True, False):
        given = {"loss": cross_entropy, "per_sample": per_sample}
        found, expected = (parameter_gradients(each, x, y, **given) for each in (subject.model, network))
        torch.testing.assert_close(found, expected)
    assert torch.equal(subject.model(x), network(x))  # no weights of another call are left


def test_a_copy_has_its_own_weights_and_buffers():
    network = branching()
    model = small_subject(model=loaded(torch.jit.script(network))).model
    x = small_subject().train[0]
    twin = copy_network(model.double())
    assert torch.equal(twin(x.double()), model(x.double()))
    with torch.no_grad():
        for value in (*twin.parameters(), *twin.buffers()):
            value.zero_()
    assert twin(x.double()).abs().max() == 0
    torch.testing.assert_close(model(x.double()), network.double()(x.double()))


@pytest.mark.parametrize("name", ["curvature", "logit_gaps", "off_subspace", "robustness"])
def test_probes_find_what_they_find_in_the_network(name):
    given, context = {"train": small_subject().train}, Context(seconds=600)
    found, expected = (
        registry.load(name).run(small_subject(model=model, **given), context)
        for model in (loaded(torch.jit.script(small_network())), small_network())
    )
    assert found.severity == expected.severity
    assert found.measures == pytest.approx(expected.measures, rel=1e-4, abs=1e-6)


def test_members_are_told_with_shadow_models_of_the_script(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.membership._SHADOWS", 8)
    x, y = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    subject = small_subject(model=torch.jit.script(small_network()), train=(x, y), test=(1 - x, y))
    assert registry.load("membership").run(subject, Context(seconds=600)).measures["shadow models"] == 8


def test_the_reconstruction_needs_layers_and_says_so():
    with pytest.raises(SkipProbe, match=r"nn\.Linear"):
        registry.load("reconstruction").run(small_subject(model=torch.jit.script(small_network())), Context())


def test_what_cannot_be_audited_is_said_in_a_sentence():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.script(small_network()))
        inside = nn.Sequential(torch.jit.script(small_network())).eval()
    cases = {
        "call model.eval() first": torch.jit.script(small_network().train()),
        "give it as before freezing": frozen,
        "pass the nn.Module that was scripted": inside,
    }
    for mend, model in cases.items():
        with pytest.raises(InvalidInputError, match=mend.replace("(", r"\(").replace(")", r"\)")):
            small_subject(model=model)
