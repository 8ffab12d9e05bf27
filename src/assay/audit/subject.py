"""Subject of an audit: a model, its loss and, where the auditor has them, its data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.audit import foreign
from assay.audit.input_shape import dense_input_shape, dense_shape, trial_inputs
from assay.audit.samples import Pairs, as_pairs, beside
from assay.audit.second import second_network
from assay.audit.subject_checks import SIGMOIDS, check_data, check_range, complaints, scores_of
from assay.audit.subject_groups import check_groups, take_groups
from assay.core import (
    InvalidInputError,
    LossFunction,
    check_model,
    copy_network,
    find_device,
    inspect_model,
    unwrapped,
)

# Of what core.inspect_model reports, these make every probe's numbers meaningless. The rest (in-place operations,
# tied parameters, ...) matters to some probes only, which say so themselves.
_FATAL = ("dropout", "batch-norm")
_PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")

Read = Callable[[object, Literal["train", "test"]], tuple[Pairs, tuple[str, ...]]]
Need = Literal["weights", "gradients", "input_gradients", "training_data", "test_data", "initial_weights"]


def _unstated(outputs: Tensor, targets: Tensor) -> Tensor:
    """Stand for the loss of a subject that names none."""
    raise InvalidInputError("the subject names no loss")


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network and what is known about it.

    Args:
        model: The network, in eval mode, or a fitted `MLPClassifier` or `MLPRegressor` of scikit-learn, which becomes
            an equal network, as a module of TorchScript does. `torch.compile` and `nn.DataParallel` are taken off. One
            that returns probabilities is followed by their logarithm where the loss is a cross-entropy. The notes say
            so.
        loss: The training loss, as ``loss(outputs, targets)``; see `assay.core.losses`. An estimator of scikit-learn
            brings its own.
        train: Training inputs (n samples first) and targets, or None when the auditor has only the weights. Tensors,
            NumPy arrays, a `DataLoader` (read once) or a data set of `assay` or PyTorch; kept as a pair of tensors.
        test: Held-out inputs and targets, in the same forms.
        input_range: Lowest and highest value of an input, before any mean is subtracted.
        mean: Mean that was subtracted from every input before training; None when none was. Training and test inputs
            are given with the mean subtracted.
        class_names: One name a class; may be left empty.
        initial_state: The state dict before training, where it was kept.
        groups: Group of each training sample, a whole number, for analyses by group. A data set of `assay` brings its
            own where it has them.
        test_groups: Group of each held-out sample, in the same numbers.
        second_model: Another network trained on the same data, such as one from another seed, for the question of how
            alike the two are; in the same forms as `model`.
        input_shape: Shape of one input. Needed only when there is no data and it cannot be read off the first layer.
        name: Name shown in the report.
        notes: How files and data were understood where that can be done otherwise; the report shows them.
        outputs: Which of several outputs holds the scores: its key in a dict, its name in a structure, its place in a
            tuple, or a function of what the network returns. By default the field ``logits``, or the only
            floating-point tensor with a row for each sample. The subject's model then returns that tensor, and
            ``outputs`` is None.

    Raises:
        InvalidInputError: Something does not fit. The message lists all problems, each with its mend.
    """

    model: nn.Module | Any  # given as a module or an estimator, and kept as a module
    loss: LossFunction = _unstated
    train: Pairs | Any = None  # given in any form of `as_pairs`, and kept as a pair
    test: Pairs | Any = None
    input_range: tuple[float, float] = (0.0, 1.0)
    mean: Tensor | None = None
    class_names: tuple[str, ...] = ()
    initial_state: dict[str, Tensor] | None = None
    groups: Tensor | Any = None  # given as whole numbers in any form, and kept as a tensor
    test_groups: Tensor | Any = None
    second_model: nn.Module | Any = None
    input_shape: tuple[int, ...] | None = None
    name: str = "subject"
    notes: tuple[str, ...] = ()
    outputs: foreign.Selector | None = None

    @torch.inference_mode(False)  # or the networks made here could not be differentiated
    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            name = type(self.model).__name__ if self.name == Subject.name else self.name
            raise InvalidInputError(f"subject {name!r} cannot be audited: {' | '.join(problems)}")
        if self.train is None and self.test is None and self.input_shape is None and self.sample_shape is not None:
            self._note(f"the shape of an input is inferred from the first layer: {self.sample_shape}")

    def _problems(self) -> Iterator[str]:
        """Bring the parts to one form, and yield what is wrong with them and how to mend it."""
        read = as_pairs
        try:
            if foreign.is_estimator(self.model):
                read = self._take_estimator(foreign.Estimator(self.model))
            elif isinstance(self.model, torch.jit.ScriptModule):
                self._set("model", foreign.ScriptedNetwork(self.model))
                self._note("the module of TorchScript is audited as an equal network, without its layers")
        except InvalidInputError as error:
            yield str(error)
            return
        if self.loss is _unstated:
            yield "the loss is missing; give the training loss, such as loss=assay.core.cross_entropy"
            return
        broken = [*complaints(check_model, self.model), *complaints(check_range, self.input_range)]
        yield from broken
        if not isinstance(self.model, nn.Module):
            return
        self._unwrap()
        yield from (str(problem) for problem in inspect_model(self.model) if problem.kind in _FATAL)
        yield from self._take_data(read)
        state = self.initial_state
        if state is not None and state.keys() != self.model.state_dict().keys():
            yield "initial_state has other names than the model; pass the state_dict of the same model before training"
        if not broken:
            self._widen()
            chosen = self.outputs
            if refused := [*complaints(self._take_outputs)]:
                yield from refused
                return
            yield from self._check_data()
            if self.second_model is not None:
                yield from (f"second_model: {problem}" for problem in complaints(self._take_second, chosen))
        yield from check_groups(self, self._set)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # while it is made, a frozen subject takes its final form

    def _note(self, *notes: str) -> None:
        self._set("notes", tuple(dict.fromkeys((*self.notes, *notes))))

    def _take_estimator(self, estimator: foreign.Estimator) -> Read:
        """Put an estimator's network, loss and classes in place, and return what reads data for it."""
        self._note(f"{type(self.model).__name__} of scikit-learn is audited as an equal network of PyTorch")
        self._set("model", estimator.network)
        self._set("class_names", self.class_names or estimator.class_names)
        if self.loss is _unstated:
            self._set("loss", estimator.loss)
        return estimator.read

    def _unwrap(self) -> None:
        """Take off `torch.compile` and the wrappers for several devices, and their prefix in the initial state."""
        network = unwrapped(self.model)
        if network is self.model:
            return
        names = dict(zip(self.model.state_dict(), network.state_dict(), strict=True))
        if self.initial_state is not None:
            self._set("initial_state", {names.get(name, name): value for name, value in self.initial_state.items()})
        wrapper = type(self.model).__name__
        self._note(f"the network inside {'torch.compile' if wrapper == 'OptimizedModule' else wrapper} is audited")
        self._set("model", network)

    def _samples(self) -> Tensor | None:
        """Return a few samples, random ones where there are no data and their shape is known or suggested."""
        data = self.train or self.test
        if data is not None:
            return data[0][:3]
        return trial_inputs(self.model, self.input_shape or dense_shape(self.model))

    def _widen(self) -> None:
        """Compute with weights and data in half precision as with float32."""
        wide = foreign.widened(self.model, self._samples())
        if wide is None:
            return
        types = {value.dtype for value in self.model.parameters() if value.is_floating_point()}
        dtype = next(value.dtype for value in wide.parameters() if value.is_floating_point())
        for part in _PARTS:
            pairs = getattr(self, part)
            if pairs is not None and pairs[0].is_floating_point():
                self._set(part, (pairs[0].to(dtype), pairs[1]))
        self._note(f"weights in {', '.join(sorted(map(str, types)))} are computed with as {dtype}")
        self._set("model", wide)
        if self.mean is not None:
            self._set("mean", self.mean.to(dtype))

    def _take_outputs(self) -> None:
        """Let the model return the tensor of its scores alone, where it returns several things."""
        model, notes = foreign.select_outputs(self.model, self._samples(), self.outputs)
        if model is not self.model:
            self._prefix_state("model.")
        self._set("model", model)
        self._set("outputs", None)
        self._note(*notes)

    def _prefix_state(self, prefix: str) -> None:
        """Follow a module that was put around the model in the names of the initial state."""
        if self.initial_state is not None:
            self._set("initial_state", {prefix + name: value for name, value in self.initial_state.items()})

    def _take_data(self, read: Read) -> Iterator[str]:
        """Bring the data, in whatever form they are given, to two tensors a part."""
        yield from take_groups(self, self._set)
        if self.mean is not None and not isinstance(self.mean, Tensor):
            self._set("mean", torch.as_tensor(self.mean, dtype=next(self.model.parameters()).dtype))
        self._set("class_names", tuple(self.class_names))
        for part in _PARTS:
            given = getattr(self, part)
            if given is not None:
                try:
                    pairs, notes = read(given, part)
                except InvalidInputError as error:
                    pairs, notes = None, ()
                    yield f"{part} data: {error}"
                self._set(part, beside(self.model, pairs))
                self._note(*(f"{part} data: {note}" for note in notes))

    def _check_data(self) -> Iterator[str]:
        """Check the data against the model, the loss and the range, and put labels into one form."""
        probabilities = sigmoids = False
        if self.train is None and self.test is None and self.input_shape is not None:
            yield from complaints(scores_of, self.model, trial_inputs(self.model, self.input_shape))
        for part in _PARTS:
            pairs = getattr(self, part)
            if pairs is not None:
                options = {"input_range": self.input_range, "mean": self.mean, "class_names": self.class_names}
                found = check_data(self.model, self.loss, pairs, **options)
                self._set(part, found.pairs)
                probabilities |= found.probabilities
                sigmoids |= found.sigmoids
                yield from (f"{part} data: {problem}" for problem in found.problems)
        if sigmoids:
            self._note(SIGMOIDS)
        if probabilities:
            self._note("the model returns probabilities; their logarithms are taken as its scores")
            self._set("model", foreign.with_logarithm(self.model))
            self._prefix_state("0.")

    def _take_second(self, outputs: foreign.Selector | None) -> None:
        """Bring the second network to the form of the first."""
        self._set("second_model", second_network(self, self._samples(), outputs))

    def has(self, need: Need) -> bool:
        """Return whether the subject has what a probe needs; integers, as of tokens, have no gradient."""
        if need == "input_gradients":
            return all(pairs is None or pairs[0].is_floating_point() for pairs in (self.train, self.test))
        parts = {"training_data": self.train, "test_data": self.test, "initial_weights": self.initial_state}
        return need not in parts or parts[need] is not None

    @cached_property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Shape of one input, from the data, ``input_shape`` or a dense first layer; None when it is unknown."""
        data = self.train or self.test
        if data is not None:
            return tuple(data[0].shape[1:])
        return self.input_shape or dense_input_shape(self.model)

    def raw(self, x: Tensor) -> Tensor:
        """Return inputs as they were before the mean was subtracted, within the input range."""
        return (x if self.mean is None else x + self.mean).clamp(*self.input_range)

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its number where the classes bear no names."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else f"class {label}"

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def to(self, device: torch.device | str) -> "Subject":
        """Return the subject with a copy of its model, and its data, on ``device``.

        Raises:
            InvalidInputError: There is no such device here, or the model cannot be copied.
        """
        device = find_device(str(device))
        mean = None if self.mean is None else self.mean.to(device)
        model = copy_network(self.model).to(device)
        second = None if self.second_model is None else copy_network(self.second_model).to(device)
        data = {part: beside(model, getattr(self, part)) for part in _PARTS}
        return replace(self, model=model, second_model=second, mean=mean, **data)
