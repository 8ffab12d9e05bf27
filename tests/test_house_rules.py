"""Rules that hold for the package as a whole: what it loads, what it never does, how long its files are."""

import ast
import builtins
import importlib
import inspect
import subprocess
import symtable
import sys
from types import FunctionType

import pytest

import assay
from helpers.source_code import FILES, OTHERS, PROJECT, code_lines, parse, short

UNFILLED = "FILL" + "_IN"  # what tools/new_paper.py leaves to be said


def imported_by(path):
    """Return the top-level packages that a file imports anywhere."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def modules_after(statement):
    """Return the names of all modules loaded after a statement in a fresh interpreter."""
    program = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_does_not_import_torch():
    assert "torch" not in modules_after("import assay; dir(assay)")
    assert "torch" in modules_after("import assay; assay.core")


def test_no_torchvision_is_needed():
    blocked = (
        "import sys; sys.modules['torchvision'] = None; import assay; [getattr(assay, name) for name in dir(assay)]"
    )
    assert "torch" in modules_after(blocked)


# What runs code from data, what breaks other packages by being there, and a global source of randomness.
@pytest.mark.parametrize("module", ["pickle", "cloudpickle", "dill", "marshal", "shelve", "torchvision", "random"])
def test_no_file_imports_what_the_house_does_without(module):
    # The look reads the state of every global generator, to see whether a network draws from one.
    reads = {"recording.py"} if module == "random" else set()
    assert [str(path) for path in FILES if module in imported_by(path) and path.name not in reads] == []


def test_torch_files_are_read_as_data_only():
    for path in FILES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = options.get("weights_only") == "True" or options.get("allow_pickle") == "False"
                assert safe, f"{path}:{node.lineno} must pass weights_only=True or allow_pickle=False"


def tables_in(table):
    """Yield a symbol table and those of all functions and classes in it."""
    yield table
    for child in table.get_children():
        yield from tables_in(child)


def undefined(text):
    """Return the global names that code uses and that its module neither binds nor finds among the builtins."""
    module = symtable.symtable(text, "module", "exec")
    bound = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    used = {
        symbol.get_name()
        for table in tables_in(module)
        for symbol in table.get_symbols()
        if symbol.is_global() and symbol.is_referenced() and not symbol.is_parameter()  # of a function named "top"
    }
    return sorted(used - bound - set(dir(builtins)) - {"__file__", "__path__"})


# Ruff's rule for this (F821) is off: it takes the shapes in annotations for names.
@pytest.mark.parametrize("path", [*FILES, *OTHERS], ids=short)
def test_every_name_that_a_module_uses_is_defined(path):
    assert undefined(path.read_text(encoding="utf-8")) == []


def test_an_undefined_name_is_found_in_inner_functions_too():
    text = "def f(x):\n    return lambda: [len(g(x)), h, __name__]\n\nclass g:\n    k = m\n"
    assert undefined(text) == ["h", "m"]


@pytest.mark.parametrize("path", [*FILES, *OTHERS], ids=short)
def test_a_file_has_at_most_200_lines_of_code_and_a_function_50(path):
    text = path.read_text(encoding="utf-8")
    lines = code_lines(text)
    assert len(lines) <= 200
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = len(lines & set(range(node.lineno, (node.end_lineno or 0) + 1)))
            assert length <= 50, f"{node.name} has {length} lines of code; split it"


def test_lines_of_code_are_neither_docstrings_comments_nor_blanks():
    text = '"""One.\n\nMore."""\n\n# why\nx = """a\nb"""  # text that is no docstring\n\n\ndef f():\n    """Say."""\n'
    assert code_lines(text + "    return (\n        1\n    )\n") == {6, 7, 10, 12, 13, 14}


def test_no_skeleton_is_left_to_fill():
    places = [*FILES, *OTHERS, PROJECT / "CHANGELOG.md"]
    left = [str(path.relative_to(PROJECT)) for path in places if UNFILLED in path.read_text(encoding="utf-8")]
    assert left == []


@pytest.mark.parametrize("room", [*assay.ROOMS, "core", "data", "nets"])
def test_every_public_name_has_a_docstring(room):
    package = importlib.import_module(f"assay.{room}")
    public = {name: getattr(package, name) for name in package.__all__}
    assert [
        name for name, value in public.items() if isinstance(value, (type, FunctionType)) and not inspect.getdoc(value)
    ] == []
