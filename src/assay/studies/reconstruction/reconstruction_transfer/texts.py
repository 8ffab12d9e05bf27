"""Sentences of two kinds, read out of installed packages when they are needed."""

import inspect
import re
from pydoc_data import topics

from sklearn.utils.discovery import all_estimators

from assay.core import InvalidInputError

SENTENCE = re.compile(r"[A-Z][\w ,;:'\"()/%-]{40,200}\.")
"""What passes for one: it starts with a capital, ends with a full stop, and holds no markup."""


def sentences(n: int) -> tuple[list[str], list[int]]:
    """Return `n` different sentences, in alphabetical order of each half, and their kinds.

    Kind 0 is from the reference of the Python language, which comes with the standard library (PSF licence), kind 1
    from the documentation of scikit-learn's estimators (BSD licence). The texts change with the versions of both.

    Args:
        n: How many, half of each kind.

    Raises:
        InvalidInputError: The installed versions hold fewer.
    """
    reference = _split(topics.topics.values())
    estimators = _split(inspect.getdoc(estimator) or "" for _, estimator in all_estimators())
    if n > 2 * min(len(reference), len(estimators)):
        raise InvalidInputError(
            f"{n} sentences were asked for; there are {len(reference)} of one kind and {len(estimators)} of the other"
        )
    # Evenly spaced, for neighbours in the alphabet are often variants of one sentence.
    chosen = [kind[int(k * len(kind) / (n // 2))] for kind in (reference, estimators) for k in range(n // 2)]
    return chosen, [0] * (n // 2) + [1] * (n // 2)


def _split(texts) -> list[str]:
    """Return the different sentences of some texts in alphabetical order."""
    paragraphs = (" ".join(part.split()) for text in texts for part in re.split(r"\n\s*\n", text))
    candidates = {piece for part in paragraphs for piece in re.split(r"(?<=\.)\s+(?=[A-Z])", part)}
    return sorted(piece for piece in candidates if SENTENCE.fullmatch(piece))
