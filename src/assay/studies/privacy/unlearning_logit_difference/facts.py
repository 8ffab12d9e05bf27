"""A world of facts (subject, relation, object), and small language models that know them by heart."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import isolated_rng, seeded
from assay.privacy.unlearning import QAExamples
from assay.studies.privacy.unlearning_logit_difference.settings import ModelSize, WorldSize


@dataclass(frozen=True, eq=False)
class World:
    """All facts, in three parts by subject: to be forgotten, known to unlearning as to be kept, and unseen by it."""

    forget: QAExamples
    retain: QAExamples
    unseen: QAExamples

    def parts(self) -> dict[str, QAExamples]:
        """Return the three parts by name."""
        return {"forget": self.forget, "retain": self.retain, "unseen": self.unseen}


def draw_world(size: WorldSize, seed: int) -> World:
    """Draw an object for each subject and relation; which subjects make up the parts is drawn by that as well."""
    subjects = torch.arange(size.subjects).repeat_interleave(size.relations)
    relations = size.subjects + torch.arange(size.relations).repeat(size.subjects)
    objects = torch.randint(size.objects, (len(subjects),), generator=seeded(seed))
    facts = torch.stack([subjects, relations, size.subjects + size.relations + objects], dim=1)
    cuts = [size.forget, size.retain, size.subjects - size.forget - size.retain]
    parts = facts.split([n * size.relations for n in cuts])
    return World(*(QAExamples.from_tokens(part, prompt_length=2) for part in parts))


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.to_qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then transform each place."""
        n, t, width = x.shape
        qkv = self.to_qkv(self.norms[0](x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv, is_causal=True)
        x = x + self.merge(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.shrink(F.gelu(self.grow(self.norms[1](x))))


class FactModel(nn.Module):
    """A causal transformer for sequences of three tokens."""

    def __init__(self, vocabulary: int, size: ModelSize) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, size.width), nn.Embedding(3, size.width)
        self.blocks = nn.ModuleList([Block(size.width, size.heads) for _ in range(size.layers)])
        self.norm, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, vocabulary, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits of the next token at each place."""
        x = self.tokens(input_ids) + self.places.weight[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def learn(size: ModelSize, vocabulary: int, parts: Sequence[QAExamples], seed: int) -> FactModel:
    """Train a model on parts of a world, all of it at every step, and leave it in evaluation mode."""
    with isolated_rng(seed):
        model = FactModel(vocabulary, size)
    facts = torch.cat([part.input_ids for part in parts])
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.lr)
    for _ in range(size.steps):
        optimizer.zero_grad()
        F.cross_entropy(model(facts[:, :2])[:, 1], facts[:, 2]).backward()
        optimizer.step()
    return model.eval()
