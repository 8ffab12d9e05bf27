"""Rules that hold for the package as a whole."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import assay

ROOT = Path(assay.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def imported_by(path):
    """Return the top-level packages that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
    assert [str(path) for path in FILES if module in imported_by(path)] == []


def test_torch_files_are_read_as_data_only():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = options.get("weights_only") == "True" or options.get("allow_pickle") == "False"
                assert safe, f"{path}:{node.lineno} must pass weights_only=True or allow_pickle=False"


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda path: "/".join(path.parts[-3:]))
def test_a_file_holds_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("room", [*assay.ROOMS, "core", "data", "nets"])
def test_every_public_name_has_a_docstring(room):
    package = importlib.import_module(f"assay.{room}")
    public = {name: getattr(package, name) for name in package.__all__}
    assert [
        name for name, value in public.items() if isinstance(value, (type, FunctionType)) and not inspect.getdoc(value)
    ] == []
