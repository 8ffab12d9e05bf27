"""Exceptions, and the import of optional dependencies."""

import importlib
from types import ModuleType


class AssayError(Exception):
    """Base class of all exceptions of `assay`."""


class InvalidInputError(AssayError, ValueError):
    """An argument is invalid; the message says what was given, what is needed and how to mend it."""


class MissingDataError(AssayError, FileNotFoundError):
    """A data set or file is missing; the message says where to get it."""


class MissingExtraError(AssayError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class NumericalError(AssayError, ArithmeticError):
    """The result of a computation is NaN or infinite."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or name the extra that installs it.

    Args:
        module: Dotted name of the module to import.
        extra: Name of the extra in this package's metadata that installs it.

    Returns:
        The module.

    Raises:
        MissingExtraError: The module cannot be imported.

    >>> require_extra("math", "anything").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is not installed (or does not import); install it with: pip install 'assay[{extra}]'"
        ) from error
