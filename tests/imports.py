"""The imports of a source file, in whatever form they are written.

Seen are ``import`` and ``from``, relative and absolute, at the top, inside functions and under
``TYPE_CHECKING``; ``importlib.import_module`` with a string or an f-string; and every string that
is a module's dotted name, as the tables of names have them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers import ROOT

PACKAGE = "samestep"
ANYTHING = "*"  # in a name: the text that an f-string puts there
NAME = rf"{PACKAGE}(\.[\w{ANYTHING}]+)+"
UNREADABLE = "?"  # the name of a module that is computed
FOLDERS = {"core": PACKAGE, "backends": f"{PACKAGE}.backends", "golden": f"{PACKAGE}.golden"}


@dataclass(frozen=True)
class Module:
    """A source file by its dotted name. ``folder`` is where its relative imports start from."""

    name: str
    folder: str

    @classmethod
    def of(cls, path: str) -> Module:
        """Name a file by its path from the checkout's root, without ending."""
        top, *rest = path.split("/")
        parts = [FOLDERS[top], *rest]
        if parts[-1] == "__init__":
            return cls(".".join(parts[:-1]), ".".join(parts[:-1]))
        return cls(".".join(parts), ".".join(parts[:-1]))


@dataclass(frozen=True)
class Import:
    """One imported name, absolute. ``lazy``: not imported with the file itself."""

    name: str
    lazy: bool = False


def modules() -> dict[Path, Module]:
    """Name every source file of the package and every stub, by its path from the root."""
    found = [f for top in FOLDERS for end in ("py", "pyi") for f in (ROOT / top).rglob(f"*.{end}")]
    paths = sorted(f.relative_to(ROOT) for f in found)
    return {path: Module.of(path.with_suffix("").as_posix()) for path in paths}


@functools.cache
def imports(source: str, module: Module) -> tuple[Import, ...]:
    """Return everything that a source text imports or names."""
    tree = ast.parse(source)
    docstrings = {id(constant) for constant in _docstrings(tree)}
    return tuple(_imports(tree, module, docstrings, lazy=False))


def targets(name: str, known: Iterable[str]) -> set[str]:
    """Return the modules of ours that a name stands for: a module itself, or that of something
    in it, and with an f-string all that it can stand for."""
    known = set(known)
    if ANYTHING in name:
        pattern = re.escape(name).replace(re.escape(ANYTHING), ".+")
        return {each for each in known if re.fullmatch(pattern, each)}
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return {next((each for each in prefixes if each in known), "")} - {""}


def executed(target: str, module: str) -> set[str]:
    """Return ``target`` and the packages around it that are not also around ``module``: importing
    it executes their ``__init__`` too."""
    parts = target.split(".")
    around = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    shared = {each for each in around if module.startswith(f"{each}.")}
    return ({target} | around - shared) - {module}


def _imports(node: ast.AST, module: Module, silent: set[int], *, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = _absolute("." * node.level + (node.module or ""), module.folder)
        yield from (Import(f"{start}.{alias.name}", lazy) for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
        name = _text(node.args[0]) or UNREADABLE
        yield Import(_absolute(name, module.folder), lazy=True)
    elif isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in silent:
        name = _text(node).partition(":")[0]
        yield from [Import(name, lazy=True)] * bool(re.fullmatch(NAME, name))
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    lazy = lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, module, silent, lazy=lazy)


def _absolute(name: str, folder: str) -> str:
    dots = len(name) - len(name.lstrip("."))
    if not dots:
        return name
    start = folder.split(".")
    return ".".join([*start[: len(start) - dots + 1], *filter(None, [name[dots:]])])


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _text(node: ast.AST) -> str:
    """Return a string's text, `ANYTHING` where an f-string is filled; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or ANYTHING for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
