"""The tracer: it calls a rule's functions once with symbolic values and returns the expression
graph.

The NumPy reference runs a rule's own text and does not compute with this graph. Numba, C and CUDA
print it, PyTorch runs its operations. It is small on purpose: no dtypes, no shapes
beyond "per what" a value exists, no control flow.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ..pages import see
from . import matrix_words, refusals, vocabulary
from .blocks import PAIRS, WHOLE
from .matrix_functions import FUNCTIONS
from .names import PER, check_names
from .places import place_of_error, place_of_function
from .refusals import Closed, Words, attributes, words_of
from .results import as_tuple
from .rounding import KEY
from .scalars import row_and_carry
from .vocabulary import Vocabulary

ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "truediv"}
COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
LEAVES = frozenset({"input", "scalar", "constant", "size"})
REDUCTIONS = frozenset({"sum", "largest"})
# files of what a rule is written in, whose own variables name nothing
NAMELESS = {__file__, refusals.__file__, as_tuple.__code__.co_filename}
NAMELESS |= {vocabulary.__file__, matrix_words.__file__}
_serial = itertools.count()


class Expr(Closed):
    """One operation of a traced rule.

    ``per`` says how many of it there are: one for the whole launch row ("scalar"), one per
    "tensor", per "row", per "column", per pair of rows or columns, a rank of them per row or
    column, or one per "element"; in ``scalars`` it is "host". ``name`` is the local variable the
    rule's text first bound it to, or None.
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

    def _in_place(self, op: str, other: Any) -> Expr:
        """Return a new number on the host; an array may be the caller's own, so it is refused."""
        if self.per == "host":
            return operation(op, self, other)
        raise TypeError(
            f"{op}= changes an array in place, maybe the caller's; write {self.name or 'x'} = "
            f"{self.name or 'x'} {op} ..."
        )


def as_expr(value: Any) -> Expr:
    """Return ``value`` itself, or a number as a constant of the compute dtype. Raise TypeError for
    anything else."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float)) and not hasattr(value, "dtype"):
        return Expr("constant", (), "scalar", value=float(value))
    raise TypeError(f"a rule computes with numbers and its arguments only, not {value!r}")


def operation(op: str, *operands: Any) -> Expr:
    """Return a new node for ``op``. Raise TypeError if anything but the first operand of ``where``
    is a comparison."""
    args = tuple(map(as_expr, operands))
    for position, arg in enumerate(args):
        if (arg.op in COMPARISONS) != (op == "where" and position == 0):
            raise TypeError(f"{op}: comparisons are for the condition of xp.where, and only for it")
    return Expr(op, args, _join(args))


for _op, _name in ARITHMETIC.items():
    setattr(Expr, f"__{_name}__", lambda x, other, op=_op: operation(op, x, other))
    setattr(Expr, f"__r{_name}__", lambda x, other, op=_op: operation(op, other, x))
    setattr(Expr, f"__i{_name}__", lambda x, other, op=_op: x._in_place(op, other))
for _op, _name in COMPARISONS.items():
    setattr(Expr, f"__{_name}__", lambda x, other, op=_op: operation(op, x, other))
for _op in ("neg", "abs"):
    setattr(Expr, f"__{_op}__", lambda x, op=_op: operation(op, x))


def _join(args: tuple[Expr, ...]) -> str:
    """Return the ``per`` of an operation's result. Raise TypeError for a square or a thin state."""
    found = {arg.per for arg in args} - {"scalar"}
    if found & WHOLE:
        kind, function = ("square", "row_gram") if found & PAIRS else ("thin", "outer_product")
        raise TypeError(
            f"a {kind} state is only for functions of whole matrices, such as xp.{function}"
        )
    if "host" in found:
        return "host"
    if "element" in found or {"row", "column"} <= found:
        return "element"
    for per in ("row", "column", "tensor"):
        if per in found:
            return per
    return "scalar"


class TracedVocabulary(Words, Vocabulary):
    """The ``xp`` of ``update`` while tracing. The composites stay one node each, so that printed
    source can say ``maximum(a, b)``; printers define them exactly as ``Vocabulary`` does. ``asked``
    are the reductions, sizes and random signs that the text asks for in its order, needed or not:
    whoever runs it computes all. With ``along_rows``, as in matrices, a sum over the tensor is that
    of the sums of its rows."""

    def __init__(self, along_rows: bool) -> None:
        self.asked: list[Expr] = []
        self.along_rows = along_rows
        self.reductions: dict[tuple[str, int, str], Expr] = {}

    def sqrt(self, x: Any) -> Expr:
        return operation("sqrt", x)

    def abs(self, x: Any) -> Expr:
        return operation("abs", x)

    def where(self, condition: Any, a: Any, b: Any) -> Expr:
        return operation("where", condition, a, b)

    def cube_root(self, x: Any) -> Expr:
        return operation("cube_root", x)

    def sign(self, x: Any) -> Expr:
        return operation("sign", x)

    def finite_or_zero(self, x: Any) -> Expr:
        return operation("finite_or_zero", x)

    def stored(self, x: Any) -> Expr:
        return operation("stored", x)

    def upper_half(self, x: Any) -> Expr:
        return operation("upper_half", x)

    def lower_half(self, x: Any) -> Expr:
        return operation("lower_half", x)

    def from_halves(self, upper: Any, lower: Any) -> Expr:
        return operation("from_halves", upper, lower)

    def maximum(self, a: Any, b: Any) -> Expr:
        return operation("maximum", a, b)

    def minimum(self, a: Any, b: Any) -> Expr:
        return operation("minimum", a, b)

    def _of_matrix(self, name: str, *args: Any, dtype: str | None = None) -> Expr:
        """Return a new node for a function of a whole matrix, whose value is the dtype of its
        products. Raise TypeError for an argument that is not one value per element, or the state
        that it takes, or a number that is no scalar."""
        function = FUNCTIONS[name]
        values, numbers = args[: len(function.values)], args[len(function.values) :]
        pair = next((per for value in values if (per := as_expr(value).per) in PAIRS), "pair")
        for value, per in zip(values, function.values, strict=True):
            expected = pair if per == "pair" else per
            if as_expr(value).per != expected:
                raise TypeError(
                    f"{name} is for a value per {expected}, not per {as_expr(value).per}"
                )
        for number in numbers:
            _check_scalar(name, number)
        per = pair if function.result == "pair" else function.result
        return Expr(name, tuple(map(as_expr, args)), per, value=dtype)

    def sum(self, x: Any, per: str = "tensor") -> Expr:
        summand = _summand(x, per)
        if self.along_rows and (summand.per, per) == ("element", "tensor"):
            summand = self._reduced("sum", summand, "row")
        result = self._reduced("sum", summand, per)
        self.asked.append(result)
        # what crosses to the next pass is the total, not the chunks' partial sums
        return operation("total", result) if per == "tensor" else result

    def max_abs(self, x: Any, per: str) -> Expr:
        value = _of_lines("largest", x, per)
        result = self._reduced("largest", operation("abs", value), per)
        self.asked.append(result)
        return result

    def _reduced(self, op: str, x: Expr, per: str) -> Expr:
        """Return a reduction of a value; there is one node of it, however often the text asks."""
        key = op, id(x), per
        if key not in self.reductions:
            self.reductions[key] = Expr(op, (x,), per)
        return self.reductions[key]

    def random_signs(self, x: Any, seed: Any, renewal: Any, per: str) -> Expr:
        _of_lines("random sign", x, per)
        for number in (seed, renewal):
            _check_scalar("random_signs", number)
        signs = Expr("random_signs", (seed, renewal), per)
        self.asked.append(signs)
        return signs

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


def _of_lines(what: str, x: Any, per: str) -> Expr:
    """Return a value that there is ``what`` of, one for each row or column. Raise ValueError or
    TypeError if there is none."""
    if per not in ("row", "column"):
        raise ValueError(f'per must be "row" or "column", not {per!r}')
    value = as_expr(x)
    if value.per != "element":
        raise TypeError(f"there is no {what} per {per} of a value that exists per {value.per}")
    return value


def _check_scalar(name: str, number: Any) -> None:
    if not isinstance(number, Expr) or number.op != "scalar":
        raise TypeError(f"{name} takes scalars as numbers, such as s.steps, not {number!r}")


class TracedScalars(Words):
    """The ``xp`` of ``scalars`` while tracing."""

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


def trace_scalars(rule: Any) -> tuple[dict[str, Expr], dict[str, Expr]]:
    """Return the graph of ``rule.scalars``: the row and the new carry, by name. Leaves are named
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
    with _explained(rule, "scalars", TracedScalars):
        result = _with_local_names(rule.scalars, TracedScalars(), leaf("step"), carry, h)
    row, new_carry = row_and_carry(rule, result)
    check_names("scalar", row, f"rule {rule.name!r}: ", {"grad_coefficient", *KEY})
    with _explained(rule, "scalars", TracedScalars):
        return (
            {name: as_expr(value) for name, value in row.items()},
            {name: as_expr(value) for name, value in new_carry.items()},
        )


def trace_update(rule: Any, along_rows: bool = False) -> tuple[dict[str, Expr], list[Expr]]:
    """Return the graph of ``rule.update``: the new value of ``param`` and of each state, by name;
    and the reductions and sizes that the text asks for, needed or not. ``along_rows``: see
    `TracedVocabulary`."""
    known = {name: Expr("scalar", (), "scalar", name) for name in trace_scalars(rule)[0]}
    scalars = attributes("update uses s.{}, which scalars does not return", known)
    inputs = [Expr("input", (), "element", name) for name in ("param", "grad")]
    inputs += [Expr("input", (), rule.per.get(name, "element"), name) for name in rule.state]
    xp, names = TracedVocabulary(along_rows), ("param", *rule.state)
    with _explained(rule, "update", TracedVocabulary):
        results = _with_local_names(rule.update, xp, scalars, *inputs)
    results = as_tuple(results)
    if len(results) != len(names):
        raise TypeError(
            f"rule {rule.name!r}: update must return {', '.join(names)}; it returned {len(results)} "
            f"values{place_of_function(rule.update)}{see('howto/rule.md')}"
        )
    with _explained(rule, "update", TracedVocabulary):
        found = dict(zip(names, map(as_expr, results), strict=True))
        if any(value.op in COMPARISONS for value in found.values()):
            raise TypeError("update returned a comparison")
        for name, value in found.items():
            per = rule.per.get(name, "element")
            if value.per != per and not WHOLE.isdisjoint((value.per, per)):
                raise TypeError(
                    f"{name} is kept per {per}, but update returns a value per {value.per}"
                )
    return found, xp.asked


@contextlib.contextmanager
def _explained(rule: Any, function: str, vocabulary: type) -> Iterator[None]:
    """Turn errors of a rule's text into TypeErrors that name the rule and what it may use."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"rule {rule.name!r}: {error}{place_of_error(error)}. {function} may use its arguments, numbers, + - * /, "
            f"comparisons in xp.where, and xp.{', xp.'.join(words_of(vocabulary))}{see('howto/rule.md')}"
        ) from error


def _with_local_names(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function``, naming each traced value after the first local variable it is bound to, in
    the text of the rule, of what it is composed with, and of functions that they call."""

    def name_locals(frame: FrameType, event: str, arg: Any) -> Any:
        for name, value in frame.f_locals.items():
            if isinstance(value, Expr) and value.name is None:
                value.name = name
        return name_locals

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return None if frame.f_code.co_filename in NAMELESS else name_locals

    previous = sys.gettrace()
    try:
        sys.settrace(enter)  # an interrupt may come after this call, so it is in here
        return function(*args)
    finally:
        sys.settrace(previous)
