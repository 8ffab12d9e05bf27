"""The rows of `assay.privacy.unlearning`."""

from functools import partial

import torch
from torch import nn

from assay.core import preserved
from assay.privacy import LogitDifferenceModel, OffsetModel, build_assistant, calibrate_alpha, forget_quality, unlearn
from assay.privacy.unlearning import (
    GradientAscentLoss,
    NPOLoss,
    QAExamples,
    RefusalDPOLoss,
    ReversedUnlearningLoss,
    answer_logits,
    answer_nll,
    relative_top_mask,
    retain_divergence,
    reversed_objective,
    subtract_logits,
    tofu_model_utility,
    token_logits,
    truth_ratio,
    truth_ratio_score,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Module
from helpers.rows.subjects import Tokens, language_model, language_model_without_dropout

sgd = partial(torch.optim.SGD, lr=0.1)
ROWS_ALIKE = ("rows", "empty")
"""What is refused where any axes may stand before those of the definition."""


def _read(model, x):
    """Return documents of two tokens, what the model says after each first one, and an assistant that knows just it."""
    with preserved(model), torch.no_grad():
        said = model(torch.arange(3, device=x.device)).argmax(1)
    first = Tokens()(x)[:, :1]
    documents = QAExamples.from_tokens(torch.cat([first, said[first]], dim=1), prompt_length=1)
    return documents, nn.Embedding.from_pretrained(3 * torch.eye(3, dtype=x.dtype, device=x.device)[said])


def _calibrated(model, x, y, generator, batch_size=64):
    documents, assistant = _read(model, x)
    alpha = calibrate_alpha(model, assistant, documents, forget_accuracy=0.0, batch_size=batch_size)
    with preserved(model), torch.no_grad():
        return alpha, LogitDifferenceModel(model, assistant, alpha)(documents.input_ids)


def _tokens_scored(model, x, y, generator):
    with preserved(model), torch.no_grad():
        return token_logits(model, _read(model, x)[0])


def _assistant(model, x, y, generator):
    return build_assistant(model, 2, lora_rank=2, blocks="2", generator=generator)


def _unlearned(model, x, y, generator):
    documents, _ = _read(model, x)
    unlearn(model, documents, documents, objective=reversed_objective(), optimizer=sgd, epochs=2)


def _objective(model, x, y, generator):
    documents, _ = _read(model, x)
    with preserved(model):
        return reversed_objective()(model, documents, documents)


def _asked(source, n):
    labels = torch.randint(0, 3, (n, 3), generator=source)
    return torch.randn(n, 3, 3, generator=source).double(), labels.index_fill(1, torch.tensor([0]), -100)


def _compared(source, n):
    logits, labels = _asked(source, n)
    return logits, labels, _asked(source, n)[0]


def _divergence(source, n):
    logits, labels, reference = _compared(source, n)
    return logits, reference, labels


def _with_retained(source, n):
    logits, labels = _asked(source, n)
    return logits, labels, _asked(source, 5)[0]  # as many retained documents as one likes


def _with_refusals(source, n):
    return *_compared(source, n), *_compared(source, n)


def _both(source, n):
    return torch.randn(n, 5, generator=source).double(), torch.randn(n, 5, generator=source).double()


def _likelihoods(source, n):
    return torch.rand(n, generator=source).double(), torch.rand(n, 3, generator=source).double()


def _sentences(source, n):
    return (torch.randint(0, 3, (n, 2), generator=source),)


def _tables(kind, count, **options):
    def build(source):
        tables = [nn.Embedding.from_pretrained(torch.randn(3, 3, generator=source), freeze=False) for _ in range(count)]
        return kind(*tables, **options)

    return build


ROWS = (
    Analysis((calibrate_alpha, QAExamples), run=_calibrated, model=language_model),
    Analysis(token_logits, run=_tokens_scored, model=language_model),
    Analysis(build_assistant, run=_assistant, model=language_model, needs_data=False, random=True),
    Analysis(reversed_objective, run=_objective, model=language_model),
    Analysis(unlearn, run=_unlearned, trains=True, model=language_model_without_dropout),
    Module(LogitDifferenceModel, _sentences, build=_tables(LogitDifferenceModel, 2)),
    Module(OffsetModel, _sentences, build=_tables(OffsetModel, 3)),
    Module(GradientAscentLoss, _asked, loss=True),
    Module(NPOLoss, _compared, loss=True),
    Module(RefusalDPOLoss, _with_refusals, loss=True),
    Module(ReversedUnlearningLoss, _with_retained, loss=True),
    Formula(answer_nll, _asked),
    Formula(answer_logits, _asked, rowwise=False),
    Formula(retain_divergence, _divergence, rowwise=False),
    Formula(subtract_logits, _both, options={"alpha": 0.5}),
    Formula(relative_top_mask, lambda source, n: _both(source, n)[:1], options={"ratio": 0.3}, refuses=ROWS_ALIKE),
    Formula(truth_ratio, _likelihoods),
    Formula(truth_ratio_score, lambda source, n: _likelihoods(source, n)[:1], refuses=ROWS_ALIKE),
    Formula(forget_quality, lambda source, n: (_likelihoods(source, n)[0], _likelihoods(source, 9)[0]), rowwise=False),
    Formula(
        tofu_model_utility,
        lambda source, n: ([0.5, 0.9],),
        rowwise=False,
        wrong={"no part": lambda: ([],), "no fraction": lambda: ([1.5],)},
    ),
)
