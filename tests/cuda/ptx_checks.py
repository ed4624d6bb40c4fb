"""Which instructions of PTX an exact kernel may not contain."""

from __future__ import annotations

import re

import ptx

INEXACT = ("fma", "approx", "ftz", "full", "sat", "ex2", "lg2", "sin", "cos", "tanh", "rsqrt")
ROUNDED = ("add", "sub", "mul", "div", "sqrt", "rcp")


def complaints(kernel: ptx.Kernel) -> list[str]:
    """Instructions that may not have the bits of the reference, or are not known to touch global,
    shared or parameter memory only."""
    found = []
    for instruction in kernel.code:
        name, *parts = instruction.opcode
        is_float = parts and re.fullmatch(r"f(16|32|64)(x2)?|bf16(x2)?", parts[-1])
        if set(instruction.opcode) & set(INEXACT):
            found.append(f"inexact: {instruction.text}")
        elif is_float and (name == "mad" or (name in ROUNDED and "rn" not in parts)):
            found.append(f"may be contracted: {instruction.text}")
        elif name in ("ld", "st", "atom", "red") and not set(parts) & {"global", "shared", "param"}:
            found.append(f"generic or local access: {instruction.text}")
    return found
