import pytest
import torch

from assay.core import seeded
from assay.nets import mlp, normalized_conv
from assay.privacy import CondensedReplay, DatasetCondenser
from assay.privacy.condensation import kernel_velocity
from assay.studies.privacy.dataset_condensation_contrastive import cells, problems, study, training

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("dataset-condensation-contrastive")


def test_every_claim_is_measured_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.values} == set(study.STUDY.claims)
    assert {figure["name"] for figure in run.figures} == {"common-vector", "kernel-velocity", "condensed"}


def test_the_common_part_is_as_large_as_asked_for_and_tells_nothing():
    x, y, x_test, y_test = problems.common_vector_problem(3.0, 500, 0)
    shared = x[:, 20:]
    assert torch.bincount(y).tolist() == torch.bincount(y_test).tolist() == [500] * 8
    assert shared.mean(0).norm().item() == pytest.approx(3.0, rel=0.02)
    means = torch.stack([x[y == label].mean(0) for label in range(8)])
    # 500 samples of standard deviation 1: five standard deviations of a mean are 0.22.
    assert (means[:, 20:] - shared.mean(0)).abs().max() < 0.25
    torch.testing.assert_close(means[:, :20].norm(dim=1), torch.full((8,), 1.6), rtol=0.1, atol=0)
    torch.testing.assert_close(
        means, torch.stack([x_test[y_test == label].mean(0) for label in range(8)]), rtol=0, atol=0.4
    )


def test_images_are_balanced_standardised_and_relabelled():
    x, y, x_test, y_test = problems.image_problem("fashion", (6, 2, 4), (8, 5), 7, 0)
    assert x.shape == (24, 1, 7, 7)
    assert x_test.shape == (15, 1, 7, 7)
    assert torch.bincount(y).tolist() == [8] * 3
    assert torch.bincount(y_test).tolist() == [5] * 3
    torch.testing.assert_close((x.mean(), x.std()), (torch.tensor(0.0), torch.tensor(1.0)), rtol=0, atol=1e-5)


def test_random_samples_are_where_both_matchings_start():
    problem = problems.image_problem("fashion", (0, 1), (6, 4), 8, 0)
    random, dcc = (cells.image_condenser(SMOKE, problem, method, 3) for method in ("random", "DCC"))
    start = random.fit(*problem[:2])
    moved = dcc.set_params(image_lr=1e-9).fit(*problem[:2])
    torch.testing.assert_close(start.data_, moved.data_, rtol=0, atol=1e-5)
    assert torch.equal(start.targets_, moved.targets_)


def test_velocities_are_those_of_the_states_of_one_training_run():
    x, y = torch.randn(12, 4, generator=seeded(0)), torch.arange(12) % 3
    model = mlp((4, 5, 3), generator=seeded(1))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    got = training.velocities(model, x, y, x[:3], steps=7, points=3, source=seeded(2))
    assert got.shape == (3,)
    ends = mlp((4, 5, 3), generator=seeded(1))
    other = training.velocities(ends, x, y, x[:3], steps=2, points=1, source=seeded(2))
    torch.testing.assert_close(got[:1], other)
    assert got[0] == kernel_velocity(model, x[:3], [start, ends.state_dict()], dt=2.0)[0]


def test_classes_are_learned_in_turn_and_remembered_from_the_memory():
    x = torch.eye(4).repeat(8, 1)[:, None, None, :].expand(-1, 1, 4, 4).contiguous()
    y = torch.arange(32) % 4
    build = lambda source: normalized_conv((1, 4, 4), 4, channels=(8,), generator=source)  # noqa: E731
    replay = CondensedReplay(DatasetCondenser(1, model_fn=build, n_outer_iter=0))
    source = seeded(0)
    reached = training.learn_in_tasks(build(source), (x, y, x, y), replay, n_tasks=2, steps=60, source=source)
    assert reached == 1.0
    assert replay.memory[1].sort().values.tolist() == [0, 1, 2, 3]


def test_a_network_that_diverges_on_a_condensed_set_counts_at_chance():
    problem = problems.common_vector_problem(0.0, 8, 0)
    condensed = DatasetCondenser(1, model_fn=problems.build_perceptron, n_outer_iter=0).fit(*problem[:2])
    accuracy, diverged = cells.judge(SMOKE, condensed, problem, 0)
    assert diverged == 0
    assert 0 <= accuracy <= 1
    condensed.data_ = 1e30 * condensed.data_
    assert cells.judge(SMOKE, condensed, problem, 0) == (pytest.approx(1 / 8), SMOKE.judges)
