"""Builders of networks as users have them: small, seeded, in evaluation mode unless they say otherwise."""

import functools
import warnings
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.core import seeded
from helpers import hand_formulas as hand
from helpers import user_modules as user

Build = Callable[[], nn.Module]


def reset(model: nn.Module, seed: int = 3) -> nn.Module:
    """Fill a network's parameters from a seed, in float64."""
    draw = seeded(seed)
    for value in model.double().parameters():
        size = max(value[0:1].numel(), 1) if value.ndim else 1
        value.data = torch.randn(value.shape, generator=draw, dtype=torch.float64) / size**0.5
    return model.eval()


def of(kind: Callable[..., nn.Module], *arguments: object, **options: object) -> Build:
    """Return what builds a module with seeded weights."""
    return lambda: reset(kind(*arguments, **options))


def by_hand(build: Build, formula: hand.Formula) -> Build:
    """Return what builds a network of the same weights that computes by a formula."""
    return lambda: hand.ByHand(build(), formula)


def features() -> Tensor:
    """Six samples of four features."""
    return torch.rand(6, 4, generator=seeded(0), dtype=torch.float64)


def stack(*sizes: int) -> nn.Sequential:
    """A perceptron, whose hidden units start where positive features find them active."""
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    model = reset(nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1]))
    nn.init.ones_(layers[0].bias)
    return model


@functools.cache
def _trained(outputs: int) -> dict[str, Tensor]:
    """Train a perceptron until it tells the samples apart, and keep its weights."""
    model, x, y = stack(4, 6, outputs), features(), torch.arange(6)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        scores = model(x)
        loss = (
            F.cross_entropy(scores, y % outputs) if outputs > 1 else F.softplus((1 - 2 * (y % 2)) * scores[:, 0]).mean()
        )
        loss.backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def plain(outputs: int = 3) -> nn.Sequential:
    """A perceptron of six hidden units, trained a little."""
    model = stack(4, 6, outputs)
    model.load_state_dict(_trained(outputs))
    return model


def softmax() -> nn.Module:
    """The perceptron's probabilities."""
    return nn.Sequential(*plain(), nn.Softmax(1)).eval()


def halved() -> nn.Module:
    """The perceptron in bfloat16."""
    return plain().to(torch.bfloat16)


def rounded() -> nn.Module:
    """The perceptron with weights that bfloat16 can hold."""
    return plain().to(torch.bfloat16).double()


def between(*kinds: Callable[[], nn.Module]) -> Build:
    """Return what builds the perceptron with other modules between its layers."""
    return lambda: nn.Sequential(plain()[0], *(kind() for kind in kinds), plain()[2]).eval()


def training_dropout() -> nn.Module:
    """The perceptron with dropout, in training mode."""
    return between(nn.ReLU, nn.Dropout)().train()


def returns(container: Callable[[Tensor], object], outputs: int = 3) -> Build:
    """Return what builds the perceptron with its scores in some container."""
    return lambda: user.Returns(container, *plain(outputs)).eval()


def prepares(prepare: Callable[[Tensor], Tensor]) -> Build:
    """Return what builds the perceptron behind a preparation of its inputs."""
    return lambda: user.Prepares(prepare, *plain()).eval()


def guard(x: Tensor) -> Tensor:
    """Refuse inputs that were not scaled."""
    if float(x.detach().abs().max()) > 1e4:
        raise ValueError("scale the inputs first")
    return x


def with_statistics(model: nn.Module) -> nn.Module:
    """Fill batch-norm's statistics as if they had been learnt."""
    for name, buffer in reset(model).named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand(buffer.shape, generator=seeded(4), dtype=torch.float64) + 0.5)
    return model


def convolution() -> nn.Module:
    """A convolution with batch-norm on images of 2 x 2 pixels."""
    return with_statistics(
        nn.Sequential(nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3))
    )


def normalised_dense() -> nn.Module:
    """A perceptron with batch-norm."""
    return with_statistics(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)))


def batch_statistics() -> nn.Module:
    """Batch-norm that has kept no statistics, and takes those of the batch in evaluation mode too."""
    norm = nn.BatchNorm1d(6, track_running_stats=False)
    return reset(nn.Sequential(nn.Linear(4, 6), norm, nn.ReLU(), nn.Linear(6, 3)))


def thousand() -> nn.Module:
    """A perceptron of a thousand classes and one hidden unit."""
    model = stack(4, 1, 1000)
    model[2] = reset(nn.Linear(1, 1000, bias=False))
    return model


def embedded() -> nn.Module:
    """Scores of the mean of the words' vectors."""
    return reset(nn.Sequential(nn.Embedding(5, 3), user.Applies(lambda h: h.mean(1)), nn.Linear(3, 5)))


def adapted() -> nn.Module:
    """A low-rank adapter beside a frozen bfloat16 base."""
    model = reset(user.Adapted()).float()
    model.base.to(torch.bfloat16).requires_grad_(False)
    return model


def frozen_backbone() -> nn.Module:
    """The perceptron with its first layer frozen."""
    model = plain()
    model[0].requires_grad_(False)
    return model


def scaled() -> nn.Module:
    """The perceptron's scores over a learnt temperature."""
    return user.Scaled(plain()).eval()


def auxiliary() -> nn.Module:
    """The perceptron beside a head that it does not use."""
    model = user.Auxiliary(plain())
    reset(model.auxiliary)
    return model


def with_integer_parameter() -> nn.Module:
    """The perceptron with a count among its parameters."""
    model = plain()
    model.register_parameter("steps", nn.Parameter(torch.tensor([40]), requires_grad=False))
    return model


def with_count() -> nn.Module:
    """The perceptron with the count among its buffers."""
    model = plain()
    model.register_buffer("steps", torch.tensor([40]))
    return model


def old_weight_norm() -> nn.Module:
    """The perceptron with its first layer's weight as length and direction, by hooks."""
    model = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in many checkpoints
        nn.utils.weight_norm(model[0])
    return model


def new_weight_norm() -> nn.Module:
    """The same, by a parametrisation."""
    model = plain()
    nn.utils.parametrizations.weight_norm(model[0])
    return model


def spectral_norm() -> nn.Module:
    """The perceptron with its first layer's weight over its largest singular value."""
    model = plain()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nn.utils.parametrizations.spectral_norm(model[0])
    return model.eval()


def hooked() -> nn.Module:
    """The perceptron with a full backward hook left on by a saliency tool."""
    model = plain()
    model[0].register_full_backward_hook(lambda module, inputs, outputs: None)
    return model


def in_inference_mode() -> nn.Module:
    """The perceptron as it was loaded inside inference mode."""
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
        model.load_state_dict(_trained(3))
        return model.eval()


def lazy() -> nn.Module:
    """A perceptron whose first layer waits for its first batch."""
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
