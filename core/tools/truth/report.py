"""The errors of ours and others' steps against the exact ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...golden.cases import Case
from .problem import SHAPE, Array, Problem, pose
from .runs import RUNS


@dataclass(frozen=True)
class Error:
    """An error over the elements of a parameter, in units in the last place.

    A value that is not finite is infinitely far off.
    """

    most: float
    rms: float


@dataclass(frozen=True)
class Row:
    """The errors of all who have a rule variant, in one dtype after some step.

    ``moved`` is the median distance from the start, in units in the last place.
    """

    label: str
    dtype: str
    step: int
    moved: float
    errors: dict[str, Error]


@dataclass(frozen=True)
class SignRow:
    """The elements that went another way in the first step of a rule variant that takes a sign."""

    label: str
    dtype: str
    flipped: dict[str, int]


@dataclass
class Report:
    """All rows; ``missing`` maps who was not compared, and why, to labels of variants."""

    rows: list[Row] = field(default_factory=list)
    sign_rows: list[SignRow] = field(default_factory=list)
    missing: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def report(
    selected: Sequence[Case],
    steps: list[int],
    advance: Callable[[str], None],
    shape: tuple[int, int] = SHAPE,
) -> Report:
    """Compute the errors of all cases after these steps; call ``advance`` with each case's name."""
    result = Report()
    for case in selected:
        advance(case.name)
        _add(result, case, pose(case, steps, shape), steps)
    return result


def _add(result: Report, case: Case, problem: Problem, steps: list[int]) -> None:
    label, dtype = case.variant.label, case.dtype
    known = [step for step in steps if step in problem.exact]
    if not known:
        return
    found: dict[str, dict[int, Array]] = {}
    for who, run in RUNS.items():
        outcome = run(problem, known)
        if isinstance(outcome, str):
            labels = result.missing.setdefault((who, outcome), [])
            labels += [label] * (label not in labels)
        else:
            found[who] = outcome
    if problem.signs:
        lr = problem.golden.header.hyperparameters["lr"]
        flipped = {who: _flipped(values[1], problem, lr) for who, values in found.items()}
        result.sign_rows.append(SignRow(label, dtype, flipped))
        return
    for step in known:
        distance = np.abs(problem.exact[step] - problem.start.astype(np.float64))
        moved = float(np.median(distance / problem.unit[step]))
        errors = {who: _error(values[step], problem, step) for who, values in found.items()}
        result.rows.append(Row(label, dtype, step, moved, errors))


def _error(values: Array, problem: Problem, step: int) -> Error:
    with np.errstate(invalid="ignore"):
        off = np.abs(values.astype(np.float64) - problem.exact[step]) / problem.unit[step]
    off = np.where(np.isfinite(off), off, np.inf)
    return Error(float(off.max()), float(np.sqrt(np.mean(off**2))))


def _flipped(values: Array, problem: Problem, lr: float) -> int:
    """Count the elements with a wrong sign, which are off by ``lr`` or twice that."""
    return int(np.sum(~(np.abs(values.astype(np.float64) - problem.exact[1]) <= lr / 2)))
