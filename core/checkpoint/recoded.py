"""States of one codec as another one stores them: what a snapshot has, and an optimizer keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..language.blockwise import BLOCKWISE, Blockwise, scales_of
from ..language.rule import Rule


def recoded(
    arrays: Mapping[str, Any],
    saved: Rule,
    rule: Rule,
    shape: tuple[int, ...],
    to_numpy: Callable[[Any], Any],
    where: str,
) -> dict[str, Any]:
    """Return the arrays of the states of a parameter of this ``shape`` as ``rule`` stores them,
    where that is in blocks; others as float32, to be rounded where they are written. ``saved`` is
    the variant that stored them.

    What has the codec that it is to have is taken as it is. Codes are loaded exactly, so that each
    state is rounded once. A state that ``arrays`` does not have is left out. Raises ValueError,
    beginning with ``where``, for another shape, or scales that are not one for each block.
    """
    found: dict[str, Any] = {}
    for name in [n for n in rule.state if n in arrays]:
        old, new = (BLOCKWISE.get(each.storage.get(name, "")) for each in (saved, rule))
        values = arrays[name]
        if old is new:
            found[name] = values
            if old is not None:
                found[scales_of(name)] = arrays[scales_of(name)]
            continue
        values = to_numpy(values)
        if old is not None:
            scales = to_numpy(arrays[scales_of(name)])
            values = _loaded(old, values, scales, shape, f"{where}{name}")
        elif tuple(values.shape) != tuple(shape):
            raise ValueError(
                f"{where}{name} has shape {tuple(values.shape)}; expected {tuple(shape)}"
            )
        if new is not None:
            codes, found[scales_of(name)] = new.store(values.astype(np.float32).reshape(-1))
            values = codes.reshape(new.shape(values.shape))
        found[name] = values
    return {name: found[name] for name in rule.arrays if name in found}


def _loaded(codec: Blockwise, codes: Any, scales: Any, shape: tuple[int, ...], what: str) -> Any:
    """Return the elements, float32, in the parameter's shape."""
    size = math.prod(shape)
    expected, blocks = codec.shape(shape), (codec.count(size),)
    if (codes.dtype.name, codes.shape, scales.shape) != (codec.dtype, expected, blocks):
        raise ValueError(
            f"{what} has codes of {codes.dtype} and shape {codes.shape}, and scales of shape "
            f"{scales.shape}; expected {codec.dtype}, {expected} and {blocks}"
        )
    return codec.load(codes.reshape(-1), scales, size).reshape(shape)
