"""Tokenised question-answer examples, and the scores that a language model gives their answers."""

import inspect
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_outputs, is_probabilities

IGNORE_INDEX = -100
"""Label of the tokens outside the answer, prompt and padding, as in transformers."""


@dataclass(frozen=True, eq=False)
class QAExamples:
    """Hold n question-answer examples of t tokens, labelled on the answers.

    Args:
        input_ids: Tokens of question and answer, padded to one length.
        labels: The same tokens on answers, and -100 on questions, padding and first tokens.
        attention_mask: 1 on tokens and 0 on padding, handed on to the model; none by default.

    Raises:
        InvalidInputError: There is no example, the shapes differ, an example has no answer token or its first token is
            one, or a label is neither the token itself nor -100.

    >>> QAExamples.from_tokens(torch.tensor([[5, 6, 7], [5, 8, 9]]), prompt_length=2).labels
    tensor([[-100, -100,    7],
            [-100, -100,    9]])
    """

    input_ids: Int[Tensor, "n t"]
    labels: Int[Tensor, "n t"]
    attention_mask: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("input_ids", "labels"):
            object.__setattr__(self, name, _tokens(getattr(self, name), name))
        shape = _texts(self.input_ids).shape
        masks = [] if self.attention_mask is None else [self.attention_mask]
        for other in (self.labels, *masks):
            if other.shape != shape:
                raise InvalidInputError(
                    f"labels and attention_mask must have the shape {tuple(shape)} of input_ids, "
                    f"got {tuple(other.shape)}"
                )
        answers = self.labels != IGNORE_INDEX
        if answers[:, 0].any() or not answers.any(1).all():
            raise InvalidInputError(
                "each example needs at least one answer token, and its first token is none, since nothing precedes it; "
                f"set labels to {IGNORE_INDEX} on questions only"
            )
        if not torch.equal(self.labels[answers], self.input_ids[answers]):
            raise InvalidInputError(
                f"labels differ from input_ids on answers; label each answer token with itself, and set {IGNORE_INDEX} "
                "elsewhere"
            )

    @classmethod
    def from_tokens(cls, input_ids: Int[Tensor, "n t"], *, prompt_length: int) -> "QAExamples":
        """Take everything after a prompt of one length as the answer."""
        check_count(prompt_length, "prompt_length")
        labels = _texts(input_ids).clone()
        labels[:, :prompt_length] = IGNORE_INDEX
        return cls(input_ids, labels)

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, rows: Tensor | slice) -> "QAExamples":
        mask = self.attention_mask
        return QAExamples(self.input_ids[rows], self.labels[rows], None if mask is None else mask[rows])


def _texts(input_ids: Tensor) -> Int[Tensor, "n t"]:
    """Return a batch of texts as int64."""
    input_ids = _tokens(input_ids, "input_ids")
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise InvalidInputError(f"input_ids must be a non-empty batch of shape (n, t), got {tuple(input_ids.shape)}")
    return input_ids


def _tokens(value: Tensor, name: str) -> Int[Tensor, "*n t"]:
    """Return tokens of any integer type as int64, in which -100 has a place."""
    if not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InvalidInputError(f"{name} must hold integer tokens, got {got}; pass what the tokenizer returns")
    value = value.long()
    if not value.is_inference():
        return value
    with torch.inference_mode(False):  # autograd refuses tensors of inference mode
        return value.clone()


def token_logits(model: nn.Module, examples: QAExamples) -> Float[Tensor, "n t v"]:
    """Return a language model's scores of the next token at each place.

    Args:
        model: Maps `input_ids` to logits of shape (n, t, v), returned as a tensor or, by models of transformers, in
            the attribute `logits`.
        examples: Input of the model, which gets `attention_mask` only where the examples have one.

    Raises:
        InvalidInputError: The model returns something else.

    >>> bigram = nn.Embedding(3, 3)
    >>> token_logits(bigram, QAExamples.from_tokens(torch.tensor([[0, 1]]), prompt_length=1)).shape
    torch.Size([1, 2, 3])
    """
    masks = {} if examples.attention_mask is None else {"attention_mask": examples.attention_mask}
    return next_logits(model, examples.input_ids, **masks)


def next_logits(model: nn.Module, input_ids: Int[Tensor, "n t"], **batch: Tensor) -> Float[Tensor, "n t v"]:
    """Return the scores of a model that gets tokens and further tensors, such as `attention_mask`.

    Raises:
        InvalidInputError: There are no tokens, the model takes no such tensors, or it returns something else.
    """
    input_ids = _texts(input_ids)
    if batch:
        try:
            inspect.signature(model.forward).bind(input_ids, **batch)
        except TypeError as error:
            raise InvalidInputError(
                f"{type(model).__name__} takes tokens, but not {' and '.join(batch)} ({error}); leave them out"
            ) from error
    try:
        return read_logits(model(input_ids, **batch))
    except IndexError as error:
        raise InvalidInputError(
            f"the model does not read {input_ids.shape[1]} tokens between {int(input_ids.min())} and "
            f"{int(input_ids.max())} ({error}); tokenise with its vocabulary, in texts as long as it reads"
        ) from error


def check_language_model(model: nn.Module, examples: QAExamples, name: str = "model") -> None:
    """Require a language model in which texts do not mix, with logits that two calls agree on.

    Raises:
        InvalidInputError: The model does not accept the tokens, or its answers are probabilities or no function of one
            text.
    """
    masks = () if examples.attention_mask is None else (examples.attention_mask.to(examples.input_ids),)
    scores = check_outputs(_NextTokens(model), torch.stack([examples.input_ids, *masks], 1))
    check_not_probabilities(scores, f"the {name}")


def check_not_probabilities(logits: Float[Tensor, "*n v"], name: str) -> None:
    """Require scores whose rows are not those of a softmax.

    Raises:
        InvalidInputError: They are never negative and sum to one.
    """
    if logits.numel() and is_probabilities(logits.detach().reshape(-1, logits.shape[-1])):
        raise InvalidInputError(
            f"{name} gives probabilities (rows that are never negative and sum to one), and logits are needed; take "
            "the softmax off, or pass their logarithm"
        )


class _NextTokens(nn.Module):
    """A language model as a network of one tensor: tokens, and their mask where there is one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, texts: Int[Tensor, "n k t"]) -> Float[Tensor, "n t v"]:
        masks = {"attention_mask": texts[:, 1]} if texts.shape[1] > 1 else {}
        return read_logits(self.model(texts[:, 0], **masks))


def read_logits(output: object) -> Float[Tensor, "n t v"]:
    """Return the logits of a language model's output."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 3:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
        raise InvalidInputError(
            f"the model must return logits of shape (n, t, v), itself or in .logits, got {got}; wrap it so that it does"
        )
    return logits


def answer_logits(
    logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]
) -> tuple[Float[Tensor, "m v"], Int[Tensor, " m"]]:
    """Return the scores that predict the m answer tokens, and those tokens, in the order of the examples.

    Args:
        logits: Scores at each place for the token after it.
        labels: Tokens of the answers, -100 elsewhere.

    Raises:
        InvalidInputError: The labels do not fit the scores or ask for no token at all, or these are probabilities.

    >>> scores, tokens = answer_logits(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 3]]))
    >>> scores.shape, tokens.tolist()
    (torch.Size([2, 4]), [2, 3])
    """
    labels = _fitting(logits, labels)
    answers = labels[:, 1:] != IGNORE_INDEX
    return logits[:, :-1][answers], labels[:, 1:][answers]


def answer_nll(logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"], *, mean: bool = True) -> Float[Tensor, " n"]:
    r"""Compute each answer's negative log-likelihood $-\sum_t \log p(y_t \mid y_{<t})$, by default per token.

    Args:
        logits: Scores at each place for the token after it.
        labels: Tokens of the answers, -100 elsewhere.
        mean: Divide by the number of answer tokens, as the metrics of TOFU do; preference losses take the sum.

    Raises:
        InvalidInputError: The labels do not fit the scores, these are probabilities, or an example has no answer token.

    >>> nll = answer_nll(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 3]]), mean=False)
    >>> round(nll.exp().item(), 4)
    16.0
    """
    targets = _fitting(logits, labels)[:, 1:]
    counts = (targets != IGNORE_INDEX).sum(1)
    if not counts.all():
        raise InvalidInputError(
            f"example {int(counts.argmin())} has no answer token to score; leave it out, or set labels other than "
            f"{IGNORE_INDEX} on its answer"
        )
    # Tokens outside the answer have loss 0 here.
    losses = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
    )
    total = losses.view_as(targets).sum(1)
    return total / counts if mean else total


def _fitting(logits: Tensor, labels: Tensor) -> Int[Tensor, "n t"]:
    """Require a score of each token of the vocabulary at each place, and return the labels as int64."""
    labels = _tokens(labels, "labels")
    if logits.ndim != 3 or logits.shape[:2] != labels.shape:
        raise InvalidInputError(
            f"logits have shape {tuple(logits.shape)}, labels {tuple(labels.shape)}; give scores of shape (n, t, v) "
            "and labels of shape (n, t)"
        )
    check_not_probabilities(logits, "the model")
    asked = labels[:, 1:][labels[:, 1:] != IGNORE_INDEX]
    if len(asked) == 0:
        raise InvalidInputError(
            f"labels of shape {tuple(labels.shape)} hold no answer token; set labels other than {IGNORE_INDEX} on "
            "answers, after their first token"
        )
    if int(asked.min()) < 0 or int(asked.max()) >= logits.shape[2]:
        raise InvalidInputError(
            f"labels hold tokens from {int(asked.min())} to {int(asked.max())}, but the scores are of "
            f"{logits.shape[2]} tokens; tokenise with the vocabulary of the model"
        )
    return labels
