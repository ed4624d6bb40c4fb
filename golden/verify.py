"""Holds a backend to golden files: the bits, and how far the bits are from the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.rule import Rule
from .compare import first_beyond, first_difference, ulp_errors
from .composed import RULES
from .format import EXTENSION, VALUES, Golden, Header, chosen, read
from .replay import replay

Array = NDArray[Any]


@dataclass(frozen=True)
class Result:
    """The result of one golden file on one backend.

    ``differences`` are in words, in the order of the steps: the first one says where it began. The
    errors are after the last step that has a truth, None without one: ``ulps`` of the parameters,
    at most, in units in the last place of their dtype, or, if the rule takes a sign, how many signs
    are ``flipped``. ``tolerance`` is that of the file, in ulps, None if parameters must have its
    bits.
    """

    label: str
    dtype: str
    backend: str
    differences: tuple[str, ...]
    scalars_same: bool
    ulps: float | None = None
    flipped: int | None = None
    tolerance: float | None = None

    @property
    def name(self) -> str:
        """``<label>.<dtype>``."""
        return f"{self.label}.{self.dtype}"

    @property
    def same(self) -> bool:
        """True if everything has the bits of the file, or is within its tolerance."""
        return not self.differences


def verify(
    backend: str = "numpy",
    names: Sequence[str] | None = None,
    directory: Path | str | None = None,
    rules: Mapping[str, Rule] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Result]:
    """Replay golden files on a backend and compare.

    Parameters
    ----------
    backend : str
        A backend's name.
    names : sequence of str, optional
        Which: names of rules, labels or cases, as in `samestep.golden.generate`. All without it.
    directory : path, optional
        The folder of the files; without it that of the package's own.
    rules : mapping, optional
        Your own rules by name; every other name is a built-in rule's.
    progress : callable, optional
        Is called with each case's name before it is replayed.

    Returns
    -------
    list of Result
        One per file, sorted by file name. Nothing is raised for a difference.

    Raises
    ------
    ValueError
        For a name that selects nothing, a folder without golden files, a file that is none, an
        unknown backend or rule.
    RuntimeError
        For a backend that cannot run here.
    """
    folder = VALUES if directory is None else Path(directory)
    files = [read(path) for path in sorted(folder.glob(f"*{EXTENSION}"))]
    if not files:
        raise ValueError(f"no golden files in {folder}")
    replayed = [(golden, _rule_of(golden, rules or {})) for golden in chosen(files, names)]
    results = []
    for golden, rule in replayed:
        if progress is not None:
            progress(golden.header.name)
        results.append(verify_one(golden, rule, backend))
    return results


def _rule_of(golden: Golden, own: Mapping[str, Rule]) -> Rule:
    if golden.header.rule in own:
        return own[golden.header.rule]
    name = golden.header.base
    if name in own:
        return own[name]
    if name not in RULES:
        raise ValueError(
            f"golden file {golden.header.name} is of {name!r}, which is no built-in rule; if it is "
            f"your own, pass it: rules={{{name!r}: rule}}, or --rule module:rule on the command line"
        )
    return RULES[name]


def verify_one(golden: Golden, rule: Rule, backend: str = "numpy") -> Result:
    """Replay one golden file. Raises as `verify`."""
    header = golden.header
    actual = replay(golden, rule, backend)
    found = differences(golden, actual)
    return Result(
        label=header.label,
        dtype=header.dtype,
        backend=backend,
        differences=tuple(found),
        scalars_same=not any(line.startswith(("scalars.", "carry.")) for line in found),
        **errors(golden, actual),
        tolerance=header.tolerance,
    )


def differences(golden: Golden, actual: Mapping[str, Array]) -> list[str]:
    """Describe in words where results are not those of the file, or beyond its tolerance."""
    expected = golden.results()
    return [
        f"{name}: {difference}"
        for name in [*actual, *(name for name in expected if name not in actual)]
        if (difference := _difference(golden, name, actual, expected)) is not None
    ]


def _difference(
    golden: Golden, name: str, actual: Mapping[str, Array], expected: Mapping[str, Array]
) -> str | None:
    if name not in actual:
        return "is in the file but does not come about"
    if name not in expected:
        return "is missing in the file"
    tolerance = _tolerance(golden.header, name)
    if tolerance is not None:
        return first_beyond(actual[name], expected[name], tolerance)
    return first_difference(actual[name], expected[name])


def _tolerance(header: Header, name: str) -> float | None:
    """Return how far off a tensor of the file may be, in ulps; None if it must have the bits."""
    if name.startswith("param."):
        return header.tolerance
    if not name.startswith("state."):
        return None
    return (header.state_tolerance or {}).get(name.rpartition(".")[2])


def errors(golden: Golden, actual: Mapping[str, Array]) -> dict[str, Any]:
    """Return the errors of the parameters against the truth, after its last step."""
    header = golden.header
    if header.truth is None:
        return {}
    step = header.truth["steps"][-1]
    if header.truth["measure"] == "signs":
        lr = header.hyper_at(step)["lr"]
        flipped = [_flipped(golden, actual, name, step, lr) for name in header.truth["tensors"]]
        return {"flipped": sum(flipped)}
    worst = [
        np.max(ulp_errors(actual[f"param.{step}.{name}"], golden.tensors[_truth(step, name)]))
        for name in header.truth["tensors"]
    ]
    return {"ulps": float(max(worst))}


def _flipped(golden: Golden, actual: Mapping[str, Array], tensor: str, step: int, lr: float) -> int:
    """Count the elements that went another way: a wrong sign puts one off by lr or 2 * lr."""
    values = actual[f"param.{step}.{tensor}"].astype(np.float64)
    return int(np.sum(np.abs(values - golden.tensors[_truth(step, tensor)]) > lr / 2))


def _truth(step: int, tensor: str) -> str:
    return f"truth.{step}.param.{tensor}"
