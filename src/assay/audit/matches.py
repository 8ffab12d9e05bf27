"""Matches of training samples with reconstructions, beside those of chance."""

import math
from dataclasses import dataclass

from torch import Tensor

from assay.audit.probe import Severity, Table
from assay.reconstruction import ReconstructionScore

CLEAR, VISIBLE = 0.9, 0.75  # correlation with a training sample: hard to tell apart; recognisable
EXACT = 0.7  # structural similarity with a training image, at a correlation above the higher threshold
MARGIN = 3


@dataclass(frozen=True)
class Matches:
    """The correlations of a set of samples with their best candidates."""

    name: str
    candidates: int
    ncc: Tensor  # best correlation of each sample
    is_null: bool = False

    @property
    def clear(self) -> int:
        """Samples above the higher threshold."""
        return self.above(CLEAR)

    @property
    def visible(self) -> int:
        """Samples above the lower threshold."""
        return self.above(VISIBLE)

    def above(self, threshold: float, n: int | None = None) -> int:
        """Count samples above a threshold, or what their share would be of n samples, rounded up."""
        count = int((self.ncc > threshold).sum())
        return count if n is None else math.ceil(count * n / len(self.ncc))


def by_chance(matches: list[Matches], threshold: float) -> int:
    """Return how many samples the stronger null matches, out of as many samples."""
    n = len(matches[0].ncc)
    return max((match.above(threshold, n) for match in matches if match.is_null), default=0)


def match_severity(matches: list[Matches]) -> Severity:
    """Return how far the matches exceed chance, by the probe's rule."""
    ours, clear, visible = matches[0], by_chance(matches, CLEAR), by_chance(matches, VISIBLE)
    if ours.clear >= max(clear + MARGIN, 2 * clear):
        return "high"
    if ours.visible >= max(visible + MARGIN, 2 * visible):
        return "medium"
    beyond = max(MARGIN, 2 * math.sqrt(ours.visible + visible))  # two standard errors of the two counts' difference
    return "low" if ours.visible - visible >= beyond else "info"


def match_headline(
    matches: list[Matches], score: ReconstructionScore, kind: str, severity: Severity, outcome: str
) -> str:
    """Give the matches beyond chance, and the images that are almost exact."""
    ours, chance, n = matches[0].visible, by_chance(matches, VISIBLE), len(matches[0].ncc)
    what = "training samples" if kind == "samples" else "training samples' features"
    if severity == "info":
        no_form = "; the weights lack the form that the attack needs" if outcome == "nothing found" else ""
        return f"No more than chance: reconstructions match {ours} of {n} {what}, and chance alone {chance}{no_form}."
    exact = 0 if score.ssim is None else int(((score.ncc > CLEAR) & (score.ssim > EXACT)).sum())
    almost = f", {exact} almost exactly" if exact and kind == "samples" else ""
    return (
        f"{ours - chance} more {what} than by chance can be recognised in the weights alone: {ours} of {n}, "
        f"by chance {chance}{almost}."
    )


def match_measures(matches: list[Matches]) -> dict[str, float]:
    """Return the counts by name, as measures of a finding."""
    clear: dict[str, float] = {f"n90, {match.name}": float(match.clear) for match in matches}
    return clear | {f"n75, {match.name}": float(match.visible) for match in matches}


def match_table(matches: list[Matches]) -> Table:
    """Return the counts of all candidates, of the nulls and for comparison."""
    columns = ("candidates", "how many", "samples", f"NCC > {CLEAR}", f"NCC > {VISIBLE}", "median NCC")
    rows = ((m.name, m.candidates, len(m.ncc), m.clear, m.visible, round(m.ncc.median().item(), 2)) for m in matches)
    return Table("Samples matched by at least one candidate", columns, tuple(rows))
