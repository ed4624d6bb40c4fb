"""Two functions that every rule goes down: a quadratic of four numbers, and Rosenbrock's valley."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SCALES, TARGET = np.array([1.0, 3.0, 10.0, 0.3]), np.array([1.0, -0.5, 2.0, 0.7])


@dataclass(frozen=True)
class Function:
    """A function of a vector, which gives its value and gradient, and where to start from."""

    of: Callable[[Array], tuple[float, Array]]
    start: tuple[float, ...]

    @property
    def first(self) -> float:
        """The value at the start."""
        return self.of(np.array(self.start))[0]


def quadratic(x: Array) -> tuple[float, Array]:
    off = x - TARGET
    return float((SCALES * off**2).sum()), 2 * SCALES * off


def rosenbrock(x: Array) -> tuple[float, Array]:
    bend = x[1] - x[0] ** 2
    loss = (1 - x[0]) ** 2 + 10 * bend**2
    return float(loss), np.array([-2 * (1 - x[0]) - 40 * x[0] * bend, 20 * bend])


QUADRATIC = Function(quadratic, (3.0, 1.0, -1.0, 2.0))
ROSENBROCK = Function(rosenbrock, (-1.0, 0.5))
