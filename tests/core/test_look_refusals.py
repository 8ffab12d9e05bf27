"""Weights, types and outputs that nobody can use, refused in a sentence with its mend."""

import copy
import math
from collections import namedtuple
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from assay.core import InvalidInputError, check_logits, check_model, check_outputs
from helpers.look_networks import samples, seeded_network

Scores = namedtuple("Scores", ["hidden", "logits"])


class ModelOutput(dict):
    """As of transformers: a dict with attributes."""


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_networks_are_refused_also_inside_others() -> None:
    scripted = torch.jit.script(nn.Linear(6, 4))
    for model in (scripted, nn.Sequential(nn.ReLU(), scripted)):
        with pytest.raises(InvalidInputError, match=r"TorchScript.*pass the nn.Module that was scripted"):
            check_model(model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_types_of_weights_and_inputs_are_named(dtype: torch.dtype) -> None:
    model = seeded_network().to(dtype)
    assert check_logits(model, samples().to(dtype)).dtype == dtype
    with pytest.raises(InvalidInputError, match=rf"torch.float32, for its weights are {dtype}; convert .*x.to"):
        check_logits(model, samples())


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
