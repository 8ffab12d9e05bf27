"""The rows of `assay.attribution`, a file a topic."""

import importlib
import pkgutil

_FILES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

ROWS = tuple(row for file in _FILES for row in file.ROWS)
