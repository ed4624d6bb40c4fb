"""Holds the double of CuPy against the real one: every name exists there, with the same parameters
and defaults; a later CuPy may take more, with defaults. Needs no GPU: ``python cupy_drift.py``
where CuPy is installed; exits with 1 and a line for each difference."""

from __future__ import annotations

import enum
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parents[2] / "cuda_double"
MODULES = ("", "cuda", "cuda.runtime", "cuda.memory", "linalg")
OWN = {"run_everything", "OK"}  # what the double has besides


def double(name: str = "double_of_cupy") -> ModuleType:
    """The double of CuPy under a name of its own."""
    return loaded(name, HERE / "cupy" / "__init__.py")


def loaded(name: str, file: Path) -> ModuleType:
    """The module in a file, under a name of its own."""
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public(thing: Any) -> dict[str, Any]:
    """The names of a module or class that stand for something of CuPy's."""
    found = {n: v for n, v in vars(thing).items() if not n.startswith("_") and n not in OWN}
    if inspect.ismodule(thing):
        listed = getattr(thing, "__all__", None)
        defined = {
            n: v
            for n, v in found.items()
            if (inspect.isclass(v) or inspect.isfunction(v)) and v.__module__ == thing.__name__
        }
        found = {n: found[n] for n in listed if n in found} if listed else defined
        found.pop("error", None)
    return found


def parameters(thing: Any, name: str) -> list[tuple[str, str]] | None:
    """Names and defaults, but of ``*args`` and ``**kwargs``: from the first line of the docstring,
    where CuPy's compiled functions have them, or from the signature; None where neither says."""
    declared = _from_docstring(thing, name)
    if declared is not None:
        return declared
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    return [
        (p.name, "" if p.default is p.empty else _default(p.default))
        for p in signature.parameters.values()
        if p.name not in ("self", "cls") and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _default(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def _from_docstring(thing: Any, name: str) -> list[tuple[str, str]] | None:
    first = (thing.__doc__ or "").lstrip().split("\n")[0]
    call = re.match(rf"[\w.]*(?:{re.escape(name)}|__init__)\((.*?)\)\s*(?:->.*)?$", first)
    if call is None:
        return None
    found = []
    for text in filter(None, (part.strip() for part in call[1].split(","))):
        declared, _, default = text.partition("=")
        if declared not in ("self", "/") and not declared.lstrip("\\").startswith("*"):
            found.append((declared.split(":")[0].split()[-1].lstrip("*"), default.strip()))
    return found


def differences(ours: Any, theirs: Any, where: str = "cupy") -> tuple[list[str], int]:
    """What the double has and CuPy has not, or has otherwise; and how many names were compared."""
    found, count = [], 0
    for name, thing in public(ours).items():
        path = f"{where}.{name}"
        if inspect.ismodule(thing):
            continue
        count += 1
        if not hasattr(theirs, name):
            found.append(f"{path}: there is no such name")
            continue
        real = getattr(theirs, name)
        if isinstance(thing, enum.EnumMeta):
            below, more = differences_of_enum(thing, real, path)
            found += below
            count += more
            continue
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            if builtin(thing) is not builtin(real):
                found.append(f"{path}: is a {builtin(thing)}, the real one a {builtin(real)}")
            continue
        if callable(thing):
            a, b = parameters(thing, name), parameters(real, name)
            if b is not None and not fits(a, b):
                found.append(f"{path}: takes {a}, the real one {b}")
        if inspect.isclass(thing):
            below, more = differences(thing, real, path)
            found += below
            count += more
    return found, count


def fits(ours: list[tuple[str, str]] | None, theirs: list[tuple[str, str]]) -> bool:
    """Whether what the double takes is taken, and nothing else has to be given."""
    if ours is None:
        return False
    return ours == theirs[: len(ours)] and all(default for _, default in theirs[len(ours) :])


def builtin(error: type) -> type:
    """Which of Python's own exceptions it is."""
    return next(base for base in error.__mro__ if base.__module__ == "builtins")


def differences_of_enum(ours: Any, theirs: Any, where: str) -> tuple[list[str], int]:
    """Which members the double has with another value than the bindings."""
    wrong = [m for m in ours if getattr(theirs, m.name, None) != m]
    return [f"{where}.{m.name}: is not {m.value}" for m in wrong], len(ours)


def main() -> int:
    import cupy

    assert not hasattr(cupy, "_host"), "this would compare the double with itself"
    ours = double()
    found, count = [], 0
    for name in MODULES:
        pair = [ours, cupy]
        for part in filter(None, name.split(".")):
            pair = [getattr(thing, part) for thing in pair]
        below, more = differences(*pair, ".".join(filter(None, ("cupy", name))))
        found += below
        count += more
    print("\n".join(found) or f"{count} names are as in CuPy {cupy.__version__}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
