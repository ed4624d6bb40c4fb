"""Who may know whom: the layout's rules, held over the syntax tree of every file."""

from __future__ import annotations

import ast
import re
import sys

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


def test_no_backend_speaks_of_an_optimizer():
    assert {"adamw", "lamb", "sgd"} <= OPTIMIZERS
    for file in sources("backends"):
        said = spoken(file.read_text(encoding="utf-8")) & (OPTIMIZERS | OTHER_OPTIMIZERS)
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


def imports(source: str) -> list[tuple[str, bool]]:
    """Each imported module (relative ones with their dots) and whether it is imported lazily:
    inside a function, or only for type checkers."""
    found = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.append((module, lazy))
            if not node.module:
                found.extend((module + alias.name, lazy) for alias in node.names)
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        lazy = lazy or checking or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, lazy)

    visit(ast.parse(source), False)
    return found


def forbidden(source: str, *, eager: set[str], lazy: set[str], relative: str) -> list[str]:
    """The imports of ``source`` that are neither the standard library nor allowed. ``relative``:
    a regular expression of the relative imports that are not allowed."""
    found = []
    for module, is_lazy in imports(source):
        top = module.split(".")[0]
        if module.startswith("."):
            if re.fullmatch(relative, module):
                found.append(module)
        elif top not in sys.stdlib_module_names | eager | (lazy if is_lazy else set()):
            found.append(module)
    return found


CORE = dict(
    eager={"numpy"}, lazy={"ml_dtypes", "safetensors"}, relative=r"\.+(backends|golden)\b.*"
)
RULES = dict(
    eager=set(), lazy=set(), relative=r"(?!\.[a-z]*$|\.\.language\.(rule|intervals|names)$).*"
)
BACKENDS = dict(
    eager={"numpy"}, lazy={"ml_dtypes"}, relative=r"\.\.+(golden|tools|optimizers?)\b.*"
)
TORCH_BACKEND = {**BACKENDS, "eager": {"numpy", "torch"}}
GOLDEN = dict(
    eager={"numpy", "safetensors", "mpmath"},
    lazy={"ml_dtypes"},
    relative=r"\.+(tools|backends)\b.*",
)


@pytest.mark.parametrize(
    ("folder", "deep", "rules"),
    [
        ("core", False, CORE),
        ("core/rules", True, RULES),
        ("core/checkpoint", True, CORE),
        ("core/schedules", True, CORE),
        ("backends", False, BACKENDS),
        ("backends/torch", True, TORCH_BACKEND),
        ("golden", True, GOLDEN),
    ],
)
def test_a_folder_imports_only_what_the_layout_allows(folder, deep, rules):
    for file in sources(folder, deep=deep):
        found = forbidden(file.read_text(encoding="utf-8"), **rules)
        assert not found, f"{file.relative_to(ROOT)} imports {found}"


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ("import numba", CORE),
        ("def f():\n    import torch", CORE),
        ("import ml_dtypes", CORE),
        ("from .backends import numpy", CORE),
        ("def f():\n    from .backends.numba import x", CORE),
        ("from . import backends", CORE),
        ("from samestep.backends import numpy", CORE),
        ("import numpy", RULES),
        ("from ..parameters.clock import Clock", RULES),
        ("from ..golden import cases", BACKENDS),
        ("import numba", TORCH_BACKEND),
        ("from ..tools import cli", GOLDEN),
    ],
)
def test_control_a_forbidden_import_is_found(source, rules):
    assert forbidden(source, **rules)


def siblings(source: str, owner: str | None, depth: int) -> list[str]:
    """The imports of other backends' modules, in a file ``depth`` folders below ``backends``."""
    names = set(ss.available_backends())
    up = re.escape("." * (depth + 1))
    found = [(m, re.match(rf"{up}([a-z]+?)(_printer)?(\..*)?$", m)) for m, _ in imports(source)]
    return [module for module, other in found if other and other[1] in names - {owner}]


def test_no_backend_imports_a_sibling():
    """``numba_printer.py`` and ``export/numba.py`` belong to numba, a folder to the backend of its
    name; what is shared has a name of its own."""
    names = set(ss.available_backends())
    for file in sources("backends"):
        *folders, stem = file.relative_to(ROOT / "backends").with_suffix("").parts
        top = folders[0] if folders and folders[0] in names else stem
        owner = next((n for n in names if top == n or top.startswith(f"{n}_")), None)
        found = siblings(file.read_text(encoding="utf-8"), owner, len(folders))
        assert not found, f"{file.relative_to(ROOT)} imports {found}"


@pytest.mark.parametrize(
    ("source", "owner", "depth"),
    [
        ("from .numba import x", "numpy", 0),
        ("from . import numba_printer", "numpy", 0),
        ("def f():\n    from .torch.launch import x", "numba", 0),
        ("from ..numba import x", "torch", 1),
        ("from ..numba_printer import x", "torch", 1),
    ],
)
def test_control_a_sibling_is_found(source, owner, depth):
    assert siblings(source, owner, depth)
