"""The closed vocabulary of rules: the functions of ``xp`` in ``update`` and in ``scalars``.

``minimum``, ``maximum``, ``sign`` and ``cube_root`` are composites here, on every target and on the
reference too, because the libraries' own disagree: on NaN and on -0.0, and in the last bits of a
cube root.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .eigenbasis import eigenbasis
from .kronecker import (
    column_gram,
    inverse_root,
    multiplied,
    rotated,
    rotated_back,
    row_gram,
)
from .low_rank import (
    orthonormal_product,
    outer_product,
    random_start,
    transposed_product,
    unit_columns,
)
from .matrix_functions import newton_schulz, newton_schulz_memory
from .random_signs import random_signs
from .subspace import (
    divided_by_root,
    projected,
    projected_back,
    running_mean,
    running_mean_of_squares,
    singular_basis,
)
from .whitening import column_whitening, row_whitening

# an array, a tensor, a traced expression or a number: whatever the target computes with
Value = Any


class Vocabulary:
    """The functions that ``update(xp, s, param, grad, *state)`` may call. A subclass defines all but the
    composites.

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
        """Return ``x`` where it is finite, else 0: infinite and NaN parameters do not decay, and leave
        norms what they are for the others."""
        raise NotImplementedError

    def stored(self, x: Value) -> Value:
        """Return ``x`` rounded to what the parameter is stored in, and loaded again."""
        raise NotImplementedError

    def upper_half(self, x: Value) -> Value:
        """Return the bfloat16 that is nearest to the float32 ``x``, of two the one farther from zero."""
        raise NotImplementedError

    def lower_half(self, x: Value) -> Value:
        """Return how many float32 numbers ``x`` lies above its upper half, counted away from zero: a
        whole number from -32,768 to 32,767; 0 for NaN."""
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
        """Return the number of elements that ``sum(x, per)`` adds up, rounded to the compute dtype."""
        raise NotImplementedError

    def mean(self, x: Value, per: str = "tensor") -> Value:
        return self.sum(x, per) / self.size(x, per)

    def norm(self, x: Value, per: str = "tensor") -> Value:
        return self.sqrt(self.sum(x * x, per))

    def random_signs(self, x: Value, seed: Value, renewal: Value, per: str) -> Value:
        """Return 1 or -1 by chance, for each row or column of ``x``. They follow from two scalars, whole
        numbers from 0 to 2**24 that every compute dtype holds: a seed, and how often they were
        renewed. See `samestep.language.random_signs`."""
        raise NotImplementedError

    def newton_schulz(self, x: Value, *numbers: Value, dtype: str | None = None) -> Value:
        """Return `samestep.language.matrix_functions.newton_schulz` of ``x``, the parameter seen as a
        matrix: its first axis against all others. The numbers are scalars: ``s.a, s.b, s.c,
        s.steps``. ``dtype`` is that of its products, where it is not the compute dtype: "bfloat16"."""
        raise NotImplementedError

    def row_gram(self, x: Value, before: Value, keep: Value, add: Value) -> Value:
        """Return the square state ``keep * before + add * X X^T``, a number for each pair of rows. ``x`` is
        the parameter seen as a matrix, in blocks where it is large; the numbers are scalars."""
        raise NotImplementedError

    def column_gram(self, x: Value, before: Value, keep: Value, add: Value) -> Value:
        """Return the square state ``keep * before + add * X^T X``, a number for each pair of columns."""
        raise NotImplementedError

    def inverse_root(
        self, gram: Value, before: Value, refresh: Value, scale: Value, eps: Value, exponent: Value
    ) -> Value:
        """Return ``(scale * gram + eps I)^-exponent`` of a square state, or ``before`` where the scalar
        ``refresh`` is 0."""
        raise NotImplementedError

    def eigenbasis(self, gram: Value, before: Value, refresh: Value, start: Value) -> Value:
        """Return the eigenvectors of a square state, one a column, where the scalar ``start`` is not 0, else
        one step of power iteration from ``before``, or ``before`` where ``refresh`` is 0."""
        raise NotImplementedError

    def row_whitening(
        self, x: Value, before: Value, refresh: Value, start: Value, rate: Value, damping: Value
    ) -> Value:
        """Return a square state of pairs of rows, fitted so that the rows of ``x`` become white: see
        `samestep.language.whitening.row_whitening`. The numbers are scalars."""
        raise NotImplementedError

    def column_whitening(
        self, x: Value, before: Value, refresh: Value, start: Value, rate: Value, damping: Value
    ) -> Value:
        """Return a square state of pairs of columns, fitted as that of rows is."""
        raise NotImplementedError

    def multiplied(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left X right`` of ``x`` with a square state of its rows and one of its
        columns."""
        raise NotImplementedError

    def rotated(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left^T X right``."""
        raise NotImplementedError

    def rotated_back(self, x: Value, left: Value, right: Value) -> Value:
        """Return the products ``left X right^T``."""
        raise NotImplementedError

    def random_start(self, before: Value, first: Value, seed: Value) -> Value:
        """Return a thin state of the columns of numbers between -1 and 1, by chance, where the scalar ``first``
        is not 0, else ``before``. They follow from the scalar ``seed``, a whole number up to 2**24."""
        raise NotImplementedError

    def orthonormal_product(self, x: Value, right: Value) -> Value:
        """Return orthonormal columns that span those of ``X right``, a thin state of the rows: of ``x``, the
        parameter seen as a matrix, and a thin state of its columns. Columns that are too many are 0."""
        raise NotImplementedError

    def transposed_product(self, x: Value, left: Value) -> Value:
        """Return ``X^T left``, a thin state of the columns, of one of the rows."""
        raise NotImplementedError

    def unit_columns(self, x: Value, before: Value, eps: Value) -> Value:
        """Return a thin state of the columns, each of its columns divided by its norm and ``eps``; in the place
        of one of zeros that of ``before``."""
        raise NotImplementedError

    def outer_product(self, left: Value, right: Value) -> Value:
        """Return the matrix ``left right^T`` of a thin state of the rows and one of the columns."""
        raise NotImplementedError

    def singular_basis(self, x: Value, before: Value, refresh: Value) -> Value:
        """Return a thin state of the shorter side: the singular vectors of ``x``, the parameter seen as a matrix,
        that have the largest singular values, one a column; ``before`` where the scalar ``refresh`` is 0."""
        raise NotImplementedError

    def projected(self, x: Value, basis: Value) -> Value:
        """Return ``X basis``, or ``X^T basis`` of fewer rows than columns: a thin state of the longer side."""
        raise NotImplementedError

    def projected_back(self, x: Value, low: Value, basis: Value) -> Value:
        """Return the matrix, of the shape of ``x``, that a thin state of the longer side is in this basis."""
        raise NotImplementedError

    def running_mean(self, before: Value, x: Value, keep: Value, add: Value) -> Value:
        """Return ``keep * before + add * x`` of thin states of the longer side; the numbers are scalars."""
        raise NotImplementedError

    def running_mean_of_squares(self, before: Value, x: Value, keep: Value, add: Value) -> Value:
        """Return ``keep * before + add * x * x`` of thin states of the longer side."""
        raise NotImplementedError

    def divided_by_root(self, x: Value, squares: Value, eps: Value) -> Value:
        """Return ``x / (sqrt(squares) + eps)`` of thin states of the longer side."""
        raise NotImplementedError

    def cube_root(self, x: Value) -> Value:
        """Return the cube root of ``x``, which is not negative, within 1.5 units in the last place; NaN
        below 0. The libraries' own differ."""
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
    numpy.float64, whose arithmetic is the same but slower, and which divides by zero as IEEE has it.
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
    """The ``xp`` of ``update`` on NumPy arrays of one compute dtype, for parameters that are stored in
    ``storage``."""

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

    def newton_schulz(self, x: Any, *numbers: Any, dtype: str | None = None) -> Any:
        # where a text is compared with its trace; backends call the function between stages
        stack = np.array(x)[None]
        memory = np.empty(newton_schulz_memory(*x.shape), self.dtype)
        newton_schulz(np.matmul, stack, memory, *numbers)
        return stack[0]

    def row_gram(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(row_gram, before.shape, (x, before), *numbers)

    def column_gram(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(column_gram, before.shape, (x, before), *numbers)

    def inverse_root(self, gram: Any, before: Any, *numbers: Any) -> Any:
        return self._made(inverse_root, before.shape, (gram, before), *numbers, library=np)

    def eigenbasis(self, gram: Any, before: Any, *numbers: Any) -> Any:
        return self._made(eigenbasis, before.shape, (gram, before), *numbers, library=np)

    def row_whitening(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(row_whitening, before.shape, (x, before), *numbers)

    def column_whitening(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(column_whitening, before.shape, (x, before), *numbers)

    def multiplied(self, x: Any, left: Any, right: Any) -> Any:
        return self._between(multiplied, x, left, right)

    def rotated(self, x: Any, left: Any, right: Any) -> Any:
        return self._between(rotated, x, left, right)

    def rotated_back(self, x: Any, left: Any, right: Any) -> Any:
        return self._between(rotated_back, x, left, right)

    def random_start(self, before: Any, *numbers: Any) -> Any:
        return self._made(random_start, before.shape, (before,), *numbers, library=np)

    def orthonormal_product(self, x: Any, right: Any) -> Any:
        shape = len(x), right.shape[1]
        return self._made(orthonormal_product, shape, (x, right), library=np)

    def transposed_product(self, x: Any, left: Any) -> Any:
        return self._made(transposed_product, (x.shape[1], left.shape[1]), (x, left))

    def unit_columns(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(unit_columns, before.shape, (x, before), *numbers, library=np)

    def outer_product(self, left: Any, right: Any) -> Any:
        return self._made(outer_product, (len(left), len(right)), (left, right))

    def singular_basis(self, x: Any, before: Any, *numbers: Any) -> Any:
        return self._made(singular_basis, before.shape, (x, before), *numbers, library=np)

    def projected(self, x: Any, basis: Any) -> Any:
        return self._made(projected, (max(x.shape), basis.shape[1]), (x, basis))

    def projected_back(self, x: Any, low: Any, basis: Any) -> Any:
        stack = np.array(x)[None]
        projected_back(np.matmul, stack, low[None], basis[None])
        return stack[0]

    def running_mean(self, before: Any, x: Any, *numbers: Any) -> Any:
        return self._made(running_mean, x.shape, (before, x), *numbers)

    def running_mean_of_squares(self, before: Any, x: Any, *numbers: Any) -> Any:
        return self._made(running_mean_of_squares, x.shape, (before, x), *numbers)

    def divided_by_root(self, x: Any, squares: Any, *numbers: Any) -> Any:
        return self._made(divided_by_root, x.shape, (x, squares), *numbers)

    def _made(
        self, function: Any, shape: tuple[int, ...], values: Any, *numbers: Any, **library: Any
    ) -> Any:
        """Return what a function of these matrices writes to an array of this shape."""
        after = np.empty((1, *shape), values[-1].dtype)
        function(np.matmul, *(value[None] for value in values), after, *numbers, **library)
        return after[0]

    def _between(self, function: Any, x: Any, left: Any, right: Any) -> Any:
        stack = np.array(x)[None]
        function(np.matmul, stack, left[None], right[None], np.empty(x.size, self.dtype))
        return stack[0]

    def _typed(self, x: Any) -> Any:
        return self.dtype.type(x) if isinstance(x, (int, float)) else x
