"""Training loop of unlearning over paired forget and retain batches (Ji et al., 2024, section 2.3)."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import InvalidInputError, NumericalError, Step, check_count, check_model, track
from assay.privacy.unlearning.examples import IGNORE_INDEX, QAExamples, token_logits
from assay.privacy.unlearning.losses import ReversedUnlearningLoss

UnlearningObjective: TypeAlias = Callable[[nn.Module, QAExamples, QAExamples], Tensor]
"""A function `(model, forget batch, retain batch) -> scalar`."""


def reversed_objective(retain_weight: float = 5.0) -> UnlearningObjective:
    """Return the objective of an assistant: `ReversedUnlearningLoss` on a forget and a retain batch.

    Source: Ji et al. (2024), section 2.3, equation 3.

    >>> objective = reversed_objective(retain_weight=0.0)
    >>> examples = QAExamples.from_tokens(torch.tensor([[0, 1]]), prompt_length=1)
    >>> round(objective(nn.Embedding.from_pretrained(torch.zeros(3, 3)), examples, examples).exp().item(), 4)
    3.0
    """
    loss = ReversedUnlearningLoss(retain_weight)

    def objective(model: nn.Module, forget: QAExamples, retain: QAExamples) -> Tensor:
        answers = retain.labels != IGNORE_INDEX
        return loss(token_logits(model, forget), forget.labels, token_logits(model, retain), answers)

    return objective


def unlearn(
    model: nn.Module,
    forget: QAExamples,
    retain: QAExamples,
    *,
    objective: UnlearningObjective,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    epochs: int,
    batch_size: int | None = None,
    callbacks: Iterable[Callable[[Step], None]] = (),
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> None:
    """Train a model in place on forget and retain examples, and leave it in evaluation mode.

    An epoch is a pass over the forget examples. Each forget batch is paired with a retain batch; both sets are
    reshuffled after each pass over them. To train an assistant, pass the model of `build_assistant`, the forget
    examples (and paraphrases of them), the retain examples (and forget questions with wrong answers), and
    `reversed_objective`.

    Args:
        model: Network to train: its parameters that require a gradient.
        forget: Examples to forget.
        retain: Examples to keep.
        objective: Function to minimise, called with the model and both batches.
        optimizer: Called with the parameters, for example `partial(torch.optim.AdamW, lr=1e-3)`, the paper's choice.
        epochs: Passes over the forget examples. Paper: 10.
        batch_size: Examples of each set a step; all of both sets by default. Paper: 32 of both together.
        callbacks: Called after every step.
        generator: Source of the shuffling; required for mini-batches.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: A count is below one, nothing requires a gradient, or mini-batches lack a generator.
        NumericalError: The loss became NaN or infinite.

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024), section 2.3; settings of section 3.2.

    >>> bigram = nn.Embedding(3, 3)
    >>> forget, retain = (QAExamples.from_tokens(torch.tensor([[k, 1]]), prompt_length=1) for k in (0, 2))
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
    check_count(epochs, "epochs")
    if batch_size is not None:
        check_count(batch_size, "batch_size")
        if generator is None:
            raise InvalidInputError("mini-batches are shuffled: pass generator=assay.core.seeded(seed)")
    run = optimizer(trained)
    steps = epochs * (1 if batch_size is None else -(-len(forget) // batch_size))
    pairs = zip(_batches(forget, batch_size, generator), _batches(retain, batch_size, generator), strict=False)
    model.train()
    try:
        # Networks are trained whatever the caller is in.
        with torch.inference_mode(False), torch.enable_grad():
            for number in track(range(1, steps + 1), "unlearning", total=steps, enabled=progress):
                run.zero_grad()
                value = objective(model, *next(pairs))
                if value.numel() != 1:
                    raise InvalidInputError(
                        f"the objective must return one number, got shape {tuple(value.shape)}; average it"
                    )
                if not torch.isfinite(value):
                    raise NumericalError(f"the loss became {value.item()} at step {number}; lower the learning rate")
                value.backward()
                run.step()
                for callback in callbacks:
                    callback(Step(number, value.item(), model))
    finally:
        model.eval()


def _batches(examples: QAExamples, size: int | None, source: torch.Generator | None) -> Iterator[QAExamples]:
    """Yield batches without end, reshuffled after each pass over the examples."""
    while size is None:
        yield examples
    while True:
        for rows in torch.randperm(len(examples), generator=source).split(size):
            yield examples[rows.to(examples.input_ids.device)]
