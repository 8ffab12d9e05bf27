"""Purity of a network, by one look at its answers: a row for each sample, of its own, the same at each call."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.core.parameters import copy_network, preserved, unwrapped
from assay.core.problems import Problem, mixing, not_accepted, reason, rows_or_problem, unsteady
from assay.core.recording import Recorder, random_state_kept, random_states

# Further passes of a network that draws random numbers, until one of them shows: noise may be rare.
_MORE_PASSES = 16

# Rows of two batches of one shape pass through the same kernels, whatever the other rows hold: they differ only where a
# device sums in changing order.
SAME_SHAPE = {torch.float64: 1e-14, torch.float32: 4e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}
# A row alone passes through other kernels: on some devices, and under autocast, in half precision.
_OTHER_SHAPE = dict.fromkeys(SAME_SHAPE, 0.1) | {torch.bfloat16: 0.4}


@dataclass(frozen=True)
class Look:
    """What one look finds.

    Attributes:
        outputs: Outputs of at most three samples; empty where the network does not give a row for each.
        problem: The first problem that keeps the network from being measured.
        writes: Whether the network writes into its input.
    """

    outputs: Tensor
    problem: Problem | None
    writes: bool

    @property
    def problems(self) -> list[Problem]:
        """All problems, also one that copies of the input mend."""
        writes = Problem("writes-input", "model", "writes into its input", "start forward with x = x.clone()")
        return [*([writes] if self.writes else []), *([self.problem] if self.problem else [])]


def look_at(model: nn.Module, x: Tensor) -> Look:
    """Look at the answers to at most three samples: in a batch, in a batch with another sample, and alone.

    The generators and the model are left as they were; `x` is not written into.

    Cost: three forward passes of at most three rows; up to sixteen more where the network draws random numbers.
    """
    # `torch.compile` would compile the network again for each number of rows; `nn.DataParallel` moves the samples.
    network = model if isinstance(model, nn.DataParallel) else unwrapped(model)
    with preserved(network), torch.no_grad(), random_state_kept(x.device):
        looks = _Looks(network, x[:3].detach().clone())
        handle = unwrapped(network).register_forward_pre_hook(lambda module, inputs: looks.receive(inputs[0]))
        try:
            return looks.result()
        finally:
            handle.remove()


class _Looks:
    """The forward passes of one look."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        """Arrange up to three samples as three rows: the middle one is always a sample, with others beside it."""
        self.model = model
        self.writes = False
        self.middle = x[min(1, len(x) - 1)]
        self.first = x[0] if len(x) > 1 else _other_than(self.middle, x)
        self.last = x[2] if len(x) > 2 else self.first
        self.samples = slice(1, 2) if len(x) == 1 else slice(0, len(x))

    def result(self) -> Look:
        """Pass after pass, up to the first that finds a problem."""
        # What these passes leave in the network is gone before a sample is tried alone.
        with preserved(self.model), torch.no_grad():
            states = random_states()
            outputs = self._together()
            if isinstance(outputs, Problem):
                return Look(torch.empty(0), outputs, self.writes)
            found = outputs[self.samples].clone()
            if not torch.isfinite(found).all():
                what = "gives NaN or infinite outputs on the first samples"
                return Look(found, Problem("output", "model", what, "check its buffers and the inputs"), self.writes)
            problem = self._beside_another(outputs)
            if problem is None and random_states() != states:
                problem = self._rare_noise(outputs)
        return Look(found, problem or self._alone(outputs), self.writes)

    def _together(self) -> Tensor | Problem:
        try:
            answer = self._answer(self.first, self.middle, self.last)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a network may raise anything
            return self._refused(error)
        return rows_or_problem(self.model, answer, 3)

    def receive(self, batch: Tensor) -> None:
        """Keep hold of the copy of a batch that the network receives, and may write into."""
        self.received = batch

    def _answer(self, *rows: Tensor) -> object:
        batch = torch.stack(rows)
        self.received = batch
        answer = self.model(batch)
        self.writes |= not torch.equal(self.received, batch)
        # The next pass may write into this answer, where the network keeps it.
        return answer.detach().clone() if isinstance(answer, Tensor) else answer

    def _refused(self, error: Exception) -> Problem:
        try:
            self._answer(self.middle)
        except Exception:
            return not_accepted(self.model, self.middle, error)
        what = f"accepts one sample, but not three at once ({reason(error)})"
        mend = "take the size of the batch from the input, as in x.flatten(1) and x.new_zeros(len(x), 8)"
        return Problem("input", "model", what, mend)

    def _beside_another(self, outputs: Tensor) -> Problem | None:
        """Exchange the first sample: the rows of the others stay as they are."""
        other = _other_than(self.first, torch.stack([self.last, self.middle]))
        try:
            answer = self._answer(other, self.middle, self.last)
        except Exception as error:
            return not_accepted(self.model, other, error)
        if agree(answer, outputs, slice(1, 3)) or self._vanishes_in_float64(answer, outputs, other):
            return None
        agrees, recorder = self._again(outputs)
        if recorder.draws or not agrees:
            return unsteady(recorder.draws)
        return mixing(self.model, recorder.batch_statistics)

    def _vanishes_in_float64(self, answer: object, outputs: Tensor, other: Tensor) -> bool:
        """Tell whether a small difference is rounding, as where a network gathers rows and so changes their number."""
        if outputs.dtype == torch.float64 or not agree(answer, outputs, slice(1, 3), _OTHER_SHAPE):
            return False
        try:
            network = copy_network(self.model).double()
            rows = [
                row.double() if row.is_floating_point() else row for row in (self.first, other, self.middle, self.last)
            ]
            first, second = network(torch.stack(rows[:1] + rows[2:])), network(torch.stack(rows[1:]))
        except Exception:  # a network may hold to its type
            return False
        # A difference of rounding falls with the precision, by 1e6 at least.
        return agree(second, first, slice(1, 3), {torch.float64: 1e-3 * SAME_SHAPE[outputs.dtype]})

    def _again(self, outputs: Tensor) -> tuple[bool, Recorder]:
        """Repeat the first pass, and tell whether its answer is the same."""
        with Recorder(self.model) as recorder:
            answer = self._answer(self.first, self.middle, self.last)
        return agree(answer, outputs), recorder

    def _rare_noise(self, outputs: Tensor) -> Problem | None:
        for _ in range(_MORE_PASSES):
            agrees, recorder = self._again(outputs)
            if not agrees:
                return unsteady(recorder.draws)
        return None

    def _alone(self, outputs: Tensor) -> Problem | None:
        try:
            answer = self._answer(self.middle)
        except Exception as error:
            what = f"accepts three samples at once, but not one alone ({reason(error)})"
            mend = "keep the batch axis of a single sample, as in x.squeeze(1) in place of x.squeeze()"
            return Problem("output", "model", what, mend)
        if isinstance(answer, Tensor) and answer.shape == outputs[:1].shape:
            if agree(answer.expand_as(outputs), outputs, slice(1, 2), _OTHER_SHAPE):
                return None
            with Recorder(self.model) as recorder:
                self._answer(self.middle)
            return unsteady(recorder.draws) if recorder.draws else mixing(self.model, recorder.batch_statistics)
        got = tuple(answer.shape) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        what = f"returns {got} for one sample and {tuple(outputs.shape)} for three"
        return Problem("output", "model", what, "return one row for each sample, whatever the size of the batch")


def mixes_in_large_batches(model: nn.Module, x: Tensor, outputs: Tensor) -> bool:
    """Tell whether the last three rows of a batch come out otherwise than in a batch of their own.

    `look_at` sees batches of three only; a mixture of experts with a limited capacity drops rows of larger ones.

    Args:
        model: Network that `look_at` found without problems.
        x: The batch.
        outputs: Its outputs.

    Cost: one forward pass of three rows.
    """
    network = model if isinstance(model, nn.DataParallel) else unwrapped(model)
    with preserved(network), torch.no_grad(), random_state_kept(x.device):
        answer = network(x[-3:])
    return not agree(answer, outputs[-3:], tolerance=_OTHER_SHAPE)


def _other_than(sample: Tensor, candidates: Tensor) -> Tensor:
    """Return the first candidate that differs from the sample, or the sample scaled: still in range, and in order."""
    for candidate in candidates:
        if not torch.equal(candidate, sample):
            return candidate
    return sample * 0.875 if sample.is_floating_point() else sample


def agree(
    answer: object, outputs: Tensor, rows: slice = slice(None), tolerance: dict[torch.dtype, float] = SAME_SHAPE
) -> bool:
    """Compare rows by their largest difference, relative to the largest output among them."""
    if not isinstance(answer, Tensor) or answer.shape != outputs.shape:
        return False
    expected = outputs[rows].double()
    difference = (answer[rows].double() - expected).nan_to_num(0, 0, 0).abs().max()
    return bool(difference <= tolerance.get(outputs.dtype, 0.4) * expected.nan_to_num(0, 0, 0).abs().max())
