"""Loading a subject: by built-in name, from a Python file, or from a model factory with weights and data."""

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from assay.audit.builtin import BUILT_IN, load_built_in
from assay.audit.data_files import read_parts
from assay.audit.subject import Subject, dense_input_shape, trial_inputs
from assay.audit.subject_checks import scores_of
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
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """Load the subject of an audit.

    All options but the last two go with a factory; a built-in subject and a Python file need none of them.

    Args:
        spec: A built-in subject's name; a Python file with a function ``subject()`` that returns a `Subject`, which is
            executed; or ``package.module:factory``, called without arguments for the untrained model.
        weights: ``.safetensors``, or a PyTorch file that loads without running code.
        weights_key: Which set of weights to read from a checkpoint that holds several, such as ``state_dict_ema``.
        train: Training data: ``.npz`` or a folder of images.
        test: Held-out data; by default the test part of ``train``, where it has one.
        loss: ``binary_cross_entropy``, ``cross_entropy`` or ``squared_error``; by default the first for a network of
            one output, else the second.
        input_range: Lowest and highest value of an input.
        input_shape: Shape of one input; needed only without data, where the first layer does not determine it.
        resize: Height and width in pixels that images of a folder are brought to where their sizes differ from it.
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
    if spec in BUILT_IN or spec.endswith(".py"):
        options = {
            "weights": weights,
            "weights_key": weights_key,
            "train": train,
            "test": test,
            "loss": loss,
            "input_shape": input_shape,
            "resize": resize,
        }
        given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
        if given:
            raise InvalidInputError(f"{spec} brings its own model and data; leave out {', '.join(given)}")
        return load_built_in(spec, seed, progress=progress) if spec in BUILT_IN else _run_file(Path(spec))
    if ":" not in spec:
        raise InvalidInputError(_unknown(spec))
    if weights is None:
        raise InvalidInputError(f"{spec} is an untrained model; add its trained weights with --weights FILE")
    with _importable(Path.cwd()):
        model = call_factory(spec)
        state = match_state(model, load_state(Path(weights), weights_key), name=spec)
        model = load_weights(model, state, name=spec)
    dtype = next(model.parameters()).dtype
    parts = read_parts(train, test, input_range, dtype, resize)
    return Subject(
        model=model,
        loss=_loss(loss, model, parts.train or parts.test, input_shape),
        train=parts.train,
        test=parts.test,
        input_range=input_range,
        class_names=parts.class_names,
        input_shape=input_shape,
        name=Path(weights).stem,
        notes=(*state.notes, *parts.notes),
    )


def _unknown(spec: str) -> str:
    """Return the message for an unknown subject: the forms that exist, and the nearest name."""
    if Path(spec).suffix in (".safetensors", ".pt", ".pth", ".pkl"):
        return f"{spec} holds weights only; give the model too, as: assay audit package.module:factory --weights {spec}"
    close = difflib.get_close_matches(spec, BUILT_IN, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"built in are {', '.join(BUILT_IN)}"
    return f"there is no subject {spec!r}; give a Python file, package.module:factory or a built-in name ({hint})"


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make modules in ``folder`` importable, as ``python file.py`` does."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


def _run_file(path: Path) -> Subject:
    """Run the user's own Python file and return what its ``subject()`` returns."""
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give a Python file with a function subject()")
    module = ModuleType(f"subject_from_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickling of the user's classes look it up there
    with _importable(path.parent):
        try:
            exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the user asked to run it
            subject = module.subject()
        except AssayError:
            raise
        except Exception as error:  # the user's own code: any failure is an answer to show them
            reason = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
            raise InvalidInputError(
                f"{path} failed ({reason}); mend it so that its function subject() returns an assay.audit.Subject"
            ) from error
    if not isinstance(subject, Subject):
        raise InvalidInputError(f"subject() in {path} returned {type(subject).__name__}; return an assay.audit.Subject")
    return subject


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
