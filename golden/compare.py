"""The one comparison of arrays by their bits, and the one count of errors in ulps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .floats import FORMATS

Array = NDArray[Any]


def same_bits(actual: Any, expected: Any) -> bool:
    """Say whether two arrays have the same dtype, shape and bits.

    NaN equals NaN, whatever its payload and sign: IEEE 754 leaves those open. 0.0 and -0.0
    differ.
    """
    return first_difference(actual, expected) is None


def first_difference(actual: Any, expected: Any) -> str | None:
    """Describe the first difference between two arrays in words; None if `same_bits`."""
    a, b = np.asarray(actual), np.asarray(expected)
    if a.dtype != b.dtype:
        return f"dtype {a.dtype} instead of {b.dtype}"
    if a.shape != b.shape:
        return f"shape {a.shape} instead of {b.shape}"
    different = np.flatnonzero(differing(a, b))
    if not different.size:
        return None
    first = int(different[0])
    index = tuple(map(int, np.unravel_index(first, a.shape)))
    x, y = a.reshape(-1)[first], b.reshape(-1)[first]
    return f"{different.size} of {a.size} elements differ, first {index}: {_shown(x)} instead of {_shown(y)}"


def first_beyond(actual: Any, expected: Any, ulps: float) -> str | None:
    """Describe in words where two arrays are further apart than a tolerance; None if nowhere.

    An ulp here is that of the largest finite element of ``expected``, for all of them: what comes
    of products of matrices has errors of that size in small elements, too. What is infinite or NaN
    in one has to be so in the other.
    """
    a, b = np.asarray(actual), np.asarray(expected)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return first_difference(a, b)
    wide, truth = a.astype(np.float64).reshape(-1), b.astype(np.float64).reshape(-1)
    finite = np.isfinite(truth)
    largest = np.max(np.abs(truth[finite]), initial=0.0)
    same = np.where(finite, np.isfinite(wide), (wide == truth) | (np.isnan(wide) & np.isnan(truth)))
    errors = np.zeros(wide.shape)
    close = finite & same
    errors[close] = np.abs(wide[close] - truth[close]) / ulp_of(np.float64(largest), a.dtype)
    worst = int(np.argmax(np.where(same, errors, np.inf))) if a.size else 0
    if not a.size or (same[worst] and errors[worst] <= ulps):
        return None
    index = tuple(map(int, np.unravel_index(worst, a.shape)))
    x, y = a.reshape(-1)[worst], b.reshape(-1)[worst]
    return f"worst {index}: {_shown(x)} instead of {_shown(y)}, {errors[worst]:.1f} ulps of the largest off"


def differing(a: Array, b: Array) -> NDArray[np.bool_]:
    """Return which elements of two arrays of one dtype and shape differ, as a flat array."""
    a, b = _table(a), _table(b)
    bits = f"u{a.dtype.itemsize}"
    unlike = a.view(bits) != b.view(bits)
    if a.dtype.kind not in "biu":
        with np.errstate(invalid="ignore"):  # ml_dtypes warns of signalling NaN
            unlike &= ~(np.isnan(a) & np.isnan(b))
    each: NDArray[np.bool_] = unlike.any(axis=1)
    return each


def assert_same_bits(actual: Any, expected: Any, what: str = "array") -> None:
    """Raise AssertionError, with the first difference, unless `same_bits`."""
    difference = first_difference(actual, expected)
    if difference is not None:
        raise AssertionError(f"{what}: {difference}")


def ulp_errors(values: Array, truth: Array) -> Array:
    """Return the distances of ``values`` from the float64 ``truth``, in units in the last place.

    One ulp is the distance of neighbouring numbers of the dtype of ``values`` at the magnitude
    of the truth (in the subnormal range: the smallest subnormal). A value that is not finite is
    infinitely far off. Returns float64 of the same shape.
    """
    ulp = ulp_of(truth, values.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.abs(values.astype(np.float64) - truth) / ulp
    result: Array = np.where(np.isfinite(errors), errors, np.inf)
    return result


def ulp_of(truth: Any, dtype: np.dtype[Any]) -> Any:
    """Return the distance of neighbouring numbers of ``dtype`` at the magnitude of ``truth``."""
    form = FORMATS[dtype.name]
    _, exponent = np.frexp(truth)  # abs(truth) is in [2**(exponent - 1), 2**exponent)
    exponent = np.where(truth == 0, form.min_exponent + 1, exponent)
    return np.ldexp(1.0, np.maximum(exponent, form.min_exponent + 1) - form.precision)


def _table(array: Array) -> Array:
    """Return a line per element: its one number, or the two of a complex one."""
    flat = array.copy(order="C").reshape(-1)
    return np.stack([flat.real, flat.imag], 1) if flat.dtype.kind == "c" else flat[:, None]


def _shown(value: Any) -> str:
    bits = value.tobytes()[::-1].hex() if value.dtype.byteorder != ">" else value.tobytes().hex()
    return f"{value!s} (0x{bits})"
