"""Can members of the training set be identified?"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.reinitialization import reinitialized
from assay.audit.subject import Subject
from assay.core import (
    InvalidInputError,
    LossFunction,
    NumericalError,
    SequentialTrainer,
    Step,
    accuracy,
    find_copies,
    fit,
    isolated_rng,
    loss_kind,
    mean_loss,
    predict,
    preserved,
)
from assay.privacy import DirectAttack, LiRA, MembershipReport, ShadowEnsemble, membership_metrics
from assay.privacy.membership import logit_confidence

_MEMBERS, _NONMEMBERS = 250, 1000  # samples of each kind at most; a rate of 0.1% needs 1000 non-members
_LEAST = 20  # samples of each kind; with fewer, rates mean nothing
_SHADOWS, _FEWEST_SHADOWS = 48, 8
_STEPS, _BATCH, _LEARNING_RATE = 400, 64, 2e-3
_CHECK_EVERY = 5  # steps between two evaluations of a shadow's loss on all its samples
_BUDGET, _GPU_BUDGET = 2e12, 4e14  # operations for all shadows at most: a few minutes on one core, seconds on a GPU
_FPR = (0.01, 0.001)

_RULE = (
    "The best of three scores decides, by the lower ends of its 98.3% intervals (the intervals of all three then hold "
    "jointly at 95%). High: at least 10% of the training samples are identified at a false positive rate of 1%, ten "
    "times the rate of chance. Medium: at least 2% of them, or an AUC of at least 0.6. Low: an AUC above 0.5. "
    "Otherwise info."
)
_LIMITS = (
    "The {count} shadow models have the subject's architecture. They were reinitialised (modules by their own "
    "reset_parameters, weights of modules without it from a normal distribution of the trained weights' mean and "
    "standard deviation; frozen weights stay the subject's). Each was trained on about {size} samples, for up to "
    f"{_STEPS} steps of Adam or until it fitted them as well as the subject fits its own {{trained}}: the subject is "
    "right on {own:.0%} of the training samples here, the shadow models on {fitted:.0%} of theirs. The subject's "
    "training recipe is not known: a closer one, or more shadow models, may identify more, so these rates are no upper "
    "bound. They mean nothing unless the held-out samples come from the same distribution as the training samples."
)
_SHARED = " {n} held-out samples that are training samples too were left out."
_UNRESOLVED = " With {n} held-out samples, a false positive rate below {rate:.1%} means no false positive at all."
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
    inside, outside, n_shared = _samples(subject, context)
    x, y = torch.cat([inside[0], outside[0]]), torch.cat([inside[1], outside[1]])
    members = torch.arange(len(x), device=x.device) < len(inside[0])
    try:
        confidence = logit_confidence(predict(subject.model, x), y)
        ensemble = _train_shadows(subject, x, y, len(inside[0]), context)
        offline, online = (_lira(subject, ensemble, x, y, LiRA(online=online)) for online in (False, True))
    except (InvalidInputError, NumericalError) as error:
        raise SkipProbe(f"its shadow models cannot be compared with the subject: {error}") from error
    scores = {
        "confidence": confidence,
        "LiRA, offline (shadow models trained without the sample)": offline,
        "LiRA, online (shadow models trained with and without it)": online,
    }
    level = 1 - 0.05 / len(scores)
    reports = {name: membership_metrics(each, members, fpr=_FPR, level=level) for name, each in scores.items()}
    report = max(reports.values(), key=lambda each: (each.tpr_at_fpr[0.01].low, each.auc.low))
    severity = _severity(report)
    learnt = {"subject": accuracy(predict(subject.model, inside[0]), inside[1]), "shadow models": ensemble.fitted(x, y)}
    doubts = _doubts(learnt, {"subject": inside[1], "shadow models": y})
    return Finding(
        headline=(
            f"{report.tpr_at_fpr[0.01].mean:.0%} of {report.n_members} training samples are identified at "
            f"a false positive rate of 1%; AUC {report.auc.mean:.2f}{doubts}."
        ),
        severity=severity,
        rule=_RULE,
        advice=_NO_BASIS if doubts and severity == "info" else _ADVICE[severity],
        limits=_limits(subject, ensemble, report, learnt) + (_SHARED.format(n=n_shared) if n_shared else ""),
        measures=_measures(report)
        | {"shadow models": float(len(ensemble.models))}
        | {f"accuracy of the {name} on their training samples": share for name, share in learnt.items()},
        figures=(_figure(report),),
        tables=(_table(reports),),
    )


def _samples(subject: Subject, context: Context) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    """Draw training samples and held-out ones that are no training samples; return how many of these were."""
    inside, outside = context.sample(subject.train, _MEMBERS), context.sample(subject.test, _NONMEMBERS)
    if inside[1].ndim > 1 and inside[1].shape[1] > 1:
        raise SkipProbe("it needs one label for each sample")
    known = subject.train[0] if subject.train is not None else inside[0]
    shared = torch.tensor([bool(places) for places in find_copies(outside[0], known)], device=known.device)
    outside = outside[0][~shared], outside[1][~shared]
    if min(len(inside[0]), len(outside[0])) < _LEAST:
        left_out = f"; {int(shared.sum())} of the held-out ones are training samples too" if shared.any() else ""
        raise SkipProbe(
            f"it needs at least {_LEAST} training and {_LEAST} held-out samples to estimate rates{left_out}"
        )
    return inside, outside, int(shared.sum())


def _doubts(learnt: dict[str, float], labels: dict[str, Tensor]) -> str:
    """Name the models that are no better on their own training samples than the most frequent class."""
    clauses = ""
    for name, share in learnt.items():
        frequent = float(labels[name].unique(return_counts=True)[1].max()) / len(labels[name])
        if share <= frequent:
            verb = "are" if name.endswith("s") else "is"
            clauses += f"; but the {name} {verb} right on only {share:.0%} of their training samples, as by one class"
    return clauses


def _lira(subject: Subject, ensemble: ShadowEnsemble, x: Tensor, y: Tensor, scorer: LiRA) -> Tensor:
    return DirectAttack(ensemble, scorer).score([subject.model], x, y)[0]


# --- Shadow models -----------------------------------------------------------------------------------------------


def _train_shadows(subject: Subject, x: Tensor, y: Tensor, n_members: int, context: Context) -> ShadowEnsemble:
    """Train as many shadow models as the budget allows, each on about as many samples as the pool has members."""
    budget = _BUDGET if x.device.type == "cpu" else _GPU_BUDGET
    n_models = min(_SHADOWS, int(budget / _cost(subject.model, x[: min(_BATCH, n_members)])))
    if n_models < _FEWEST_SHADOWS:
        raise SkipProbe(
            f"its {_FEWEST_SHADOWS} shadow models would exceed an audit's computing budget; "
            "train them with assay.privacy.ShadowEnsemble and your own recipe instead"
        )
    keep = min(0.5, max(n_members / len(x), 1 / n_models))
    fitted = mean_loss(subject.model, *context.sample(subject.train, _MEMBERS), subject.loss)
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
    model: nn.Module, x: Tensor, y: Tensor, source: torch.Generator, *, loss: LossFunction, fitted: float
) -> None:
    """Train until the loss is as low as the subject's own."""

    def fits(step: Step) -> bool:
        return step.number % _CHECK_EVERY == 0 and mean_loss(step.model, x, y, loss) <= fitted

    adam = partial(torch.optim.Adam, lr=_LEARNING_RATE)
    with isolated_rng(source.initial_seed()):  # dropout draws from the global generators
        fit(model, x, y, loss=loss, optimizer=adam, n_iter=_STEPS, batch_size=_BATCH, stop=fits, generator=source)


def _cost(model: nn.Module, batch: Tensor) -> float:
    """Estimate the operations of one shadow: forward, twice as much backward, and Adam."""
    with preserved(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return _STEPS * (3 * counter.get_total_flops() + 15 * n_parameters)


# --- The finding ------------------------------------------------------------------------------------------------


def _severity(report: MembershipReport) -> Severity:
    found, auc = report.tpr_at_fpr[0.01].low, report.auc.low
    if found >= 0.1:
        return "high"
    if found >= 0.02 or auc >= 0.6:
        return "medium"
    return "low" if auc > 0.5 else "info"


def _limits(subject: Subject, ensemble: ShadowEnsemble, report: MembershipReport, learnt: dict[str, float]) -> str:
    size = round(float(ensemble.membership.sum(1).double().mean()))
    trained = 0 if subject.train is None else len(subject.train[0])
    own, fitted = learnt["subject"], learnt["shadow models"]
    text = _LIMITS.format(count=len(ensemble.models), size=size, trained=trained, own=own, fitted=fitted)
    resolved = 1 / report.n_nonmembers
    return text if resolved <= min(_FPR) else text + _UNRESOLVED.format(n=report.n_nonmembers, rate=resolved)


def _measures(report: MembershipReport) -> dict[str, float]:
    measures = {"AUC": report.auc, **{f"TPR at {rate:g} FPR": found for rate, found in report.tpr_at_fpr.items()}}
    ends = {f"{name}, {end} end": getattr(value, end) for name, value in measures.items() for end in ("low", "high")}
    return (
        {name: value.mean for name, value in measures.items()}
        | ends
        | {
            "balanced accuracy": report.balanced_accuracy,
            "training samples": float(report.n_members),
            "held-out samples": float(report.n_nonmembers),
        }
    )


def _table(reports: dict[str, MembershipReport]) -> Table:
    columns = ("score", "AUC", *(f"TPR at {rate:.1%} FPR" for rate in _FPR), "balanced accuracy")
    rows = (
        (name, str(r.auc), *(str(r.tpr_at_fpr[rate]) for rate in _FPR), round(r.balanced_accuracy, 3))
        for name, r in reports.items()
    )
    return Table("Membership inference by three scores; 98.3% intervals", columns, tuple(rows))


def _figure(report: MembershipReport) -> Figure:
    """Draw the ROC with both rates on logarithmic axes."""
    rate = report.tpr_at_fpr[0.01]
    alt = (
        f"ROC of the membership score: {rate.mean:.0%} true positives at 1% false positives, AUC {report.auc.mean:.2f}"
    )
    caption = "True positive rate against false positive rate of the best score; both axes are logarithmic."
    return Figure((plot_picture("roc", report.plot, alt),), caption)


PROBE = Probe(
    name="membership",
    question="Can members of the training set be identified?",
    needs=frozenset({"gradients", "training_data", "test_data"}),
    run=run,
)
