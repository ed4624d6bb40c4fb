"""Formats that the library does not have: what they would cost in errors and losses.

States are computed and kept in float32 and passed through the format after each step, which gives
the numbers that an optimizer with such a format would have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from samestep.language.blockwise import in_blocks
from stored_formats import Array, Format

LARGEST, LEAST = np.float32(448), np.float32(2**-9)  # of float8_e4m3fn, above 0
# 4-bit Adam's (Li et al. 2023, arXiv:2309.01507) as torchao 0.18.0 has them
POSITIVE = (0.0055, 0.0325, 0.0775, 0.2125, 0.4375, 0.6625, 0.8875)
MAP = np.array(sorted([0.0, 1.0, *POSITIVE, *(-part for part in POSITIVE)]), np.float32)
MAP_OF_SQUARES = np.linspace(0, 1, 17)[1:].astype(np.float32)  # without 0


def through_float8(values: Array, size: int = 256) -> Array:
    """Return a vector as it is read back from float8_e4m3 in blocks, of the scale of their largest
    magnitude. A square above 0 does not become 0, beside which a mean would be divided by
    ``eps``."""
    blocks = in_blocks(values, size)
    scales = abs(blocks).max(axis=1, keepdims=True) / LARGEST
    with np.errstate(all="ignore"):
        parts = np.where(scales > 0, blocks / scales, np.float32(0))
    parts = parts.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    if (values >= 0).all():
        parts = np.where((blocks > 0) & (parts == 0), LEAST, parts)
    vector: Array = (parts * scales).reshape(-1)[: values.size]
    return vector


def through_dynamic4(values: Array, size: int = 128) -> Array:
    """Return a vector as it is read back from the nearest of 16 parts of a block's largest
    magnitude."""
    parts_of_scale = MAP_OF_SQUARES if (values >= 0).all() else MAP
    blocks = in_blocks(values, size)
    scales = abs(blocks).max(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        parts = np.where(scales > 0, blocks / scales, np.float32(0))
    middles = (parts_of_scale[1:] + parts_of_scale[:-1]) / np.float32(2)
    codes = np.searchsorted(middles, parts, side="right")
    vector: Array = (parts_of_scale[codes] * scales).reshape(-1)[: values.size]
    return vector


@dataclass(frozen=True)
class Candidate(Format):
    """A format that states are passed ``through``."""

    parts = ("bytes", "error", "text")
    through: Callable[[Array], Array] = through_float8

    def optimizer(self, params: Any, seed: int = 0) -> Any:
        return Passing(super().optimizer(params, seed), self.through)

    def torch_optimizer(self, params: list[Any], seed: int) -> Any:
        return Passing(super().torch_optimizer(params, seed), self.through)


class Passing:
    """An optimizer whose states are passed through a format after each step."""

    def __init__(self, inside: Any, through: Callable[[Array], Array]) -> None:
        self.inside, self.through = inside, through

    def zero_grad(self) -> None:
        self.inside.zero_grad()

    def step(self, *grads: Any) -> None:
        """Take a step, and store its states."""
        self.inside.step(*grads)
        entries = self.inside.state
        for entry in entries if isinstance(entries, list) else entries.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state = np.asarray(entry[name])  # the memory of a tensor, too
                state[...] = self.through(state.reshape(-1)).reshape(state.shape)


CANDIDATES = {
    each.name: each
    for each in (
        Candidate(
            "float32, states float8_e4m3", through=through_float8, bytes=4 + 2 * (1 + 4 / 256)
        ),
        Candidate(
            "float32, states dynamic4", through=through_dynamic4, bytes=4 + 2 * (0.5 + 4 / 128)
        ),
    )
}
