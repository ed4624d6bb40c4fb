"""The tracer: a rule's text, called once with symbolic values, leaves an expression graph.

The NumPy reference runs a rule's own text and PyTorch records it as operations of its own; neither
computes with this graph. Numba, C and CUDA print it. It is small on purpose: no dtypes, no shapes
beyond "per what" a value exists, no control flow.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .names import PER, check_names
from .refusals import Closed, Words, attributes
from .rule import Rule
from .scalars import row_and_carry
from .vocabulary import Vocabulary

COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
LEAVES = frozenset({"input", "scalar", "constant", "size"})
WORDS = "sqrt abs sign minimum maximum where sum mean norm size"
HOST_WORDS = "sqrt where ipow pow exp"
_serial = itertools.count()


class Expr(Closed):
    """One operation of a traced rule.

    ``per`` says how many of it there are: one for the whole launch row ("scalar"), one per
    "tensor", per "row", per "column", or one per "element"; in ``scalars`` it is "host". ``name``
    is the local variable the rule's text first bound it to, or None.
    """

    __slots__ = ("args", "name", "op", "per", "serial", "value")
    __hash__ = object.__hash__

    def __init__(
        self, op: str, args: tuple[Expr, ...], per: str, name: str | None = None, value: Any = None
    ) -> None:
        self.op, self.args, self.per, self.name, self.value = op, args, per, name, value
        self.serial = next(_serial)

    def __repr__(self) -> str:
        return self.name or f"{self.op}({', '.join(map(repr, self.args))})"

    def __add__(self, other: Any) -> Expr:
        return operation("+", self, other)

    def __radd__(self, other: Any) -> Expr:
        return operation("+", other, self)

    def __sub__(self, other: Any) -> Expr:
        return operation("-", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return operation("-", other, self)

    def __mul__(self, other: Any) -> Expr:
        return operation("*", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return operation("*", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return operation("/", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return operation("/", other, self)

    def __iadd__(self, other: Any) -> Expr:
        return self._in_place("+", other)

    def __isub__(self, other: Any) -> Expr:
        return self._in_place("-", other)

    def __imul__(self, other: Any) -> Expr:
        return self._in_place("*", other)

    def __itruediv__(self, other: Any) -> Expr:
        return self._in_place("/", other)

    def _in_place(self, op: str, other: Any) -> Expr:
        """What is a number on the host is a new one; an array may be the caller's own."""
        if self.per == "host":
            return operation(op, self, other)
        raise TypeError(
            f"{op}= changes an array in place, maybe the caller's; write {self.name or 'x'} = "
            f"{self.name or 'x'} {op} ..."
        )

    def __neg__(self) -> Expr:
        return operation("neg", self)

    def __abs__(self) -> Expr:
        return operation("abs", self)

    def __lt__(self, other: Any) -> Expr:
        return operation("<", self, other)

    def __le__(self, other: Any) -> Expr:
        return operation("<=", self, other)

    def __gt__(self, other: Any) -> Expr:
        return operation(">", self, other)

    def __ge__(self, other: Any) -> Expr:
        return operation(">=", self, other)

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]
        return operation("==", self, other)

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return operation("!=", self, other)


def as_expr(value: Any) -> Expr:
    """``value`` itself, or a number as a constant of the compute dtype."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float)) and not hasattr(value, "dtype"):
        return Expr("constant", (), "scalar", value=float(value))
    raise TypeError(f"a rule computes with numbers and its arguments only, not {value!r}")


def operation(op: str, *operands: Any) -> Expr:
    """A new node for ``op``; checks that only ``where`` takes a comparison's result, and first."""
    args = tuple(map(as_expr, operands))
    for position, arg in enumerate(args):
        if (arg.op in COMPARISONS) != (op == "where" and position == 0):
            raise TypeError(f"{op}: comparisons are for the condition of xp.where, and only for it")
    return Expr(op, args, _join(args))


def _join(args: tuple[Expr, ...]) -> str:
    kinds = {arg.per for arg in args} - {"scalar"}
    if "host" in kinds:
        return "host"
    if "element" in kinds or {"row", "column"} <= kinds:
        return "element"
    for per in ("row", "column", "tensor"):
        if per in kinds:
            return per
    return "scalar"


class TracedVocabulary(Words, Vocabulary):
    """``xp`` for ``update``. The composites stay one node each, so that printed source can say
    ``maximum(a, b)``; printers define them exactly as ``Vocabulary`` does. ``asked`` are the sums
    and sizes that the text asks for in its order, needed or not: whoever runs it computes all."""

    def __init__(self) -> None:
        self.asked: list[Expr] = []

    def sqrt(self, x: Any) -> Expr:
        return operation("sqrt", x)

    def abs(self, x: Any) -> Expr:
        return operation("abs", x)

    def where(self, condition: Any, a: Any, b: Any) -> Expr:
        return operation("where", condition, a, b)

    def sign(self, x: Any) -> Expr:
        return operation("sign", x)

    def maximum(self, a: Any, b: Any) -> Expr:
        return operation("maximum", a, b)

    def minimum(self, a: Any, b: Any) -> Expr:
        return operation("minimum", a, b)

    def sum(self, x: Any, per: str = "tensor") -> Expr:
        result = Expr("sum", (_summand(x, per),), per)
        self.asked.append(result)
        # what crosses to the next pass is the total, not the chunks' partial sums
        return operation("total", result) if per == "tensor" else result

    def size(self, x: Any, per: str = "tensor") -> Expr:
        size = Expr("size", (), "tensor", None, (_summand(x, per).per, per))
        self.asked.append(size)
        return size


def _summand(x: Any, per: str) -> Expr:
    if per not in PER:
        raise ValueError(f'per must be "tensor", "row" or "column", not {per!r}')
    value = as_expr(x)
    if value.per != "element" and (value.per, per) != ("row", "tensor"):
        raise TypeError(f"cannot sum per {per} a value that exists per {value.per}")
    return value


class TracedScalars(Words):
    """``xp`` for ``scalars``."""

    def sqrt(self, x: Any) -> Expr:
        return operation("sqrt", x)

    def where(self, condition: Any, a: Any, b: Any) -> Expr:
        return operation("where", condition, a, b)

    def ipow(self, x: Any, n: Any) -> Expr:
        return operation("ipow", x, n)

    def pow(self, x: Any, y: Any) -> Expr:
        return operation("pow", x, y)

    def exp(self, x: Any) -> Expr:
        return operation("exp", x)


def trace_scalars(rule: Rule) -> tuple[dict[str, Expr], dict[str, Expr]]:
    """The graph of ``rule.scalars``: the row and the new carry, by name. Leaves are named
    ``step``, ``carry.name``, ``h.name`` and ``h.name[i]``."""

    def leaf(name: str) -> Expr:
        return Expr("input", (), "host", name)

    hyper = {
        name: tuple(leaf(f"h.{name}[{i}]") for i in range(len(default)))
        if isinstance(default, tuple)
        else leaf(f"h.{name}")
        for name, default in rule.defaults.items()
    }
    h = attributes("h has no hyperparameter {!r}", hyper)
    carry = attributes("carry has no {!r}", {name: leaf(f"carry.{name}") for name in rule.carry})
    with _explained(rule, "scalars", HOST_WORDS):
        result = _with_local_names(rule.scalars, TracedScalars(), leaf("step"), carry, h)
    row, new_carry = row_and_carry(rule, result)
    check_names("scalar", row, f"rule {rule.name!r}: ", {"grad_coefficient"})
    with _explained(rule, "scalars", HOST_WORDS):
        return (
            {name: as_expr(value) for name, value in row.items()},
            {name: as_expr(value) for name, value in new_carry.items()},
        )


def trace_update(rule: Rule) -> tuple[dict[str, Expr], list[Expr]]:
    """The graph of ``rule.update``: the new value of ``param`` and of each state, by name; and
    the sums and sizes that the text asks for, needed or not."""
    known = {name: Expr("scalar", (), "scalar", name) for name in trace_scalars(rule)[0]}
    scalars = attributes("update uses s.{}, which scalars does not return", known)
    inputs = [Expr("input", (), "element", name) for name in ("param", "grad")]
    inputs += [Expr("input", (), rule.per.get(name, "element"), name) for name in rule.state]
    xp, names = TracedVocabulary(), ("param", *rule.state)
    with _explained(rule, "update", WORDS):
        results = _with_local_names(rule.update, xp, scalars, *inputs)
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != len(names):
        raise TypeError(
            f"rule {rule.name!r}: update must return {', '.join(names)}; it returned "
            f"{len(results)} values"
        )
    with _explained(rule, "update", WORDS):
        found = dict(zip(names, map(as_expr, results), strict=True))
        if any(value.op in COMPARISONS for value in found.values()):
            raise TypeError("update returned a comparison")
    return found, xp.asked


@contextlib.contextmanager
def _explained(rule: Rule, function: str, words: str) -> Iterator[None]:
    """Errors of a rule's text say whose it is, and what it may use."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"rule {rule.name!r}: {error}; {function} may use its arguments, numbers, + - * /, "
            f"comparisons in xp.where, and xp.{words.replace(' ', ', xp.')}"
        ) from error


def _with_local_names(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function``, naming each traced value after the first local variable it is bound to,
    in its own text or in that of what it wraps."""
    functions = (function, inspect.unwrap(function))
    texts = {f.__code__.co_filename for f in functions if hasattr(f, "__code__")}

    def name_locals(frame: FrameType, event: str, arg: Any) -> Any:
        for name, value in frame.f_locals.items():
            if isinstance(value, Expr) and value.name is None:
                value.name = name
        return name_locals

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return name_locals if frame.f_code.co_filename in texts else None

    previous = sys.gettrace()
    try:
        sys.settrace(enter)  # an interrupt may come after this call, so it is in here
        return function(*args)
    finally:
        sys.settrace(previous)
