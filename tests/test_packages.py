"""Rules of packages: a room's folder can be taken in at a glance, and a topic has one door."""

import ast
import importlib
from functools import cache

import pytest

import assay
from assay import studies
from helpers.source_code import FILES, PACKAGE, module_name, parse, short

DOORS = {module_name(path) for path in FILES if path.name == "__init__.py"} - {"assay"}
SUBPACKAGES = (*(f"assay.{room}" for room in assay.ROOMS), "assay.nets")
TOPICS = sorted(door for door in DOORS for package in SUBPACKAGES if door.startswith(f"{package}."))
PUBLIC = sorted({*SUBPACKAGES, *TOPICS, "assay.core", "assay.data", "assay.lab", "assay.audit"})


@cache
def imports(path):
    """Return each module that a file imports, with the names that it takes of it."""
    found = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name"
            found.append((node.module, [alias.name for alias in node.names]))
    return found


def modules_of(package):
    """Return the names of a package's modules and folders."""
    folder = PACKAGE.joinpath(*package.split(".")[1:])
    return {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}


def lies_in(name, package):
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_imported_from_outside_by_its_package_only(topic):
    outside = [path for path in FILES if not lies_in(module_name(path), topic)]
    taken = [(short(path), module, names) for path in outside for module, names in imports(path)]
    assert [entry for entry in taken if entry[1].startswith(f"{topic}.")] == []
    assert [entry for entry in taken if entry[1] == topic and modules_of(topic) & set(entry[2])] == []


@pytest.mark.parametrize("package", [*SUBPACKAGES, *TOPICS])
def test_inside_a_package_modules_import_modules(package):
    inside = [path for path in FILES if lies_in(module_name(path), package) and module_name(path) != package]
    assert [short(path) for path in inside for module, _ in imports(path) if module == package] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_no_module_bears_the_name_of_an_export(package):
    assert modules_of(package) & set(importlib.import_module(package).__all__) == set()


@pytest.mark.parametrize("room", assay.ROOMS)
def test_two_topics_of_a_room_export_no_name_twice(room):
    """A name that stands in two topics stands for one thing, whose home is one of them."""
    homes = {}
    for topic in [name for name in TOPICS if name.startswith(f"assay.{room}.")]:
        package = importlib.import_module(topic)
        for name in package.__all__:
            homes.setdefault(name, []).append(getattr(package, name))
    assert [name for name, values in homes.items() if len(values) > 1] == []


@pytest.mark.parametrize("room", assay.ROOMS)
def test_a_room_has_at_most_a_dozen_entries(room):
    assert len(modules_of(f"assay.{room}") - {"__init__"}) <= 12


def test_files_have_public_names():
    assert [short(path) for path in FILES if path.stem.startswith("_") and not path.stem.endswith("__")] == []


def test_a_study_is_a_package_with_its_claims_in_study_py():
    packages = {path.parent for path in (PACKAGE / "studies").glob("*/*/__init__.py")}
    named = {folder.name for folder in packages if (folder / "study.py").exists()}
    assert {folder.name for folder in packages} - named <= {"shared"}
    assert named == {slug.replace("-", "_") for slug in studies.slugs()}
