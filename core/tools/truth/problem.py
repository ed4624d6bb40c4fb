"""The problem of the truth table: one parameter, its gradients, and the exact trajectory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...golden.cases import Case
from ...golden.floats import FORMATS
from ...golden.format import Golden
from ...golden.generate import make
from ...golden.inputs import splitmix64
from ...golden.oracle import announcement, truth
from ...language.dtypes import numpy_dtype
from ...language.stages import stages

Array = NDArray[Any]
TENSOR = "weight"
SHAPE = (6, 11)
OF_SQUARES = 100  # steps at most of a rule with square states: one takes a tenth of a second there
PARAMETER_SIZES, GRADIENT_SIZES = (0.5, 2.0), (2**-6, 0.5)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One case's parameter and gradients, as a golden file without results, and the truth.

    ``exact`` maps a step to the parameter by the oracle, float64; ``unit`` maps it to one unit
    in the last place: the distance of neighbouring numbers of the parameter's dtype at the
    largest magnitude the element has had so far. ``signs`` says that the rule takes a sign: its
    truth is the first step alone.
    """

    golden: Golden
    exact: dict[int, Array]
    unit: dict[int, Array]
    signs: bool

    @property
    def start(self) -> Array:
        return self.golden.tensors[f"param.0.{TENSOR}"]

    def gradient(self, step: int) -> Array:
        return self.golden.tensors[f"grad.{step}.{TENSOR}"]


def pose(case: Case, steps: list[int], shape: tuple[int, int] = SHAPE) -> Problem:
    """Return the problem of a case, with the case's first hyperparameters throughout.

    Gradients do not depend on the parameters. It takes seconds for 1,000 steps;
    decompositions, of square states, are computed for the first 100 only.
    """
    if stages(case.variant).becomes:
        steps = [step for step in steps if step <= OF_SQUARES] or [1]
    last = max(steps)
    made = make(dataclasses.replace(case, changes={}), None).header
    announced = announcement(case.rule.name, [TENSOR], list(range(1, last + 1)))
    signs = announced["measure"] == "signs"
    header = dataclasses.replace(
        made, steps=1 if signs else last, stored_steps=steps, tensors=[TENSOR], truth=announced
    )
    golden = Golden(header, _inputs(case, last, shape))
    found = truth(golden)
    exact = {step: found[f"truth.{step}.param.{TENSOR}"] for step in announced["steps"]}
    return Problem(golden, exact, _units(golden, exact), signs)


def _inputs(case: Case, steps: int, shape: tuple[int, int]) -> dict[str, Array]:
    bits = splitmix64(f"{case.name} truth table")
    arrays = {f"param.0.{TENSOR}": _numbers(bits, PARAMETER_SIZES, shape, case.dtype)}
    for step in range(1, steps + 1):
        arrays[f"grad.{step}.{TENSOR}"] = _numbers(bits, GRADIENT_SIZES, shape, case.dtype)
    return arrays


def _numbers(
    bits: Iterator[int], sizes: tuple[float, float], shape: tuple[int, int], dtype: str
) -> Array:
    """Draw numbers of either sign, evenly spread over sizes, rounded to their dtype."""
    low, high = sizes
    drawn = np.array([next(bits) for _ in range(shape[0] * shape[1])], np.uint64)
    magnitudes = low + (high - low) * ((drawn >> np.uint64(11)) / 2.0**53)
    signs = np.where(drawn & np.uint64(1), -1.0, 1.0)
    return (signs * magnitudes).astype(numpy_dtype(dtype)).reshape(shape)


def _units(golden: Golden, exact: dict[int, Array]) -> dict[int, Array]:
    precision = FORMATS[golden.header.dtype].precision
    largest = np.abs(golden.tensors[f"param.0.{TENSOR}"].astype(np.float64))
    units = {}
    for step, values in exact.items():
        largest = np.maximum(largest, np.abs(values))
        units[step] = np.ldexp(1.0, np.frexp(largest)[1] - precision)
    return units
