"""Can the seed of training be guessed, and what does it give away?"""

from collections.abc import Iterator
from time import perf_counter

from assay.audit.assumptions import joined
from assay.audit.budget import cut_short
from assay.audit.known_start import NAME, Attacked, score_candidates, search_samples
from assay.audit.matches import CLEAR, MARGIN, VISIBLE, by_chance, match_measures, match_severity, match_table
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.reconstruction_figures import candidate_figures, recovered_figures
from assay.audit.start_search import SEEDS, TRIED, StartSearch, find_start
from assay.audit.subject import Subject
from assay.core import InvalidInputError, NumericalError
from assay.reconstruction import KnownStartReconstructor

_SEARCH = 0.5  # of the time: for the seed

_RULE = (
    "With the start, candidates are searched that explain what training added to it. A candidate matches a training "
    "sample when their correlation (NCC), the mean image taken out of both, exceeds a threshold; chance is the larger "
    f"of two nulls, random candidates and held-out samples. High: at threshold {CLEAR}, at least {MARGIN} more matches "
    f"than chance, and at least twice as many. Medium: the same at {VISIBLE}; without training data, at least {MARGIN} "
    "candidates that restarts agree on, and the verdict that samples are found. Low: the seed can be guessed, whatever "
    "else it gives away; or more matches than chance by two standard errors. Otherwise info."
)
_HOW = "A seed is recognised by the correlation of the trained weights with what it draws."
_LIST = (
    f"Tried were the seeds {TRIED}; each with PyTorch's own rule for each layer, then with Kaiming, Xavier, normal and "
    "orthogonal draws."
)
_NOT_PROVEN = (
    "A seed outside the list, numbers drawn before the network other than a shuffle of the data, another build of "
    "PyTorch, or a start on a GPU would not be found."
)
_LIMITS = (
    "Candidates come from the trained weights and the start{population}. The training data only score them. More "
    "matches than the nulls show that the samples' content is in the weights; a sample without a match is not proven "
    "safe."
)
_LIMITS_BLIND = (
    "Agreement between restarts shows that the weights determine these patterns. It does not prove that they are "
    "training samples: give the audit training data and held-out data to have them scored."
)
_COUNT = "The count is that of linearly independent training samples: copies count once."
_ADVICE_GUESSED = (
    "Do not release these weights. Train again from a secret seed, drawn by torch.seed() (64 bits), and keep it and "
    "the weights before training as secret as the data. If the weights are out already, treat the training data as "
    "exposed."
)
_ADVICE_GIVEN = (
    "Do not release these weights where the weights before training are known. If both are out already, treat the "
    "training data as exposed: train on more samples or with differential privacy, and audit again."
)
_ADVICE_NONE = (
    "Keep the weights before training as secret as the data: train from a secret seed, drawn by torch.seed() (64 "
    "bits). Other attacks may find more with them than this one."
)
_ADVICE_INFO = "Nothing to do now. Keep the seed and the initial weights as secret as the training data."


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
        rule=_RULE,
        advice=_ADVICE_INFO,
        limits=joined(*_how(search), str(search.start), "" if search.is_given else _NOT_PROVEN),
        measures=_measures(search),
    )


def _untrained(search: StartSearch) -> Finding:
    return Finding(
        headline=f"{_lead(search)} The weights are equal to it: this network was not trained.",
        severity="info",
        rule=_RULE,
        advice="Give the trained weights, and audit again.",
        limits=joined(*_how(search), str(search.start)),
        measures=_measures(search),
    )


def _unexplained(
    search: StartSearch, why: str, fitted: KnownStartReconstructor | None = None, *, in_time: bool = True
) -> Finding:
    """Report a start from which no sample was found."""
    none = "With it, this attack recovers no training sample here."
    return Finding(
        headline=f"{_lead(search)} {none if in_time else 'The time was too short for the search of samples with it.'}",
        severity="info" if search.is_given else "low",
        rule=_RULE,
        advice=_ADVICE_NONE,
        limits=joined(*_how(search), str(search.start), why),
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
            f"{_lead(search)} {_counted(fitted, None)} With it, independent restarts agree on "
            f"{verdict.n_agreed or 'no'} reconstructions."
        ),
        severity=severity,
        rule=_RULE,
        advice=_advice(search, severity),
        limits=joined(*_how(search), str(search.start), str(verdict), _COUNT, _LIMITS_BLIND, cut),
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
            _lead(search),
            _counted(fitted, n_given),
            f"With the seed, {recovered}" if not search.is_given else f"With it, {recovered}",
        ),
        severity="low" if severity == "info" and not search.is_given else severity,
        rule=_RULE,
        advice=_advice(search, severity),
        limits=joined(
            *_how(search),
            _LIMITS.format(population=_population(fitted)),
            *_miscounted(fitted, n_given),
            cut,
            "Without the data:",
            str(search.start),
            str(fitted.verdict_),
        ),
        measures=_measures(search, fitted) | match_measures(matches),
        figures=shown,
        tables=(match_table(matches),),
    )


def _advice(search: StartSearch, severity: Severity) -> str:
    """Return what to do where the candidates are of such a severity."""
    if severity in ("info", "low"):
        return _ADVICE_NONE
    return _ADVICE_GIVEN if search.is_given else _ADVICE_GUESSED


def _lead(search: StartSearch) -> str:
    return "The start is known." if search.is_given else f"The seed is {search.start.seed}."


def _counted(fitted: KnownStartReconstructor, n_given: int | None) -> str:
    n = fitted.verdict_.n_samples
    if n is None or n_given not in (None, n):
        return ""
    return f"There were exactly {n:,} training samples."


def _miscounted(fitted: KnownStartReconstructor, n_given: int) -> Iterator[str]:
    n = fitted.verdict_.n_samples
    if n is not None:
        yield _COUNT
        if n != n_given:
            yield f"It is {n:,}, and {n_given:,} training samples were given."


def _how(search: StartSearch) -> Iterator[str]:
    """Say how the start was looked for."""
    if not search.is_given:
        yield _HOW
    if not (search.is_given or search.start.found):
        yield _LIST
        yield cut_short(NAME, search.n_seeds, len(SEEDS), "seeds", search.seconds)


def _population(fitted: KnownStartReconstructor) -> str:
    known = "" if fitted.population is None else ", and begin at the mean and the spread of the held-out samples"
    return known + " (those of another data set do)" * bool(known)


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
    needs=frozenset({"weights"}),
    run=run,
)
