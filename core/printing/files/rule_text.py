"""A rule's own functions as text, with the functions and constants that they refer to."""

from __future__ import annotations

import builtins
import dis
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...language.rule import Rule


class RuleText:
    """Gathers definitions; ``imports`` and ``definitions`` are then in an order that works.

    ``reserved`` are names that the rest of the file has.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, str] = {}

    def add(self, function: Callable[..., Any]) -> str:
        """Take ``function`` in, and what it refers to; returns what it is called.

        Raises
        ------
        ValueError
            If its text cannot be read or refers to something that is no function, module, number,
            or text.
        """
        code = getattr(function, "__code__", None)
        if not isinstance(function, FunctionType) or code is None:
            raise ValueError(f"{function!r} is no plain function, so its text cannot be exported")
        text = _source(code)
        for name, value in _free_names(function):
            called = self._name_of(name, value, function)
            if called != name:
                text = re.sub(rf"(?<![\w.]){name}\b", called, text)
        return self._define(code.co_name, text, function)

    def _name_of(self, name: str, value: Any, user: FunctionType) -> str:
        if isinstance(value, FunctionType):
            return self.add(value)
        if isinstance(value, ModuleType):
            self.imports[name] = f"import {value.__name__} as {name}".removesuffix(
                f" as {value.__name__}"
            )
            return name
        if isinstance(value, Rule):
            scalars, update = self.add(value.scalars), self.add(value.update)
            text = f"{name} = SimpleNamespace(scalars={scalars}, update={update})"
            return self._define(name, text, user)
        if isinstance(value, (bool, int, float, str, tuple)):
            quoted = repr(value).replace("'", '"')
            return self._define(name, f"{name} = {quoted}", user)
        raise ValueError(
            f"{user.__name__} refers to {name}, a {type(value).__name__}, which cannot be exported"
        )

    def _define(self, name: str, text: str, user: FunctionType) -> str:
        """Keep ``text``, under another name if something else has this one."""
        wanted, number = name, 1
        while name in self._reserved or self.definitions.get(name, text) != text:
            number += 1
            name = f"{wanted}_{number}"
            text = re.sub(r"^(def )?\w+", rf"\g<1>{name}", text)
        self.definitions.setdefault(name, text)
        return name

    def __str__(self) -> str:
        blocks: list[str] = []
        for text in self.definitions.values():
            both_short = not text.startswith("def") and blocks and not blocks[-1].startswith("def")
            if both_short:
                blocks[-1] += f"\n{text}"
            else:
                blocks.append(text)
        return "\n\n\n".join(blocks)


def method_text(method: Callable[..., Any]) -> str:
    """A method's text without types, indented as in a class."""
    return textwrap.indent(_source(method.__code__), "    ")


def function_text(function: Callable[..., Any]) -> str:
    """A function's text without types."""
    return _source(function.__code__)


def _source(code: CodeType) -> str:
    try:
        lines = inspect.getsource(code)
    except OSError as error:
        raise ValueError(f"the text of {code.co_name} cannot be read: {error}") from error
    text = textwrap.dedent(lines).rstrip()
    start = re.search(r"^def ", text, re.MULTILINE)
    if start is None:
        raise ValueError(f"{code.co_name} is not defined by def, so its text cannot be exported")
    text = text[start.start() :]  # without decorators
    end = re.search(r"\)(?: -> [^\n:]*)?:([^\n]*)\n", text)
    assert end is not None
    head = re.sub(r"(\w): [\w.\[\], |]+?(?=,|\)|\n| = )", r"\1", text[: end.start() + 1])
    return f"{head.replace(' = ', '=')}:{end[1]}\n{text[end.end() :]}"


def _free_names(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The names that ``function`` gets from outside, and their values."""
    closure = function.__closure__ or ()
    known = {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, closure, strict=True)
    }
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            known[name] = function.__globals__[name]
        elif not hasattr(builtins, name):
            raise ValueError(f"{function.__name__} refers to {name}, which is not defined")
    yield from known.items()


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
