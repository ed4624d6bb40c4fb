"""Backends name no optimizer, and rules no backend or framework: held over every syntax tree."""

from __future__ import annotations

import ast
import re

import pytest
import samestep as ss
from helpers import ROOT, sources

OPTIMIZERS = {*ss.rules.registry}
OTHER_OPTIMIZERS = {"amsgrad", "adafactor", "lars", "muon", "shampoo", "soap", "prodigy", "adan"}
FRAMEWORKS = {
    "numpy", "np", "numba", "cupy", "torch", "jax", "jnp", "optax", "tensorflow", "keras", "mlx",
    "cuda", "llvm", "thinc", "ml_dtypes", "scipy", "sklearn",
}  # fmt: skip


def spoken(source: str) -> set[str]:
    """The words of all identifiers, imports, and strings that are not docstrings."""
    tree = ast.parse(source)
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                silent.add(id(first.value))
    found = set()
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):  # names, attributes, arguments, modules, constants
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, str) and id(node) not in silent:
                    found |= words(entry)
    return found


def words(text: str) -> set[str]:
    """``adamw_update``, ``AdamWState`` and "an AdamW step" all contain the word adamw."""
    found = set()
    for part in re.findall(r"[A-Za-z]+", text):
        pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
        for i in range(len(pieces)):
            found |= {"".join(pieces[i:j]).lower() for j in range(i + 1, len(pieces) + 1)}
    return found


VERBS = {"adopt"}  # what a backend does with a parameter is the name of a rule, too


def test_no_backend_speaks_of_an_optimizer():
    assert {"adamw", "lamb", "sgd"} <= OPTIMIZERS
    for file in sources("backends"):
        said = spoken(file.read_text(encoding="utf-8")) & ((OPTIMIZERS | OTHER_OPTIMIZERS) - VERBS)
        assert not said, f"{file.name} speaks of {said}"


def test_no_rule_speaks_of_a_framework_or_backend():
    for file in sources("core/rules"):
        said = spoken(file.read_text(encoding="utf-8")) & (FRAMEWORKS | {*ss.available_backends()})
        assert not said, f"{file.name} speaks of {said}"


@pytest.mark.parametrize(
    "source",
    [
        "def adamw_update(): pass",
        "class AdamWState: pass",
        "from ..rules.adamw import scalars",
        "import adamw",
        "x = rule.adamw",
        "f(adamw=1)",
        "def f(adamw): pass",
        "'''a docstring'''\nx = 'the AdamW step'",
        "def f():\n    '''a docstring'''\n    'then adamw'",
        "x = f'{y} adamw'",
        "x = {'adamw': 1}",
        "try:\n    pass\nexcept ValueError as adamw:\n    pass",
        "def f():\n    global adamw",
        "match x:\n    case {'k': adamw}: pass",
    ],
)
def test_control_a_name_is_heard_wherever_it_is_said(source):
    assert "adamw" in spoken(source)


@pytest.mark.parametrize(
    "source",
    [
        "'''AdamW in a docstring'''",
        "def f():\n    '''AdamW'''",
        "x = 1  # AdamW",
        "f = lambda x: x",
    ],
)
def test_control_docstrings_and_comments_may_speak_freely(source):
    assert not spoken(source) & OPTIMIZERS


def test_no_test_file_makes_a_folder_of_backends_importable():
    """pytest puts the folder of each test file on ``sys.path``. A file in ``tests/backends/``
    itself would make ``tests/backends/cupy`` what ``import cupy`` finds where CuPy is not
    installed."""
    assert not list((ROOT / "tests" / "backends").glob("*.py"))
