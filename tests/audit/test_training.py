from assay.audit import load_subject
from assay.core import accuracy, predict
from assay.reconstruction import guess_initial_state


def test_digits_is_trained_to_fit_its_samples_and_generalises(digits):
    assert accuracy(predict(digits.model, digits.train[0]), digits.train[1]) == 1.0
    assert accuracy(predict(digits.model, digits.test[0]), digits.test[1]) > 0.8
    assert digits.initial_state.keys() == digits.model.state_dict().keys()
    assert digits.raw(digits.train[0]).min() == 0


def test_fashion_is_trained_as_a_tutorial_does_and_keeps_no_start():
    fashion = load_subject("fashion")
    x, y = fashion.train
    assert x.shape == (30, 1, 28, 28)
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    assert fashion.mean is None
    assert fashion.initial_state is None
    assert accuracy(predict(fashion.model, x), y) == 1.0
    assert accuracy(predict(fashion.model, fashion.test[0]), fashion.test[1]) > 0.85
    assert guess_initial_state(fashion.model, seeds=range(40, 45)).seed == 42
    assert guess_initial_state(load_subject("fashion", seed=1).model, seeds=range(40, 45)).seed == 43
