"""Small language models with known answers."""

import torch
from torch import nn

from assay.core import seeded


class Bigram(nn.Module):
    """Scores the next token by a table with one row for each token."""

    def __init__(self, vocabulary, *, seed=0):
        super().__init__()
        table = torch.randn(vocabulary, vocabulary, generator=seeded(seed), dtype=torch.float64)
        self.table = nn.Embedding.from_pretrained(table, freeze=False)

    def forward(self, input_ids):
        return self.table(input_ids)


class Stack(nn.Module):
    """Embeds, runs blocks of dense layers, and scores."""

    def __init__(self, vocabulary=5, width=4, blocks=3, *, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed = nn.Embedding(vocabulary, width)
            self.blocks = nn.ModuleList(
                [nn.Sequential(nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, width)) for _ in range(blocks)]
            )
            self.head = nn.Linear(width, vocabulary)
        self.double()

    def forward(self, input_ids):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def random_logits(count, *shape, seed=0):
    """Draw `count` tensors of logits of one shape."""
    return torch.randn(count, *shape, generator=seeded(seed), dtype=torch.float64).unbind(0)
