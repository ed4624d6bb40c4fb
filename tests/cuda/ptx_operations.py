"""What arithmetic instructions of PTX compute, as functions of NumPy arrays.

Only what an exact kernel may contain: an operation on floats that may be contracted, approximate
or flushing has no entry here, so that executing one is an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from ptx import TYPES, Instruction

Function = Callable[..., Any]


class Fault(Exception):  # noqa: N818  (what hardware calls it)
    """Something that hardware would fault on, or whose result is undefined or not exact."""


EXACT = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
    "rcp": lambda x: np.divide(x.dtype.type(1), x),
}
BITWISE = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert}
INTEGER = {
    **BITWISE,
    "add": np.add,
    "sub": np.subtract,
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
}
ORDERED = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def function(instruction: Instruction) -> tuple[Function, list[np.dtype], np.dtype]:
    """The function of the source operands, their dtypes, and the dtype of the result.

    Raises
    ------
    Fault
        For an instruction that is not modelled, or is not exact.
    """
    name, *modifiers, last = instruction.opcode
    if last not in TYPES:
        raise Fault(f"not modelled: {instruction.text}")
    dtype = instruction.dtype
    found: tuple[Function, list[np.dtype], np.dtype] | None = None
    if name == "setp":
        found = _comparison(modifiers, dtype)
    elif name == "cvt" and modifiers:
        found = _conversion(modifiers, dtype)
    elif name == "selp" and not modifiers:
        choose = lambda a, b, p: np.where(p, a, b)  # noqa: E731
        found = choose, [dtype, dtype, TYPES["pred"]], dtype
    elif dtype.kind == "f":
        if modifiers == ["rn"] and name in EXACT:
            found = EXACT[name], [dtype] * (1 if name in ("sqrt", "rcp") else 2), dtype
        elif not modifiers and name in ("neg", "abs"):
            found = {"neg": np.negative, "abs": np.abs}[name], [dtype], dtype
    elif dtype.kind == "b":
        if name in BITWISE and not modifiers:
            found = BITWISE[name], [dtype] * (1 if name == "not" else 2), dtype
    else:
        found = _integer(name, modifiers, dtype)
    if found is None:
        raise Fault(f"not exact, or not modelled: {instruction.text}")
    return found


def _integer(
    name: str, modifiers: list[str], dtype: np.dtype
) -> tuple[Function, list[np.dtype], np.dtype] | None:
    if name in ("shl", "shr") and not modifiers:
        return _shift(name == "shl", dtype), [dtype, TYPES["u32"]], dtype
    if name in ("mul", "mad") and modifiers in (["lo"], ["wide"]):
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}") if modifiers == ["wide"] else dtype
        if name == "mul":
            return lambda a, b: a.astype(wide) * b.astype(wide), [dtype, dtype], wide
        return lambda a, b, c: a.astype(wide) * b.astype(wide) + c, [dtype, dtype, wide], wide
    if name in ("div", "rem") and dtype.kind == "u" and not modifiers:
        return _division(name == "div"), [dtype, dtype], dtype
    if name == "popc" and not modifiers:
        return lambda x: np.bitwise_count(x).astype(np.uint32), [dtype], TYPES["u32"]
    if name == "prmt" and not modifiers:
        return _permute, [dtype, dtype, dtype], dtype
    if name == "bfi" and dtype.itemsize == 4 and not modifiers:
        return _insert, [dtype, dtype, TYPES["u32"], TYPES["u32"]], dtype
    if name in INTEGER and not modifiers:
        return INTEGER[name], [dtype] * (1 if name in ("not", "neg", "abs") else 2), dtype
    return None


def _division(quotient: bool) -> Function:
    def divide(a: Any, b: Any) -> Any:
        if np.any(b == 0):
            raise Fault("integer division by zero")
        return a // b if quotient else a % b

    return divide


def _permute(a: Any, b: Any, selectors: Any) -> Any:
    """Four of the eight bytes of ``b`` and ``a``, each chosen by four bits."""
    both = np.uint64(b) << np.uint64(32) | np.uint64(a)
    result = np.zeros(np.shape(both), np.uint32)
    for place in range(4):
        selector = (selectors >> np.uint32(4 * place)) & np.uint32(0xF)
        byte = (both >> (np.uint64(8) * np.uint64(selector & 7))) & np.uint64(0xFF)
        sign = np.where(byte & np.uint64(0x80), np.uint64(0xFF), np.uint64(0))
        byte = np.where(selector & 8, sign, byte)
        result |= byte.astype(np.uint32) << np.uint32(8 * place)
    return result


def _insert(a: Any, b: Any, start: Any, count: Any) -> Any:
    """The lowest ``count`` bits of ``a`` in the place of those of ``b`` from bit ``start`` on, as
    far as there are such."""
    start, count = (np.minimum(x & 0xFF, 32).astype(np.uint64) for x in (start, count))
    mask = ((np.uint64(1) << count) - np.uint64(1)) << start
    found = np.uint64(b) & ~mask | np.uint64(a) << start & mask
    return (found & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _shift(left: bool, dtype: np.dtype) -> Function:
    """Shifts by the width or more give 0, or the sign's copies."""
    bits = 8 * dtype.itemsize

    def shift(x: Any, count: Any) -> Any:
        most = np.minimum(count, bits - 1).astype(dtype)
        shifted = x << most if left else x >> most
        return np.where(
            count < bits, shifted, x >> dtype.type(bits - 1) if dtype.kind == "i" else 0
        )

    return shift


def _comparison(
    modifiers: list[str], dtype: np.dtype
) -> tuple[Function, list[np.dtype], np.dtype] | None:
    compare = _comparator(modifiers[0], dtype) if modifiers else None
    if compare is None or len(modifiers) > 2:
        return None
    if len(modifiers) == 1:
        return compare, [dtype, dtype], TYPES["pred"]
    if modifiers[1] not in ("and", "or", "xor"):
        return None
    join = BITWISE[modifiers[1]]
    return lambda a, b, p: join(compare(a, b), p), [dtype, dtype, TYPES["pred"]], TYPES["pred"]


def _comparator(name: str, dtype: np.dtype) -> Function | None:
    if dtype.kind != "f":
        return ORDERED.get(UNSIGNED.get(name, name))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name in ORDERED:
        return lambda a, b: ORDERED[name](a, b) & ~(np.isnan(a) | np.isnan(b))
    if name[:-1] in ORDERED and name.endswith("u"):
        return lambda a, b: ORDERED[name[:-1]](a, b) | np.isnan(a) | np.isnan(b)
    return None


def _conversion(
    modifiers: list[str], source: np.dtype
) -> tuple[Function, list[np.dtype], np.dtype] | None:
    *rounding, target_name = modifiers
    target = TYPES.get(target_name)
    if target is None or target.kind == "b" or source.kind == "b":
        return None
    exact = target.kind == "f" and source.kind == "f" and target.itemsize > source.itemsize
    whole = target.kind != "f" and source.kind != "f"
    rounded = target.kind == "f" and rounding == ["rn"]
    truncated = target.kind != "f" and source.kind == "f" and rounding == ["rzi"]
    if ((exact or whole) and not rounding) or (rounded and target != source) or truncated:
        return lambda x: x.astype(target), [source], target
    return None
