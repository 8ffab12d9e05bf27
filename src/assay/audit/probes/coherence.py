"""Do the training samples pull the weights in one direction, and which are the hardest?"""

import torch
from torch import Tensor

from assay.audit.assumptions import few_caveat, joined, percent
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import is_image, sample_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import NumericalError, loss_kind, predict
from assay.generalization import GradientCoherence, gradient_coherence

_SAMPLES, _FEWEST, _BATCH = 1000, 20, 32
_SHOWN = 5
_HARDEST, _MOST = 0.01, 0.5  # share of the samples, and of the squared gradient norm

_RULE = (
    f"Low when the {_HARDEST:.0%} of samples with the largest gradients (at least one) hold more than {_MOST:.0%} of "
    "the squared gradient norm of all: further training then fits these few. Otherwise info, since neither agreement "
    "nor its lack is a defect."
)
_LIMITS = (
    "m-coherence is 1 where gradients have no common direction, the number of samples where all agree, and below 1 "
    "where they oppose each other; it depends on the number of samples and falls as training fits them, so compare it "
    "between equally many samples at equal loss. A large gradient says that the network disagrees with a sample's "
    "label, not which of the two is wrong. Batch-norm is fixed, and penalties are not part of this loss."
)
_ADVICE: dict[Severity, str] = {
    "low": "Look at the samples of the table first: a wrong label, a rare case or a duplicate with another label. Mend "
    "or remove what is wrong; a robust mean of gradients (WinsorizedSGD) keeps the rest from driving training.",
    "info": "Nothing to do. To look for wrong labels, begin with the samples of the table.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Measure the coherence of training gradients, and name the samples whose gradients are largest."""
    if subject.train is None:
        raise SkipProbe("it needs labelled samples, which this subject does not have")
    x, y = subject.train
    wanted = min(len(x), _SAMPLES)
    chosen = torch.randperm(len(x), generator=context.generator())[:wanted]
    if wanted < 2:
        raise SkipProbe("it compares gradients, and there is one training sample")
    few = chosen[:_FEWEST].to(x.device)
    each = measure_seconds(lambda: _measure(subject, x[few], y[few])) / len(few)
    n = affordable(wanted, each=each, seconds=context.seconds)
    if n < len(few):
        raise SkipProbe(too_slow("coherence", f"{len(few)} samples", each * len(few), context.seconds))
    chosen = chosen[:n].sort().values  # places in the training set
    x, y = x[chosen.to(x.device)], y[chosen.to(y.device)]
    found = _measure(subject, x, y)
    squares = found.norms.double().square().cpu()
    top = squares.sort(descending=True).values[: max(1, round(_HARDEST * n))]
    share = float(top.sum() / squares.sum())
    severity: Severity = "low" if share > _MOST else "info"
    shown = found.hardest(_SHOWN).cpu()
    opposed = 0.0 if found.alignments is None else float((found.alignments < 0).double().mean())
    return Finding(
        headline=_headline(found.m_coherence, n, int(chosen[shown[0]]), share),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(_LIMITS, *few_caveat(n), cut_short("coherence", n, wanted, "training samples", each * wanted)),
        measures={
            "m-coherence": found.m_coherence,
            "coherence (alpha)": found.alpha,
            "share of the squared gradient norm in the hardest 1%": share,
            "share of samples whose gradient opposes the others'": opposed,
            "norm of the mean gradient": found.gradient_norm,
            "samples used": float(n),
        },
        figures=_pictures(subject, x[shown.to(x.device)], chosen[shown]),
        tables=(_table(subject, found, x, y, shown, chosen),),
    )


def _measure(subject: Subject, x: Tensor, y: Tensor) -> GradientCoherence:
    try:
        return gradient_coherence(subject.model, x, y, loss=subject.loss, batch_size=_BATCH)
    except NumericalError as error:
        raise SkipProbe(str(error)) from error


def _table(subject: Subject, found: GradientCoherence, x: Tensor, y: Tensor, shown: Tensor, chosen: Tensor) -> Table:
    """List the hardest samples, with label and answer where the subject is a classifier."""
    norms = found.norms.cpu()
    cosines = torch.zeros_like(norms) if found.alignments is None else found.alignments.cpu()
    rows = [(int(chosen[row]), f"{norms[row]:.3g}", f"{cosines[row]:.2f}") for row in shown]
    columns = ("place in the training set", "gradient norm", "cosine with the others' sum")
    if loss_kind(subject.loss) == "cross_entropy" and y.ndim == 1 and not y.is_floating_point():
        answers = predict(subject.model, x[shown.to(x.device)]).argmax(1)
        names = [
            (subject.class_name(int(y[row])), subject.class_name(int(answer)))
            for row, answer in zip(shown, answers, strict=True)
        ]
        columns = (columns[0], "label", "answer", *columns[1:])
        rows = [(row[0], *pair, *row[1:]) for row, pair in zip(rows, names, strict=True)]
    return Table("Training samples with the largest gradients", columns, tuple(rows))


def _pictures(subject: Subject, samples: Tensor, places: Tensor) -> tuple[Figure, ...]:
    """Show the hardest samples side by side, where they are images."""
    if not is_image(tuple(samples.shape[1:])):
        return ()
    low, high = subject.input_range
    raw = samples if subject.mean is None else samples + subject.mean
    pictures = tuple(
        sample_picture(f"{number:02}", (image - low) / (high - low), f"Training sample {place}")
        for number, (image, place) in enumerate(zip(raw, places.tolist(), strict=True), 1)
    )
    return (Figure(pictures, "The samples of the table, hardest first.", tile=True),)


def _headline(m_coherence: float, n: int, hardest: int, share: float) -> str:
    return (
        f"A step along one training sample's gradient helps {m_coherence:.2g} of {n:,}; the hardest 1%, led by sample "
        f"{hardest}, hold {percent(share)} of the squared norm."
    )


PROBE = Probe(
    name="coherence",
    question="Do the training samples pull the weights in one direction, and which are the hardest?",
    topic="training",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
)
