"""Parameters and gradients of a case.

Every number is built from integers and is exact in its dtype, so nothing is rounded on the way
and the bytes are the same on every machine and with every version of NumPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from math import inf, ldexp, nan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.dtypes import numpy_dtype
from .floats import FORMATS, Format

Array = NDArray[Any]
Gradients = dict[str, Array | None]
Shapes = Mapping[str, tuple[int, ...]]

ORDINARY: Shapes = {"weight": (6, 11), "bias": (13,), "scale": ()}  # the oracle computes these
# the shapes of those that are no matrices, for rules that take only matrices
MATRICES: Shapes = {"bias": (13, 1), "scale": (1, 1), "special": (4, 8), "huge": (4, 4)}
PARAMETER_RANGE = (-1, 1)  # powers of two
GRADIENT_RANGE = (-6, -1)
STEPS = 10
LARGER_STEPS = 2  # larger tensors have gradients at the first steps only, so files stay small
ABSENT = (4, "bias")  # at this step this parameter has no gradient, so its step count lags
NONFINITE_STEP = 5  # the step whose gradient of "huge" has infinities and NaN


def parameters(name: str, dtype: str, larger: Shapes) -> dict[str, Array]:
    """Return the initial parameters of the case called ``name``; ``larger`` are the shapes of
    tensors that it has besides those of every case."""
    stream = splitmix64(f"{name} parameters")
    arrays = _random(stream, dtype, PARAMETER_RANGE, ORDINARY)
    arrays["special"] = _array(special(FORMATS[dtype]), dtype)
    arrays["huge"] = _array(huge(FORMATS[dtype]), dtype)
    return arrays | _larger(stream, dtype, PARAMETER_RANGE, larger)


def gradients(name: str, dtype: str, larger: Shapes) -> list[Gradients]:
    """Return one set of gradients per step; None where a parameter has none."""
    stream = splitmix64(f"{name} gradients")
    return [_gradients(stream, dtype, step, larger) for step in range(1, STEPS + 1)]


def _gradients(stream: Iterator[int], dtype: str, step: int, larger: Shapes) -> Gradients:
    arrays: Gradients = dict(_random(stream, dtype, GRADIENT_RANGE, ORDINARY))
    if step == ABSENT[0]:
        arrays[ABSENT[1]] = None
    large = _rotated(huge(FORMATS[dtype]), 3 * step)
    if step == NONFINITE_STEP:
        large[2], large[6], large[11] = inf, nan, -inf
    arrays["special"] = _array(_rotated(special(FORMATS[dtype]), 5 * step), dtype)
    arrays["huge"] = _array(large, dtype)
    if step <= LARGER_STEPS:
        arrays.update(_larger(stream, dtype, GRADIENT_RANGE, larger))
    else:
        arrays.update(dict.fromkeys(larger))
    return arrays


def leave_out(start: dict[str, Array], steps: list[Gradients], *names: str) -> None:
    """Leave out tensors that would decide a sum over all parameters by themselves, or whose squares
    have roots that rounding decides."""
    for each in (start, *steps):
        for name in names:
            del each[name]


def tame(start: dict[str, Array], steps: list[Gradients]) -> None:
    """Leave out what would decide the norm of all gradients by itself, but for one infinity."""
    leave_out(start, steps, "huge")
    unbounded = steps[NONFINITE_STEP - 1]["special"]
    assert unbounded is not None
    unbounded[2] = inf


def as_matrix(name: str, array: Array) -> Array:
    """Return the parameter of that name, or its gradient, in a shape of two axes or more."""
    return array.reshape(MATRICES.get(name, array.shape))


def special(form: Format) -> list[float]:
    """Return 32 numbers: zeros, subnormals, numbers whose square underflows, ordinary ones."""
    p, low = form.precision, form.min_exponent
    smallest = ldexp(1, low - p + 1)
    magnitudes = [
        0.0,
        smallest,
        3 * smallest,
        ldexp(1, low) - smallest,  # the largest subnormal number
        ldexp(1, low),  # the smallest normal one
        ldexp(1, low) + smallest,
        ldexp(1, low + p),
        ldexp(1.5, low // 2 - p),  # the square underflows
        ldexp(1, low // 2 - 2),  # the square is subnormal
        ldexp(1, low // 2),  # the square is not
        ldexp(1, -p),
        0.15625,
        0.75,
        1.0,
        2 - ldexp(1, 1 - p),  # all digits are ones
        3.0,
    ]
    return magnitudes + [-x for x in magnitudes]


def huge(form: Format) -> list[float]:
    """Return 16 numbers up to the largest one; the squares of most of them overflow in their
    dtype."""
    p, high = form.precision, form.max_exponent
    magnitudes = [
        ldexp(2 - ldexp(1, 1 - p), high),  # the largest number
        ldexp(1, high),
        ldexp(1, high - 2),
        ldexp(1.5, high // 2 + 1),
        ldexp(1, high // 2 + 1),  # the square overflows
        ldexp(1, high // 2),  # the square does not
        ldexp(1, high // 4),
        1.0,
    ]
    return magnitudes + [-x for x in magnitudes]


def splitmix64(seed: str) -> Iterator[int]:
    """Yield an endless stream of 64-bit integers (Steele, Lea & Flood, OOPSLA 2014)."""
    mask = 2**64 - 1
    state = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def _random(
    stream: Iterator[int], dtype: str, powers: tuple[int, int], shapes: Shapes
) -> dict[str, Array]:
    return {
        name: _array(
            [_number(next(stream), dtype, powers) for _ in range(prod(shape))], dtype, shape
        )
        for name, shape in shapes.items()
    }


def _larger(
    stream: Iterator[int], dtype: str, powers: tuple[int, int], shapes: Shapes
) -> dict[str, Array]:
    """Return numbers of which a few stand out, so that the order in which they are added shows in
    the sum."""
    arrays = _random(stream, dtype, powers, shapes)
    for array in arrays.values():
        array.reshape(-1)[:: 128 if array.size < 1024 else 1024] *= 64
    return arrays


def _number(bits: int, dtype: str, powers: tuple[int, int]) -> float:
    """Return a number of either sign with as many random digits as the dtype has: bit 63 is the
    sign, bits 11 to 62 are the digits, bits 0 to 10 choose the power of two."""
    p, (low, high) = FORMATS[dtype].precision, powers
    significand = 2 ** (p - 1) + (bits >> 11) % 2 ** (p - 1)
    magnitude = ldexp(significand, low + bits % 2**11 % (high - low) - (p - 1))
    return -magnitude if bits >> 63 else magnitude


def _array(numbers: list[float], dtype: str, shape: tuple[int, ...] = (-1,)) -> Array:
    return np.array(numbers).astype(numpy_dtype(dtype)).reshape(shape)


def _rotated(numbers: list[float], by: int) -> list[float]:
    by %= len(numbers)
    return numbers[by:] + numbers[:by]
