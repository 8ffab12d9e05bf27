"""What do the layers keep of the input and the label?"""

import math

import torch
from torch import Tensor

from assay.audit.assumptions import few_caveat, joined
from assay.audit.budget import cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import InvalidInputError, NumericalError, layer_names, layer_outputs, unwrapped
from assay.representation.diffusion_entropy import RepresentationTrace, entropy_by_layer, median_bandwidth

_SAMPLES, _FEWEST, _LAYERS = 500, 100, 10
_MEMORY = 1_000_000_000  # bytes of the layers' outputs
_POWER = 2.5  # of the number of samples, in the time: between distances and eigenvalues

_RULE = "Info: neither much nor little information in a layer is a defect."
_ADVICE = (
    "A layer behind which the information on the label no longer grows is a candidate for a shorter network, and for "
    "features to transfer. Where a layer holds less of it than its neighbours, look for dead units or a bottleneck."
)
_LIMITS = (
    "Diffusion spectral entropy and mutual information at the median distance of each layer, so that scale does not "
    "count. They rank layers on the same samples and depend on their number: they are no bits of a channel. The input "
    "is stood for by ten clusters of its samples."
)


def run(subject: Subject, context: Context) -> Finding:
    """Measure entropy and information of each layer on held-out samples, or training samples where there are none."""
    pairs, kind = (subject.test, "held-out") if subject.test is not None else (subject.train, "training")
    x, y = context.sample(pairs, _SAMPLES)
    if len(x) < 2 or not x.is_floating_point():
        raise SkipProbe("it compares distances between samples, and needs at least two whose inputs are no tokens")
    few = min(_FEWEST, len(x))
    layers = _readable(subject, x[:few])
    each = measure_seconds(lambda: _measure(subject, x[:few], y[:few], layers, context))
    n = min(len(x), int(few * (context.seconds / max(each, 1e-9)) ** (1 / _POWER)))
    if n < few:
        raise SkipProbe(too_slow("layer_information", f"{few} samples", each, context.seconds))
    found = _measure(subject, x[:n], y[:n], layers, context)
    whole = each * (len(x) / few) ** _POWER
    return Finding(
        headline=_headline(found, n),
        severity="info",
        rule=_RULE,
        advice=_ADVICE,
        limits=joined(_LIMITS, *few_caveat(n), cut_short("layer_information", n, len(x), f"{kind} samples", whole)),
        measures={
            "most information on the label": float(found.label_information.max()),
            "information on the label, last layer": float(found.label_information[-1]),
            "information on the input, last layer": float(found.input_information[-1]),
            "entropy, last layer": float(found.entropy[-1]),
            "samples used": float(n),
        },
        figures=(_figure(found),),
        tables=(_table(found),),
    )


def _readable(subject: Subject, x: Tensor) -> list[str]:
    """Return up to ten layers, spread over the network, in which samples differ and whose outputs fit into memory."""
    network = unwrapped(subject.model)
    names = layer_names(network, x)
    if not names:
        raise SkipProbe("the network has no layer that runs once and gives a row for each sample")
    spread = [names[round(place)] for place in torch.linspace(0, len(names) - 1, min(_LAYERS, len(names))).tolist()]
    found, size = [], 0
    for name, rows in layer_outputs(network, x, list(dict.fromkeys(spread)), batch_size=32).items():
        size += _SAMPLES * rows[0].numel() * 8
        if size <= _MEMORY and torch.isfinite(rows).all() and median_bandwidth(rows) > 0:
            found.append(name)
    if not found:
        raise SkipProbe("most samples coincide in every layer that can be read, or the layers are too large")
    return found


def _measure(subject: Subject, x: Tensor, y: Tensor, layers: list[str], context: Context) -> RepresentationTrace:
    try:
        return entropy_by_layer(
            subject.model, x, y, layers=layers, batch_size=32, generator=context.generator(), progress=context.progress
        )
    except (InvalidInputError, NumericalError) as error:
        raise SkipProbe(str(error)) from error


def _headline(found: RepresentationTrace, n: int) -> str:
    best = int(found.label_information.argmax())
    name = found.places[best]
    short = name if len(name) <= 24 else f"...{name[-21:]}"
    last = float(found.label_information[-1])
    return (
        f"On {n:,} samples, layer {short} tells most of the label, {float(found.label_information[best]):.2g} bits; "
        f"the last layer tells {last:.2g}."
    )


def _table(found: RepresentationTrace) -> Table:
    columns = ("layer", "entropy", "information on the label", "information on the input", "median distance")
    values = (found.entropy, found.label_information, found.input_information, found.median_distance)
    rows = [(name, *(f"{float(value[place]):.3g}" for value in values)) for place, name in enumerate(found.places)]
    return Table("Entropy and information of each layer, in bits", columns, tuple(rows))


def _figure(found: RepresentationTrace) -> Figure:
    largest = math.log2(found.n_samples)
    alt = "Lines over the layers: diffusion entropy, information on the label and information on the input, in bits"
    caption = f"Entropy and information of each layer in bits; entropy is at most {largest:.1f}."
    return Figure((plot_picture("layers", found.plot, alt),), caption)


PROBE = Probe(
    name="layer_information",
    question="What do the layers keep of the input and the label?",
    topic="training",
    needs=frozenset(),
    run=run,
)
