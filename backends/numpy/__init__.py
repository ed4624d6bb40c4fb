"""The reference: runs the rule's own text with NumPy, block by block.

Blocks are small enough for temporaries to stay in the cache, so this is faster than whole arrays
and its memory does not grow with the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...language.passes import program
from ...language.rule import Rule
from ...protocol import Availability
from ..host.backend import HostBackend
from ..tensor import AdoptedTensor
from .elementwise import ElementwiseLaunch, lay_side_by_side
from .launch import NumpyLaunch
from .passes import ReducingLaunch


def availability() -> Availability:
    """Say whether the backend can run here, and what to install if not."""
    return Availability("numpy", True, f"the reference; NumPy {np.__version__}")


class NumpyBackend(HostBackend):
    """NumPy arrays, updated by NumPy."""

    name = "numpy"

    def arrange_states(self, tensors: Sequence[AdoptedTensor]) -> None:
        lay_side_by_side(tensors)

    def launch(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, grad_dtype: str
    ) -> NumpyLaunch:
        traced = program(rule)
        kind = ReducingLaunch if traced.asked or traced.small else ElementwiseLaunch
        return kind(rule, scalars, param_dtype)


def get_backend() -> NumpyBackend:
    """Return the backend."""
    return NumpyBackend()
