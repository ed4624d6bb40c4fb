"""A reader of golden files that needs NumPy alone, and a comparison of bits.

Exported Python files with a check contain the text of these functions; `samestep.golden.format`
is what this package itself uses.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def read_golden(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON fields and the arrays of a golden file; bfloat16 as uint16, its bits."""
    with open(path, "rb") as file:
        data = file.read()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        fields = json.loads(header.pop("__metadata__")["samestep"])
    except (ValueError, KeyError):
        raise SystemExit(f"{path}: is not a golden file") from None
    if fields["format_version"] != 2:
        raise SystemExit(f"{path}: not format version 2")
    dtypes = {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": "<u2",
        "I16": "<i2",
        "I8": "i1",
        "U8": "u1",
    }
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], dtypes[entry["dtype"]])
        arrays[name] = array.reshape(entry["shape"])
    return fields, arrays


def differing_elements(ours: Any, expected: Any, bfloat16: bool = False) -> int:
    """Count the elements that have other bits; any NaN equals any other."""
    ours = np.asarray(ours, expected.dtype).reshape(expected.shape)
    bits = f"u{expected.dtype.itemsize}"
    same = ours.reshape(-1).view(bits) == expected.reshape(-1).view(bits)
    if bfloat16:
        nan = [(array.reshape(-1) & 0x7FFF) > 0x7F80 for array in (ours, expected)]
    else:
        nan = [np.isnan(array.reshape(-1)) for array in (ours, expected)]
    return int(np.count_nonzero(~(same | (nan[0] & nan[1]))))
