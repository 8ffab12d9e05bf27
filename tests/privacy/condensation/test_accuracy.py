import pytest
import torch

from assay.core import InvalidInputError, cross_entropy, seeded
from assay.nets import mlp
from assay.privacy import evaluate_condensed
from helpers.condensation import build, samples


def test_networks_trained_on_samples_that_tell_classes_apart_are_right():
    x, y = torch.eye(3).repeat(4, 1), torch.arange(12) % 3
    options = {"model_fn": lambda source: mlp((3, 3), generator=source), "epochs": 30, "lr": 0.5}
    right = evaluate_condensed(x[:3], y[:3], x, y, n_models=3, **options)
    wrong = evaluate_condensed(x[:3], (y[:3] + 1) % 3, x, y, n_models=3, **options)
    assert right.accuracies == (1.0, 1.0, 1.0)
    assert wrong.accuracies == (0.0, 0.0, 0.0)
    assert (right.mean, right.std, right.n_train, right.epochs) == (1.0, 0.0, 3, 30)
    assert right.train_accuracies == wrong.train_accuracies == (1.0, 1.0, 1.0)
    assert "test accuracy 100.0%" in str(right)
    assert "accuracy on these samples themselves 100.0%" in str(wrong)


def test_evaluation_is_sgd_with_momentum_and_decay_and_a_lower_rate_in_the_second_half():
    x, y = (part.float() if part.is_floating_point() else part for part in samples(6))
    trained = []

    def make(source):
        trained.append(build(source))
        return trained[-1]

    evaluate_condensed(x, y, x, y, model_fn=make, n_models=1, epochs=4, lr=0.3, generator=seeded(2))
    by_hand = []
    options = {"n_models": 1, "epochs": 1, "generator": seeded(2)}
    evaluate_condensed(x, y, x, y, model_fn=lambda s: by_hand.append(build(s)) or build(seeded(0)), **options)
    model, momentum = by_hand[0], None
    for epoch in range(4):
        rate = 0.3 if epoch < 2 else 0.03
        slopes = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        slopes = [slope + 5e-4 * value.detach() for slope, value in zip(slopes, model.parameters(), strict=True)]
        momentum = slopes if momentum is None else [0.9 * m + s for m, s in zip(momentum, slopes, strict=True)]
        with torch.no_grad():
            for parameter, move in zip(model.parameters(), momentum, strict=True):
                parameter -= rate * move
    for got, expected in zip(trained[0].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


def test_evaluation_trains_on_augmented_samples_and_measures_on_plain_ones():
    x, y = samples(6)
    shown = []

    def augment(batch, source):
        shown.append(len(batch))
        return batch + torch.rand(1, generator=source, dtype=torch.float64)

    options = {"model_fn": build, "n_models": 1, "epochs": 3, "augment": augment}
    assert evaluate_condensed(x, y, x, y, **options) == evaluate_condensed(x, y, x, y, **options)
    assert shown == [6] * 6


def test_evaluation_draws_once_from_the_generator_and_every_network_is_another():
    x, y = samples(6)
    built, source, other = [], seeded(2), seeded(2)

    def make(own):
        built.append(build(own)[0].weight.detach().clone())
        return build(seeded(0))

    evaluate_condensed(x, y, x, y, model_fn=make, n_models=3, epochs=1, generator=source)
    torch.randint(2**31, (1,), generator=other)
    assert torch.equal(source.get_state(), other.get_state())
    assert not torch.equal(built[0], built[1])
    first = [weight.clone() for weight in built]
    evaluate_condensed(x, y, x, y, model_fn=make, n_models=3, epochs=1, generator=seeded(2))
    assert all(torch.equal(*pair) for pair in zip(built[3:], first, strict=True))
    evaluate_condensed(x, y, x, y, model_fn=make, n_models=1, epochs=1, generator=source)
    assert not torch.equal(built[-1], first[0])


def test_an_evaluation_without_networks_is_refused():
    x, y = samples()
    with pytest.raises(InvalidInputError, match="n_models"):
        evaluate_condensed(x, y, x, y, model_fn=build, n_models=0)
