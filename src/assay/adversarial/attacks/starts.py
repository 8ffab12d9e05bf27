"""Random numbers of attacks, reproducible by sample, and the random starts drawn with them."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.adversarial.attacks.threat import Lp

# Constants of the mixing function SplitMix64 (Steele, Lea and Flood, 2014), as signed integers.
_INCREMENT, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def start_on_surface(
    x: Float[Tensor, "n *d"], labels: Int[Tensor, "n *one"], *, threat: Lp, random_state: int, restart: int = 0
) -> Float[Tensor, "n *d"]:
    """Draw a point on the surface of each sample's ball, then clamp it to the range.

    For the infinity norm a point of the cube is scaled until its largest entry is the radius; for the 2-norm it is
    uniform on the sphere; for the 1-norm, Gaussian noise as wide as the range, or as the radius where that is less, is
    projected, which leaves few entries.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), Algorithm 1, which leaves the start open; the surface is that of the released code.
    """
    uniform = uniform_by_sample(sample_keys(x, labels, random_state, restart), x.shape[1:])
    noise = 2 * uniform - 1 if threat.norm == math.inf else torch.special.ndtri(uniform)
    if threat.norm == 1:
        low, high = threat.input_range
        return threat.project(x + min(high - low, threat.eps) * noise.to(x), x)
    flat = noise.flatten(1)
    noise = (flat / flat.norm(p=threat.norm, dim=1, keepdim=True)).view_as(noise)
    return threat.project(x + threat.reach(x) * noise.to(x), x)


def start_in_ball(
    x: Float[Tensor, "n *d"], labels: Int[Tensor, "n *one"], *, threat: Lp, random_state: int
) -> Float[Tensor, "n *d"]:
    """Draw a point uniformly from each sample's ball, then clamp it to the range."""
    keys = sample_keys(x, labels, random_state)
    noise = 2 * uniform_by_sample(keys, x.shape[1:]) - 1
    if threat.norm == 1:
        sizes = -noise.abs().clamp_min(1e-30).log().flatten(1)  # the size of a number uniform in (-1, 1) is uniform
        total = sizes.sum(1, keepdim=True) - uniform_by_sample(keys, (1,), draw=1).log()
        noise = (noise.flatten(1).sign() * sizes / total).view_as(noise)
    elif threat.norm == 2:
        length = uniform_by_sample(keys, (1,), draw=1) ** (1 / math.prod(x.shape[1:]))
        flat = torch.special.ndtri((noise.flatten(1) + 1) / 2)
        noise = (length * flat / flat.norm(dim=1, keepdim=True)).view_as(noise)
    return threat.project(x + threat.reach(x) * noise.to(x), x)


def sample_keys(x: Float[Tensor, "n *d"], labels: Int[Tensor, "n *one"], *numbers: int) -> Int[Tensor, " n"]:
    """Derive one seed for each row from its sample, its labels and some numbers.

    A row's seed is the same whatever else is in its batch and wherever it stands there, so that results do not depend
    on the batch size or on which samples earlier attacks broke. Equal samples with equal labels share a seed.

    >>> x, y = torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([0, 1])
    >>> torch.equal(sample_keys(x[1:], y[1:], 5), sample_keys(x, y, 5)[1:])
    True
    """
    bits = (x.flatten(1).float() + 0.0).view(torch.int32).long()  # Adding zero makes -0 and 0 the same.
    keys = _mix(bits + _places(bits.shape[1], x.device)).sum(1)
    for number in (*numbers, *labels.view(len(x), -1).unbind(1)):
        keys = _mix(keys * _FIRST + number)
    return keys


def uniform_by_sample(keys: Int[Tensor, " n"], shape: tuple[int, ...], *, draw: int = 0) -> Float[Tensor, "n *d"]:
    """Draw numbers uniformly from (0, 1) in float64, each row a function of its seed and of the number of the draw.

    >>> uniform_by_sample(torch.tensor([1, 2]), (3, 4)).shape
    torch.Size([2, 3, 4])
    """
    keys = _mix(keys + draw * 2 + 1)
    words = _mix(keys[:, None] + _places(math.prod(shape), keys.device))
    return ((((words >> 11) & (2**53 - 1)).double() + 0.5) / 2**53).view(-1, *shape)


def _places(n: int, device: torch.device) -> Int[Tensor, " n"]:
    return _mix(torch.arange(1, n + 1, device=device) * _INCREMENT)


def _mix(word: Int[Tensor, " *n"]) -> Int[Tensor, " *n"]:
    """Scramble 64-bit integers so that every bit of the result depends on every bit of the word."""
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Int[Tensor, " *n"], by: int) -> Int[Tensor, " *n"]:
    """Shift to the right without copying the sign."""
    return (word >> by) & (2 ** (64 - by) - 1)
