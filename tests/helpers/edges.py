"""The caller's state, and the forms of labels and losses, that change no answer: edges of the networks' battery."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.entries import Entry, Given, given_by
from helpers.expectations import PARTS
from helpers.networks import NETWORKS, Network
from helpers.rows.answers import Answer
from helpers.verdicts import Verdict, assert_alike, attempt, judged

_BY_NAME = {each.name: each for each in NETWORKS}
PLAIN, ONE_LOGIT = _BY_NAME["plain"], _BY_NAME["one logit"]


@dataclass(frozen=True, eq=False)
class Edge:
    """A way to be called that must give the answer of the plain way, or a sentence.

    Attributes:
        name: Told in the tests.
        given: Changes what an entry is given.
        inside: Holds the caller's state.
        network: The network in hand.
        must_answer: Whether a refusal is a gap.
        unknown_loss: Whether no one can know that the loss is one of classes, which some probes need.
    """

    name: str
    given: Callable[[Given], Given]
    inside: Callable[[], object] = nullcontext
    network: Network = PLAIN
    must_answer: bool = True
    unknown_loss: bool = False


def _made_here(given: Given) -> Given:
    return replace(given, x=given.x.clone(), y=given.y.clone())


def _labels(change: Callable[[Tensor], Tensor]) -> Callable[[Given], Given]:
    return lambda given: replace(given, y=change(given.y))


def _one_hot(y: Tensor) -> Tensor:
    return F.one_hot(y)


def _loss(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Given], Given]:
    return lambda given: replace(given, loss=loss)


def _with_logits(outputs: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.reshape(-1), y.reshape(-1).to(outputs))


CALLERS = (
    Edge("inside no_grad", lambda given: given, torch.no_grad),
    Edge("inside inference_mode", _made_here, torch.inference_mode),
    Edge("inputs that require grad", lambda given: replace(given, x=given.x.clone().requires_grad_())),
    Edge("inputs with a graph", lambda given: replace(given, x=given.x.clone().requires_grad_() * 1.0)),
    Edge("inputs made in inference mode", lambda given: replace(given, x=torch.inference_mode()(given.x.clone)())),
)
"""The caller's autograd state and inputs."""

LABELS = (
    Edge("a column", _labels(lambda y: y[:, None])),
    Edge("int32", _labels(Tensor.int)),
    Edge("int16", _labels(Tensor.short)),
    Edge("uint8", _labels(Tensor.byte)),
    Edge("float classes", _labels(Tensor.float), must_answer=False),
    Edge("one-hot", _labels(_one_hot), must_answer=False),
    Edge("float one-hot", _labels(lambda y: _one_hot(y).float()), must_answer=False),
    Edge("binary column", _labels(lambda y: y[:, None]), network=ONE_LOGIT),
    Edge("binary bool", _labels(Tensor.bool), network=ONE_LOGIT),
    Edge("binary uint8", _labels(Tensor.byte), network=ONE_LOGIT),
    Edge("binary float", _labels(Tensor.float), network=ONE_LOGIT),
    Edge("binary float column", _labels(lambda y: y.float()[:, None]), network=ONE_LOGIT),
    Edge("binary signs", _labels(lambda y: 2 * y - 1), network=ONE_LOGIT),
    Edge("binary float signs", _labels(lambda y: 2.0 * y - 1), network=ONE_LOGIT),
)
"""Forms of the same labels."""

LOSSES = (
    Edge("CrossEntropyLoss", _loss(nn.CrossEntropyLoss())),
    Edge("F.cross_entropy", _loss(F.cross_entropy)),
    Edge("equal class weights", _loss(nn.CrossEntropyLoss(weight=torch.full((3,), 2.0, dtype=torch.float64)))),
    Edge("a function of the user's own", _loss(lambda outputs, y: F.cross_entropy(outputs, y)), unknown_loss=True),
    Edge("a loss for each sample", _loss(nn.CrossEntropyLoss(reduction="none"))),
    Edge("a sum", _loss(nn.CrossEntropyLoss(reduction="sum")), must_answer=False),
    Edge("BCEWithLogitsLoss", _loss(nn.BCEWithLogitsLoss()), network=ONE_LOGIT),
    Edge("a binary function of the user's own", _loss(_with_logits), network=ONE_LOGIT, unknown_loss=True),
)
"""Forms of the same loss; the sum is another one, which is refused or taken as the mean."""


def at_edge(edge: Edge, entry: Entry) -> bool:
    """Tell whether an edge says something of an entry."""
    if entry.language or (edge in CALLERS and entry.name in PARTS):
        return False
    if edge.name == "a sum" and entry.trains:  # which changes the steps
        return False
    if edge.name == "float one-hot" and entry.name == "mean_over_samples":  # torch divides by n, not by the weights
        return False
    return edge not in LOSSES or entry.chooses_loss


def judge_edge(edge: Edge, entry: Entry, plain: Answer | None) -> Verdict:
    """Try an entry at an edge, beside its plain answer; where that is a refusal, a refusal in a sentence."""
    given = given_by(edge.network, entry.n)

    def check(answer: Answer) -> None:
        assert plain is not None, "answers what it refuses otherwise"
        assert_alike(answer, plain, 1e-6)

    with edge.inside():
        found = judged(entry, edge.given(given), check)
    must_answer = edge.must_answer and not (edge.unknown_loss and entry.name.startswith("probe "))
    if found.status == "refused" and must_answer and plain is not None:
        return Verdict("failed", f"refuses, where it can answer: {found.reason}", found.where)
    return found


def plain_answer(edge: Edge, entry: Entry) -> Answer | None:
    """Return what an entry answers without the edge; None where it refuses."""
    return _answer_on(edge.network, entry)


@cache
def _answer_on(network: Network, entry: Entry) -> Answer | None:
    try:
        return attempt(entry, given_by(network, entry.n))
    except Exception:
        return None
