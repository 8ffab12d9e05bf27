from assay.core import accuracy, predict


def test_digits_is_trained_to_fit_its_samples_and_generalises(digits):
    assert accuracy(predict(digits.model, digits.train[0]), digits.train[1]) == 1.0
    assert accuracy(predict(digits.model, digits.test[0]), digits.test[1]) > 0.8
    assert digits.initial_state.keys() == digits.model.state_dict().keys()
    assert digits.raw(digits.train[0]).min() == 0
