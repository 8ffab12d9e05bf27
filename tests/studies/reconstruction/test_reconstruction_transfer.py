import pytest
import torch
from torch.nn.functional import normalize
from torch.nn.utils import parameters_to_vector

from assay.core import InvalidInputError, accuracy, binary_cross_entropy, seeded
from assay.reconstruction import ConsensusSelector
from assay.studies.reconstruction.reconstruction_transfer import pools, study
from assay.studies.reconstruction.reconstruction_transfer.heads import (
    WEIGHT_DECAY,
    best_cosines,
    denoised,
    look_up,
    look_up_blindly,
    precision,
    scores,
    train_head,
    unexplained,
)
from assay.studies.reconstruction.reconstruction_transfer.inversions import (
    PENALTIES,
    altered,
    decode,
    decode_head,
    nearest_members,
    no_more_like,
)
from assay.studies.reconstruction.reconstruction_transfer.settings import Settings
from assay.studies.reconstruction.reconstruction_transfer.texts import SENTENCE, sentences


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("reconstruction-transfer")


@pytest.fixture(scope="module")
def head():
    x = 1 + torch.randn(60, 40, generator=seeded(0))
    return train_head(Settings(n=10, width=20, steps=300), x, torch.arange(60) % 2, 3)


def test_every_claim_is_measured_and_stand_ins_are_named(run):
    assert {entry.claim for entry in run.evidence if entry.values} == {"C1", "C2", "C3", "C4", "C5"}
    untested = {(entry.claim, entry.reason) for entry in run.evidence if entry.reason}
    assert untested == {("C1", study.NO_PHOTOGRAPHS), ("C2", study.STAND_INS), ("C3", study.STAND_INS)}
    assert {figure["name"] for figure in run.figures} == {"counts", "inverted"}


def test_recovered_embeddings_have_a_bar_and_true_ones_stand_in_the_tables(run):
    images = [entry for entry in run.evidence if entry.claim == "C1" and entry.values]
    bars = {entry.what.partition(":")[0]: entry.bar.value for entry in images}
    methods = ("pixels", "deep image prior", "linear map")
    assert bars == {f"{method}, recovered embeddings": 0.9 for method in methods}
    tables = {table["name"]: table for table in run.tables}
    assert [row[:2] for row in tables["inverted"]["rows"]] == [
        [method, kind] for method in methods[:2] for kind in ("true", "recovered")
    ]
    assert tables["decoded"]["columns"][:2] == ["true: share", "recovered: share"]


def test_the_small_scale_uses_trained_encoders():
    assert not study.STUDY.settings("small").stand_ins


def test_a_heads_members_are_balanced_centred_and_learned(head):
    assert int(head.members.sum()) == int(head.others.sum()) == 10
    assert not (head.members & head.others).any()
    labels = (torch.arange(60) % 2)[head.members]
    assert labels.bincount().tolist() == [5, 5]
    seen = head.inputs[head.members]
    torch.testing.assert_close(seen.mean(0), torch.zeros(40), atol=1e-4, rtol=0)
    assert float(seen.norm(dim=1).mean()) == pytest.approx(10, rel=1e-4)
    assert accuracy(head.model(seen), labels) == 1.0


def test_scores_of_the_training_embeddings_themselves(head):
    seen = head.inputs[head.members]
    assert best_cosines(seen, seen).min() > 0.999
    assert precision(seen, seen) == 1.0
    found = look_up(head, seen, torch.linalg.svd(seen, full_matrices=False)[2][:9], 10)
    assert [found[f"retrieval: {name}"] for name in ("precision", "recall")] == [1.0, 1.0]
    assert [found[f"membership: {name}"] for name in ("AUC", "TPR at 1% FPR")] == [1.0, 1.0]
    assert found["membership by span: AUC"] == 1.0


def test_what_is_unexplained_is_the_gradient_that_training_left(head):
    seen, weights = head.inputs[head.members], list(head.model.parameters())
    loss = binary_cross_entropy(head.model(seen), head.labels)
    gradient = parameters_to_vector(torch.autograd.grad(loss, weights))
    theta = parameters_to_vector(weights).detach()
    expected = (gradient / WEIGHT_DECAY + theta).norm() / theta.norm()
    assert unexplained(head) == pytest.approx(float(expected), rel=1e-3)


def test_random_directions_in_the_span_lead_to_members_when_others_are_orthogonal():
    x = torch.cat([torch.eye(6)[:3], -torch.eye(6)[:3], torch.eye(6)[3:], -torch.eye(6)[3:]])
    found = look_up_blindly(x, torch.arange(12) < 6, 5, 0)
    assert found["retrieval by span: precision"] == 1.0
    assert 1 / 6 <= found["retrieval by span: recall"] <= 5 / 6


def test_a_selection_is_scored_by_what_comes_first():
    pool = torch.eye(3)[[0, 0, 0, 0, 1, 1, 1, 2, 2]]
    selector = ConsensusSelector().fit(pool, torch.tensor([0, 1, 2, 3, 0, 1, 2, 0, 1]))
    assert scores(selector, torch.eye(3)[[0, 2]]).tolist() == [0.5, 1.0, 3.0]


def test_averaging_members_with_opposite_errors_gains_what_the_errors_cost():
    seen = torch.eye(2)[:1]
    pool = torch.tensor([[1.0, 0.4], [1.0, -0.4]])
    selector = ConsensusSelector(0.3).fit(pool, torch.tensor([0, 1]))
    assert denoised(selector, pool, seen) == pytest.approx(1 - 1 / 1.16**0.5)


def test_the_linear_map_is_the_ridge_regression_that_errs_least_on_what_is_left_out():
    x, mean = torch.randn(12, 3, generator=seeded(0)) + 1, torch.ones(3)
    images = torch.rand(12, 1, 2, 2, generator=seeded(1)) / 2 + 0.25
    targets = torch.randn(5, 3, generator=seeded(2))

    def ridge(penalty, kept, wanted):
        inputs, outputs = normalize(x[kept] - mean).double(), images[kept].flatten(1).double()
        centred = inputs - inputs.mean(0)
        gram = centred.T @ centred + penalty * torch.eye(3)
        weights = torch.linalg.solve(gram, centred.T @ (outputs - outputs.mean(0)))
        return (wanted.double() - inputs.mean(0)) @ weights + outputs.mean(0)

    def left_out(penalty):
        guesses = [ridge(penalty, torch.arange(12) != k, normalize(x[[k]] - mean)) for k in range(12)]
        return (torch.cat(guesses) - images.flatten(1)).square().sum()

    best = min(PENALTIES, key=left_out)
    expected = ridge(best, torch.arange(12), normalize(targets)).unflatten(1, (1, 2, 2)).float()
    torch.testing.assert_close(decode(targets, mean, {"x": x, "images": images}), expected, atol=1e-5, rtol=0)


def test_a_source_is_the_likest_of_all_and_a_negative_the_least():
    images = torch.rand(8, 3, 5, 5, generator=seeded(0))
    assert no_more_like(images[:3], images[:3], images).tolist() == [1.0, 1.0, 1.0]
    assert no_more_like(1 - images[:3], images[:3], images).tolist() == [1 / 8, 1 / 8, 1 / 8]


def test_selected_embeddings_are_decoded_beside_those_of_their_nearest_members(monkeypatch):
    monkeypatch.setattr(pools, "image_encoder", lambda _: torch.nn.Flatten())
    mean, members = torch.ones(4), torch.arange(6) < 3
    x = torch.cat([torch.eye(4), -torch.eye(4)[:2]]) + mean
    pool = {"x": x, "images": torch.rand(6, 1, 2, 2, generator=seeded(0))}
    selected = 5 * torch.eye(4)[[2, 0]] + 0.1
    source = nearest_members(selected, mean, members, pool)
    assert torch.equal(source["images"], pool["images"][[2, 0]])
    assert torch.equal(source["x"], torch.eye(4)[[2, 0]])
    torch.testing.assert_close(source["cosines"], torch.full((2,), 5.1 / (5.1**2 + 0.03) ** 0.5))
    head = {"selected": selected, "mean": mean, "members": members}
    found = decode_head(Settings(n=2, stand_ins=True), 0, head, pools={"images": pool, "public images": pool})
    for kind, target in (("true", torch.eye(4)[[2]]), ("recovered", selected[:1])):
        expected = decode(target, mean, pool)
        assert torch.equal(found[kind], target)
        torch.testing.assert_close(found[f"{kind}: images"], expected)
        assert found[f"{kind}: share"] == no_more_like(expected, pool["images"][[2]], pool["images"]).item()


def test_an_encoder_that_cannot_tell_left_from_right_cannot_tell_a_mirror_image(monkeypatch):
    monkeypatch.setattr(pools, "image_encoder", lambda _: lambda images: images.mean(3).flatten(1))
    images = torch.rand(6, 1, 5, 5, generator=seeded(0))
    pool = {"images": images, "x": pools.embedded(images, True)}
    found = altered(pool, torch.arange(6) < 4, torch.full((5,), 0.5), stand_in=True)
    torch.testing.assert_close(found["mirror image"], torch.ones(4))
    torch.testing.assert_close(found["negative"], -torch.ones(4))


def test_sentences_are_of_two_kinds_and_all_different():
    texts, kinds = sentences(200)
    assert len(set(texts)) == 200
    assert kinds == [0] * 100 + [1] * 100
    assert all(SENTENCE.fullmatch(text) for text in texts)
    assert sum("Python" in text for text in texts[:100]) > 0
    with pytest.raises(InvalidInputError, match="asked for"):
        sentences(10**6)
