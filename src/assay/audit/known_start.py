"""Attack on a subject from a known start: what is attacked, and its candidates beside the training samples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from assay.audit.budget import affordable, command_for, cut_short
from assay.audit.input_shape import trial_inputs
from assay.audit.matches import Matches
from assay.audit.probe import Context, SkipProbe
from assay.audit.reading import Reading, of_each_step, read
from assay.audit.subject import Subject
from assay.core import Parameters, find_copies, named_parameters, seeded
from assay.reconstruction import (
    InitialState,
    KnownStartReconstructor,
    ReconstructionScore,
    normalized_correlation,
    score_reconstructions,
)
from assay.reconstruction.kkt import dense_head, first_layer_inputs, initial_network

NAME = "initial_weights"  # of the probe

_RESTARTS, _STEPS, _FIRST_STEPS = 3, 1500, 100
_ENOUGH = 240.0  # seconds, for a search that had none left
_LIMIT = 2000  # training samples that candidates are compared with
_FEWEST = 20  # held-out samples that tell their mean and spread


@dataclass(frozen=True, eq=False)
class Attacked:
    """The network that is attacked, as in `Reading`, and its weights before training."""

    reading: Reading
    start: Parameters

    def samples(self, candidates: Tensor) -> Tensor:
        """Return inputs of the first layer as samples, at their own scale."""
        shifted = self.reading.unscaled(candidates)
        return shifted if self.reading.mean is None else shifted + self.reading.mean


def attacked(subject: Subject, start: InitialState) -> Attacked:
    """Return the network, or its dense head where nothing in front of the head was trained.

    Raises:
        SkipProbe: The network has no dense part, or its inputs changed in training.
        InvalidInputError: The head cannot be read from the start.
    """
    if not subject.has("input_gradients"):
        raise SkipProbe("its inputs are integers, in which the attack cannot search")
    reading = read(subject)
    if reading.model is subject.model:
        return Attacked(reading, start.state)
    head = [name for name, module in subject.model.named_modules() if isinstance(module, nn.Linear)]
    changed = [name for name in named_parameters(subject.model) if name not in start.unchanged]
    moved = [name for name in changed if name.rpartition(".")[0] not in head]
    if moved:
        raise SkipProbe(
            f"the layers in front of the dense head were trained too ({', '.join(moved[:3])}), so that the inputs of "
            "the head changed during training; the attack reads dense networks, and heads on frozen layers"
        )
    trial = trial_inputs(subject.model, subject.sample_shape)
    if trial is None:
        raise SkipProbe("it needs the shape of an input: give data, or input_shape")
    before = dense_head(initial_network(subject.model, start.state), trial)[0]
    return Attacked(reading, {name: value.detach() for name, value in before.state_dict().items()})


def population_of(subject: Subject, where: Attacked, context: Context) -> Tensor | None:
    """Return held-out samples as the attacked network takes them; None where there are too few."""
    others = _held_out(subject, context)
    if others is None or len(others) < _FEWEST:
        return None
    return _as_taken(subject, where, others)


def search_samples(
    subject: Subject, start: InitialState, context: Context, seconds: float
) -> tuple[Attacked, KnownStartReconstructor, str]:
    """Search for training samples from the start, for as long as the time allows.

    Returns:
        What was attacked, the search, and a sentence on what was left out for time.

    Raises:
        SkipProbe: There is nothing to attack, or no time is left.
        InvalidInputError: The search does not cover this network.
        NumericalError: The search diverged.
    """
    if seconds <= 0:
        raise SkipProbe(
            f"the time went into guessing the seed; run it alone with more time: {command_for(NAME, _ENOUGH)}"
        )
    where = attacked(subject, start)
    population = population_of(subject, where, context)

    def fit(n_restarts: int, n_iter: int) -> KnownStartReconstructor:
        search = KnownStartReconstructor(
            where.start,
            population=population,
            n_restarts=n_restarts,
            n_iter=n_iter,
            input_shape=where.reading.shape,
            progress=context.progress,
            random_state=context.seed,
        )
        return search.fit(where.reading.model)

    return (where, *_searched_in_time(fit, seconds))


def _searched_in_time(
    fit: Callable[[int, int], KnownStartReconstructor], seconds: float
) -> tuple[KnownStartReconstructor, str]:
    """Search longer and longer until all samples are found exactly or the time is over; say what was left out for it.

    Starting points alone, at the mean and spread of other samples, are enough on many networks.
    """
    fitted, alone = _timed(fit, 1, 1)
    left = seconds - alone
    if _is_complete(fitted):
        return fitted, ""
    if 2 * _RESTARTS * alone > left:  # a search of three restarts costs about as many times more, and its time doubles
        return fitted, cut_short(NAME, 1, _STEPS, "steps of its search", _ENOUGH + 2 * _RESTARTS * alone)
    fitted, taken = _timed(fit, _RESTARTS, min(_FIRST_STEPS, _STEPS))
    left -= taken
    if _is_complete(fitted):
        return fitted, ""
    each = max(taken - alone, 0.0) / _FIRST_STEPS
    n_iter = affordable(_STEPS, each=each, seconds=left - alone)
    if n_iter > _FIRST_STEPS:
        fitted = fit(_RESTARTS, n_iter)
    return fitted, cut_short(NAME, max(n_iter, _FIRST_STEPS), _STEPS, "steps of its search", alone + _STEPS * each)


def _timed(
    fit: Callable[[int, int], KnownStartReconstructor], n_restarts: int, n_iter: int
) -> tuple[KnownStartReconstructor, float]:
    begin = perf_counter()
    return fit(n_restarts, n_iter), perf_counter() - begin


def _is_complete(fitted: KnownStartReconstructor) -> bool:
    return 0 < fitted.rank_ == fitted.n_exact_


def score_candidates(
    subject: Subject, where: Attacked, fitted: KnownStartReconstructor, context: Context
) -> tuple[ReconstructionScore, list[Matches]]:
    """Compare candidates with the training samples, the mean of other samples taken out of both.

    Returns:
        The scores of all candidates; and the matches of these, of those that restarts agree on, and of the nulls.
    """
    x = where.reading.samples(context.sample(subject.train, _LIMIT)[0])
    others = _held_out(subject, context)
    beside = None if others is None else where.reading.samples(others)
    mean = (x if beside is None else beside).mean(0)

    def centred(candidates: Tensor) -> Tensor:
        return where.samples(candidates).reshape(-1, *x.shape[1:]).to(x) - mean

    pool = torch.cat([fitted.reconstructions_, fitted.pool_])
    basis = fitted.displacement_.basis.to(x)
    rows = where.reading.unscaled(basis.reshape(-1, *pool.shape[1:])).flatten(1)
    score = score_reconstructions(
        centred(pool),
        x,
        mean=mean,
        basis=of_each_step(rows, x[0].numel()),
        held_out_x=None if beside is None else beside[: len(x)],
        generator=seeded(context.seed),
    )
    matches = [Matches("all candidates of the attack", len(pool), score.ncc)]
    agreed = normalized_correlation(x - mean, centred(fitted.reconstructions_)).max(1).values
    matches.append(Matches("those that restarts agree on", len(fitted.reconstructions_), agreed))
    matches.append(Matches("null: random candidates", len(pool), score.random_ncc, is_null=True))
    if others is not None and score.held_out_ncc is not None:
        matches.append(Matches("null: held-out samples", len(pool), score.held_out_ncc, is_null=True))
        seen = first_layer_inputs(where.reading.model, _as_taken(subject, where, others[: len(pool)])).flatten(1)
        spanned = centred((seen.to(x) @ basis.T @ basis).reshape(-1, *pool.shape[1:]))
        likeness = normalized_correlation(x - mean, spanned).max(1).values
        matches.append(Matches("for comparison: held-out samples in the span", len(spanned), likeness))
    if where.reading.kind == "samples":
        matches += _with_mean(x, centred(pool) + mean, beside)
    return score, matches


def _with_mean(x: Tensor, candidates: Tensor, beside: Tensor | None) -> Iterator[Matches]:
    """Yield the matches where the mean image is not taken out, which unrelated samples have in common."""
    for name, samples in {"all candidates": x, "held-out samples": beside}.items():
        if samples is not None:
            ncc = normalized_correlation(samples[: len(x)], candidates).max(1).values
            yield Matches(f"for comparison: {name}, the mean image left in", len(candidates), ncc)


def _as_taken(subject: Subject, where: Attacked, x: Tensor) -> Tensor:
    """Return inputs of the subject as the attacked network takes them."""
    return x if where.reading.model is subject.model else where.reading.samples(x)


def _held_out(subject: Subject, context: Context) -> Tensor | None:
    """Return held-out samples that are no training samples."""
    if subject.test is None:
        return None
    others = context.sample(subject.test, _LIMIT)[0]
    if subject.train is not None:
        copies = find_copies(others, subject.train[0])
        others = others[torch.tensor([not places for places in copies], device=others.device)]
    return others if len(others) else None
