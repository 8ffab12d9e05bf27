"""Modules: a loss and a layer that behave, and others that do one thing wrong each."""

import torch
from torch import nn

from assay.core import InvalidInputError


class Behaved(nn.Module):
    """The well-behaved stand-in: a loss with a weight for each class."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.arange(1.0, 4.0))

    def forward(self, logits, y):
        if logits.ndim != 2 or y.ndim != 1 or len(logits) != len(y) or not len(y):
            raise InvalidInputError("logits must be (n, c) with as many labels")
        return -(self.weight * logits.log_softmax(1)).gather(1, y[:, None]).mean()


class Layer(Behaved):
    def forward(self, logits, y):
        super().forward(logits, y)
        return self.weight * logits


class Infinite(Behaved):
    def forward(self, logits, y):
        return super().forward(logits, y) / 0


class InPlace(Behaved):
    def forward(self, logits, y):
        logits += 1
        return super().forward(logits, y)


class Counts(Behaved):
    def __init__(self, scale=1.0):
        super().__init__(scale)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits, y):
        self.calls += 1
        return self.calls * super().forward(logits, y)


class Switches(Behaved):
    def forward(self, logits, y):
        self.train()
        return super().forward(logits, y)


class HidesItsState(Behaved):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, logits, y):
        return self.scale * super().forward(logits, y)


class Stubborn(Behaved):
    def __init__(self, scale=1.0):
        super().__init__(2.0)


class Drops(Behaved):
    def forward(self, logits, y):
        return super().forward(nn.functional.dropout(logits, training=self.training), y)


class AlwaysDouble(Behaved):
    def forward(self, logits, y):
        return super().forward(logits, y).double()


class CutsTheGraph(Behaved):
    def forward(self, logits, y):
        return super().forward(logits, y) + (logits**2).mean().detach()


class Mixes(Layer):
    def forward(self, logits, y):
        return super().forward(logits, y) - logits.mean(0)


class Sums(Behaved):
    def forward(self, logits, y):
        return len(y) * super().forward(logits, y)


class Lenient(Behaved):
    def forward(self, logits, y):
        return (logits.sum(-1) - y).square().sum()
