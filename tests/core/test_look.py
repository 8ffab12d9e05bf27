"""Networks that users have: each is understood as plain torch computes it, or refused in a sentence with its mend."""

import copy
import math
import random
from collections import namedtuple
from collections.abc import Callable
from typing import Any

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
    check_model,
    check_outputs,
    check_scores,
    is_probabilities,
)


class Network(nn.Module):
    """A linear layer between two functions."""

    def __init__(self, after: Callable[[Tensor], Any] = lambda z: z, before: Callable[[Tensor], Any] = lambda x: x):
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(self.before(x)))


def samples(n: int = 5, *shape: int) -> Tensor:
    return torch.rand(n, *(shape or (6,)), generator=torch.Generator().manual_seed(0))


def seeded_network(*arguments: Any) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(*arguments).eval()


Scores = namedtuple("Scores", ["hidden", "logits"])


class ModelOutput(dict):
    """As of transformers: a dict with attributes."""


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


def test_weights_that_cannot_be_used() -> None:
    linear = nn.Linear(2, 1)
    broken = copy.deepcopy(linear)
    nn.init.constant_(broken.weight, math.nan)
    with torch.inference_mode():
        inference = nn.Linear(2, 1)
    whole = nn.Linear(2, 1)
    whole.weight = nn.Parameter(torch.ones(1, 2, dtype=torch.int8), requires_grad=False)
    whole.bias = None
    cases: dict[str, nn.Module] = {
        "no parameters; pass a trained network": nn.ReLU(),
        r"meta device.*\(0.weight, 0.bias\); load the weights": nn.Sequential(nn.Linear(2, 1)).to("meta"),
        "not initialised.*pass one batch": nn.LazyLinear(3),
        "not initialised": nn.Sequential(linear, nn.LazyBatchNorm1d()),
        "are complex.*view_as_real": nn.Linear(2, 1, dtype=torch.complex64),
        r"are integers \(weight\).*before quantisation": whole,
        r"inference_mode.*copy.deepcopy": inference,
        r"weights of the model are NaN or infinite \(weight\).*healthy checkpoint": broken,
    }
    for message, model in cases.items():
        with pytest.raises(InvalidInputError, match=message):
            check_model(model)
    check_model(copy.deepcopy(inference))
    mixed = nn.Sequential(whole, linear)
    check_model(mixed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_layers_are_refused_also_beside_others() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, torch.qint8)
    with pytest.raises(InvalidInputError, match=r"quantised \(0\).*floating-point weights, as it was before"):
        check_model(quantised)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_types_of_weights_and_inputs_are_named(dtype: torch.dtype) -> None:
    model = seeded_network().to(dtype)
    assert check_logits(model, samples().to(dtype)).dtype == dtype
    with pytest.raises(InvalidInputError, match=rf"torch.float32, for its weights are {dtype}; convert .*x.to"):
        check_logits(model, samples())


def test_tokens() -> None:
    tokens = torch.randint(0, 9, (5, 4), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2))
    assert check_outputs(model, tokens).shape == (3, 2)
    with pytest.raises(InvalidInputError, match=r"x\.long\(\)"):
        check_outputs(model, tokens.float())


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda z: {"loss": z.sum(), "logits": z}, r"a dict \(of 'loss', 'logits'\).*self\.model\(x\)\['logits'\]"),
        (lambda z: ModelOutput(hidden=z, logits=z), r"a ModelOutput .*self\.model\(x\)\['logits'\]"),
        (lambda z: (z, z.sum()), r"a tuple \(of 0, 1\).*self\.model\(x\)\[0\]"),
        (lambda z: [z.sum(), z], r"a list \(of 0, 1\).*self\.model\(x\)\[1\]"),
        (lambda z: Scores(z, z), r"a Scores \(of hidden, logits\).*self\.model\(x\)\.logits"),
        (lambda z: None, "a NoneType in place of one tensor"),
        (lambda z: z.detach().numpy(), "a ndarray in place of one tensor"),
        (lambda z: z.argmax(1), "type torch.int64 in place of real scores; leave out argmax"),
        (lambda z: torch.complex(z, z), "type torch.complex64.*real part"),
        (lambda z: z.mean(), r"shape \(\) for 3 samples in place of one row for each"),
        (lambda z: z.reshape(-1), r"shape \(12,\) for 3 samples"),
        (lambda z: z.T, r"shape \(4, 3\) for 3 samples"),
    ],
)
def test_outputs_that_are_no_rows(after: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_outputs(seeded_network(after), samples())


class Counter(Network):
    """Changes its answer from call to call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class MonteCarlo(Network):
    """Puts its dropout back into training mode in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.drop.train()
        return self.layer(self.drop(x))


class Routed(nn.Module):
    """Each of 32 experts takes the half of the batch that scores highest with it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(6, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x)
        taken = scores.argsort(0, descending=True).argsort(0) < (len(x) + 1) // 2
        return self.head(scores * taken)


class StochasticDepth(Network):
    """Skips its layer for one sample in ten."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (torch.rand(len(x), 1) > 0.1)


class Recurrent(nn.Module):
    """Classifies a sequence by the last state of a recurrent layer."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.body, self.head = kind(6, 5, **options), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


def attention(x: Tensor, dropout: float = 0.0) -> Tensor:
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=dropout).flatten(1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (seeded_network(lambda z: F.dropout(z, 0.5)), r"dropout on in evaluation mode.*training=self\.training"),
        (nn.Sequential(nn.Identity(), MonteCarlo()), r"dropout in 1\.drop\)"),
        (seeded_network(lambda z: z, lambda x: attention(x, 0.5)), r"dropout on in evaluation mode.*dropout_p=0"),
        (seeded_network(lambda z: z + 1e-3 * torch.randn_like(z)), r"randn_like.*only if self\.training"),
        (seeded_network(lambda z: z + random.random()), r"random or numpy\.random in the network"),
        (seeded_network(lambda z: z + np.random.rand()), "drawn in evaluation mode"),  # noqa: NPY002
        (Counter(), "second call; keep no counter or cache"),
        (
            nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)),
            r"mixes samples.*own statistics in evaluation mode \(in 1\).*track_running_stats=True",
        ),
        (seeded_network(lambda z: F.batch_norm(z, None, None, training=True)), "own statistics"),
        (seeded_network(lambda z: z - 1e-4 * z.mean(0)), "mixes samples.*no mean"),
        (seeded_network(lambda z: z.softmax(0)), "mixes samples"),
        (Routed(), "mixes samples"),
        (StochasticDepth(), "random numbers drawn"),
        (seeded_network(lambda z: z / len(z)), "mixes samples"),
    ],
)
def test_networks_that_are_no_function_of_one_sample(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_outputs(model.eval(), samples(9))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_sequence_first_layers(kind: Callable[..., nn.Module]) -> None:
    x = samples(7, 8, 6)
    assert check_outputs(Recurrent(kind, batch_first=True), x).shape == (3, 4)
    for options in ({}, {"bidirectional": True}):
        model = Recurrent(kind, **options)
        model.head = nn.LazyLinear(4)
        model(x)
        with pytest.raises(InvalidInputError, match="time on the first axis of body; build it with batch_first=True"):
            check_outputs(model, x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (seeded_network(lambda z: z, lambda x: x.view(1, -1)), "accepts|does not accept"),
        (seeded_network(lambda z: z.squeeze().softmax(1)), "three samples at once, but not one alone.*squeeze"),
        (seeded_network(lambda z: z if len(z) > 1 else z[:, :2]), r"returns \(1, 2\) for one sample and \(3, 4\)"),
    ],
)
def test_batches_of_one(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_outputs(model, samples())


def test_a_batch_size_in_the_network_is_named() -> None:
    model = seeded_network(lambda z: torch.cat([z, torch.zeros(1, 1)], 1))
    with pytest.raises(InvalidInputError, match=r"accepts one sample, but not three at once.*size of the batch"):
        check_outputs(model, samples())


class Masked(nn.Linear):
    """Needs a second argument."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x * mask)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Masked(6, 4), r"missing 1 required.*forward takes the inputs alone"),
        (nn.ModuleList([nn.Linear(6, 4)]), r"pass a network with a forward method"),
        (nn.EmbeddingBag(9, 4), r"convert token indices with x\.long\(\)"),
        (seeded_network(lambda z: 1 / 0), r"does not accept a sample .*\(division by zero\)"),
    ],
)
def test_errors_of_a_forward_pass_become_a_sentence(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_outputs(model, samples())


def test_mixed_precision_inside_is_no_mixing() -> None:
    def half(z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.linear(torch.sin(10 * z), torch.linspace(-1, 1, 40).reshape(10, 4)).float()

    for n in (1, 2, 5):
        assert len(check_outputs(seeded_network(half), samples(n))) == min(n, 3)


def test_noise_of_a_seed_set_in_each_call_is_named() -> None:
    def noisy(z: Tensor) -> Tensor:
        torch.manual_seed(0)
        return z + torch.randn_like(z)

    with pytest.raises(InvalidInputError, match=r"random numbers drawn"):
        check_outputs(seeded_network(noisy), samples())


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


def deep(kind: Callable[[], nn.Module], n: int) -> nn.Module:
    return nn.Sequential(*(kind() for _ in range(n)))


ORDINARY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten()),
        (3, 16, 16),
    ),
    "a wide product": (lambda: nn.Sequential(nn.Linear(4096, 2048), nn.ReLU(), nn.Linear(2048, 1000)), (4096,)),
    "a deep one": (lambda: deep(lambda: nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()), 40), (64,)),
    "attention": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 4, enable_nested_tensor=False
        ),
        (33, 64),
    ),
    "recurrent": (lambda: Recurrent(nn.LSTM, batch_first=True, num_layers=1), (50, 6)),
    "norms over a sample": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LayerNorm([8, 6, 6]), nn.BatchNorm2d(8)
        ),
        (3, 8, 8),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rounding_is_never_called_mixing(name: str, dtype: torch.dtype, scale: float) -> None:
    build, shape = ORDINARY[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().eval().to(dtype)
    for n in (1, 2, 5):
        x = scale * torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
        assert len(check_outputs(model, x.to(dtype))) == min(n, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_mixing_is_found_beside_rounding(dtype: torch.dtype) -> None:
    build, shape = ORDINARY["a wide product"]

    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = build()

        def forward(self, x: Tensor) -> Tensor:
            z = self.body(x)
            return z - 1e-4 * z.mean(0)

    with pytest.raises(InvalidInputError, match="mixes samples"):
        check_outputs(Centred().to(dtype), samples(4, *shape).to(dtype))


class Gathered(nn.Module):
    """Passes the rows of each sign of the first entry through the layer together, and amplifies the scores."""

    def __init__(self, mixing: float = 0.0) -> None:
        super().__init__()
        self.layer, self.mixing = nn.Linear(4096, 64), mixing

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), 64)
        for side in (x[:, 0] > 0, x[:, 0] <= 0):
            out[side] = self.layer(x[side])
        return torch.sin(300 * out) + self.mixing * x.mean()


def test_rounding_that_changes_with_the_rows_gathered_is_not_mixing_and_mixing_of_that_size_is() -> None:
    x = torch.randn(3, 4096, generator=torch.Generator().manual_seed(0))
    x[:, 0] = torch.tensor([1.0, 1.0, -1.0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gathered()
    with torch.no_grad():
        difference = (model(x) - model(x[[2, 1, 2]]))[1:].abs().max()
    assert difference > 1e-5  # no more than rounding: in float64 it is gone
    assert check_outputs(model, x).shape == (3, 64)
    model.mixing = 0.01
    with pytest.raises(InvalidInputError, match="mixes samples"):
        check_outputs(model, x)


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_networks_are_refused_also_inside_others() -> None:
    scripted = torch.jit.script(nn.Linear(6, 4))
    for model in (scripted, nn.Sequential(nn.ReLU(), scripted)):
        with pytest.raises(InvalidInputError, match=r"TorchScript.*pass the nn.Module that was scripted"):
            check_model(model)


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
