"""Can the seed of training be guessed, and what does it give away?"""

from time import perf_counter

from assay.audit.assumptions import joined
from assay.audit.known_start import NAME, Attacked, score_candidates, search_samples
from assay.audit.matches import CLEAR, MARGIN, VISIBLE, by_chance, match_measures, match_severity, match_table
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.reconstruction_figures import candidate_figures, recovered_figures
from assay.audit.start_search import StartSearch, find_start
from assay.audit.start_sentences import (
    ADVICE_INFO,
    ADVICE_NONE,
    COUNT,
    LIMITS_BLIND,
    NOT_PROVEN,
    RULE,
    advice_for,
    counted,
    how_it_was_sought,
    lead,
    limits_of,
    miscounted,
)
from assay.audit.subject import Subject
from assay.core import InvalidInputError, NumericalError
from assay.reconstruction import KnownStartReconstructor

_SEARCH = 0.5  # of the time: for the seed


def run(subject: Subject, context: Context) -> Finding:
    """Look for the start of training, and for the training samples by it."""
    begin = perf_counter()
    try:
        search = find_start(subject, _SEARCH * context.seconds)
    except InvalidInputError as error:
        raise SkipProbe(
            f"the start of this network cannot be guessed: {error}; or give the subject the weights before training as "
            "its initial_state"
        ) from error
    if not search.start.found:
        return _without_start(search)
    if len(search.start.unchanged) == len(search.start.shares):
        return _untrained(search)
    try:
        left = context.seconds - (perf_counter() - begin)
        where, fitted, cut = search_samples(subject, search.start, context, left)
    except (SkipProbe, InvalidInputError, NumericalError) as error:
        return _unexplained(search, f"There are no pictures: {str(error).rstrip('.')}.")
    if fitted.verdict_.outcome == "nothing found":
        return _unexplained(search, joined(str(fitted.verdict_), cut), fitted, in_time=not cut)
    if subject.train is None:
        return _blind(search, fitted, where, cut)
    return _scored(subject, search, fitted, where, context, cut)


def _without_start(search: StartSearch) -> Finding:
    """Say that the start is none of those tried."""
    none = f"None of the {search.n_seeds:,} seeds tried is the start of these weights."
    other = "The given weights before training are not in the trained ones, or training has wiped them out."
    return Finding(
        headline=other if search.is_given else none,
        severity="info",
        rule=RULE,
        advice=ADVICE_INFO,
        limits=joined(*how_it_was_sought(search), str(search.start), "" if search.is_given else NOT_PROVEN),
        measures=_measures(search),
    )


def _untrained(search: StartSearch) -> Finding:
    return Finding(
        headline=f"{lead(search)} The weights are equal to it: this network was not trained.",
        severity="info",
        rule=RULE,
        advice="Give the trained weights, and audit again.",
        limits=joined(*how_it_was_sought(search), str(search.start)),
        measures=_measures(search),
    )


def _unexplained(
    search: StartSearch, why: str, fitted: KnownStartReconstructor | None = None, *, in_time: bool = True
) -> Finding:
    """Report a start from which no sample was found."""
    none = "With it, this attack recovers no training sample here."
    return Finding(
        headline=f"{lead(search)} {none if in_time else 'The time was too short for the search of samples with it.'}",
        severity="info" if search.is_given else "low",
        rule=RULE,
        advice=ADVICE_NONE,
        limits=joined(*how_it_was_sought(search), str(search.start), why),
        measures=_measures(search, fitted),
    )


def _blind(search: StartSearch, fitted: KnownStartReconstructor, where: Attacked, cut: str) -> Finding:
    """Report the candidates that restarts agree on, for a subject without training data."""
    verdict = fitted.verdict_
    severity: Severity = "info" if search.is_given else "low"
    if verdict.outcome == "found" and verdict.n_agreed >= MARGIN:
        severity = "medium"
    return Finding(
        headline=(
            f"{lead(search)} {counted(fitted, None)} With it, independent restarts agree on "
            f"{verdict.n_agreed or 'no'} reconstructions."
        ),
        severity=severity,
        rule=RULE,
        advice=advice_for(search, severity),
        limits=joined(*how_it_was_sought(search), str(search.start), str(verdict), COUNT, LIMITS_BLIND, cut),
        measures=_measures(search, fitted),
        figures=candidate_figures(where.samples(fitted.reconstructions_), fitted.votes_),
    )


def _scored(
    subject: Subject,
    search: StartSearch,
    fitted: KnownStartReconstructor,
    where: Attacked,
    context: Context,
    cut: str,
) -> Finding:
    """Count the training samples that candidates match, beside the nulls, and show the best matches."""
    score, matches = score_candidates(subject, where, fitted, context)
    n_given = 0 if subject.train is None else len(subject.train[0])
    severity = match_severity(matches)
    threshold = CLEAR if severity == "high" else VISIBLE
    ours, chance = matches[0].above(threshold), by_chance(matches, threshold)
    what = "training samples" if where.reading.kind == "samples" else "their features"
    recovered = f"{ours} of {len(matches[0].ncc)} {what} are recovered (NCC above {threshold}; chance gives {chance})."
    shown = () if severity == "info" else recovered_figures(subject, score, own_scale=True)
    return Finding(
        headline=joined(
            lead(search),
            counted(fitted, n_given),
            f"With the seed, {recovered}" if not search.is_given else f"With it, {recovered}",
        ),
        severity="low" if severity == "info" and not search.is_given else severity,
        rule=RULE,
        advice=advice_for(search, severity),
        limits=joined(
            *how_it_was_sought(search),
            limits_of(fitted),
            *miscounted(fitted, n_given),
            cut,
            "Without the data:",
            str(search.start),
            str(fitted.verdict_),
        ),
        measures=_measures(search, fitted) | match_measures(matches),
        figures=shown,
        tables=(match_table(matches),),
    )


def _measures(search: StartSearch, fitted: KnownStartReconstructor | None = None) -> dict[str, float]:
    start = search.start
    measures = {"z-score of the start": start.z, "z-score from which it counts": start.threshold}
    if not search.is_given:
        measures["seeds tried"] = float(search.n_seeds)
    if start.seed is not None:
        measures["seed"] = float(start.seed)
    if start.found:
        measures["share of the start that is left"] = start.share
    if fitted is not None:
        verdict = fitted.verdict_
        measures["directions of the displacement"] = float(fitted.rank_)
        measures["reconstructions that restarts agree on"] = float(verdict.n_agreed)
        measures["samples solved for exactly"] = float(fitted.n_exact_)
        if verdict.gap is not None and not fitted.n_exact_:
            measures["displacement left unexplained"] = verdict.gap
    return measures


PROBE = Probe(
    name=NAME,
    question="Can the seed of training be guessed, and what does it give away?",
    topic="privacy",
    needs=frozenset({"weights"}),
    run=run,
)
