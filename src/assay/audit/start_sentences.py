"""Sentences of the finding on the start of training: rule, limits and advice."""

from collections.abc import Iterator

from assay.audit.budget import cut_short
from assay.audit.known_start import NAME
from assay.audit.matches import CLEAR, MARGIN, VISIBLE
from assay.audit.probe import Severity
from assay.audit.start_search import SEEDS, TRIED, StartSearch
from assay.reconstruction import KnownStartReconstructor

RULE = (
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
NOT_PROVEN = (
    "A seed outside the list, numbers drawn before the network other than a shuffle of the data, another build of "
    "PyTorch, or a start on a GPU would not be found."
)
_LIMITS = (
    "Candidates come from the trained weights and the start{population}. The training data only score them. More "
    "matches than the nulls show that the samples' content is in the weights; a sample without a match is not proven "
    "safe."
)
LIMITS_BLIND = (
    "Agreement between restarts shows that the weights determine these patterns. It does not prove that they are "
    "training samples: give the audit training data and held-out data to have them scored."
)
COUNT = "The count is that of linearly independent training samples: copies count once."
_ADVICE_GUESSED = (
    "Do not release these weights. Train again from a secret seed, drawn by torch.seed() (64 bits), and keep it and "
    "the weights before training as secret as the data. If the weights are out already, treat the training data as "
    "exposed."
)
_ADVICE_GIVEN = (
    "Do not release these weights where the weights before training are known. If both are out already, treat the "
    "training data as exposed: train on more samples or with differential privacy, and audit again."
)
ADVICE_NONE = (
    "Keep the weights before training as secret as the data: train from a secret seed, drawn by torch.seed() (64 "
    "bits). Other attacks may find more with them than this one."
)
ADVICE_INFO = "Nothing to do now. Keep the seed and the initial weights as secret as the training data."


def advice_for(search: StartSearch, severity: Severity) -> str:
    """Return what to do where the candidates are of such a severity."""
    if severity in ("info", "low"):
        return ADVICE_NONE
    return _ADVICE_GIVEN if search.is_given else _ADVICE_GUESSED


def lead(search: StartSearch) -> str:
    """Return the first sentence of the headline."""
    return "The start is known." if search.is_given else f"The seed is {search.start.seed}."


def counted(fitted: KnownStartReconstructor, n_given: int | None) -> str:
    """Return how many training samples there were, where the samples that were given do not say otherwise."""
    n = fitted.verdict_.n_samples
    if n is None or n_given not in (None, n):
        return ""
    return f"There were exactly {n:,} training samples."


def miscounted(fitted: KnownStartReconstructor, n_given: int) -> Iterator[str]:
    """Say what the count means, and that it is another than that of the samples given."""
    n = fitted.verdict_.n_samples
    if n is not None:
        yield COUNT
        if n != n_given:
            yield f"It is {n:,}, and {n_given:,} training samples were given."


def how_it_was_sought(search: StartSearch) -> Iterator[str]:
    """Say how the start was looked for."""
    if not search.is_given:
        yield _HOW
    if not (search.is_given or search.start.found):
        yield _LIST
        yield cut_short(NAME, search.n_seeds, len(SEEDS), "seeds", search.seconds)


def limits_of(fitted: KnownStartReconstructor) -> str:
    """Return where candidates come from, and what their matches do and do not show."""
    begin = ", and begin at the mean and the spread of the held-out samples (another data set's do as well)"
    return _LIMITS.format(population="" if fitted.population is None else begin)
