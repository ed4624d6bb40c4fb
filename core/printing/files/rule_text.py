"""A rule's own functions as text, with the functions and constants that they refer to."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...language.outside import outside_names
from ...language.rule import Rule
from ..quoting import literal

Place = tuple[int, int]  # line and byte
Edit = tuple[Place, Place, str]  # what stands from one place to another, and what will


class RuleText:
    """Gathers definitions; ``imports`` and ``definitions`` are then in an order that works.

    ``reserved`` are names that the rest of the file has, each with its line if it is imported.
    """

    def __init__(self, reserved: Mapping[str, str]) -> None:
        self._reserved = reserved
        self._begun: dict[FunctionType, str] = {}  # and the name of each, once it calls itself
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, str] = {}

    def add(self, function: Callable[..., Any], taken: Collection[str] = ()) -> str:
        """Add ``function`` and what it refers to, and return its name in the file, none of
        ``taken``.

        Raises
        ------
        ValueError
            If its text cannot be read or refers to something that is no function, module, number,
            or text.
        """
        if not isinstance(function, FunctionType):
            raise ValueError(f"{function!r} is no plain function, so its text cannot be exported")
        if function in self._begun:
            self._begun[function] = self._begun[function] or self._define(
                function.__code__.co_name, lambda name: f"def {name}", taken
            )
            return self._begun[function]
        self._begun[function] = ""
        text = function_text(function)
        definition = ast.parse(text).body[0]
        edits = self._defaults(function, definition)
        renamed = {
            name: self._name_of(name, read(), function)
            for name, read in outside_names(function)
            if "." not in name
        }
        inside = [(start, end) for start, end, _ in edits]
        for node in ast.walk(definition):
            if not isinstance(node, ast.Name | ast.arg):
                continue
            name = node.id if isinstance(node, ast.Name) else node.arg
            if renamed.get(name, name) == name:
                continue
            if not any(start <= _start(node) < end for start, end in inside):
                edits.append((_start(node), _after(node, name), renamed[name]))
        name_at = (1, re.match(r"def\s+", text).end())  # type: ignore[union-attr]
        name = function.__code__.co_name
        place = name_at, (1, name_at[1] + len(name.encode()))

        def written(name: str) -> str:
            return _edited(text, [*edits, (*place, name)])

        if called := self._begun.pop(function):
            self.definitions[called] = written(called)
            return called
        return self._define(name, written, taken)

    def _defaults(self, function: FunctionType, definition: Any) -> list[Edit]:
        """Return edits that write the values of arguments' defaults in place of names."""
        arguments = definition.args
        given = reversed(function.__defaults__ or ())
        values = dict(zip(reversed(arguments.defaults), given, strict=True))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if default is not None:
                values[default] = (function.__kwdefaults__ or {})[argument.arg]
        return [
            (_start(default), _end(default), self._text_of(value))
            for default, value in values.items()
            if any(isinstance(node, ast.Name) for node in ast.walk(default))
        ]

    def _text_of(self, value: Any) -> str:
        return self.add(value) if isinstance(value, FunctionType) else literal(value)

    def _name_of(self, name: str, value: Any, user: FunctionType) -> str:
        taken = _variables(user.__code__)
        if isinstance(value, FunctionType):
            return self.add(value, taken)
        if isinstance(value, ModuleType):
            module = value.__name__
            if not all(map(str.isidentifier, module.split("."))):
                raise ValueError(f"{user.__name__} refers to a module named {module!r}")
            return self._define(
                name,
                lambda name: f"import {module}" + (f" as {name}" if name != module else ""),
                taken,
            )
        if isinstance(value, Rule):
            scalars, update = self.add(value.scalars), self.add(value.update)
            text = f"SimpleNamespace(scalars={scalars}, update={update})"
        elif value is None or isinstance(value, (bool, int, float, str, tuple)):
            text = literal(value)
        else:
            raise ValueError(
                f"{user.__name__} refers to {name}, a {type(value).__name__}, which cannot be exported"
            )
        return self._define(name, lambda name: f"{name} = {text}", taken)

    def _define(
        self, wanted: str, written: Callable[[str], str], taken: Collection[str] = ()
    ) -> str:
        """Keep what is ``written`` for a name: the one that is ``wanted``, or another one if that
        is taken or something else has it."""
        name, number = wanted, 1
        while name in taken or not self._may_be(name, written(name)):
            number += 1
            name = f"{wanted}_{number}"
        text = written(name)
        (self.imports if text.startswith("import ") else self.definitions).setdefault(name, text)
        return name

    def _may_be(self, name: str, text: str) -> bool:
        """Return true if nothing else in the file has this name."""
        known = (self._reserved, self.imports, self.definitions)
        return all(names.get(name, text) == text for names in known)

    def __str__(self) -> str:
        blocks: list[str] = []
        for text in self.definitions.values():
            both_short = not text.startswith("def") and blocks and not blocks[-1].startswith("def")
            if both_short:
                blocks[-1] += f"\n{text}"
            else:
                blocks.append(text)
        return "\n\n\n".join(blocks)


def names_of(text: str) -> dict[str, str]:
    """Return the names that a module has, builtins among them, each with its line if it is
    imported."""
    names = dict.fromkeys(dir(builtins), "")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            line = ast.unparse(node)
            names |= {(each.asname or each.name).partition(".")[0]: line for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = ""
        elif isinstance(node, ast.Assign):
            walked = (each for target in node.targets for each in ast.walk(target))
            names |= {each.id: "" for each in walked if isinstance(each, ast.Name)}
    return names


def method_text(method: Callable[..., Any]) -> str:
    """Return a method's text without types, indented as in a class."""
    return textwrap.indent(function_text(method), "    ")


def attributes(text: str, of: str | None = None) -> set[str]:
    """Return the attributes that Python code mentions, of one variable or of anything: a rule's
    functions may call ``xp`` what they like."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if of in (None, getattr(node.value, "id", None))}


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


def _start(node: Any) -> Place:
    return node.lineno, node.col_offset


def _end(node: Any) -> Place:
    return node.end_lineno, node.end_col_offset


def _after(node: Any, name: str) -> Place:
    return node.lineno, node.col_offset + len(name.encode())


def _variables(code: CodeType) -> set[str]:
    """Return the names of a function's own variables, and of those of functions in it."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_varnames, *code.co_cellvars}.union(*map(_variables, inner))


def _edited(text: str, edits: list[Edit]) -> str:
    """Return ``text`` with each part from a line and byte to another replaced."""
    lines = [line.encode() for line in text.split("\n")]
    for (first, start), (last, end), new in sorted(edits, reverse=True):
        tail = lines[last - 1][end:]
        lines[first - 1 : last] = [lines[first - 1][:start] + new.encode() + tail]
    return b"\n".join(lines).decode()
