"""Modules as users write them, for the battery of networks."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Applies(nn.Module):
    """Applies a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Returns(nn.Sequential):
    """Returns its scores in some container."""

    def __init__(self, container: Callable[[Tensor], object], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.container = container

    def forward(self, x: Tensor) -> object:
        return self.container(super().forward(x))


class Prepares(nn.Sequential):
    """Prepares its inputs first."""

    def __init__(self, prepare: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.prepare = prepare

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.prepare(x))


class ModelOutput(OrderedDict):
    """What language models return: fields by name, by key and by place."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class Squaring(torch.autograd.Function):
    """A square with a derivative of its own, in the old form that torch.func does not know."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Tied(nn.Module):
    """Two layers of the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight
        self.act, self.act_again = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act_again(self.second(self.act(self.first(x)))))


class Reuses(nn.Module):
    """Uses one activation and one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.layer(self.act(self.layer(x)))))


class Recurrent(nn.Module):
    """Scores of the last step of a recurrent layer."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell, self.out = kind(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


class Encoder(nn.Module):
    """A transformer encoder of steps of two features; one that takes the steps first gives the same shapes."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.1, batch_first=batch_first)
        self.embed, self.encoder = nn.Linear(2, 4), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x)).mean(1))


class CausalBlock(nn.Module):
    """Attention of two heads to the words before, added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention, self.out = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (2, 2)).transpose(1, 2) for part in self.attention(self.norm(h)).chunk(3, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return h + self.out(mixed)


class Decoder(nn.Module):
    """A GPT of one block, its head tied to its embedding: scores of the word that follows each."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(5, 4), nn.Embedding(4, 4)
        self.blocks, self.head = nn.ModuleList([CausalBlock()]), nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        return self.head(h)


class LastWord(Decoder):
    """Scores of the word that follows the last one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, -1]


class OutputsOfWords(Decoder):
    """Scores in the container of transformers' models."""

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(logits=super().forward(x), past_key_values=None)


class RecurrentWords(nn.Module):
    """A recurrent language model: scores of the word that follows each."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell, self.head = nn.Embedding(5, 3), nn.LSTM(3, 3, batch_first=True), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.words(x))[0])


class Adapted(nn.Module):
    """A bfloat16 layer with a low-rank adapter and a head in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(4, 6), nn.Linear(4, 2, bias=False), nn.Linear(2, 6, bias=False)
        self.act, self.head = nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.base(x.to(torch.bfloat16)).float() + self.up(self.down(x))))


class Scaled(nn.Module):
    """Scores over a learnt temperature, which is the last parameter."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.log_temperature = body, nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.log_temperature.exp()


class Auxiliary(nn.Module):
    """A head that training used, and the forward pass does not."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.auxiliary = body, nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
