"""Which training samples can be recovered from the weights alone?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.reading import Reading, objective, read
from assay.audit.reconstruction_figures import pattern_figures, recovered_figures, roc_figure
from assay.audit.subject import Subject
from assay.core import InvalidInputError, seeded
from assay.reconstruction import KKTReconstructor, ReconstructionScore, reconstruction_roc, score_reconstructions

_CLEAR, _VISIBLE = 0.9, 0.75  # correlation with a training sample: hard to tell apart; recognisable
_MARGIN = 3
_LIMIT = 2000  # training samples that candidates are compared with

_RULE = (
    "A candidate matches a training sample when their correlation (NCC) exceeds a threshold. The nulls are random "
    "candidates from the same subspace, and held-out samples instead of the training samples. High: at "
    f"threshold {_CLEAR}, at least {_MARGIN} more matches than under either null, and at least twice as many. Medium: "
    f"the same at {_VISIBLE}. Low: more than the nulls at {_VISIBLE}. Info: no more than the nulls."
)
_RULE_BLIND = (
    f"Without training data no match can be counted. Medium when at least {_MARGIN} patterns were found by at least "
    "half of the independent restarts and the verdict is that the candidates explain the weights, low when they "
    "explain them in part, otherwise info. The verdict compares what the candidates leave of the weights with what as "
    "many random candidates leave."
)
_LIMITS = (
    "Every candidate comes from the weights alone. The training data only score it and set its brightness and contrast "
    "in these pictures, since the weights do not determine them; a mean image that was subtracted is added back after "
    "scoring. More matches than the nulls show that the samples' content is in the weights. A sample without a match "
    "is not proven safe: another attack, or more restarts, may find it. In a convolutional network the attack covers "
    "the dense head: it recovers features, the head's inputs, not pixels."
)
_NO_HELD_OUT = "No held-out samples were given, so the stricter of the two nulls is missing: add some to the subject."
_LIMITS_BLIND = (
    "Agreement between restarts shows that the weights determine these patterns. It does not prove that they are "
    "training samples: give the audit training data and held-out data to have them scored."
)
_ADVICE_UNEXPLAINED = (
    "Nothing to do now. The weights do not have the form that this attack relies on, which does not prove that they "
    "are safe: other attacks rely on less."
)
_ADVICE: dict[Severity, str] = {
    "high": "If the training data are private, do not publish these weights. Train on more samples, for fewer steps, "
    "with less weight decay or with differential privacy, and audit again.",
    "medium": "Treat the training data as partly exposed to anyone who has the weights. Fewer training steps, less "
    "weight decay or differential privacy expose less; audit again after each change.",
    "low": "Look at the pairs of images: single samples may be exposed. Audit again with another --seed.",
    "info": "Nothing to do now. This attack found nothing, which does not prove that the weights are safe: audit again "
    "when the training recipe changes.",
}


@dataclass(frozen=True)
class _Matches:
    """The correlations of a set of samples with their best candidates."""

    name: str
    candidates: int
    ncc: Tensor  # best correlation of each sample
    is_null: bool = False

    @property
    def clear(self) -> int:
        return int((self.ncc > _CLEAR).sum())

    @property
    def visible(self) -> int:
        return int((self.ncc > _VISIBLE).sum())


def run(subject: Subject, context: Context) -> Finding:
    """Attack the weights, and score the candidates against the training data where the subject has them."""
    reading = read(subject)
    options = {"exact": True, "random_state": context.seed, "progress": context.progress}
    attack = KKTReconstructor(objective(subject), input_shape=reading.shape, **options)
    try:
        attack.fit(reading.model)
    except InvalidInputError as error:
        raise SkipProbe(str(error)) from error
    return _blind(subject, reading, attack) if subject.train is None else _scored(subject, reading, attack, context)


def _blind(subject: Subject, reading: Reading, attack: KKTReconstructor) -> Finding:
    """Report the patterns that restarts agree on, for a subject without training data."""
    verdict, restarts = attack.verdict_, attack.n_restarts
    is_explained = verdict.outcome != "nothing found"
    agreed = attack.cohesion_[attack.support_ >= max(2, restarts / 2)]
    left, chance = f"{verdict.unexplained:.0%}", f"{verdict.unexplained_by_chance:.0%}"
    found = (
        f"{len(agreed)} patterns were found in the weights by at least half of {restarts} independent restarts; on "
        f"average, a restart leaves {left} of the weights unexplained."
    )
    nothing = (
        f"Nothing was reconstructed: the candidates leave {left} of the weights unexplained, "
        f"and as many random candidates {chance} of the part that was searched."
    )
    severity: Severity = "info"
    if is_explained and len(agreed) >= _MARGIN:
        severity = "medium" if verdict.outcome == "found" else "low"
    return Finding(
        headline=found if is_explained else nothing,
        severity=severity,
        rule=_RULE_BLIND,
        advice=_advice(severity, attack),
        limits=f"{verdict} {_LIMITS_BLIND if is_explained else ''}".strip(),
        measures=_measures(attack)
        | {"patterns that restarts agree on": float(len(agreed))}
        | ({"their median tightness": agreed.median().item()} if len(agreed) else {}),
        figures=pattern_figures(reading, attack),
    )


def _advice(severity: Severity, attack: KKTReconstructor) -> str:
    """Return what to do next: where nothing was explained, what the attack would need."""
    if severity != "info" or attack.verdict_.outcome != "nothing found":
        return _ADVICE[severity]
    return " ".join([_ADVICE_UNEXPLAINED, *attack.verdict_.advice])


def _scored(subject: Subject, reading: Reading, attack: KKTReconstructor, context: Context) -> Finding:
    """Count the training samples that candidates match, beside the nulls, and show the best matches."""
    x = reading.samples(context.sample(subject.train, _LIMIT)[0])
    others = None if subject.test is None else reading.samples(context.sample(subject.test, _LIMIT)[0])
    held_out = None if others is None else others[: len(x)]
    pool = _either_sign(attack, reading.unscaled(attack.pool_))
    score = score_reconstructions(
        pool,
        x,
        mean=reading.mean,
        basis=None if attack.basis_ is None else reading.unscaled(attack.basis_),
        first_layer=reading.unscaled(_rows(reading)),
        held_out_x=held_out,
        generator=seeded(context.seed),
    )
    matches = _matches(reading, attack, x, score)
    ours = matches[0]
    severity = _severity(ours, [match for match in matches if match.is_null])
    what = "training samples" if reading.kind == "samples" else "training samples' features (inputs of the dense head)"
    curve = None if others is None else reconstruction_roc(pool, x, others, mean=reading.mean)
    could_not = "; the weights do not have the form that the attack relies on"
    return Finding(
        headline=(
            f"{ours.visible} of {len(x)} {what} can be recognised in reconstructions from the weights alone, "
            f"{ours.clear} of them almost exactly{could_not if attack.verdict_.outcome == 'nothing found' else ''}."
        ),
        severity=severity,
        rule=_RULE,
        advice=_advice(severity, attack),
        limits=" ".join(
            [_LIMITS, *([_NO_HELD_OUT] if held_out is None else []), "Without the data:", str(attack.verdict_)]
        ),
        measures=_measures(attack)
        | {f"n90, {match.name}": float(match.clear) for match in matches}
        | {f"n75, {match.name}": float(match.visible) for match in matches}
        | ({} if curve is None else {"area under the ROC": curve.curve.auc, "TPR at 1% FPR": curve.tpr_at(0.01)}),
        figures=(*recovered_figures(subject, score), *roc_figure(curve)),
        tables=(_table(matches),),
    )


def _either_sign(attack: KKTReconstructor, pool: Tensor) -> Tensor:
    """Add the negatives where the weights do not determine a sample's sign."""
    return pool if attack.pool_labels_ is not None else torch.cat([pool, -pool])


def _rows(reading: Reading) -> Tensor:
    """Return the weight of the first dense layer."""
    return next(module.weight for module in reading.model.modules() if isinstance(module, nn.Linear)).detach()


def _matches(reading: Reading, attack: KKTReconstructor, x: Tensor, score: ReconstructionScore) -> list[_Matches]:
    """Return the matches of all candidates, of those that restarts agree on, and of the nulls."""
    size = len(attack.pool_)
    matches = [_Matches("all candidates of the attack", size, score.ncc)]
    if len(attack.reconstructions_):
        agreed = _either_sign(attack, reading.unscaled(attack.reconstructions_))
        shortlist = score_reconstructions(agreed, x, mean=reading.mean).ncc
        matches.append(_Matches("those that restarts agree on", len(attack.reconstructions_), shortlist))
    matches.append(_Matches("null: random candidates", size, score.random_ncc, is_null=True))
    if score.held_out_ncc is not None:
        matches.append(_Matches("null: held-out samples", size, score.held_out_ncc, is_null=True))
    if score.row_ncc is not None:
        matches.append(_Matches("for comparison: the first layer's own rows", len(_rows(reading)), score.row_ncc))
    return matches


def _severity(ours: _Matches, nulls: list[_Matches]) -> Severity:
    clear, visible = (max((getattr(null, name) for null in nulls), default=0) for name in ("clear", "visible"))
    if ours.clear >= max(clear + _MARGIN, 2 * clear):
        return "high"
    if ours.visible >= max(visible + _MARGIN, 2 * visible):
        return "medium"
    return "low" if ours.visible > visible else "info"


def _measures(attack: KKTReconstructor) -> dict[str, float]:
    return {
        "dimensions searched": float(attack.rank_),
        "candidates": float(len(attack.pool_)),
        "samples solved for by exact equations": float(attack.n_exact_),
        "relative residual": attack.residual_.mean().item(),
        "weights left unexplained": attack.verdict_.unexplained,
        "weights left by random candidates": attack.verdict_.unexplained_by_chance,
    }


def _table(matches: list[_Matches]) -> Table:
    columns = ("candidates", "how many", "samples", f"NCC > {_CLEAR}", f"NCC > {_VISIBLE}", "median NCC")
    rows = ((m.name, m.candidates, len(m.ncc), m.clear, m.visible, round(m.ncc.median().item(), 2)) for m in matches)
    return Table("Samples matched by at least one candidate", columns, tuple(rows))


PROBE = Probe(
    name="reconstruction",
    question="Which training samples can be recovered from the weights alone?",
    needs=frozenset({"weights", "input_gradients"}),
    run=run,
)
