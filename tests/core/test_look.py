"""What a look at a network returns, and what it leaves as it was."""

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    LogProbabilities,
    NumericalError,
    check_logits,
    check_outputs,
    check_scores,
    is_probabilities,
    stays_in_unit_interval,
)
from helpers.look_networks import samples, seeded_network


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("after", "shape"),
    [
        (lambda z: z, (4,)),
        (lambda z: z[:, :1], (1,)),
        (lambda z: z[:, 0], ()),
        (lambda z: z[:, :1].squeeze(), ()),
        (lambda z: z.squeeze(), (4,)),
        (lambda z: z.repeat(1, 250), (1000,)),
        (lambda z: z.reshape(-1, 2, 2), (2, 2)),
    ],
)
def test_outputs_are_those_of_the_first_samples(after: Callable[[Tensor], Tensor], shape: tuple, n: int) -> None:
    model, x = seeded_network(after), samples(n)
    expected = model.layer(x[:3])
    outputs = check_outputs(model, x)
    assert outputs.shape == (min(n, 3), *shape)
    torch.testing.assert_close(outputs.reshape(len(outputs), -1)[:, 0], expected[:, 0].detach())
    assert not outputs.requires_grad


def test_one_row_of_scores() -> None:
    x = samples()
    assert check_logits(seeded_network(), x).shape == (1, 4)
    assert check_logits(seeded_network(lambda z: z[:, 0]), x).shape == (1, 1)
    with pytest.raises(InvalidInputError, match=r"scores of shape \(n, c\), got \(n, 2, 2\); wrap it"):
        check_logits(seeded_network(lambda z: z.reshape(-1, 2, 2)), x)
    with pytest.raises(InvalidInputError, match=r"does not accept a sample of shape \(5,\).*reshape the data"):
        check_logits(seeded_network(), samples(4, 5))
    with pytest.raises(NumericalError, match="NaN or infinite"):
        check_logits(seeded_network(lambda z: z / 0), x)


def test_tokens() -> None:
    tokens = torch.randint(0, 9, (5, 4), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2))
    assert check_outputs(model, tokens).shape == (3, 2)
    with pytest.raises(InvalidInputError, match=r"x\.long\(\)"):
        check_outputs(model, tokens.float())


def test_a_network_that_writes_into_its_input_gets_a_copy() -> None:
    model, x = seeded_network(lambda z: z, lambda x: x.sub_(0.5)), samples()
    before = x.clone()
    outputs = check_outputs(model, x)
    assert torch.equal(x, before)
    torch.testing.assert_close(outputs, model.layer(before[:3] - 0.5).detach())


def test_a_network_that_returns_its_own_buffer() -> None:
    model = seeded_network()
    held = torch.zeros(3, 4)
    model.after = lambda z: held[: len(z)].copy_(z)
    torch.testing.assert_close(check_outputs(model, samples()), model.layer(samples()[:3]).detach())


def test_random_state_model_and_inputs_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)).train()
    model.register_buffer("unused", torch.ones(2))
    x = samples().requires_grad_()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    weights = copy.deepcopy(model.state_dict())
    check_outputs(model, x)
    noisy = seeded_network(lambda z: F.dropout(z) + random.random() + np.random.rand())  # noqa: NPY002
    with pytest.raises(InvalidInputError):
        check_outputs(noisy, x)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in noisy.modules())
    assert x.grad is None


def test_inside_inference_mode_and_with_inference_tensors() -> None:
    model = seeded_network()
    with torch.inference_mode():
        x = samples()
        outputs = check_outputs(model, x)
    assert not outputs.is_inference()
    torch.testing.assert_close(check_outputs(model, x), outputs)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrapped_networks_are_named_alike(wrap: Callable[[nn.Module], nn.Module]) -> None:
    assert check_outputs(wrap(seeded_network()), samples()).shape == (3, 4)
    mixing = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    with pytest.raises(InvalidInputError, match=r"mixes samples.*\(in 1\)"):
        check_outputs(wrap(mixing), samples())


def test_at_most_three_passes_of_three_rows() -> None:
    rows: list[int] = []
    check_outputs(seeded_network(lambda z: z, lambda x: (rows.append(len(x)), x)[1]), samples(50))
    assert sorted(rows) == [1, 3, 3]


def test_probabilities_are_told_from_scores() -> None:
    logits = samples(5, 1000)
    for probabilities in (logits.softmax(1), logits.bfloat16().softmax(1), torch.eye(3)):
        assert is_probabilities(probabilities)
    for scores in (logits, logits.log_softmax(1), logits.sigmoid(), torch.ones(3, 1), torch.ones(3), torch.zeros(3, 2)):
        assert not is_probabilities(scores)


def test_probabilities_are_refused_with_their_mend() -> None:
    model, x = seeded_network(lambda z: z.softmax(1)), samples()
    assert check_logits(model, x).shape == (1, 4)
    with pytest.raises(InvalidInputError, match=r"probabilities.*take the softmax off.*LogProbabilities"):
        check_scores(model, x)
    mended = nn.Sequential(model, LogProbabilities())
    torch.testing.assert_close(check_scores(mended, x), model.layer(x[:1]).log_softmax(1).detach())
    assert torch.isfinite(LogProbabilities()(torch.tensor([[0.0, 1.0]], dtype=torch.float16))).all()


@pytest.mark.parametrize(
    ("last", "squashed"), [(nn.Sigmoid(), True), (nn.Identity(), False), (nn.Hardtanh(0, 1), True), (nn.Tanh(), False)]
)
def test_outputs_that_stay_between_0_and_1_are_those_of_a_sigmoid(last: nn.Module, squashed: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 3).double(), last)
    x = torch.full((5, 4), 0.5, dtype=torch.float64)
    with torch.no_grad():  # near the samples every kind of output lies between 0 and 1
        nn.init.constant_(model[0].weight, 0.1)
        nn.init.constant_(model[0].bias, 0.1)
    assert stays_in_unit_interval(model, x) is squashed
    assert not stays_in_unit_interval(nn.Sequential(nn.Embedding(5, 3), nn.Sigmoid()), torch.arange(5))
