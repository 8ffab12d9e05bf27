"""The training loop of unlearning: batches of what is to be forgotten beside batches of what is not."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import InvalidInputError, NumericalError, Step, check_model, track
from assay.privacy.unlearning.documents import UNASKED, Documents, token_logits
from assay.privacy.unlearning.losses import ReversedUnlearningLoss

Objective: TypeAlias = Callable[[nn.Module, Documents, Documents], Tensor]
"""A function `(model, forget batch, retain batch) -> scalar`."""


def reversed_objective(retain_weight: float = 5.0) -> Objective:
    """Return the objective that trains an assistant: `ReversedUnlearningLoss` on what it says to both batches.

    >>> objective = reversed_objective(retain_weight=0.0)
    >>> documents = Documents.of_answers(torch.tensor([[0, 1]]), prompt_length=1)
    >>> round(objective(nn.Embedding.from_pretrained(torch.zeros(3, 3)), documents, documents).exp().item(), 4)
    3.0
    """
    loss = ReversedUnlearningLoss(retain_weight)

    def objective(model: nn.Module, forget: Documents, retain: Documents) -> Tensor:
        asked = retain.labels != UNASKED
        return loss(token_logits(model, forget), forget.labels, token_logits(model, retain), asked)

    return objective


def unlearn(
    model: nn.Module,
    forget: Documents,
    retain: Documents,
    *,
    objective: Objective,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    epochs: int,
    batch_size: int | None = None,
    callbacks: Iterable[Callable[[Step], None]] = (),
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> None:
    """Train a model in place on forget and retain documents, and leave it in evaluation mode.

    An epoch is a pass over the forget documents; each batch of them comes with as many retain documents, which are
    gone through in turn. Both are reshuffled whenever they are used up. To train an assistant, pass what
    `build_assistant` returns, the forget documents (and paraphrases of them) and the retain documents (and forget
    questions with wrong answers), with `reversed_objective`.

    Args:
        model: What is trained: its parameters that require a gradient.
        forget: What is to be forgotten.
        retain: What is not.
        objective: What is minimised.
        optimizer: Called with the parameters, for example `partial(torch.optim.AdamW, lr=1e-3)`, the paper's choice.
        epochs: Passes over the forget documents. Paper: 10.
        batch_size: Documents of each kind a step, half of the paper's 32; by default all of both kinds.
        callbacks: Called after every step.
        generator: Source of the shuffling; required for mini-batches.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: No step would be taken, nothing requires a gradient, or mini-batches lack a generator.
        NumericalError: The loss became NaN or infinite.

    Source: Ji et al., "Reversing the Forget-Retain Objectives" (2024).

    >>> bigram = nn.Embedding(3, 3)
    >>> forget, retain = (Documents.of_answers(torch.tensor([[k, 1]]), prompt_length=1) for k in (0, 2))
    >>> adam = lambda parameters: torch.optim.Adam(parameters, lr=0.1)
    >>> unlearn(bigram, forget, retain, objective=reversed_objective(), optimizer=adam, epochs=300)
    >>> bigram(torch.tensor([0, 2])).softmax(-1).round(decimals=1)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.3000, 0.3000, 0.3000]], grad_fn=<RoundBackward1>)
    """
    check_model(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise InvalidInputError("no parameter requires a gradient; call model.requires_grad_(True) first")
    if epochs < 1 or (batch_size is not None and batch_size < 1):
        raise InvalidInputError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    if batch_size is not None and generator is None:
        raise InvalidInputError("mini-batches are shuffled: pass generator=assay.core.seeded(seed)")
    run = optimizer(trained)
    steps = epochs * (1 if batch_size is None else -(-len(forget) // batch_size))
    pairs = zip(_batches(forget, batch_size, generator), _batches(retain, batch_size, generator), strict=False)
    model.train()
    try:
        for number in track(range(1, steps + 1), "unlearning", total=steps, enabled=progress):
            run.zero_grad()
            value = objective(model, *next(pairs))
            if not torch.isfinite(value):
                raise NumericalError(f"the loss became {value.item()} at step {number}; lower the learning rate")
            value.backward()
            run.step()
            for callback in callbacks:
                callback(Step(number, value.item(), model))
    finally:
        model.eval()


def _batches(documents: Documents, size: int | None, source: torch.Generator | None) -> Iterator[Documents]:
    """Yield batches without end, reshuffled whenever the documents are used up."""
    while size is None:
        yield documents
    while True:
        for rows in torch.randperm(len(documents), generator=source).split(size):
            yield documents[rows.to(documents.input_ids.device)]
