from functools import partial

import matplotlib
import pytest
import torch
from torch import nn

from assay.attribution import diffroar
from assay.attribution.faithfulness import rank_coordinates, unmask
from assay.core import InvalidInputError, SequentialTrainer, StackedTrainer, cross_entropy, fit, seeded
from assay.nets import mlp

captum = pytest.importorskip("captum.attr")
matplotlib.use("Agg")
TRAINER = StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=0.03), epochs=5)


def build(source):
    return mlp((6, 8, 2), generator=source).double()


def data(n, seed):
    """Coordinate 2 is the label, the others are noise."""
    x = torch.randn(n, 6, generator=seeded(seed), dtype=torch.float64)
    y = torch.arange(n) % 2
    x[:, 2] = 2.0 * y - 1
    return x, y


def known(model, x, y):
    return (torch.arange(6) == 2).double().expand_as(x)


def random(model, x, y):
    return torch.rand(x.shape)


TRAIN, TEST = data(400, 0), data(2000, 1)
BASE = nn.Linear(6, 2).double()
# Opposite rows: the mask of lowest ranks would else reveal the predicted class.
BASE.weight.data = torch.outer(torch.tensor([-1.0, 1]), torch.tensor([0.1, 0, 5, 0, 0.2, 0])).double()
CALL = partial(diffroar, BASE, *TRAIN, *TEST, model_fn=build, trainer=TRAINER)


def test_the_known_coordinate_is_all_that_is_needed():
    result = CALL(attribution=known, fractions=(1 / 6, 5 / 6), n_runs=2)
    assert result.top.min() == 1
    # Without it the label is a coin: 2000 test samples, three standard errors below 0.034.
    assert (result.bottom - 0.5).abs().max() < 0.034
    assert (result.score - 0.5).abs().max() < 0.034
    inverted = CALL(attribution=lambda model, x, y: 1 - known(model, x, y), fractions=(1 / 6,), n_runs=1)
    assert inverted.score[0] < -0.46


def test_all_coordinates_give_exactly_zero():
    result = CALL(fractions=(1.0,), n_runs=2)
    assert result.runs.tolist() == [[0.0, 0.0]]
    assert result.top.min() > 0.95


def test_a_random_ranking_scores_nothing():
    result = CALL(attribution=random, fractions=(0.5,), n_runs=2)
    assert abs(float(result.score)) < 0.06
    assert 0.6 < float(result.top.mean()) < 0.9


def test_gradients_of_a_linear_rule_find_its_coordinate_and_captum_agrees():
    own = CALL(fractions=(1 / 6,), n_runs=1)
    assert own.score[0] > 0.4
    method = CALL(attribution=captum.Saliency(BASE), fractions=(1 / 6,), n_runs=1)
    assert torch.equal(own.top, method.top)
    assert torch.equal(own.bottom, method.bottom)


@pytest.mark.parametrize("kind", ["IntegratedGradients", "DeepLift", "GradientShap"])
@pytest.mark.filterwarnings("ignore:Setting forward")
def test_other_methods_of_captum_run_inside(kind):
    (x, y), (x_test, y_test) = ([part[:n] for part in pair] for pair, n in ((TRAIN, 200), (TEST, 300)))
    model = nn.Sequential(BASE)
    options = {"model_fn": build, "trainer": TRAINER, "fractions": (1 / 6,), "n_runs": 1}
    found = diffroar(model, x, y, x_test, y_test, attribution=getattr(captum, kind)(model), **options)
    assert found.top.item() == 1
    assert found.bottom.item() < 0.65  # a coin: 300 samples, five standard errors


def test_networks_see_exactly_the_unmasked_data():
    seen = []

    def train(model, x, y, source):
        seen.append((x, y))

    scores = torch.rand(400, 6, generator=seeded(5), dtype=torch.float64)
    constant = {len(TRAIN[0]): scores, len(TEST[0]): torch.ones(2000, 6, dtype=torch.float64)}
    CALL(
        attribution=lambda model, x, y: constant[len(x)],
        batch_size=4000,
        fractions=(0.5,),
        n_runs=2,
        trainer=SequentialTrainer(train),
        fill=7.0,
    )
    ranks = rank_coordinates(scores)
    for place, (x, y) in enumerate(seen):
        assert torch.equal(x, unmask(TRAIN[0], ranks, 0.5, keep="top" if place < 2 else "bottom", fill=7.0))
        assert torch.equal(y, TRAIN[1])


def test_true_labels_can_leak_into_the_mask_and_the_result_says_so():
    def by_class(model, x, y):
        return torch.arange(6).double() * (2.0 * y[:, None] - 1)

    x = torch.randn(600, 6, generator=seeded(7), dtype=torch.float64)  # nothing to learn
    y = torch.arange(600) % 2
    call = partial(diffroar, BASE, x, y, x, y, model_fn=build, trainer=TRAINER, attribution=by_class, n_runs=1)
    leaked = call(fractions=(1 / 6,), target="label", magnitude=False)
    assert leaked.top[0, 0] > 0.9
    assert "mask can reveal" in str(leaked)
    assert call(fractions=(1 / 6,), magnitude=False).top[0, 0] < 0.7


def test_levels_are_kept_and_do_not_depend_on_each_other(tmp_path):
    whole = CALL(fractions=(0.5, 1.0), n_runs=1, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2

    def refuse(model, x, y, source):
        raise AssertionError("trained again")

    again = CALL(fractions=(0.5, 1.0), n_runs=1, folder=tmp_path, trainer=SequentialTrainer(refuse))
    assert torch.equal(whole.top, again.top)
    assert torch.equal(whole.top[:1], CALL(fractions=(0.5,), n_runs=1).top)
    assert whole.std.isnan().all()
    assert whole.plot().get_ylabel() == "DiffROAR"


def test_networks_with_batch_norm_are_trained_by_the_users_function_on_images():
    def convolution(source):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        return nn.Sequential(*layers)

    def train(model, x, y, source):
        adam = partial(torch.optim.Adam, lr=0.01)
        fit(model, x, y, loss=cross_entropy, optimizer=adam, epochs=3, batch_size=20, generator=source)

    x = torch.randn(80, 3, 4, 4, generator=seeded(0))
    y = (x[:, 1, 2, 2] > 0).long()
    with torch.random.fork_rng():
        model = convolution(None).eval()
        options = {"model_fn": convolution, "fractions": (1 / 16,), "n_runs": 1}
        result = diffroar(model, x, y, x, y, trainer=SequentialTrainer(train), **options)
        assert result.runs.shape == (1, 1)
        with pytest.raises(InvalidInputError, match="SequentialTrainer"):
            diffroar(model, x, y, x, y, trainer=TRAINER, **options)


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="growing"):
        CALL(fractions=(0.5, 0.2))
    with pytest.raises(InvalidInputError, match="fraction"):
        CALL(fractions=(0.01,))
    with pytest.raises(InvalidInputError, match="alike"):
        diffroar(BASE, *TRAIN, TEST[0][:, :5], TEST[1], model_fn=build, trainer=TRAINER)
    with pytest.raises(InvalidInputError, match="n_runs"):
        CALL(n_runs=0)
