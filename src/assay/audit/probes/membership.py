"""Can members of the training set be identified?"""

import time
from functools import partial

import torch
from torch import Tensor, nn

from assay.audit.assumptions import joined
from assay.audit.budget import affordable, cut_short, measure_seconds
from assay.audit.membership_figures import (
    PLAIN,
    RATES,
    headline,
    membership_measures,
    membership_severity,
    rank,
    roc_figure,
    score_table,
    unresolved_rates,
)
from assay.audit.membership_samples import MEMBERS, check_not_swapped, draw_samples
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.reinitialization import reinitialized
from assay.audit.subject import Subject
from assay.core import (
    InvalidInputError,
    LossFunction,
    NumericalError,
    SequentialTrainer,
    Step,
    accuracy,
    fit,
    isolated_rng,
    loss_kind,
    mean_loss,
    predict,
    seeded,
)
from assay.privacy import DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import logit_confidence

_SHADOWS, _FEWEST_SHADOWS = 48, 8
_STEPS, _BATCH, _LEARNING_RATE = 400, 64, 2e-3
_ONE, _CAUTION = 0.25, 1.5  # of the time: for one shadow model that is timed; of its time: for the others
_CHECK_EVERY = 5  # steps between two evaluations of a shadow's loss on all its samples

_LEVEL = 0.95  # confidence of all intervals together

_RULE = (
    "The best of the scores in the table decides, by the lower ends of its intervals (those of all scores hold jointly "
    "at 95%). High: at least 10% of the training samples are identified at a false positive rate of 1%, ten times the "
    "rate of chance. Medium: at least 2% of them, or an AUC of at least 0.6. Low: an AUC above 0.5. Otherwise info."
)
_LIMITS = (
    "The {count} shadow models have the subject's architecture. They were reinitialised (modules by their own "
    "reset_parameters, weights of modules without it from a normal distribution of the trained weights' mean and "
    "standard deviation; frozen weights stay the subject's). Each was trained on about {size} samples, for up to "
    f"{_STEPS} steps of Adam or until it fitted them as well as the subject fits its own {{trained}}: the subject is "
    "right on {own:.0%} of the training samples here, the shadow models on {fitted:.0%} of theirs."
)
_NO_BOUND = (
    "The subject's training recipe is not known: a closer one, or more shadow models, may identify more, so these "
    "rates are no upper bound. They mean nothing unless the held-out samples come from the same distribution as the "
    "training samples."
)
_BETTER = (
    "Plain confidence tells members better than the shadow models do here: these follow another recipe than the "
    "subject's, and whoever has that recipe may tell more."
)
_ALONE = "No shadow models were trained, since {fewest} of them exceed the time: the score is plain confidence alone."
_SHARED = "{n} held-out samples that are training samples too were left out."
_ADVICE: dict[Severity, str] = {
    "high": "If membership in the training data is private, do not publish this model's scores. Train with "
    "differential privacy, on more samples or for fewer steps, and audit again.",
    "medium": "Treat membership as partly exposed: return labels instead of scores, regularise, stop earlier, and "
    "audit again.",
    "low": "Single samples, most often unusual ones, may be exposed. Audit again after each change of the training "
    "recipe.",
    "info": "Nothing to do now. This attack could not identify members, but another attack might.",
}
_NO_BASIS = "This says nothing about membership: see to what the headline names, and audit again."


def run(subject: Subject, context: Context) -> Finding:
    """Train shadow models on random parts of the training and held-out samples, and attack the subject with them."""
    if loss_kind(subject.loss) not in ("cross_entropy", "binary_cross_entropy"):
        raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
    inside, outside, n_shared = draw_samples(subject, context)
    x, y = torch.cat([inside[0], outside[0]]), torch.cat([inside[1], outside[1]])
    members = torch.arange(len(x), device=x.device) < len(inside[0])
    try:
        scores = {PLAIN: logit_confidence(predict(subject.model, x), y)}
        check_not_swapped(scores[PLAIN], members)
        each = _seconds_each(subject, *inside, context.seconds)
        n_models = affordable(_SHADOWS, each=each, seconds=context.seconds)
        ensemble = None
        if n_models >= _FEWEST_SHADOWS:
            ensemble = _train_shadows(subject, x, y, len(inside[0]), n_models, context)
            scores |= _likelihood_ratios(subject, ensemble, x, y)
    except (InvalidInputError, NumericalError) as error:
        raise SkipProbe(f"its shadow models cannot be compared with the subject: {error}") from error
    level = 1 - (1 - _LEVEL) / len(scores)
    reports = {name: membership_metrics(score, members, fpr=RATES, level=level) for name, score in scores.items()}
    best = max(reports, key=lambda name: rank(reports[name]))
    report, severity = reports[best], membership_severity(reports[best])
    learnt = {"subject": accuracy(predict(subject.model, inside[0]), inside[1])}
    learnt |= {} if ensemble is None else {"shadow models": ensemble.fitted(x, y)}
    doubts = _doubts(learnt, {"subject": inside[1], "shadow models": y})
    unknown = bool(doubts) and severity == "info"
    cut = cut_short("membership", n_models if ensemble else 0, _SHADOWS, "shadow models", _SHADOWS * each)
    return Finding(
        headline=f"No answer: {doubts}." if unknown else headline(report, best, severity),
        severity=severity,
        rule=_RULE,
        advice=_NO_BASIS if unknown else _ADVICE[severity],
        limits=joined(
            f"But {doubts}." if doubts else "",
            _ALONE.format(fewest=_FEWEST_SHADOWS) if ensemble is None else _of_shadows(subject, ensemble, learnt),
            cut,
            _BETTER if best == PLAIN and ensemble else "",
            _NO_BOUND,
            _SHARED.format(n=n_shared) if n_shared else "",
            *unresolved_rates(report),
        ),
        measures=membership_measures(report)
        | {"shadow models": float(len(ensemble.models)) if ensemble else 0.0}
        | {f"accuracy of the {name} on their training samples": share for name, share in learnt.items()},
        figures=(roc_figure(report, best),),
        tables=(score_table(reports, level),),
    )


def _doubts(learnt: dict[str, float], labels: dict[str, Tensor]) -> str:
    """Name the models that are no better on their own training samples than the most frequent class."""
    clauses = []
    for name, share in learnt.items():
        frequent = float(labels[name].unique(return_counts=True)[1].max()) / len(labels[name])
        if share <= frequent:
            clauses.append(f"the {name} {'are' if name.endswith('s') else 'is'} right on only {share:.0%}")
    return f"{' and '.join(clauses)} of their training samples, as by one class" if clauses else ""


def _likelihood_ratios(subject: Subject, ensemble: ShadowEnsemble, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return the scores of LiRA, which needs models trained without each sample, or with and without it."""
    names = {False: "LiRA, offline (shadow models trained without the sample)"}
    names[True] = "LiRA, online (shadow models trained with and without it)"
    return {
        name: DirectAttack(ensemble, LiRA(online=online)).score([subject.model], x, y)[0]
        for online, name in names.items()
    }


# --- Shadow models -----------------------------------------------------------------------------------------------


def _train_shadows(
    subject: Subject, x: Tensor, y: Tensor, n_members: int, n_models: int, context: Context
) -> ShadowEnsemble:
    """Train shadow models, each on about as many samples as the pool has members."""
    keep = min(0.5, max(n_members / len(x), 1 / n_models))
    fitted = mean_loss(subject.model, *context.sample(subject.train, MEMBERS), subject.loss)
    return ShadowEnsemble.fit(
        x,
        y,
        model_fn=partial(reinitialized, subject.model),
        trainer=SequentialTrainer(partial(_train, loss=subject.loss, fitted=fitted)),
        n_models=n_models,
        keep=keep,
        random_state=context.seed,
        progress=context.progress,
    )


def _train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    source: torch.Generator,
    *,
    loss: LossFunction,
    fitted: float,
    n_iter: int | None = None,
) -> None:
    """Train until the loss is as low as the subject's own."""

    def fits(step: Step) -> bool:
        return step.number % _CHECK_EVERY == 0 and mean_loss(step.model, x, y, loss) <= fitted

    adam = partial(torch.optim.Adam, lr=_LEARNING_RATE)
    with isolated_rng(source.initial_seed()):  # dropout draws from the global generators
        fit(
            model,
            x,
            y,
            loss=loss,
            optimizer=adam,
            n_iter=n_iter or _STEPS,
            batch_size=_BATCH,
            stop=fits,
            generator=source,
        )


def _seconds_each(subject: Subject, x: Tensor, y: Tensor, seconds: float) -> float:
    """Estimate the time of one shadow model: of all its steps, or, where these leave room, of one that may stop early.

    Args:
        subject: The subject.
        x: As many samples as a shadow model is trained on.
        y: Their labels.
        seconds: Time for all.
    """
    train = partial(_train, x=x, y=y, source=seeded(0), loss=subject.loss)
    fresh = partial(reinitialized, subject.model, seeded(0))
    few = partial(train, fresh(), fitted=-1.0, n_iter=_CHECK_EVERY)
    most = _STEPS / _CHECK_EVERY * measure_seconds(few) + measure_seconds(lambda: predict(subject.model, x))
    if most * _SHADOWS <= seconds or most > _ONE * seconds:
        return most
    start = time.perf_counter()
    train(fresh(), fitted=mean_loss(subject.model, x, y, subject.loss))
    return min(most, _CAUTION * (time.perf_counter() - start))


# --- The finding ------------------------------------------------------------------------------------------------


def _of_shadows(subject: Subject, ensemble: ShadowEnsemble, learnt: dict[str, float]) -> str:
    size = round(float(ensemble.membership.sum(1).double().mean()))
    trained = 0 if subject.train is None else len(subject.train[0])
    own, fitted = learnt["subject"], learnt["shadow models"]
    return _LIMITS.format(count=len(ensemble.models), size=size, trained=trained, own=own, fitted=fitted)


PROBE = Probe(
    name="membership",
    question="Can members of the training set be identified?",
    topic="privacy",
    needs=frozenset({"gradients", "training_data", "test_data"}),
    run=run,
)
