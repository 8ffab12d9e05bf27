"""Everything public that is given a network, as entries of the networks' battery.

Entries are the rows of the methods' battery and the probes of the audit, so that a new method or probe joins by itself.
A row whose call names shapes or networks of its own has a call here that takes those of the network in hand.
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
from torch import Tensor, nn

from assay.adversarial import off_subspace_radius
from assay.adversarial.subspace import orthogonal_complement
from assay.audit import Subject, run_audit
from assay.audit.probes import membership, names, reconstruction, robustness
from assay.core import (
    InvalidInputError,
    LossFunction,
    StackedTrainer,
    binary_cross_entropy,
    cross_entropy,
    named_parameters,
    parameter_distance,
    predict,
    preserved,
    project_parameters,
    seeded,
    squared_error,
    vector_jacobian_product,
)
from assay.landscape import linear_path
from assay.privacy import CanaryAttack, DirectAttack, ShadowEnsemble
from assay.privacy.condensation import kernel_velocity
from assay.privacy.unlearning import (
    QAExamples,
    build_assistant,
    calibrate_alpha,
    reversed_objective,
    token_logits,
    unlearn,
)
from assay.reconstruction import invert_embedding, simulate_training
from assay.reconstruction.kkt import first_layer_inputs
from helpers.networks import Network
from helpers.rows import rows_of
from helpers.rows.answers import Answer, named_tensors
from helpers.rows.base import Analysis, TakesModel, title
from helpers.rows.subjects import language_model, language_model_without_dropout


@dataclass(frozen=True, eq=False)
class Given:
    """What an entry is given: a network with samples, labels and a loss, and a way to build the network again."""

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: LossFunction
    build: Callable[[], nn.Module]
    outputs: int

    def other(self) -> nn.Module:
        """Build the network with weights of its own."""
        model = self.build()
        with torch.inference_mode():  # where weights made there can be written to
            for value in model.parameters():
                if value.is_floating_point():
                    value.mul_(0.9)
        return model


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


def _linear_path(given: Given) -> object:
    report = linear_path(given.model, given.other(), given.x, given.y, loss=given.loss, n=3)
    return report.losses, report.distance


def _shadows(given: Given) -> ShadowEnsemble:
    seen = torch.arange(len(given.x)) % 2 == torch.tensor([[0], [1], [0], [1]])
    return ShadowEnsemble((given.model, *(given.other() for _ in range(3))), seen, given.x)


def _direct(given: Given) -> object:
    shadows = _shadows(given)
    return DirectAttack(shadows).score([given.other()], given.x, given.y), shadows.confidences(given.x, given.y)


def _canary(given: Given) -> object:
    attack = CanaryAttack(_shadows(given), n_queries=2, eps=0.1, n_iter=3)
    queries = attack.craft(given.x, given.y, generator=seeded(5))
    return queries, attack.score([given.model], given.x, given.y, queries=queries)


def _trained_shadows(given: Given) -> object:
    trainer = StackedTrainer(given.loss, partial(torch.optim.SGD, lr=0.1), epochs=2, batch_size=2)
    build = lambda source: given.other().requires_grad_(True)  # noqa: E731
    shadows = ShadowEnsemble.fit(given.x, given.y, model_fn=build, trainer=trainer, n_models=4)
    return shadows.confidences(given.x, given.y)


def _embedding(given: Given) -> object:
    shape = given.x.shape[1:] if given.x.ndim == 4 else (1, 2, 2)
    encoder = (
        given.model
        if given.x.ndim == 4
        else nn.Sequential(nn.Flatten(), nn.Unflatten(1, given.x.shape[1:]), given.model)
    )
    target = torch.tensor([1.0, -1.0, 0.5], dtype=given.x.dtype)
    return invert_embedding(encoder, target, image_shape=shape, n_iter=5, generator=seeded(5))


def _off_radius(given: Given) -> object:
    basis = orthogonal_complement(torch.eye(4, dtype=given.x.dtype)[:2], rank=2)
    return off_subspace_radius(given.model, given.x, given.y, basis=basis, max_norm=5.0)


def _cotangent(given: Given) -> object:
    size = len(given.x) * given.outputs
    like = {} if not given.x.is_floating_point() else {"dtype": given.x.dtype}
    cotangent = torch.linspace(0, 1, size, **({"dtype": torch.float64} | like))
    shape = predict(given.model, given.x).shape
    return vector_jacobian_product(given.model, given.x, cotangent.reshape(shape))


def _projected(given: Given) -> object:
    centre = given.other()
    project_parameters(given.model, centre, 0.1)
    return parameter_distance(given.model, centre), named_parameters(given.model)


def _documents(given: Given) -> QAExamples:
    return QAExamples.from_tokens(given.x, prompt_length=2)


def _unlearned(given: Given) -> object:
    options = {"objective": reversed_objective(), "optimizer": partial(torch.optim.SGD, lr=0.1), "epochs": 2}
    unlearn(given.model, _documents(given), _documents(given), **options)
    return named_parameters(given.model)


def _unlearning_loss(given: Given) -> object:
    with preserved(given.model):
        return reversed_objective()(given.model, _documents(given), _documents(given))


def _calibrated(given: Given) -> object:
    """Let an assistant know the answers as well as the network does."""
    with preserved(given.model), torch.no_grad():
        scores = token_logits(given.model, QAExamples.from_tokens(given.x, prompt_length=1))
    known = QAExamples.from_tokens(torch.cat([given.x[:, :1], scores[:, :1].argmax(2)], dim=1), prompt_length=1)
    return calibrate_alpha(given.model, given.build(), known, forget_accuracy=0.0)


def _simulated(given: Given) -> object:
    targets = nn.functional.one_hot(given.y, given.outputs) if given.outputs > 1 else given.y[:, None]
    return simulate_training(given.model, given.x, targets, loss=squared_error, lr=0.1, epochs=2, momentum=0.5)


def _token_scores(given: Given) -> object:
    with preserved(given.model), torch.no_grad():
        return token_logits(given.model, _documents(given))


def _velocity(given: Given) -> object:
    return kernel_velocity(given.model, given.x, states=[given.build().state_dict(), given.other().state_dict()])


OF_THE_NETWORK: dict[str, Callable[[Given], object]] = {
    "linear_path": _linear_path,
    "DirectAttack": _direct,
    "CanaryAttack": _canary,
    "ShadowEnsemble": _trained_shadows,
    "simulate_training": _simulated,
    "invert_embedding": _embedding,
    "kernel_velocity": _velocity,
    "first_layer_inputs": lambda given: first_layer_inputs(given.model, given.x),
    "off_subspace_radius": _off_radius,
    "vector_jacobian_product": _cotangent,
    "parameter_distance": lambda given: parameter_distance(given.model, given.other()),
    "project_parameters": _projected,
    "calibrate_alpha": lambda given: calibrate_alpha(
        given.model, given.other(), _documents(given), forget_accuracy=0.0
    ),
    "token_logits": _token_scores,
    "build_assistant": lambda given: build_assistant(given.model, 1, lora_rank=1, generator=seeded(5)),
    "reversed_objective": _unlearning_loss,
    "unlearn": _unlearned,
}
"""Calls of rows that name shapes or networks of their own, by the name of the row."""

WITHOUT_NETWORK = ("ConsensusSelector",)
"""Rows of the methods' battery that are given a network, and read none."""

TRAINERS = (
    "DatasetCondenser",
    "CondensedReplay",
    "evaluate_condensed",
    "ShadowEnsemble",
    "evaluate_poison",
    "Retraining",
    "simulate_training",
    "probe membership",
)
"""What trains copies of the network, beside the rows that say so."""


STRUCTURAL = ("inspect_model", "merge_parallel_units", "with_surrogate_relu", "initial_network")
"""What answers with modules of the network, or about them."""


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
        chooses_loss=free or own in (_linear_path, _trained_shadows),
        structural=title(row) in STRUCTURAL,
        language=row.model in (language_model, language_model_without_dropout),
    )


@contextmanager
def _tiny() -> Iterator[None]:
    """Make the probes' work small."""
    fewer = {"n_restarts": 2, "n_iter": 5, "n_candidates": 8}
    with ExitStack() as stack:
        stack.enter_context(
            patch.object(reconstruction, "KKTReconstructor", partial(reconstruction.KKTReconstructor, **fewer))
        )
        stack.enter_context(patch.object(membership, "_STEPS", 20))
        stack.enter_context(patch.object(membership, "_SHADOWS", 8))
        stack.enter_context(patch.object(robustness, "_STEPS", 3))
        yield


def _of_probe(name: str) -> Entry:
    def call(given: Given) -> Answer:
        x = given.x.clone()
        x.view(len(x), -1)[:, -1] = x.view(len(x), -1)[:, 0]  # in a subspace, which one of the probes needs
        pairs = {"train": (x, given.y), "test": (x.flip(0), given.y.flip(0))}
        bounds = (0.0, 1.0) if x.is_floating_point() else (0.0, 4.0)
        with tempfile.TemporaryDirectory() as place, _tiny():
            subject = Subject(given.model, given.loss, **pairs, input_range=bounds)
            try:
                (answer,) = run_audit(subject, probes=[name], out=Path(place) / "audit").answers
            except InvalidInputError as error:
                raise SkippedProbe(str(error)) from error
        if answer.finding is None:
            raise AssertionError(f"the probe {answer.status}: {answer.reason}")
        return named_tensors(answer.finding.measures, given.x)

    trains = f"probe {name}" in TRAINERS
    return Entry(f"probe {name}", f"assay.audit.probes.{name}", call, trains=trains, chooses_loss=True, n=24)


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
