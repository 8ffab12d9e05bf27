"""Loading a subject: by built-in name, from a Python file, a factory with weights, or a folder of Hugging Face's."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from assay.audit.builtin import BUILT_IN, load_built_in
from assay.audit.data_files import in_order_of, read_parts
from assay.audit.foreign import is_pretrained, load_pretrained, select_outputs
from assay.audit.input_shape import dense_input_shape, dense_shape, trial_inputs
from assay.audit.specification import specification_problem
from assay.audit.subject import Subject
from assay.audit.subject_checks import check_range, scores_of
from assay.audit.weights import call_factory, load_state, load_weights, match_state
from assay.core import (
    AssayError,
    InvalidInputError,
    LossFunction,
    MissingDataError,
    binary_cross_entropy,
    cross_entropy,
    squared_error,
)

_UNNAMED = Subject.name  # the default

LOSSES: dict[str, LossFunction] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}


def load_subject(
    spec: str,
    *,
    weights: Path | str | None = None,
    weights_key: str | None = None,
    train: Path | str | None = None,
    test: Path | str | None = None,
    loss: str | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    input_shape: tuple[int, ...] | None = None,
    resize: tuple[int, int] | None = None,
    outputs: str | int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """Load the subject of an audit.

    All options but ``seed`` and ``progress`` go with a factory; a built-in subject and a Python file need none of
    them, a folder the data alone.

    Args:
        spec: A built-in subject's name; a Python file with a function ``subject()`` that returns a `Subject`, which is
            executed; ``package.module:factory``, called without arguments for the untrained model; or the folder of a
            classifier that Hugging Face's ``save_pretrained`` wrote.
        weights: ``.safetensors``, or a PyTorch file that loads without running code.
        weights_key: Which set of weights to read from a checkpoint that holds several, such as ``state_dict_ema``.
        train: Training data: ``.npz`` or a folder of images.
        test: Held-out data; by default the test part of ``train``, where it has one.
        loss: ``binary_cross_entropy``, ``cross_entropy`` or ``squared_error``; by default the first for a network of
            one output, else the second.
        input_range: Lowest and highest value of an input.
        input_shape: Shape of one input; needed only without data, where the first layer does not determine it.
        resize: Height and width in pixels that images of a folder are brought to where their sizes differ from it.
        outputs: Which of a factory's several outputs holds the scores: a key, a field or a place.
        seed: Seed of a built-in subject's training.
        progress: Show a built-in subject's training on stderr.

    Returns:
        The subject, checked.

    Raises:
        InvalidInputError: Something does not fit; the message says how to mend it.
        MissingDataError: A file is not there.

    >>> load_subject("digits").name
    'digits'
    """
    if (problem := specification_problem(spec)) is not None:
        raise (MissingDataError if spec.endswith(".py") else InvalidInputError)(problem)
    check_range(input_range)
    if spec in BUILT_IN or spec.endswith(".py"):
        options = {
            "weights": weights,
            "weights_key": weights_key,
            "train": train,
            "test": test,
            "loss": loss,
            "input_shape": input_shape,
            "resize": resize,
            "outputs": outputs,
        }
        given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
        given += ["--input-range"] if tuple(input_range) != (0.0, 1.0) else []
        if given:
            raise InvalidInputError(f"{spec} brings its own model and data; leave out {', '.join(given)}")
        return load_built_in(spec, seed, progress=progress) if spec in BUILT_IN else _run_file(Path(spec))
    if is_pretrained(Path(spec)):
        if weights is not None or weights_key is not None:
            raise InvalidInputError(f"{spec} brings its own weights; leave out --weights and --weights-key")
        found = _folder_model(Path(spec), input_range)
    elif weights is None:
        raise InvalidInputError(f"{spec} is an untrained model; add its trained weights with --weights FILE")
    else:
        found = _factory_model(spec, Path(weights), weights_key)
    options = {"loss": loss, "outputs": outputs, "input_range": input_range, "input_shape": input_shape}
    return _with_data(found, train, test, resize=resize, **options)


@dataclass(frozen=True)
class _Model:
    """A trained model, and what is known of it without data."""

    model: nn.Module
    name: str
    reads_tokens: bool
    notes: tuple[str, ...]
    loss: LossFunction | None = None
    class_names: tuple[str, ...] = ()


def _factory_model(spec: str, weights: Path, weights_key: str | None) -> _Model:
    with _importable(Path.cwd()):
        model = call_factory(spec)
        state = match_state(model, load_state(weights, weights_key), name=spec)
        model = load_weights(model, state, name=spec)
    tokens = any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in model.modules())
    return _Model(model, weights.stem, tokens, state.notes)


def _folder_model(folder: Path, input_range: tuple[float, float]) -> _Model:
    found = load_pretrained(folder, input_range=input_range)
    tokens = found.model.reads == "text"
    return _Model(found.model, folder.resolve().name, tokens, found.notes, found.loss, found.class_names)


def _with_data(
    found: _Model,
    train: Path | str | None,
    test: Path | str | None,
    *,
    loss: str | None,
    outputs: str | int | None,
    input_range: tuple[float, float],
    input_shape: tuple[int, ...] | None,
    resize: tuple[int, int] | None,
) -> Subject:
    dtype = next(found.model.parameters()).dtype
    parts = read_parts(train, test, input_range, dtype, tokens=found.reads_tokens, resize=resize)
    parts = in_order_of(found.class_names, parts)
    data = parts.train or parts.test
    x = trial_inputs(found.model, input_shape or dense_shape(found.model)) if data is None else data[0][:3]
    selector = int(outputs) if isinstance(outputs, str) and outputs.isdecimal() else outputs
    model, selected = select_outputs(found.model, x, selector)
    known = found.loss if loss is None else None
    return Subject(
        model=model,
        loss=known or _loss(loss, model, data, input_shape),
        train=parts.train,
        test=parts.test,
        input_range=input_range,
        class_names=parts.class_names or found.class_names,
        groups=parts.groups,
        test_groups=parts.test_groups,
        input_shape=input_shape,
        name=found.name,
        notes=(*found.notes, *parts.notes, *selected),
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make modules in ``folder`` importable, as ``python file.py`` does."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


def _run_file(path: Path) -> Subject:
    """Run the user's own Python file and return what its ``subject()`` returns, called after the file by default."""
    module = ModuleType(f"subject_from_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickling of the user's classes look it up there
    with _importable(path.parent):
        try:
            exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the user asked to run it
            subject = module.subject()
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from error
        except AssayError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code: any failure is an answer to show them
            raise InvalidInputError(
                f"{path} failed{_place(error, path)} ({type(error).__name__}: {_first_line(error)}); "
                "mend it so that its function subject() returns an assay.audit.Subject"
            ) from error
    if not isinstance(subject, Subject):
        raise InvalidInputError(f"subject() in {path} returned {type(subject).__name__}; return an assay.audit.Subject")
    return replace(subject, name=path.stem) if subject.name == _UNNAMED else subject


def _place(error: BaseException, path: Path) -> str:
    """Return the line of a file where an error arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f" in line {lines[-1]}" if lines else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


def _loss(
    name: str | None, model: nn.Module, pairs: tuple[Tensor, Tensor] | None, input_shape: tuple[int, ...] | None
) -> LossFunction:
    """Return the loss of that name; without one, the loss that the number of outputs calls for."""
    if name is not None and name not in LOSSES:
        raise InvalidInputError(f"there is no loss {name!r}; choose from {', '.join(LOSSES)}")
    if name is not None:
        return LOSSES[name]
    x = pairs[0] if pairs is not None else trial_inputs(model, input_shape or dense_input_shape(model))
    if x is None:
        raise InvalidInputError(
            "the number of outputs decides the loss, and nothing tells the shape of an input; name the loss with "
            "--loss, or give the shape with --input-shape"
        )
    return binary_cross_entropy if scores_of(model, x).shape[1] == 1 else cross_entropy
