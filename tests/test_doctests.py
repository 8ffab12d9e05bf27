"""The examples in the docstrings and guides run, and print what they say."""

import ast
import doctest
import importlib
import re
import textwrap
from pathlib import Path

import pytest

import assay

ROOT = Path(assay.__file__).parent
MODULES = sorted(
    ".".join(("assay", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)
PAGES = [
    path for folder in ("", "docs/guide") for path in sorted((Path(__file__).parents[1] / folder).glob("*.[mr][ds]*"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_quick_start_prints_what_it_says():
    (page,) = [page for page in PAGES if page.name == "quick-start.rst"]
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_is_there(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    blocks += re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", text)
    for block in blocks:
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("assay"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
