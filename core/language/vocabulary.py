"""The closed vocabulary of rules: the functions of ``xp`` in ``update`` and in ``scalars``.

``minimum``, ``maximum``, ``sign`` and ``cube_root`` are composites here, on every target and on the
reference too, because the libraries' own disagree: on NaN and on -0.0, and in the last bits of a
cube root.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .matrix_functions import FUNCTIONS
from .matrix_words import MatrixWords
from .random_signs import random_signs

# an array, a tensor, a traced expression or a number: whatever the target computes with
Value = Any


class Vocabulary(MatrixWords):
    """The functions that ``update(xp, s, param, grad, *state)`` may call. A subclass defines all
    but the composites.

    ``per`` says what a reduction leaves: one number ``per="tensor"``, one ``per="row"`` (the sum
    along each row, or its largest absolute value) or one ``per="column"``.
    """

    def sqrt(self, x: Value) -> Value:
        raise NotImplementedError

    def abs(self, x: Value) -> Value:
        raise NotImplementedError

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        raise NotImplementedError

    def finite_or_zero(self, x: Value) -> Value:
        """Return ``x`` where it is finite, else 0: infinite and NaN parameters do not decay, and
        leave norms what they are for the others."""
        raise NotImplementedError

    def stored(self, x: Value) -> Value:
        """Return ``x`` rounded to what the parameter is stored in, and loaded again."""
        raise NotImplementedError

    def upper_half(self, x: Value) -> Value:
        """Return the bfloat16 that is nearest to the float32 ``x``, of two the one farther from
        zero."""
        raise NotImplementedError

    def lower_half(self, x: Value) -> Value:
        """Return how many float32 numbers ``x`` lies above its upper half, counted away from zero:
        a whole number from -32,768 to 32,767; 0 for NaN."""
        raise NotImplementedError

    def from_halves(self, upper: Value, lower: Value) -> Value:
        """Return the float32 that has these halves; ``upper`` itself if none has."""
        raise NotImplementedError

    def sum(self, x: Value, per: str = "tensor") -> Value:
        raise NotImplementedError

    def max_abs(self, x: Value, per: str) -> Value:
        """Return the largest absolute value ``per`` row or column; NaN where one is NaN."""
        raise NotImplementedError

    def size(self, x: Value, per: str = "tensor") -> Value:
        """Return the number of elements that ``sum(x, per)`` adds up, rounded to the compute
        dtype."""
        raise NotImplementedError

    def mean(self, x: Value, per: str = "tensor") -> Value:
        return self.sum(x, per) / self.size(x, per)

    def norm(self, x: Value, per: str = "tensor") -> Value:
        return self.sqrt(self.sum(x * x, per))

    def random_signs(self, x: Value, seed: Value, renewal: Value, per: str) -> Value:
        """Return 1 or -1 by chance, for each row or column of ``x``. They follow from two scalars,
        whole numbers from 0 to 2**24 that every compute dtype holds: a seed, and how often they
        were renewed. See `samestep.language.random_signs`."""
        raise NotImplementedError

    def cube_root(self, x: Value) -> Value:
        """Return the cube root of ``x``, which is not negative, within 1.5 units in the last place;
        NaN below 0. The libraries' own differ."""
        root = self.sqrt(x)
        near = self.sqrt(root)
        for _ in range(4):  # 1/4 + 1/16 + 1/64 + ... = 1/3
            near = self.sqrt(self.sqrt(near) * root)
        inverse = 1 / near
        for _ in range(4):  # each has three times as many correct digits
            off = 1 - x * inverse * inverse * inverse
            inverse = inverse + inverse * (off * (1 / 3 + 2 / 9 * off))
        near = x * inverse * inverse
        near = near + near * ((1 - near * inverse) * (2 / 3))
        return self.where(self.finite_or_zero(x) == 0, x, near)

    def sign(self, x: Value) -> Value:
        """1, -1, or ``x`` itself where it is a zero or NaN."""
        return self.where(x > 0, 1, self.where(x < 0, -1, x))

    def maximum(self, a: Value, b: Value) -> Value:
        """NaN if either is NaN; ``b`` if they are equal."""
        return self.where(a != a, a, self.where(b != b, b, self.where(a > b, a, b)))

    def minimum(self, a: Value, b: Value) -> Value:
        """NaN if either is NaN; ``b`` if they are equal."""
        return self.where(a != a, a, self.where(b != b, b, self.where(a < b, a, b)))


class HostScalars:
    """The functions that ``scalars(xp, step, carry, h)`` may call, in float64 on the host.

    ``pow`` and ``exp`` are the C library's: equal on machines with the same one, if all of them
    have fused multiply-add or none (glibc uses it where it is; docs/machines.md). Everything else
    is a correctly rounded operation or a fixed sequence of them. ``number`` is float, or
    numpy.float64, whose arithmetic is the same but slower, and which divides by zero as IEEE has
    it.
    """

    def __init__(self, number: type) -> None:
        self.number = number

    def sqrt(self, x: Value) -> Value:
        return self.number(math.sqrt(x) if x >= 0 else math.nan)

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        return self.number(a) if condition else self.number(b)

    def ipow(self, x: Value, n: Value) -> Value:
        """``x`` to the integer power ``n >= 0``, by square-and-multiply from the lowest bit."""
        result, base, exponent = 1.0, float(x), int(n)
        while exponent > 1:
            if exponent & 1:
                result *= base
            base *= base
            exponent >>= 1
        return self.number(result * base if exponent else result)

    def pow(self, x: Value, y: Value) -> Value:
        try:
            return self.number(math.pow(x, y))
        except ValueError:  # C returns a value here where Python raises
            return self.number(math.inf if x == 0 else math.nan)
        except OverflowError:
            odd = float(y).is_integer() and float(y) % 2 == 1
            return self.number(-math.inf if x < 0 and odd else math.inf)

    def exp(self, x: Value) -> Value:
        try:
            return self.number(math.exp(x))
        except OverflowError:
            return self.number(math.inf)


HOST = HostScalars(float)
IEEE = HostScalars(np.float64)


class NumpyVocabulary(Vocabulary):
    """The ``xp`` of ``update`` on NumPy arrays of one compute dtype, for parameters that are stored
    in ``storage``."""

    def __init__(self, dtype: np.dtype[Any], storage: np.dtype[Any]) -> None:
        self.dtype, self.storage = dtype, storage

    def sqrt(self, x: Any) -> Any:
        return np.sqrt(self._typed(x))

    def abs(self, x: Any) -> Any:
        return np.abs(self._typed(x))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        return np.where(condition, self._typed(a), self._typed(b))

    def finite_or_zero(self, x: Any) -> Any:
        finite = np.isfinite(x)
        # as nearly always, and `where` takes five times as long as looking; bytes are searched
        # for a zero in half the time that all() takes
        if 0 not in finite.tobytes():
            return self._typed(x)
        return np.where(finite, x, self._typed(0))

    def stored(self, x: Any) -> Any:
        return self._typed(x).astype(self.storage).astype(self.dtype)

    def random_signs(self, x: Any, seed: Any, renewal: Any, per: str) -> Any:
        rows, columns = x.shape
        signs = random_signs(0, rows if per == "row" else columns, seed, renewal)
        return signs.astype(self.dtype).reshape((-1, 1) if per == "row" else (1, -1))

    def upper_half(self, x: Any) -> Any:
        x = np.asarray(x, np.float32)
        bits = (x.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
        return np.where(x == x, bits.view(np.float32), x).astype(self.dtype)

    def lower_half(self, x: Any) -> Any:
        x = np.asarray(x, np.float32)
        lower = x.view(np.uint32).astype(np.uint16).view(np.int16)
        return np.where(x == x, lower, 0).astype(self.dtype)

    def from_halves(self, upper: Any, lower: Any) -> Any:
        upper = np.asarray(upper, np.float32)
        bits = upper.view(np.uint32) + np.asarray(lower).astype(np.int32).view(np.uint32)
        x = bits.view(np.float32)
        return np.where(x == x, x, upper).astype(self.dtype)

    def _of_matrix(self, name: str, *args: Any, dtype: str | None = None) -> Any:
        # where a text is compared with its trace; backends call the function between stages
        function = FUNCTIONS[name]
        values = [np.array(value)[None] for value in args[: len(function.values)]]
        memory, library = [], {"library": np} if function.decomposes else {}
        if function.memory is not None:
            memory = [np.empty(function.memory(*args[0].shape), self.dtype)]
        if not function.overwrites:
            values.append(np.empty((1, *function.shape(values)), values[-1].dtype))
        function.compute(np.matmul, *values, *memory, *args[len(function.values) :], **library)
        return values[0 if function.overwrites else -1][0]

    def _typed(self, x: Any) -> Any:
        return self.dtype.type(x) if isinstance(x, (int, float)) else x
