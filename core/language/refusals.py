"""The operations that a traced value refuses: all that Python, NumPy or PyTorch would do with an
array and that is not in the vocabulary of rules.

The reference runs a rule's own text, so there much more would work, or seem to. Every
rule is traced once before it runs anywhere, and what is not for all backends fails then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from .names import closest

OPERATORS = {
    "**": ("pow", "rpow"), "%": ("mod", "rmod"), "//": ("floordiv", "rfloordiv"),
    "divmod": ("divmod", "rdivmod"), "@": ("matmul", "rmatmul"), "&": ("and", "rand"),
    "|": ("or", "ror"), "^": ("xor", "rxor"), "<<": ("lshift", "rlshift"),
    ">>": ("rshift", "rrshift"), "~": ("invert",), "[...]": ("getitem", "setitem", "delitem"),
    "len": ("len",), "in": ("contains",), "float": ("float", "index"), "int": ("int",),
    "complex": ("complex",), "round": ("round",), "with": ("enter", "exit"),
}  # fmt: skip
NO_NUMBER = (
    "a value stands for many numbers; leave out float and functions of math, use those of xp"
)
INSTEAD = {
    "**": "write grad * grad; in scalars xp.ipow(x, n) or xp.pow(x, y)",
    "[...]": "write m = ...; a value has no elements",
    "in": "use xp.where(condition, a, b)",
    "float": NO_NUMBER,
    "int": NO_NUMBER,
    "round": NO_NUMBER,
    "len": "use xp.size(grad)",
}
# what NumPy calls the operators of its own numbers
OF_OPERATORS = frozenset({"add", "subtract", "multiply", "divide", "negative"})


class Closed:
    """A value that can be used as an operand, and for nothing else."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a value has no attribute or method {name!r}: use functions of xp")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc.__name__ in OF_OPERATORS:
            raise TypeError(
                f"numpy.{ufunc.__name__} is not for rules, nor are numbers of NumPy's: "
                "write float(...) around such a number"
            )
        raise TypeError(f"numpy.{ufunc.__name__} is not for rules: use functions of xp")

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} is not for rules: use functions of xp")

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("a value is no array")

    def __bool__(self) -> bool:
        raise TypeError(
            "a value has no truth value: a rule has no control flow on values; "
            "use xp.where(condition, a, b)"
        )

    def __iter__(self) -> Any:
        raise TypeError("a value cannot be unpacked or iterated over")


def _refusing(message: str) -> Callable[..., Any]:
    def refuse(*operands: Any) -> Any:
        raise TypeError(message)

    return refuse


for _symbol, _names in OPERATORS.items():
    for _name in _names:
        _hint = f": {INSTEAD[_symbol]}" if _symbol in INSTEAD else ""
        setattr(Closed, f"__{_name}__", _refusing(f"{_symbol} is not for values{_hint}"))


class Words:
    """The base of traced vocabularies: an unknown word is an error that lists the known ones."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"xp has no {name!r}{meant(name, words_of(type(self)))}")


def words_of(vocabulary: type) -> list[str]:
    """Return the functions that a vocabulary has."""
    return [word for word in dir(vocabulary) if not word.startswith("_")]


def attributes(what: str, values: dict[str, Any]) -> SimpleNamespace:
    """Return an object with ``values`` as attributes (``h``, ``carry`` or ``s``). Any other name is
    an error that says ``what`` is missing and what there is."""

    class Attributes(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"{what.format(name)}{meant(name, vars(self))}")

    return Attributes(**values)


def meant(name: str, known: Iterable[str]) -> str:
    """Return a part of a message: the known name that is most like ``name``, or all of them."""
    known = list(known)
    close = closest(name, known)
    return f" (did you mean {close!r}?)" if close else f"; there are {', '.join(known) or 'none'}"
