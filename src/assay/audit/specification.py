"""Specification of a subject: a built-in name, a file, a factory or a folder; checked without importing torch."""

import difflib
from pathlib import Path

from assay.audit.builtin import BUILT_IN


def specification_problem(spec: str) -> str | None:
    """Return why no subject can be meant, with the mend; None where one is.

    >>> specification_problem("digits")
    >>> specification_problem("gone.py")
    'there is no file gone.py; give a Python file with a function subject()'
    """
    if spec in BUILT_IN:
        return None
    if spec.endswith(".py"):
        return (
            None if Path(spec).is_file() else f"there is no file {spec}; give a Python file with a function subject()"
        )
    if ":" in spec or (Path(spec) / "config.json").is_file():
        return None
    if Path(spec).suffix in (".safetensors", ".pt", ".pth", ".pkl"):
        return f"{spec} holds weights only; give the model too, as: assay audit package.module:factory --weights {spec}"
    if Path(spec).is_dir():
        return (
            f"the folder {spec} holds no config.json, as that of a Hugging Face classifier does; give the folder that "
            "save_pretrained wrote, or images with --train"
        )
    close = difflib.get_close_matches(spec, BUILT_IN, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"built in are {', '.join(BUILT_IN)}"
    return f"there is no subject {spec!r}; give a Python file, package.module:factory or a built-in name ({hint})"
