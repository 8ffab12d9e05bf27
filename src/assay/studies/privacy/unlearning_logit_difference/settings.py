"""Settings of the study of unlearning by logit difference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WorldSize:
    """Numbers of subjects, relations and objects; `forget` and `retain` count subjects, the others are unseen."""

    subjects: int
    relations: int
    objects: int
    forget: int
    retain: int

    @property
    def vocabulary(self) -> int:
        """Tokens: every subject, relation and object is one."""
        return self.subjects + self.relations + self.objects


@dataclass(frozen=True)
class ModelSize:
    """Architecture of a `FactModel`, and its training on all facts at every step."""

    width: int
    layers: int
    heads: int
    steps: int
    lr: float


@dataclass(frozen=True)
class Settings:
    """How large the world and the model are, and how each method unlearns.

    Attributes:
        seeds: Worlds, each with models of its own.
        world: Size of a world.
        model: Language model that learns it.
        kept_layers: Blocks of the model in the assistant.
        rank: Rank of the assistant's adapters.
        assistant_steps: Training steps of the assistant.
        assistant_rate: Learning rate of the assistant.
        retain_weight: Weight of the retain term in the assistant's objective.
        baseline_rates: Learning rates of each baseline.
        baseline_steps: Training steps of a baseline.
        every: Steps between two checkpoints of a baseline.
        timed_steps: Steps whose time is taken together.
    """

    seeds: int = 5
    world: WorldSize = WorldSize(subjects=120, relations=3, objects=60, forget=12, retain=12)
    model: ModelSize = ModelSize(width=64, layers=4, heads=4, steps=400, lr=3e-3)
    kept_layers: int = 1
    rank: int = 32
    assistant_steps: int = 200
    assistant_rate: float = 1e-2
    retain_weight: float = 1.0
    baseline_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    baseline_steps: int = 80
    every: int = 5
    timed_steps: int = 8
