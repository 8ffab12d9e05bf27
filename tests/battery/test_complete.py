"""Every public callable has a row in the battery, or an exemption with its reason."""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, is_dataclass

import pytest
import torch
from torch import nn

import assay
from helpers.rows import MISSING, ROWS
from helpers.rows.base import covered
from helpers.rows.exempt import EXEMPT
from helpers.rows.standalone import Formula

TAKEN = ("Tensor", "Module", "Generator")


def packages(name):
    """Yield a package and those in it."""
    package = importlib.import_module(name)
    yield package
    for inner in pkgutil.iter_modules(package.__path__):
        if inner.ispkg:
            yield from packages(f"{name}.{inner.name}")


def public_names(*rooms):
    """Return what some packages and their topics export, each object once, by the shortest name."""
    found = {}
    for room in rooms:
        for package in packages(f"assay.{room}"):
            for name in package.__all__:
                found.setdefault(id(getattr(package, name)), (f"{package.__name__}.{name}", getattr(package, name)))
    return {name.removeprefix("assay."): value for name, value in found.values()}


def takes_data(function):
    """Tell whether a function takes a tensor, a network or a generator."""
    annotations = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    return any(kind in str(annotation) for annotation in annotations for kind in TAKEN)


def takes_a_network(value):
    """Tell whether a call takes a network."""
    if not needs_row(value):
        return False
    return any("Module" in str(parameter.annotation) for parameter in inspect.signature(value).parameters.values())


def holds_figures(value):
    """Tell whether a class is a frozen dataclass that is not called and whose methods take no data: a result."""
    if not (is_dataclass(value) and value.__dataclass_params__.frozen) or "__call__" in dir_of(value):
        return False
    methods = [getattr(value, name) for name in dir_of(value) if not name.startswith("_")]
    return not any(takes_data(method) for method in methods if inspect.isfunction(method) or inspect.ismethod(method))


def dir_of(value):
    """Return the names that a class and its bases define, but for object."""
    return {name for base in value.__mro__[:-1] for name in vars(base)}


def needs_row(value):
    """Tell whether the battery has a kind for something public."""
    if inspect.isfunction(value):
        # A check has no answer to compare; its refusals are its own test's.
        return not (value.__name__.startswith("check_") and inspect.signature(value).return_annotation is None)
    if not inspect.isclass(value) or inspect.isabstract(value) or getattr(value, "_is_protocol", False):
        return False  # a constant, an alias, or what others implement
    return not issubclass(value, BaseException) and not holds_figures(value)


def uncovered(names, rows):
    """Return the public names that rows must cover, and do not."""
    tried = {id(value) for row in rows for value in covered(row)}
    return [name for name, value in names.items() if needs_row(value) and id(value) not in tried]


METHODS = public_names(*assay.ROOMS, "nets")
OF_A_NETWORK = {name: value for name, value in public_names("core").items() if takes_a_network(value)}


def test_every_room_has_a_file_of_rows():
    assert MISSING == ()


def test_every_public_callable_has_a_row_or_a_reason():
    assert [name for name in uncovered(METHODS | OF_A_NETWORK, ROWS) if name not in EXEMPT] == []


def test_no_exemption_is_stale():
    missing = uncovered(METHODS | public_names("core"), ROWS)
    assert [name for name in EXEMPT if name not in missing] == []


@pytest.mark.parametrize("name", EXEMPT)
def test_an_exemption_gives_its_reason(name):
    assert len(EXEMPT[name].split()) > 3


def test_a_callable_without_a_row_is_found():
    def method(model):
        return model

    assert uncovered({"room.method": method}, []) == ["room.method"]
    assert uncovered({"room.method": method}, [Formula(method, lambda source, n: ())]) == []


def test_only_results_are_exempt_by_rule():
    @dataclass(frozen=True)
    class Report:
        loss: float

        def share(self, threshold: float) -> float:
            return self.loss / threshold

    @dataclass(frozen=True)
    class Scorer:
        scale: float

        def score(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x

    @dataclass(frozen=True)
    class Attack:
        eps: float

        def __call__(self, model: nn.Module) -> nn.Module:
            return model

    assert [needs_row(kind) for kind in (Report, Scorer, Attack, nn.Linear, ValueError)] == [
        False,
        True,
        True,
        True,
        False,
    ]
