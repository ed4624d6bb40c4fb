"""Types of the optimizer classes, which are made from the rules when samestep is imported.

``python tests/optimizers/stubs.py`` writes them anew into ``core/optimizers/classes.pyi`` and, for
PyTorch, ``core/torch.pyi``, so that type checkers and editors see what `inspect.signature` sees.
The heads of these files are written by hand. It needs PyTorch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import samestep
from samestep.language.around import CHOICES
from samestep.rules import classes

FOLDER = Path(samestep.__file__).parent
LONGEST = 100
CLASSES, TORCH = FOLDER / "optimizers" / "classes.pyi", FOLDER / "torch.pyi"


def text() -> str:
    """Return the stub file with a class, and the types of its arguments, for each built-in rule."""
    head, _, _ = CLASSES.read_text(encoding="utf-8").partition("__all__")
    listed = "".join(f'    "{name}",\n' for name in classes)
    head += f"__all__ = [  # noqa: RUF022 (in the order of the registry)\n{listed}]\n"
    return "\n".join([head, *(class_stub(samestep, name) for name in classes)])


def torch_text() -> str:
    """Return the stub file of `samestep.torch`, with the same classes."""
    module = importlib.import_module("samestep.torch")
    head, _, _ = TORCH.read_text(encoding="utf-8").partition(f"\nclass {next(iter(classes))}(")
    return "\n".join([head, *(class_stub(module, name) for name in classes)])


def class_stub(module: ModuleType, name: str) -> str:
    """Return the stub of one class of a module, an argument a line."""
    lines = [f"class {name}(Optimizer):", "    def __init__(", "        self,"]
    parameters = inspect.signature(getattr(module, name)).parameters.values()
    choices = classes[name].choices
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    types = type_of if module is samestep else torch_type_of
    lines += [_argument(p, _named(p, types(p), choices)) for p in positional]
    lines += ["        *,", *(_argument(p, _named(p, types(p), choices)) for p in keyword)]
    return "\n".join([*lines, "    ) -> None: ...", ""])


def type_of(parameter: inspect.Parameter) -> str:
    """Return the annotation, or for a hyperparameter, which has none, the type of its default.

    If that is a number, or None for no limit, it may also be a schedule.
    """
    annotation, default = parameter.annotation, parameter.default
    if annotation is not parameter.empty:
        return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if default is parameter.empty:
        return "Any"
    if parameter.name == "state_dtype":
        return "str | Mapping[str, str] | None"
    if parameter.name == "copy_to":  # arrays, in the structure of the parameters
        return "Any"
    if parameter.name in CHOICES:
        return "str | int | None" if parameter.name == "average" else "str | None"
    if isinstance(default, (bool, str)):
        return type(default).__name__
    if isinstance(default, tuple):
        numbers, floats = (", ".join([kind] * len(default)) for kind in ("Number", "float"))
        return f"tuple[{numbers}] | Callable[[int], tuple[{floats}]]"
    return "Number | None" if default is None else "Number"


def _named(parameter: inspect.Parameter, numbers: str, choices: Mapping[str, Any]) -> str:
    """Return the type of an argument that may be a name, else ``numbers``, its type as one of
    others."""
    if parameter.name not in choices:
        return numbers
    names = "str | None" if None in choices[parameter.name] else "str"
    return f"{numbers} | str" if isinstance(parameter.default, tuple) else names


def torch_type_of(parameter: inspect.Parameter) -> str:
    """Return the type as `type_of` does; a number may be a tensor, and schedules are
    schedulers'."""
    if parameter.name == "params":
        return "ParamsT"
    return type_of(parameter).partition(" | Callable")[0]


def _text(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def _argument(parameter: inspect.Parameter, annotation: str) -> str:
    value = parameter.default
    default = "" if value is parameter.empty else f" = {_text(value)}"
    line = f"        {parameter.name}: {annotation}{default},"
    if len(line) <= LONGEST:
        return line
    after = ""
    if isinstance(value, tuple):  # as the formatter breaks it
        entries = "".join(f"            {_text(entry)},\n" for entry in value)
        line, after = f"        {parameter.name}: {annotation} = (", f"\n{entries}        ),"
    broken = line if len(line) <= LONGEST else line.replace(" | ", "\n        | ")
    return broken + after


if __name__ == "__main__":
    CLASSES.write_text(text(), encoding="utf-8")
    TORCH.write_text(torch_text(), encoding="utf-8")
