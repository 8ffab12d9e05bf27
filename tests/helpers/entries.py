"""Everything public that is given a network, as entries of the networks' battery.

Entries are the rows of the methods' battery and the probes of the audit, so that a new method or probe joins by itself.
A row whose call names shapes or networks of its own has another one in `helpers.entry_calls`.
"""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from assay.audit import Subject, known_start, restarts, run_audit, start_search
from assay.audit.probes import capacity, explanation_gap, membership, names, reconstruction, robustness
from assay.core import (
    InvalidInputError,
    LossFunction,
    binary_cross_entropy,
    cross_entropy,
)
from helpers.entry_calls import OF_THE_NETWORK, OWN_LOSS, Given
from helpers.networks import Network
from helpers.rows import rows_of
from helpers.rows.answers import Answer, named_tensors
from helpers.rows.base import Analysis, TakesModel, title
from helpers.rows.subjects import language_model, language_model_without_dropout


@dataclass(frozen=True, eq=False)
class Entry:
    """A public call that is given a network.

    Attributes:
        name: Told in the tests.
        room: The module that defines it.
        call: Returns all figures.
        changes: Whether it changes the network it is given.
        trains: Whether it trains the network or copies of it.
        chooses_loss: Whether the loss can be chosen; else it is cross-entropy.
        language: Whether it is for language models.
        structural: Whether it answers with parts of the network or about them, so that no twin answers alike.
        n: Number of samples.
    """

    name: str
    room: str
    call: Callable[[Given], Answer]
    changes: bool = False
    trains: bool = False
    chooses_loss: bool = False
    language: bool = False
    structural: bool = False
    n: int = 6


class SkippedProbe(InvalidInputError):
    """A probe's reason not to answer."""


WITHOUT_NETWORK = ("ConsensusSelector", "ShadowReconstructor")
"""Rows of the methods' battery that are given a network, and read none."""

TRAINERS = (
    "DatasetCondenser",
    "CondensedReplay",
    "evaluate_condensed",
    "ShadowEnsemble",
    "evaluate_poison",
    "Retraining",
    "simulate_training",
    "track_opposing",
    "effective_model_complexity",
    "label_gap",
    "probe capacity",
    "probe membership",
)
"""What trains copies of the network, beside the rows that say so."""


STRUCTURAL = (
    "inspect_model",
    "merge_parallel_units",
    "with_surrogate_relu",
    "initial_network",
    "guess_initial_state",
    "InitialState",
    "start_share",
    "last_layer_inputs",
    "entropy_by_layer",
    "layer_names",
    "representation_trajectory",
    "watch_layers",
    "probe capacity",
    "probe explanation_gap",
    "probe initial_weights",
    "probe membership",
    "probe opposing",
    "probe layer_information",
    "probe redundancy",
    "probe saliency",
)
"""What answers with modules of the network, or about them; or draws new weights by each module's own rule; or ranks
a figure among permutations, where rounding changes ranks."""


def _of_row(row: TakesModel) -> Entry:
    free = isinstance(row, Analysis) and row.run is None and "loss" in inspect.signature(row.called).parameters
    own = OF_THE_NETWORK.get(title(row))

    def call(given: Given) -> Answer:
        if own is not None:
            return named_tensors(own(given), given.x)
        return row.answer(given.model, given.x, given.y, **({"loss": given.loss} if free else {}))

    public = row.public[0] if isinstance(row.public, tuple) else row.public
    return Entry(
        title(row),
        public.__module__,
        call,
        changes=bool(getattr(row, "trains", False)),
        trains=bool(getattr(row, "trains", False)) or title(row) in TRAINERS,
        chooses_loss=free or title(row) in OWN_LOSS,
        structural=title(row) in STRUCTURAL,
        language=row.model in (language_model, language_model_without_dropout),
    )


@contextmanager
def _tiny() -> Iterator[None]:
    """Make the probes' work small."""
    search = partial(reconstruction.KKTReconstructor, n_candidates=8)
    with (
        patch.object(reconstruction, "KKTReconstructor", search),
        patch.multiple(reconstruction, _STEPS=5, _RESTARTS=3),
        patch.multiple(restarts, _TRIAL_STEPS=(2,)),
        patch.multiple(capacity, _STEPS=20, _FEWEST_STEPS=5),
        patch.multiple(membership, _STEPS=20, _SHADOWS=8),
        patch.multiple(explanation_gap, _FEWEST=4, _SAMPLES=16),
        patch.multiple(robustness, _PLANS=((3, 20),), _QUERIES=2),
        patch.multiple(known_start, _STEPS=3),
        patch.multiple(start_search, SEEDS=tuple(range(12))),
    ):
        yield


def _of_probe(name: str) -> Entry:
    def call(given: Given) -> Answer:
        x = given.x.clone()
        x.view(len(x), -1)[:, -1] = x.view(len(x), -1)[:, 0]  # in a subspace, which one of the probes needs
        others = 1 - x if x.is_floating_point() else (x + 1) % 5  # held-out samples that are no training samples
        pairs = {"train": (x, given.y), "test": (others, given.y)}
        bounds = (0.0, 1.0) if x.is_floating_point() else (0.0, 4.0)
        with tempfile.TemporaryDirectory() as place, _tiny():
            groups = torch.arange(len(x)) // 3 % 2
            subject = Subject(given.model, given.loss, **pairs, input_range=bounds, test_groups=groups)
            try:
                (answer,) = run_audit(subject, probes=[name], out=Path(place) / "audit").answers
            except InvalidInputError as error:
                raise SkippedProbe(str(error)) from error
        if answer.finding is None:
            raise AssertionError(f"the probe {answer.status}: {answer.reason}")
        return named_tensors(answer.finding.measures, given.x)

    told = f"probe {name}"
    kinds = {"trains": told in TRAINERS, "structural": told in STRUCTURAL}
    return Entry(told, f"assay.audit.probes.{name}", call, **kinds, chooses_loss=True, n=24)


ENTRIES = (
    *(_of_row(row) for row in rows_of(TakesModel) if title(row) not in WITHOUT_NETWORK),
    *(_of_probe(name) for name in names()),
)


def loss_of(network: Network) -> LossFunction:
    """Return the loss that a network was trained with."""
    return binary_cross_entropy if network.logit else cross_entropy


def given_by(network: Network, n: int) -> Given:
    """Build a network and its samples."""
    x, y = network.samples(n)
    return Given(network.build(), x, y, loss_of(network), network.build, network.outputs)
