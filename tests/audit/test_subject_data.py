"""A subject's data in every form, and networks that the door refuses or understands."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from assay.audit import Subject, run_audit
from assay.audit.classifier import RawClassifier
from assay.audit.subject import _unstated
from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy, seeded, squared_error
from assay.data import Dataset
from helpers.stand_ins import small_network, small_subject

IMAGES, LABELS = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 1])


class Doubling(nn.Module):
    """A factor of no axes after the head, which is listed first."""

    def __init__(self):
        super().__init__()
        self.head, self.body, self.factor = nn.Linear(8, 3), nn.Linear(16, 8), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.factor * self.head(self.body(x.flatten(1)).relu())


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        scores = self.layer(x.flatten(1))
        return scores + torch.randn_like(scores)


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        scores = self.layer(x.flatten(1))
        return scores - scores.mean(0)


def conv(channels):
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(8, 3)).eval()


@pytest.mark.parametrize(
    ("changes", "problem", "mend"),
    [
        ({"model": Noisy()}, "another answer to the same samples", "only if self.training"),
        ({"model": Mixing()}, "mixes samples", "take no mean"),
        ({"loss": _unstated}, "the loss is missing", "loss=assay.core.cross_entropy"),
        ({"train": {"x": IMAGES, "y": LABELS}}, "train data: samples with targets are needed, got dict", "DataLoader"),
        ({"train": (IMAGES, torch.eye(3)[LABELS])}, "(2, 3)", "argmax"),
        ({"input_range": (0.0, math.inf)}, "input_range is (0.0, inf)", "pass (lowest, highest)"),
        ({"mean": torch.zeros(5)}, "mean has shape (5,), a sample (1, 4, 4)", "give a mean of a sample's shape"),
        (
            {"train": None, "test": None, "input_shape": (7,)},
            "does not accept a sample of shape (7,)",
            "reshape the data",
        ),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "sums over samples", "reduction='mean'"),
        (
            {"train": DataLoader(TensorDataset(IMAGES, LABELS), shuffle=True), "groups": LABELS},
            "the loader shuffles",
            "give its data set as train",
        ),
        (
            {"model": nn.Sequential(small_network(outputs=1), nn.Sigmoid()), "loss": nn.BCEWithLogitsLoss()},
            "all outputs lie between 0 and 1",
            "take the sigmoid off",
        ),
    ],
)
def test_more_problems_are_named_with_their_mend(changes, problem, mend):
    given = {"class_names": ()} | changes
    if "loss" in changes and "model" in changes:
        given |= {"train": (IMAGES, LABELS), "test": None}
    with pytest.raises(InvalidInputError) as refusal:
        small_subject(**given)
    assert problem in str(refusal.value)
    assert mend in str(refusal.value)


@pytest.mark.parametrize(
    ("channels", "given", "accepted"),
    [
        (3, torch.rand(2, 4, 4, 3), "x.permute(0, 3, 1, 2)"),
        (1, torch.rand(2, 4, 4), "x[:, None]"),
        (1, torch.rand(2, 16), "x.reshape(-1, 1, 4, 4)"),
        (3, torch.rand(2, 1, 4, 4), "x.repeat(1, 3, 1, 1)"),
        (1, torch.rand(2, 1, 4, 4).repeat(1, 3, 1, 1), "x[:, :1]"),
    ],
)
def test_the_change_of_axes_that_the_network_accepts_is_named(channels, given, accepted):
    with pytest.raises(InvalidInputError) as refusal:
        small_subject(model=conv(channels), train=(given, LABELS), test=None)
    assert f"it accepts {accepted}" in str(refusal.value)


def test_no_change_of_axes_is_named_where_none_helps():
    with pytest.raises(InvalidInputError) as refusal:
        small_subject(model=conv(2), train=(torch.rand(2, 5, 5, 5), LABELS), test=None)
    assert "it accepts" not in str(refusal.value)


@pytest.mark.parametrize(
    "labels", [LABELS[:, None], LABELS.to(torch.uint8), LABELS.bool(), LABELS.int(), LABELS.numpy(), LABELS.tolist()]
)
@pytest.mark.parametrize("loss", [cross_entropy, nn.CrossEntropyLoss(), binary_cross_entropy, nn.BCEWithLogitsLoss()])
def test_labels_of_every_form_become_a_vector_of_int64(labels, loss):
    outputs = 1 if loss is binary_cross_entropy or isinstance(loss, nn.BCEWithLogitsLoss) else 3
    subject = small_subject(
        model=small_network(outputs=outputs), loss=loss, train=(IMAGES, labels), test=None, class_names=()
    )
    assert subject.train[1].dtype == torch.int64
    assert subject.train[1].tolist() == [0, 1]


def test_groups_align_with_a_loader_that_keeps_the_order():
    loader = DataLoader(TensorDataset(IMAGES, LABELS))
    subject = small_subject(train=loader, groups=LABELS, test=loader, test_groups=[7, 9])
    assert subject.groups is LABELS
    assert subject.test_groups.tolist() == [7, 9]
    with pytest.raises(InvalidInputError, match="test_groups follow the order of the samples, which the loader"):
        small_subject(test=DataLoader(TensorDataset(IMAGES, LABELS), shuffle=True), test_groups=LABELS)


def test_a_data_set_brings_its_groups():
    names = ("red", "green", "blue")
    groups = {"groups_train": LABELS + 3, "groups_test": LABELS + 5}
    data = Dataset("mine", IMAGES, LABELS, IMAGES, LABELS, class_names=names, **groups)
    subject = small_subject(train=data, test=data)
    assert subject.groups.tolist() == [3, 4]
    assert subject.test_groups.tolist() == [5, 6]
    assert small_subject(train=data, test=data, test_groups=LABELS).test_groups is LABELS


def test_data_in_other_forms_are_kept_as_tensors_and_said():
    loader = DataLoader(
        TensorDataset(torch.cat([IMAGES, IMAGES[:1]]), torch.cat([LABELS, LABELS[:1]])), 2, drop_last=True
    )
    subject = small_subject(train=loader, test=TensorDataset(IMAGES.clone().requires_grad_(), LABELS))
    assert [len(pairs[0]) for pairs in (subject.train, subject.test)] == [2, 2]
    assert not subject.test[0].requires_grad
    assert subject.notes == ("train data: the loader gives 2 of the 3 samples of its data set",)
    assert subject.to("cpu").notes == subject.notes


def test_the_number_of_outputs_is_asked_of_the_network():
    subject = small_subject(model=Doubling())
    assert subject.train is not None
    with pytest.raises(InvalidInputError, match="the model has 3; use cross_entropy"):
        small_subject(model=Doubling(), loss=binary_cross_entropy)


def test_without_data_a_layer_that_does_not_come_first_tells_no_shape():
    assert small_subject(model=Doubling(), train=None, test=None, class_names=()).sample_shape is None


def test_a_shape_read_off_the_first_layer_is_said():
    subject = small_subject(train=None, test=None)
    assert subject.notes == ("the shape of an input is inferred from the first layer: (1, 4, 4)",)


def test_probabilities_are_followed_by_their_logarithm_and_that_is_said():
    plain = small_network()
    ending = nn.Sequential(plain, nn.Softmax(1)).eval()
    state = {name: value.clone() for name, value in ending.state_dict().items()}
    subject = small_subject(model=ending, initial_state=state)
    assert subject.notes == ("the model returns probabilities; their logarithms are taken as its scores",)
    torch.testing.assert_close(subject.model(IMAGES), plain(IMAGES).log_softmax(1))
    torch.testing.assert_close(subject.loss(subject.model(IMAGES), LABELS), cross_entropy(plain(IMAGES), LABELS))
    assert subject.initial_state.keys() == subject.model.state_dict().keys()
    assert not subject.model.training
    assert subject.to("cpu").notes == subject.notes
    assert small_subject(model=ending, loss=squared_error, train=None, test=None).model is ending


def test_a_network_that_writes_into_its_input_leaves_the_data():
    model = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(16, 3)).eval()
    x = IMAGES - 1
    subject = small_subject(model=model, train=(x, LABELS), test=None, input_range=(-1, 1))
    assert torch.equal(subject.train[0], IMAGES - 1)


class Words(nn.Module):
    """Scores of the mean of the words' vectors."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.words(x).mean(1))


def test_tokens_are_audited_by_what_asks_no_gradient_in_them(tmp_path):
    x, y = torch.randint(0, 5, (12, 4), generator=seeded(0)), torch.arange(12) % 2
    subject = Subject(Words().eval(), cross_entropy, train=(x, y))
    answers = {each.probe: each for each in run_audit(subject, out=tmp_path / "audit").answers}
    assert answers["curvature"].status == "answered"
    for name in ("robustness", "logit_gaps", "off_subspace", "reconstruction"):
        assert answers[name].status == "skipped"
        assert "integers" in answers[name].reason


def test_a_squeezed_score_of_one_sample_is_a_score():
    model = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)).eval()
    model[1].register_forward_hook(lambda module, inputs, outputs: outputs.squeeze())
    x, y = torch.rand(6, 4, generator=seeded(0)), torch.arange(6) % 2
    raw = RawClassifier(Subject(model, binary_cross_entropy, train=(x, y)))
    torch.testing.assert_close(raw(x[:1]), raw(x)[:1])
