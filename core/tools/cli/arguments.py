"""A command is a plain typed function: its signature says what words it takes.

A parameter without a default is a positional word, one with a default is an option ``--name``,
a list is an option that may be repeated and a boolean is a switch. The text in ``Annotated`` is
the help, behind it may stand a short flag; the docstring is the command's.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

Command = Callable[..., int]  # returns the exit code


@dataclass(frozen=True)
class Argument:
    """One parameter of a command; ``default`` is ``inspect.Parameter.empty`` if it is a word."""

    name: str
    kind: type[Any]
    help: str
    default: Any
    repeated: bool
    short: tuple[str, ...] = ()

    @property
    def positional(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        return (*self.short, self.flag)


@dataclass(frozen=True)
class Program:
    """A command line: its commands by name, where ``golden verify`` belongs to the group
    ``golden``, and the help of those groups."""

    name: str
    version: str
    help: str
    commands: Mapping[str, Command]
    groups: Mapping[str, str]


def arguments_of(command: Command) -> list[Argument]:
    """The parameters of a command, in order."""
    hints = get_type_hints(command, include_extras=True)
    return [
        _argument(parameter.name, hints[parameter.name], parameter.default)
        for parameter in inspect.signature(command).parameters.values()
    ]


def _argument(name: str, annotation: Any, default: Any) -> Argument:
    kind, text, *short = get_args(annotation)
    if get_origin(kind) is types.UnionType:  # X | None
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    repeated = get_origin(kind) is list
    if repeated:
        (kind,) = get_args(kind)
    return Argument(name, kind, text, default, repeated, tuple(short))
