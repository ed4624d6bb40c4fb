"""Controls: an import is seen in every form it can be written in, and stands for the right
files."""

from __future__ import annotations

import pytest
from imports import UNREADABLE, Import, Module, executed, imports, targets

HERE = Module.of("core/step/launches")
PACKAGE = Module.of("core/step/__init__")
NAME = "samestep.language.rule"
KNOWN = {
    "samestep", "samestep.language", NAME, "samestep.language.dtypes", "samestep.step",
    "samestep.step.launches", "samestep.backends", "samestep.backends.numpy",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "lazy"),
    [
        ("from ..language.rule import Rule", False),
        ("from ..language import rule", False),
        ("from samestep.language.rule import Rule", False),
        ("import samestep.language.rule as r", False),
        ("try:\n    from ..language import rule\nexcept ImportError:\n    pass", False),
        ("class C:\n    from ..language import rule", False),
        ("def f():\n    from ..language.rule import Rule", True),
        ("async def f():\n    import samestep.language.rule", True),
        ("if TYPE_CHECKING:\n    from ..language.rule import Rule", True),
        ("if typing.TYPE_CHECKING:\n    import samestep.language.rule", True),
        ("import_module('samestep.language.rule')", True),
        ("importlib.import_module('..language.rule', __package__)", True),
        ("def f():\n    return importlib.import_module('..language.rule', __package__).Rule", True),
        ("__import__('samestep.language.rule')", True),
        ("importlib.import_module(f'samestep.{folder}.rule')", True),
        ("importlib.import_module(f'..language.{name}', __package__)", True),
        ("x = f'samestep.language.{name}'", True),
        ("TABLE = {'rule': 'samestep.language.rule'}", True),
        ("TABLE = {'rule': 'samestep.language.rule:Rule'}", True),
        ("f(module='samestep.language.rule')", True),
    ],
)
def test_an_import_is_seen_in_every_form(source, lazy):
    found = [each for each in imports(source, HERE) if NAME in targets(each.name, KNOWN)]
    assert found
    assert {each.lazy for each in found} == {lazy}


@pytest.mark.parametrize(
    "source",
    [
        "'''samestep.language.rule'''",
        "def f():\n    'samestep.language.rule'",
        "x = 'see samestep.language.rule'",
        "x = 1  # samestep.language.rule",
        "from .language import rule",
        "rule = language.rule",
    ],
)
def test_what_imports_nothing_is_not_seen(source):
    assert not any(NAME in targets(each.name, KNOWN) for each in imports(source, HERE))


@pytest.mark.parametrize("source", ["import_module(name)", "f = lambda: __import__(TABLE[name])"])
def test_a_computed_name_is_said_to_be_unreadable(source):
    assert Import(UNREADABLE, lazy=True) in imports(source, HERE)


def test_relative_names_start_from_the_folder():
    assert imports("from . import launches", PACKAGE) == (Import("samestep.step.launches"),)
    assert imports("from . import launches", HERE) == (Import("samestep.step.launches"),)
    assert imports("from .. import version", HERE) == (Import("samestep.version"),)
    assert imports("from ...a import b", Module.of("backends/host/arrays")) == (
        Import("samestep.a.b"),
    )


def test_a_name_stands_for_the_longest_module_in_it():
    assert targets("samestep.language.rule.Rule", KNOWN) == {NAME}
    assert targets("samestep.language.Rule", KNOWN) == {"samestep.language"}
    assert targets("samestep.language.*", KNOWN) == {NAME, "samestep.language.dtypes"}
    assert targets("samestep.*", KNOWN) == KNOWN - {"samestep"}
    assert targets("numpy.random", KNOWN) == set()


def test_packages_around_a_module_are_executed_with_it():
    assert executed(NAME, HERE.name) == {"samestep.language", NAME}
    assert executed("samestep.step.outcome", HERE.name) == {"samestep.step.outcome"}
    assert executed("samestep", HERE.name) == {"samestep"}  # asked for by name
    assert executed("samestep.step", PACKAGE.name) == set()
