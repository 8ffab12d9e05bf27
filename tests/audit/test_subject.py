import dataclasses

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy, squared_error
from helpers.stand_ins import small_network, small_subject

IMAGES, LABELS = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 1])


def broken_network():
    network = small_network()
    with torch.no_grad():
        network[1].weight[0, 0] = float("nan")
    return network


def test_a_healthy_subject_says_what_it_brings():
    subject = small_subject()
    assert [subject.has(need) for need in ("weights", "gradients", "training_data", "test_data")] == [True] * 4
    assert not subject.has("initial_weights")
    assert subject.sample_shape == (1, 4, 4)
    assert subject.n_parameters == 16 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize(
    ("changes", "problem", "mend"),
    [
        ({"model": broken_network()}, "NaN", "load a healthy checkpoint"),
        ({"model": nn.Sequential(small_network().eval(), nn.Dropout(0.5).train())}, "dropout is on", "model.eval()"),
        ({"model": nn.Flatten()}, "no parameters", "pass a trained network"),
        ({"train": (IMAGES, torch.tensor([0, 3]))}, "labels from 0 to 3", "relabel the classes as 0..2"),
        ({"train": (IMAGES[:0], LABELS[:0])}, "non-empty", "at least one sample"),
        ({"train": (IMAGES[:, :, :3], LABELS)}, "does not accept a sample of shape (1, 3, 4)", "reshape the data"),
        ({"train": (IMAGES, LABELS[:1])}, "one target for each of the 2 samples", "align x and y"),
        ({"test": (IMAGES * float("inf"), LABELS)}, "test data: x holds NaN or infinite", "clean the data"),
        ({"train": (IMAGES.double(), LABELS)}, "torch.float64", ".to(torch.float32)"),
        ({"train": (IMAGES * 200, LABELS)}, "outside the stated range (0.0, 1.0)", "correct input_range"),
        ({"input_range": (1.0, 0.0)}, "input_range is (1.0, 0.0), which is reversed", "give (0, 1)"),
        ({"class_names": ("red", "green")}, "2 names for 3 classes", "one for each or none"),
        ({"loss": binary_cross_entropy}, "the model has 3", "use cross_entropy"),
        ({"model": small_network(outputs=1)}, "the model has 1", "use binary_cross_entropy"),
        ({"initial_state": {"weight": IMAGES}}, "other names", "state_dict of the same model"),
        ({"groups": LABELS}, "one entry for each training sample", "align them"),
        ({"test_groups": LABELS}, "test_groups must hold one entry for each held-out sample", "align them with test"),
        ({"test_groups": ["a", "b", "a", "b", "a"]}, "test_groups must be a vector of whole numbers", "number"),
    ],
)
def test_a_problem_is_named_with_its_mend(changes, problem, mend):
    with pytest.raises(InvalidInputError) as refusal:
        small_subject(**changes)
    assert problem in str(refusal.value)
    assert mend in str(refusal.value)


def test_all_problems_are_named_at_once():
    with pytest.raises(InvalidInputError, match=r"train data: .*labels from 0 to 7.* \| test data: .*align x and y"):
        small_subject(train=(IMAGES, torch.tensor([0, 7])), test=(IMAGES, LABELS[:1]))


@pytest.mark.parametrize("labels", [LABELS, 2 * LABELS - 1])
def test_binary_labels_may_be_zero_and_one_or_signs(labels):
    subject = small_subject(
        model=small_network(outputs=1), loss=binary_cross_entropy, train=(IMAGES, labels), test=None, class_names=()
    )
    assert subject.train[1].tolist() == labels.tolist()


def test_targets_of_a_regression_are_not_checked_as_classes():
    given = {"train": (IMAGES, torch.full((2, 3), 7.5)), "test": None, "class_names": ()}
    assert small_subject(loss=squared_error, **given).has("training_data")
    with pytest.raises(InvalidInputError, match="train data"):
        small_subject(loss=cross_entropy, **given)


@pytest.mark.parametrize(
    ("model", "shape", "given"),
    [
        (small_network(), (1, 4, 4), (2, 8)),
        (nn.Sequential(nn.Linear(16, 2)), (16,), (16,)),  # nothing flattens: the samples are vectors
        (nn.Sequential(nn.Flatten(), nn.Linear(15, 2)), (15,), (3, 5)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), None, (1, 4, 4)),
    ],
)
def test_without_data_the_shape_of_an_input_is_read_off_a_dense_first_layer(model, shape, given):
    assert small_subject(model=model.eval(), train=None, test=None).sample_shape == shape
    assert small_subject(model=model.eval(), train=None, test=None, input_shape=given).sample_shape == given


def test_moving_a_subject_leaves_the_original_where_it_is():
    subject = small_subject()
    moved = subject.to("cpu")
    assert moved.model is not subject.model
    assert all(torch.equal(a, b) for a, b in zip(moved.model.parameters(), subject.model.parameters(), strict=True))
    with pytest.raises(InvalidInputError, match="leave out --device"):
        subject.to("meta:nowhere")


def test_a_mean_that_was_subtracted_is_added_back():
    mean = torch.rand(1, 4, 4)
    subject = small_subject(train=(IMAGES - mean, LABELS), test=None, mean=mean)
    torch.testing.assert_close(subject.raw(subject.train[0]), IMAGES)
    with pytest.raises(InvalidInputError, match="any mean that was subtracted as mean="):
        small_subject(train=(IMAGES - mean, LABELS), test=None)


def test_a_subject_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_subject().loss = cross_entropy
