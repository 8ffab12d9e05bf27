"""Networks that return several things, and networks in wrappers."""

from collections import namedtuple
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.audit import Subject, load_subject, run_audit
from assay.core import InvalidInputError, cross_entropy
from helpers.stand_ins import small_network, small_subject
from helpers.user_modules import ModelOutput, Returns

Pair = namedtuple("Pair", "scores hidden")


@dataclass
class Fields:
    logits: Tensor
    hidden_states: Tensor


def returning(container):
    """The healthy network, whose scores lie in a container of the samples' inputs and outputs."""
    network = small_network()

    class Within(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return container(network(x), x.flatten(1))

    return Within().eval()


CONTAINERS = {
    "the only rows of a dict": (lambda s, x: {"scores": s, "loss": s.mean(), "attention": None}, None, "'scores'"),
    "logits of a dict": (lambda s, x: {"hidden": x, "logits": s}, None, "'logits'"),
    "logits of a ModelOutput": (lambda s, x: ModelOutput(logits=s, hidden_states=x), None, "'logits'"),
    "logits of a structure": (Fields, None, "logits"),
    "the only rows of a tuple": (lambda s, x: (s, None), None, "0"),
    "a key": (lambda s, x: {"a": x, "b": s}, "b", "'b'"),
    "a name": (lambda s, x: Pair(s, x), "scores", "scores"),
    "a place": (lambda s, x: (x, s), 1, "1"),
    "the last place": (lambda s, x: (x, s), -1, "1"),
    "the first place of a named tuple": (lambda s, x: Pair(s, x), 0, "scores"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_scores_are_found_or_named_and_that_is_said(name):
    container, outputs, place = CONTAINERS[name]
    model = returning(container)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    subject = small_subject(model=model, outputs=outputs, initial_state=state)
    x = subject.train[0]
    assert torch.equal(subject.model(x), small_network()(x))
    assert any(note.endswith(f"its {place} is taken as the outputs") for note in subject.notes)
    assert subject.initial_state.keys() == subject.model.state_dict().keys()
    moved = subject.to("cpu")
    assert torch.equal(moved.model(x), small_network()(x))
    assert moved.notes == subject.notes


def test_a_function_takes_the_scores():
    model = returning(lambda scores, x: {"deep": {"scores": scores}, "x": x})
    subject = small_subject(model=model, outputs=lambda answer: answer["deep"]["scores"])
    assert torch.equal(subject.model(subject.train[0]), small_network()(subject.train[0]))
    assert subject.notes == ("the outputs are selected by the function that outputs= gives",)


@pytest.mark.parametrize(
    ("container", "outputs", "problem", "mend"),
    [
        (lambda s, x: {"scores": s, "x": x}, None, "a dict (of 'scores', 'x')", "Subject(outputs='scores')"),
        (lambda s, x: (s, x), None, "a tuple (of 0, 1)", "Subject(outputs=0)"),
        (lambda s, x: Pair(s, x), None, "a Pair (of scores, hidden)", "Subject(outputs='scores')"),
        (lambda s, x: {"deep": (s, x)}, None, "a dict (of 'deep')", "Subject(outputs=lambda outputs: ...)"),
        (lambda s, x: {"scores": s}, "logits", "outputs='logits' is not in", "'scores'"),
        (lambda s, x: (s, x), 2, "outputs=2 is not in", "name one of it"),
        (lambda s, x: s, "logits", "the model returns one tensor", "leave out outputs"),
    ],
)
def test_what_is_not_obvious_is_refused_with_how_to_name_it(container, outputs, problem, mend):
    with pytest.raises(InvalidInputError) as refusal:
        small_subject(model=returning(container), outputs=outputs)
    assert problem in str(refusal.value)
    assert mend in str(refusal.value)


def test_without_data_the_first_layer_tells_the_shape_of_the_trial():
    model = Returns(lambda scores: {"logits": scores}, *small_network()).eval()
    subject = small_subject(model=model, train=None, test=None)
    assert subject.sample_shape == (1, 4, 4)
    assert subject.model(torch.zeros(2, 1, 4, 4)).shape == (2, 3)


def test_a_dictionary_gives_the_same_findings_as_the_plain_network(tmp_path):
    named = ["off_subspace", "logit_gaps", "robustness"]
    wrapped = small_subject(model=returning(lambda scores, x: {"logits": scores}))
    results = [run_audit(each, probes=named, out=tmp_path / each.name) for each in (wrapped, small_subject(name="b"))]
    found = [{each.probe: each.finding and each.finding.measures for each in result.answers} for result in results]
    assert found[0] == found[1]
    assert all(found[0].values())


@pytest.mark.parametrize("wrap", [partial(torch.compile, backend="eager"), nn.DataParallel])
def test_wrappers_are_taken_off(wrap):
    wrapped = wrap(small_network())
    state = {name: value.clone() for name, value in wrapped.state_dict().items()}
    subject = small_subject(model=wrapped, initial_state=state)
    assert type(subject.model) is nn.Sequential
    assert subject.initial_state.keys() == subject.model.state_dict().keys()
    name = "DataParallel" if wrap is nn.DataParallel else "torch.compile"
    assert subject.notes == (f"the network inside {name} is audited",)


class Lightning(nn.Module):
    """What a LightningModule is: a module that holds its network and knows how it is trained."""

    def __init__(self):
        super().__init__()
        self.model = small_network()

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, number):
        return cross_entropy(self(batch[0]), batch[1])


CHECKPOINT = {  # what Lightning's Trainer writes beside the weights
    "epoch": 2,
    "global_step": 40,
    "pytorch-lightning_version": "2.5.0",
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2}}}},
    "callbacks": {"ModelCheckpoint": {"best_model_path": "a.ckpt", "best_model_score": torch.tensor(0.5)}},
    "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(8, 16)}}, "param_groups": [{"lr": 0.1}]}],
    "lr_schedulers": [],
    "hparams_name": "kwargs",
    "hyper_parameters": {"width": 8},
}


@pytest.mark.parametrize("factory", ["factories:network", "lit:Lightning"])
def test_a_checkpoint_of_lightning_goes_with_the_network_and_with_its_module(folder, factory):
    (folder / "lit.py").write_text(
        "from torch import nn\nfrom factories import network\nclass Lightning(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.model = network()\n"
        "    def forward(self, x): return self.model(x)\n"
    )
    torch.save(CHECKPOINT | {"state_dict": Lightning().state_dict()}, "last.ckpt")
    subject = load_subject(factory, weights="last.ckpt", train="data.npz")
    x = subject.train[0]
    assert torch.equal(subject.model(x), small_network()(x))


def test_a_module_of_lightning_is_audited_as_its_network():
    subject = small_subject(model=Lightning().eval())
    assert torch.equal(subject.model(subject.train[0]), small_network()(subject.train[0]))


def test_a_factory_of_a_network_that_returns_a_dict(folder):
    (folder / "keyed.py").write_text(
        "from torch import nn\nfrom factories import network\nclass Keyed(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = network()\n"
        "    def forward(self, x): return {'logits': self.net(x), 'x': x}\n"
    )
    save_file({f"net.{name}": value for name, value in small_network().state_dict().items()}, "keyed.safetensors")
    subject = load_subject("keyed:Keyed", weights="keyed.safetensors", train="data.npz")
    assert torch.equal(subject.model(subject.train[0]), small_network()(subject.train[0]))
    assert any("'logits' is taken" in note for note in subject.notes)


WORDS = """
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(300, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.words(x).mean(1))
"""


@pytest.mark.parametrize("kind", ["int64", "int32", "uint16", "uint8"])
def test_integers_in_an_archive_are_tokens_for_a_network_that_embeds(folder, kind):
    (folder / "texts.py").write_text(WORDS)
    weights = {"words.weight": torch.randn(300, 3), "head.weight": torch.randn(2, 3), "head.bias": torch.zeros(2)}
    save_file(weights, "words.safetensors")
    tokens = np.arange(24).reshape(6, 4).astype(kind)
    np.savez("tokens.npz", x=tokens, y=np.arange(6) % 2)
    subject = load_subject("texts:Words", weights="words.safetensors", train="tokens.npz")
    assert subject.train[0].dtype == torch.int64
    assert subject.train[0].tolist() == tokens.tolist()
    assert any("ids of tokens" in note for note in subject.notes)


def test_integers_for_a_network_without_an_embedding_are_refused_with_what_to_do(folder):
    np.savez("tokens.npz", x=np.arange(24).reshape(6, 4), y=np.arange(6) % 2)
    with pytest.raises(InvalidInputError, match=r"int64 .* nn\.Embedding, or by load_npz\(path, tokens=True\)"):
        load_subject("factories:network", weights="weights.safetensors", train="tokens.npz")


def test_tokens_beyond_the_vocabulary_are_refused():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2)).eval()
    with pytest.raises(InvalidInputError, match="out of range"):
        Subject(model, cross_entropy, train=(torch.full((6, 4), 5), torch.arange(6) % 2))
