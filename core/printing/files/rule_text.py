"""A rule's own functions as text, with the functions and constants that they refer to."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterable
from types import FunctionType, ModuleType
from typing import Any

from ...language.outside import outside_names
from ...language.rule import Rule
from ..quoting import literal


class RuleText:
    """Gathers definitions; ``imports`` and ``definitions`` are then in an order that works.

    ``reserved`` are names that the rest of the file has.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, str] = {}

    def add(self, function: Callable[..., Any], taken: Collection[str] = ()) -> str:
        """Add ``function`` and what it refers to, and return its name in the file, none of ``taken``.

        Raises
        ------
        ValueError
            If its text cannot be read or refers to something that is no function, module, number,
            or text.
        """
        if not isinstance(function, FunctionType):
            raise ValueError(f"{function!r} is no plain function, so its text cannot be exported")
        text = function_text(function)
        renamed = {
            name: self._name_of(name, read(), function)
            for name, read in outside_names(function)
            if "." not in name
        }
        edits = [
            (_start(node), _end(node), renamed[node.id])
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Name) and renamed.get(node.id, node.id) != node.id
        ]
        return self._define(function.__code__.co_name, _edited(text, edits), taken)

    def _name_of(self, name: str, value: Any, user: FunctionType) -> str:
        taken = user.__code__.co_varnames  # by its own variables
        if isinstance(value, FunctionType):
            return self.add(value, taken)
        if isinstance(value, ModuleType):
            if not all(map(str.isidentifier, value.__name__.split("."))):
                raise ValueError(f"{user.__name__} refers to a module named {value.__name__!r}")
            renamed = "" if value.__name__ == name else f" as {name}"
            self.imports[name] = f"import {value.__name__}{renamed}"
            return name
        if isinstance(value, Rule):
            scalars, update = self.add(value.scalars), self.add(value.update)
            text = f"{name} = SimpleNamespace(scalars={scalars}, update={update})"
            return self._define(name, text, taken)
        if isinstance(value, (bool, int, float, str, tuple)):
            return self._define(name, f"{name} = {literal(value)}", taken)
        raise ValueError(
            f"{user.__name__} refers to {name}, a {type(value).__name__}, which cannot be exported"
        )

    def _define(self, name: str, text: str, taken: Collection[str]) -> str:
        """Keep ``text``, under another name if this one is taken or something else has it."""
        before, _, after = text.partition(name)
        wanted, number = name, 1
        while name in self._reserved or name in taken or self.definitions.get(name, text) != text:
            number += 1
            name = f"{wanted}_{number}"
            text = f"{before}{name}{after}"
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
    """Return a method's text without types, indented as in a class."""
    return textwrap.indent(function_text(method), "    ")


def attributes_of(name: str, text: str) -> set[str]:
    """Return the attributes of the variable ``name`` that Python code mentions."""
    return {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }


def function_text(function: Callable[..., Any]) -> str:
    """Return a function's text without decorators and types.

    Raises ValueError if there is none, or the function is not one by ``def``.
    """
    code = function.__code__
    try:
        text = textwrap.dedent(inspect.getsource(code)).rstrip()
    except OSError as error:
        raise ValueError(f"the text of {code.co_name} cannot be read: {error}") from error
    try:
        definition = ast.parse(text).body[0]
    except SyntaxError:  # a lambda in the middle of an expression
        definition = ast.Pass()
    if not isinstance(definition, ast.FunctionDef):
        raise ValueError(f"{code.co_name} is not defined by def, so its text cannot be exported")
    definition.decorator_list = []
    text = "\n".join(text.split("\n")[definition.lineno - 1 :])
    ast.increment_lineno(definition, 1 - definition.lineno)
    return _without_types(text, definition)


def _without_types(text: str, definition: ast.FunctionDef) -> str:
    """Return the text of a function without the types in its head, by cutting them out."""
    arguments, edits = definition.args, []
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: dict[ast.arg, ast.expr | None]
    defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults |= dict(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    for argument in (*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument and argument.annotation:
            line, column = _start(argument)
            default = defaults.get(argument)  # x: float = 1 becomes x=1
            end = _start(default) if default else _end(argument.annotation)
            edits.append(((line, column + len(argument.arg.encode())), end, "=" if default else ""))
            argument.annotation = None
    if definition.returns:
        line, column = _start(definition.returns)
        column = len(text.split("\n")[line - 1].encode()[:column].rstrip(b"-> "))
        edits.append(((line, column), _end(definition.returns), ""))
        definition.returns = None
    cut = _edited(text, edits)
    try:
        same = ast.dump(ast.parse(cut).body[0]) == ast.dump(definition)
    except SyntaxError:
        same = False
    return cut if same else ast.unparse(definition)  # of types in parentheses


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def _edited(text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]]) -> str:
    """Return ``text`` with each part from a line and byte to another replaced."""
    lines = [line.encode() for line in text.split("\n")]
    for (first, start), (last, end), new in sorted(edits, reverse=True):
        tail = lines[last - 1][end:]
        lines[first - 1 : last] = [lines[first - 1][:start] + new.encode() + tail]
    return b"\n".join(lines).decode()
