"""Which training samples can be recovered without the initial weights?"""

from functools import partial

import torch
from torch import Tensor, nn

from assay.audit.assumptions import joined
from assay.audit.budget import cut_short
from assay.audit.matches import (
    CLEAR,
    EXACT,
    MARGIN,
    VISIBLE,
    Matches,
    match_headline,
    match_measures,
    match_severity,
    match_table,
)
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.reading import Reading, objective, of_each_step, read
from assay.audit.reconstruction_figures import pattern_figures, recovered_figures, roc_figure
from assay.audit.recovered import Recovered, lead_by_exact
from assay.audit.restarts import restarts_in_time
from assay.audit.subject import Subject
from assay.core import InvalidInputError, NumericalError, seeded
from assay.reconstruction import KKTReconstructor, ReconstructionScore, reconstruction_roc, score_reconstructions
from assay.reconstruction.kkt import Objective, ReconstructionVerdict

_RESTARTS, _FEWEST_RESTARTS = 10, 3
_STEPS = 1500
_LIMIT = 2000  # training samples that candidates are compared with

_RULE = (
    "A candidate matches a training sample when their correlation (NCC) exceeds a threshold. Chance is the larger of "
    "two nulls: random candidates of the same subspace, and as many held-out samples instead of the training samples. "
    f"In few dimensions chance matches many. High: at threshold {CLEAR}, at least {MARGIN} more matches than chance, "
    f"and at least twice as many. Medium: the same at {VISIBLE}. Low: at {VISIBLE}, at least {MARGIN} more than "
    "chance, and more than two standard errors of the difference. Info: no more than chance. An image is almost exact "
    f"when its correlation exceeds {CLEAR} and its structural similarity (SSIM) {EXACT}."
)
_RULE_BLIND = (
    f"Without training data no match can be counted. Medium when at least {MARGIN} patterns were found by at least "
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
    "Nothing to do about this attack: the weights do not have the form that it relies on, as those of most networks, "
    "which does not prove that they are safe. Other attacks rely on less: with the weights before training, guessed "
    "from the seed or given as the subject's initial_state=, such networks give away more; see the finding on the seed."
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


def run(subject: Subject, context: Context) -> Finding:
    """Attack the weights, and score the candidates against the training data where the subject has them."""
    reading, kind = read(subject), objective(subject)

    attack = partial(_attack, reading, kind, context)
    try:
        n_restarts, timed = restarts_in_time(
            attack,
            "reconstruction",
            wanted=_RESTARTS,
            fewest=_FEWEST_RESTARTS,
            n_iter=_STEPS,
            seconds=context.seconds,
        )
        searched = attack(n_restarts, _STEPS, trial=False)
        found = lead_by_exact(searched, reading.model, seed=context.seed)
    except (InvalidInputError, NumericalError) as error:
        raise SkipProbe(str(error)) from error
    cut = cut_short("reconstruction", n_restarts, _RESTARTS, "independent restarts", timed)
    if subject.train is None:
        return _blind(subject, reading, found, cut)
    return _scored(subject, reading, found, context, cut)


def _attack(
    reading: Reading, kind: Objective, context: Context, n_restarts: int, n_iter: int, *, trial: bool = True
) -> KKTReconstructor:
    options = {"random_state": context.seed, "progress": context.progress and not trial}
    attack = KKTReconstructor(kind, input_shape=reading.shape, n_restarts=n_restarts, n_iter=n_iter, **options)
    return attack.fit(reading.model)


def _blind(subject: Subject, reading: Reading, recovered: Recovered, cut: str) -> Finding:
    """Report the patterns that restarts agree on, for a subject without training data."""
    attack = recovered.attack
    verdict, restarts = attack.verdict_, attack.n_restarts
    is_explained = verdict.outcome != "nothing found"
    agreed = recovered.cohesion[recovered.support >= max(2, restarts / 2)]
    severity: Severity = "info"
    if is_explained and len(agreed) >= MARGIN:
        severity = "medium" if verdict.outcome == "found" else "low"
    return Finding(
        headline=_blind_headline(len(agreed), restarts, verdict),
        severity=severity,
        rule=_RULE_BLIND,
        advice=_advice(severity, attack),
        limits=joined(str(verdict), _LIMITS_BLIND if is_explained else "", cut),
        measures=_measures(recovered)
        | {"patterns that restarts agree on": float(len(agreed))}
        | ({"their median tightness": agreed.median().item()} if len(agreed) else {}),
        figures=pattern_figures(reading, recovered),
    )


def _blind_headline(n_agreed: int, n_restarts: int, verdict: ReconstructionVerdict) -> str:
    left, chance = f"{verdict.unexplained:.0%}", f"{verdict.unexplained_by_chance:.0%}"
    if verdict.outcome == "nothing found":
        return (
            f"Nothing was reconstructed: the candidates leave {left} of the weights unexplained, random ones {chance} "
            "of the part that was searched."
        )
    return (
        f"{n_agreed} patterns were found in the weights by at least half of {n_restarts} independent restarts, each of "
        f"which leaves {left} of the weights unexplained."
    )


def _advice(severity: Severity, attack: KKTReconstructor) -> str:
    """Return what to do next: where nothing was explained, what the attack would need."""
    if severity != "info" or attack.verdict_.outcome != "nothing found":
        return _ADVICE[severity]
    return " ".join([_ADVICE_UNEXPLAINED, *attack.verdict_.advice])


def _scored(subject: Subject, reading: Reading, recovered: Recovered, context: Context, cut: str) -> Finding:
    """Count the training samples that candidates match, beside the nulls, and show the best matches."""
    attack = recovered.attack
    x = reading.samples(context.sample(subject.train, _LIMIT)[0])
    others = None if subject.test is None else reading.samples(context.sample(subject.test, _LIMIT)[0])
    held_out = None if others is None else others[: len(x)]
    pool, size = _either_sign(attack, reading.unscaled(recovered.pool)), x[0].numel()
    score = score_reconstructions(
        pool,
        x,
        mean=reading.mean,
        basis=None if attack.basis_ is None else of_each_step(reading.unscaled(attack.basis_), size),
        first_layer=of_each_step(reading.unscaled(_rows(reading)), size),
        held_out_x=held_out,
        generator=seeded(context.seed),
    )
    matches = _matches(reading, recovered, x, score)
    severity = match_severity(matches)
    curve = None if others is None else reconstruction_roc(pool, x, others, mean=reading.mean)
    return Finding(
        headline=match_headline(matches, score, reading.kind, severity, attack.verdict_.outcome),
        severity=severity,
        rule=_RULE,
        advice=_advice(severity, attack),
        limits=joined(
            _LIMITS, _NO_HELD_OUT if held_out is None else "", cut, "Without the data:", str(attack.verdict_)
        ),
        measures=_measures(recovered)
        | match_measures(matches)
        | ({} if curve is None else {"area under the ROC": curve.curve.auc, "TPR at 1% FPR": curve.tpr_at(0.01)}),
        figures=(*(() if severity == "info" else recovered_figures(subject, score)), *roc_figure(curve)),
        tables=(match_table(matches),),
    )


def _either_sign(attack: KKTReconstructor, pool: Tensor) -> Tensor:
    """Add the negatives where the weights do not determine a sample's sign."""
    return pool if attack.pool_labels_ is not None else torch.cat([pool, -pool])


def _rows(reading: Reading) -> Tensor:
    """Return the weight of the first dense layer."""
    return next(module.weight for module in reading.model.modules() if isinstance(module, nn.Linear)).detach()


def _matches(reading: Reading, recovered: Recovered, x: Tensor, score: ReconstructionScore) -> list[Matches]:
    """Return the matches of all candidates, of those that restarts agree on, and of the nulls."""
    size = len(recovered.pool)
    matches = [Matches("all candidates of the attack", size, score.ncc)]
    if len(recovered.agreed):
        agreed = _either_sign(recovered.attack, reading.unscaled(recovered.agreed))
        shortlist = score_reconstructions(agreed, x, mean=reading.mean).ncc
        matches.append(Matches("those that restarts agree on", len(recovered.agreed), shortlist))
    matches.append(Matches("null: random candidates", size, score.random_ncc, is_null=True))
    if score.held_out_ncc is not None:
        matches.append(Matches("null: held-out samples", size, score.held_out_ncc, is_null=True))
    if score.row_ncc is not None:
        matches.append(Matches("for comparison: the first layer's own rows", len(_rows(reading)), score.row_ncc))
    return matches


def _measures(recovered: Recovered) -> dict[str, float]:
    attack = recovered.attack
    return {
        "dimensions searched": float(attack.rank_),
        "candidates": float(len(recovered.pool)),
        "samples solved for by exact equations": float(len(recovered.exact)),
        "relative residual": attack.residual_.mean().item(),
        "weights left unexplained": attack.verdict_.unexplained,
        "weights left by random candidates": attack.verdict_.unexplained_by_chance,
    }


PROBE = Probe(
    name="reconstruction",
    question="Which training samples can be recovered without the initial weights?",
    topic="privacy",
    needs=frozenset({"weights", "input_gradients"}),
    run=run,
)
