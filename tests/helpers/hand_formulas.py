"""Networks written out by hand, in plain operations on another network's weights: independent answers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Formula = Callable[[dict[str, Tensor], Tensor], Tensor]


class ByHand(nn.Module):
    """A formula of weights and inputs, with the weights under their names in another network.

    Frozen weights are constants, so that it has no parameters but the others; a tied weight is one parameter.
    """

    def __init__(self, source: nn.Module, formula: Formula) -> None:
        super().__init__()
        self.formula = formula
        copies: dict[int, Tensor] = {}
        for path, module in source.named_modules():
            holder = self if not path else nn.Module()
            if path:
                above, _, name = path.rpartition(".")
                self.get_submodule(above).add_module(name, holder)
            for name, value in [*module._parameters.items(), *module._buffers.items()]:
                if value is not None:
                    copy = copies.setdefault(id(value), _copied(value))
                    register = holder.register_parameter if isinstance(copy, nn.Parameter) else holder.register_buffer
                    register(name, copy)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        weights = dict(self.named_parameters(remove_duplicate=False)) | dict(self.named_buffers(remove_duplicate=False))
        return self.formula(weights, x)


def _copied(value: Tensor) -> Tensor:
    copy = value.detach().clone()
    return nn.Parameter(copy) if isinstance(value, nn.Parameter) and value.requires_grad else copy


def _dense(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].mT + w.get(f"{name}.bias", 0)


def perceptron(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _dense(w, "2", _dense(w, "0", x).clamp(min=0))


def softmax(w: dict[str, Tensor], x: Tensor) -> Tensor:
    scores = perceptron(w, x).exp()
    return scores / scores.sum(1, keepdim=True)


def squaring(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _dense(w, "2", _dense(w, "0", x) ** 2)


def tied(w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = _dense(w, "first", x).clamp(min=0)
    return _dense(w, "last", (h @ w["first.weight"].mT + w["second.bias"]).clamp(min=0))


def reuses(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _dense(w, "last", _dense(w, "layer", _dense(w, "layer", x).clamp(min=0)).clamp(min=0))


def scaled(w: dict[str, Tensor], x: Tensor) -> Tensor:
    w = {name.removeprefix("body."): value for name, value in w.items()}
    return perceptron(w, x) * w["log_temperature"].exp()


def auxiliary(w: dict[str, Tensor], x: Tensor) -> Tensor:
    unused = w["auxiliary.weight"].sum() + w["auxiliary.bias"].sum()
    return perceptron({name.removeprefix("body."): value for name, value in w.items()}, x) + 0 * unused


def old_weight_norm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _of_length(w, w["0.weight_g"], w["0.weight_v"], x)


def new_weight_norm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    name = "0.parametrizations.weight.original"
    return _of_length(w, w[f"{name}0"], w[f"{name}1"], x)


def _of_length(w: dict[str, Tensor], length: Tensor, direction: Tensor, x: Tensor) -> Tensor:
    weight = length * direction / (direction**2).sum(1, keepdim=True).sqrt()
    return perceptron(w | {"0.weight": weight}, x)


def spectral_norm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    name = "0.parametrizations.weight"
    weight, left, right = w[f"{name}.original"], w[f"{name}.0._u"], w[f"{name}.0._v"]
    return perceptron(w | {"0.weight": weight / (left @ weight @ right)}, x)


def normalised(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _dense(w, "3", _standardised(w, "1", _dense(w, "0", x)).clamp(min=0))


def _standardised(w: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return (h - mean) / (variance + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def convolution(w: dict[str, Tensor], x: Tensor) -> Tensor:
    pixels = x.new_zeros(len(x), 4, 4)
    pixels[:, 1:3, 1:3] = x[:, 0]
    patches = torch.stack([pixels[:, i : i + 2, j : j + 2].reshape(len(x), 4) for i in range(3) for j in range(3)], 1)
    h = patches @ w["0.weight"].reshape(3, 4).mT + w["0.bias"]
    return _dense(w, "4", _standardised(w, "1", h).clamp(min=0).mT.reshape(len(x), -1))


def lstm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = c = x.new_zeros(len(x), 3)
    for step in x.unbind(1):
        gates = step @ w["cell.weight_ih_l0"].mT + w["cell.bias_ih_l0"] + h @ w["cell.weight_hh_l0"].mT
        i, f, g, o = (gates + w["cell.bias_hh_l0"]).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return _dense(w, "out", h)


def gru(w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = x.new_zeros(len(x), 3)
    for step in x.unbind(1):
        r, z, n = (step @ w["cell.weight_ih_l0"].mT + w["cell.bias_ih_l0"]).chunk(3, 1)
        hr, hz, hn = (h @ w["cell.weight_hh_l0"].mT + w["cell.bias_hh_l0"]).chunk(3, 1)
        z, n = (z + hz).sigmoid(), (n + (r + hr).sigmoid() * hn).tanh()
        h = (1 - z) * n + z * h
    return _dense(w, "out", h)


def _attended(parts: Tensor, *, causal: bool = False) -> Tensor:
    """Mix the values of two heads of two features by the softmax of queries on keys."""
    q, k, v = (part.reshape(*part.shape[:2], 2, 2).transpose(1, 2) for part in parts.chunk(3, 2))
    weights = q @ k.mT / 2**0.5
    if causal:
        weights = weights + torch.full_like(weights[0, 0], -1e9).triu(1)
    return (weights.softmax(-1) @ v).transpose(1, 2).reshape(len(q), -1, 4)


def _layer_norm(w: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    centred = h - h.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def encoder(w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = _dense(w, "embed", x)
    w = {name.removeprefix("encoder.layers.0."): value for name, value in w.items()}
    mixed = _attended(h @ w["self_attn.in_proj_weight"].mT + w["self_attn.in_proj_bias"])
    h = _layer_norm(w, "norm1", h + _dense(w, "self_attn.out_proj", mixed))
    h = _layer_norm(w, "norm2", h + _dense(w, "linear2", _dense(w, "linear1", h).clamp(min=0)))
    return _dense(w, "out", h.mean(1))


def _looked_up(table: Tensor, x: Tensor) -> Tensor:
    return (x[..., None] == torch.arange(len(table), device=x.device)).to(table) @ table


def embedded(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return _dense(w, "2", _looked_up(w["0.weight"], x).mean(1))


def decoder(w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = _looked_up(w["words.weight"], x) + w["places.weight"][: x.shape[1]]
    mixed = _attended(_dense(w, "blocks.0.attention", _layer_norm(w, "blocks.0.norm", h)), causal=True)
    return (h + _dense(w, "blocks.0.out", mixed)) @ w["words.weight"].mT


def last_word(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return decoder(w, x)[:, -1]


def adapted(w: dict[str, Tensor], x: Tensor) -> Tensor:
    half = torch.bfloat16
    base = nn.functional.linear(x.to(half), w["base.weight"].to(half), w["base.bias"].to(half)).to(x.dtype)
    return _dense(w, "head", (base + x @ w["down.weight"].mT @ w["up.weight"].mT).clamp(min=0))
