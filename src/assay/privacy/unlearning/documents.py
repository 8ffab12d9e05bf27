"""Token sequences with the answers that are asked of a language model in them."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError

UNASKED = -100
"""The label of a token that is not asked for, as in transformers: prompt and padding."""


@dataclass(frozen=True, eq=False)
class Documents:
    """Hold n token sequences of t tokens and say which tokens a model has to predict from those before them.

    Args:
        input_ids: Tokens, padded to one length.
        labels: The same tokens where they are asked for and -100 elsewhere: on prompts, padding and first tokens.
        attention_mask: 1 on tokens and 0 on padding, handed on to the model; none by default.

    Raises:
        InvalidInputError: There is no document, the shapes differ, a document asks for nothing or for its first token.

    >>> import torch
    >>> Documents.of_answers(torch.tensor([[5, 6, 7], [5, 8, 9]]), prompt_length=2).labels
    tensor([[-100, -100,    7],
            [-100, -100,    9]])
    """

    input_ids: Int[Tensor, "n t"]
    labels: Int[Tensor, "n t"]
    attention_mask: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.input_ids.shape
        if len(shape) != 2 or self.input_ids.numel() == 0:
            raise InvalidInputError(f"input_ids must be a non-empty batch of shape (n, t), got {tuple(shape)}")
        masks = [] if self.attention_mask is None else [self.attention_mask]
        for other in (self.labels, *masks):
            if other.shape != shape:
                raise InvalidInputError(
                    f"labels and attention_mask must have the shape {tuple(shape)} of input_ids, "
                    f"got {tuple(other.shape)}"
                )
        asked = self.labels != UNASKED
        if asked[:, 0].any() or not asked.any(1).all():
            raise InvalidInputError(
                "each document must ask for at least one token, and not for its first, which nothing precedes; "
                f"set labels to {UNASKED} on prompts only"
            )

    @classmethod
    def of_answers(cls, input_ids: Int[Tensor, "n t"], *, prompt_length: int) -> "Documents":
        """Ask for everything that follows a prompt of one length."""
        labels = input_ids.clone()
        labels[:, :prompt_length] = UNASKED
        return cls(input_ids, labels)

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, rows: Tensor | slice) -> "Documents":
        mask = self.attention_mask
        return Documents(self.input_ids[rows], self.labels[rows], None if mask is None else mask[rows])


def token_logits(model: nn.Module, documents: Documents) -> Float[Tensor, "n t v"]:
    """Return the scores that a language model gives the next token at each place.

    Args:
        model: Maps `input_ids` to logits of shape (n, t, v), as a tensor or, as transformers' models do, in the
            attribute `logits` of what it returns.
        documents: What is read. A model is given `attention_mask` only where the documents have one.

    Raises:
        InvalidInputError: The model returns something else.

    >>> import torch
    >>> bigram = nn.Embedding(3, 3)
    >>> token_logits(bigram, Documents.of_answers(torch.tensor([[0, 1]]), prompt_length=1)).shape
    torch.Size([1, 2, 3])
    """
    masks = {} if documents.attention_mask is None else {"attention_mask": documents.attention_mask}
    return read_logits(model(documents.input_ids, **masks))


def read_logits(output: object) -> Float[Tensor, "n t v"]:
    """Return the logits in what a language model returned."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 3:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
        raise InvalidInputError(
            f"the model must return logits of shape (n, t, v), itself or in .logits, got {got}; wrap it so that it does"
        )
    return logits


def asked_logits(
    logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]
) -> tuple[Float[Tensor, "m v"], Int[Tensor, " m"]]:
    """Return the m scores that predict an asked token, and those tokens, in the order of the documents."""
    asked = labels[:, 1:] != UNASKED
    return logits[:, :-1][asked], labels[:, 1:][asked]


def answer_nll(logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"], *, mean: bool = True) -> Float[Tensor, " n"]:
    r"""Compute each answer's negative log-likelihood $-\sum_t \log p(y_t \mid y_{<t})$, by default a token.

    Args:
        logits: Scores at each place for the token after it.
        labels: Tokens, -100 where they are not asked for.
        mean: Divide by the number of asked tokens, as the metrics of TOFU do; preference losses take the sum.

    >>> import torch
    >>> nll = answer_nll(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 3]]), mean=False)
    >>> round(nll.exp().item(), 4)
    16.0
    """
    targets = labels[:, 1:]
    # What is not asked for has loss 0 here.
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=UNASKED, reduction="none")
    total = losses.view_as(targets).sum(1)
    return total / (targets != UNASKED).sum(1) if mean else total
