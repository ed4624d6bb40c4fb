"""A rule's text may read constants from outside itself: numbers of its module, or of a function
that made it.

Most backends run a trace, in which such a number is what it was when the rule was traced; the
reference runs the text. So a number that changes later is an error, and what could change unseen is
refused.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .kept import kept
from .places import place_of_function
from .rule import Rule

NUMBERS = (bool, int, float)
CHANGEABLE = (dict, list, set, bytearray)


@dataclass(frozen=True)
class Constant:
    """A number that a rule reads from outside: its name, where it is read, and what it was."""

    name: str
    read: Callable[[], Any]
    value: float

    def check(self, rule: Rule) -> None:
        """Raise ValueError if it has another value now."""
        now = self.read()
        if now is not self.value and now != self.value:
            raise ValueError(
                f"rule {rule.name!r} reads {self.name}, which is {now!r} now and was {self.value!r} "
                "when it was traced; kernels go on with the old one. Make it a hyperparameter: "
                f"defaults=dict({self.name.rpartition('.')[2]}={self.value!r}), which may change at "
                "any step"
            )


@kept
def constants(rule: Rule) -> tuple[Constant, ...]:
    """Return the numbers that a rule's functions, and the functions that these call, read from
    outside. Raise TypeError if they read something whose contents may change unseen."""
    found: dict[tuple[int, str], Constant] = {}
    seen: set[int] = set()
    todo = [rule.scalars, rule.update]
    while todo:
        function = todo.pop()
        if id(function) in seen or not isinstance(function, FunctionType):
            continue
        seen.add(id(function))
        for name, read in _names_of(rule, function):
            value = read()
            if isinstance(value, FunctionType):
                todo.append(value)
            elif isinstance(value, Rule):
                todo += [value.scalars, value.update]
            elif isinstance(value, NUMBERS):
                found[id(function), name] = Constant(name, read, value)
            elif isinstance(value, CHANGEABLE):
                raise TypeError(
                    f"rule {rule.name!r}{place_of_function(function)} reads {name}, a "
                    f"{type(value).__name__}, whose contents may change unseen; use numbers or a "
                    "tuple for what is constant, and hyperparameters for what is not"
                )
    return tuple(found.values())


def check_constants(rule: Rule) -> None:
    """Raise ValueError if a number that ``rule`` reads from outside is not what it was at first."""
    for constant in constants(rule):
        constant.check(rule)


def _names_of(rule: Rule, function: FunctionType) -> list[tuple[str, Callable[[], Any]]]:
    try:
        return list(outside_names(function))
    except NameError as error:
        what = "; a hyperparameter reaches update as a scalar: scalars returns it, s has it"
        raise TypeError(
            f"rule {rule.name!r}: {error}{what if error.name == 'h' else ''}"
            f"{place_of_function(function)}"
        ) from None


def outside_names(function: FunctionType) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the names that ``function`` gets from outside, those of builtins left out, each with a
    function that reads it now. Of a module also the attributes that it reads, as
    ``module.name``."""
    closure = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, closure, strict=True):
        yield name, partial(getattr, cell, "cell_contents")
    names = function.__globals__
    for name, attribute in _globals_read(function.__code__):
        if name in names:
            yield name, partial(names.__getitem__, name)
            module = names[name]
            if attribute and isinstance(module, ModuleType) and hasattr(module, attribute):
                yield f"{name}.{attribute}", partial(getattr, module, attribute)
        elif not hasattr(builtins, name):
            message = f"{function.__name__} refers to {name}, which is not defined"
            raise NameError(message, name=name)


def _globals_read(code: CodeType) -> Iterator[tuple[str, str | None]]:
    """Yield the globals that code reads, each with the attribute that it reads of it, if any."""
    instructions = list(dis.get_instructions(code))
    for k, instruction in enumerate(instructions):
        if instruction.opname == "LOAD_GLOBAL":
            following = instructions[k + 1]
            attribute = (
                following.argval if following.opname in ("LOAD_ATTR", "LOAD_METHOD") else None
            )
            yield instruction.argval, attribute
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant)
