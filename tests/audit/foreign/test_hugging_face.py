"""Classifiers of Hugging Face from local folders."""

import json
import os
import socket

import numpy as np
import pytest
import torch

from assay.audit import Subject, load_subject, run_audit
from assay.audit.foreign import load_pretrained
from assay.core import InvalidInputError, cross_entropy, seeded, squared_error
from helpers.command_line import assay_in_a_process

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_dropout_prob": 0.1,
}
TOKENS = torch.randint(1, 20, (40, 6), generator=seeded(0))
TOKENS[::3, 4:] = 0  # padding
IMAGES = torch.rand(40, 3, 8, 8, generator=seeded(1))
LABELS = torch.arange(40) % 3


def saved(network, folder, **changes):
    """Save a network, and change entries of its config.json; None takes one out."""
    network.eval().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def text_network(kind="BertForSequenceClassification", **options):
    torch.manual_seed(0)
    names = {"id2label": {0: "calm", 1: "glad", 2: "sad"}, "label2id": {"calm": 0, "glad": 1, "sad": 2}}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, **SIZES, **({"num_labels": 3} | options))
    if options.get("num_labels", 3) == 3:
        config.id2label, config.label2id = names["id2label"], names["label2id"]
    return getattr(transformers, kind)(config)


def image_network():
    torch.manual_seed(0)
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=8, patch_size=4, num_labels=3, **SIZES)
    )


@pytest.fixture
def no_network(monkeypatch):
    """Let every connection fail."""

    def refuse(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def archive(path, x, y=LABELS, **more):
    np.savez(path, x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:], **more)
    return path


def test_a_classifier_of_text_gives_its_own_logits(tmp_path, no_network):
    network = text_network()
    folder = saved(network, tmp_path / "mood")
    subject = load_subject(str(folder), train=archive(tmp_path / "data.npz", TOKENS))
    mask = (TOKENS[:20] != 0).long()
    expected = network(input_ids=TOKENS[:20], attention_mask=mask).logits
    torch.testing.assert_close(subject.model(subject.train[0]), expected)
    assert (subject.name, subject.loss, subject.class_names) == ("mood", cross_entropy, ("calm", "glad", "sad"))
    assert subject.train[0].dtype == torch.int64
    assert any("token 0 is padding" in note for note in subject.notes)


def test_a_network_of_the_library_is_a_subject_by_itself(tmp_path):
    network = text_network().eval()
    subject = Subject(network, cross_entropy, train=(TOKENS, LABELS))
    torch.testing.assert_close(subject.model(TOKENS), network(TOKENS).logits)
    assert subject.notes == (
        "the model returns a SequenceClassifierOutput (of 'logits'); its 'logits' is taken as the outputs",
    )
    assert run_audit(subject, probes=["curvature"], out=tmp_path / "audit").answers[0].status == "answered"


def test_what_stands_under_padding_changes_nothing(tmp_path):
    model = load_pretrained(saved(text_network(), tmp_path / "mood")).model
    padded = torch.cat([TOKENS[1:2], torch.zeros(1, 2, dtype=torch.int64)], 1)
    torch.testing.assert_close(model(padded), model(TOKENS[1:2]))


def test_a_classifier_of_text_is_audited_by_what_asks_no_gradient_in_tokens(tmp_path, no_network):
    subject = load_subject(str(saved(text_network(), tmp_path / "mood")), train=archive(tmp_path / "a.npz", TOKENS))
    answers = {
        each.probe: each for each in run_audit(subject, probes=["curvature", "robustness"], out=tmp_path / "a").answers
    }
    assert answers["curvature"].status == "answered"
    assert "integers" in answers["robustness"].reason


@pytest.mark.parametrize("normalised", [True, False])
def test_a_classifier_of_images_gives_its_own_logits(tmp_path, no_network, normalised):
    network = image_network()
    folder = saved(network, tmp_path / "shapes")
    told = {"do_normalize": normalised, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    subject = load_subject(str(folder), train=archive(tmp_path / "data.npz", IMAGES))
    mean, scale = (torch.tensor(told[name])[:, None, None] for name in ("image_mean", "image_std"))
    pixels = (IMAGES[:20] - mean) / scale if normalised else IMAGES[:20]
    torch.testing.assert_close(subject.model(subject.train[0]), network(pixel_values=pixels).logits)
    assert subject.class_names == ()
    answer = run_audit(subject, probes=["robustness"], out=tmp_path / "audit").answers[0]
    assert answer.status == "answered"


def test_images_of_another_range_are_normalised_already(tmp_path):
    folder = saved(image_network(), tmp_path / "shapes")
    told = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    pretrained = load_pretrained(folder, input_range=(-1.0, 1.0))
    raw = load_pretrained(folder)
    torch.testing.assert_close(pretrained.model(2 * IMAGES - 1), raw.model(IMAGES))
    assert "without normalisation" in pretrained.notes[0]


def test_labels_are_numbered_as_the_network_numbers_its_classes(tmp_path):
    folder = saved(text_network(), tmp_path / "mood")
    names = np.array(["sad", "glad", "calm"])
    subject = load_subject(str(folder), train=archive(tmp_path / "a.npz", TOKENS, class_names=names))
    assert subject.train[1].tolist() == [2 - label for label in LABELS[:20].tolist()]
    assert subject.class_names == ("calm", "glad", "sad")


def test_one_output_is_a_regression(tmp_path):
    pretrained = load_pretrained(saved(text_network(num_labels=1), tmp_path / "mood"))
    assert pretrained.loss is squared_error


def test_the_command_audits_a_folder(tmp_path):
    folder, data = saved(text_network(), tmp_path / "mood"), archive(tmp_path / "data.npz", TOKENS)
    options = ("--train", data, "--probe", "curvature", "--out", tmp_path / "audit")
    done = assay_in_a_process("audit", folder, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mood" in done.stdout


@pytest.mark.parametrize(
    ("changes", "files", "problem", "mend"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, {"evil.py": "raise SystemExit"}, "code of its own", "not run"),
        ({"quantization_config": {"bits": 4}}, {}, "quantised", "floating-point weights"),
        ({"problem_type": "multi_label_classification"}, {}, "several labels", "select one output"),
        ({"architectures": ["BertForMaskedLM"]}, {}, "holds BertForMaskedLM", "subject()"),
        ({"architectures": None}, {}, "nothing that it names", "subject()"),
        ({"model_type": "nosuch"}, {}, "cannot be loaded by transformers", "save the model again"),
        ({}, {"adapter_config.json": "{}"}, "holds an adapter", "merge the two"),
        ({}, {"config.json": "[" * 100_000}, "cannot be read as JSON", "save the model again"),
        ({}, {"config.json": "[]"}, "holds no JSON object", "save the model again"),
        ({}, {"model.safetensors": "no tensors"}, "cannot be loaded by transformers", "save the model again"),
        ({}, {"model.safetensors": None}, "holds no model.safetensors", "save_pretrained"),
        ({}, {"model.safetensors": None, "pytorch_model.bin": "x"}, "holds no model.safetensors", "can run code"),
    ],
)
def test_a_folder_that_cannot_be_audited_is_refused_with_its_mend(tmp_path, no_network, changes, files, problem, mend):
    folder = saved(text_network(), tmp_path / "mood", **changes)
    for name, content in files.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content)
    with pytest.raises(InvalidInputError) as refusal:
        load_subject(str(folder))
    assert problem in str(refusal.value)
    assert mend in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_weights_that_the_folder_lacks_are_not_drawn_at_random(tmp_path):
    base = text_network().bert
    folder = saved(base, tmp_path / "base", architectures=["BertForSequenceClassification"])
    with pytest.raises(
        InvalidInputError, match=r"lacks weights of the classifier \(classifier.bias, .*drawn at random"
    ):
        load_pretrained(folder)


def test_a_damaged_normalisation_is_refused(tmp_path):
    folder = saved(image_network(), tmp_path / "shapes")
    (folder / "preprocessor_config.json").write_text('{"image_mean": "half", "image_std": [1]}')
    with pytest.raises(InvalidInputError, match="no list of numbers"):
        load_pretrained(folder)


def test_the_folder_brings_its_weights_and_leaves_the_environment(tmp_path):
    folder = saved(text_network(), tmp_path / "mood")
    with pytest.raises(InvalidInputError, match="leave out --weights"):
        load_subject(str(folder), weights="weights.safetensors")
    before, state = dict(os.environ), torch.get_rng_state()
    load_pretrained(folder)
    assert dict(os.environ) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"holds no config\.json"):
        load_subject(str(tmp_path))
