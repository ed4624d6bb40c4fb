"""float64 against implementations of the papers' authors, and others, as `references.py` has run
them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import samestep as ss
from references import CASES, VALUES, Case, inputs

TOLERANCE = 1e-12  # of the largest entry: some roundings in each of 18 steps
RECORDED = json.loads(VALUES.read_text(encoding="utf-8"))


def difference(case: Case, recorded: dict[str, list[float]], **hyper: float) -> float:
    """Return the largest difference from recorded parameters, relative to the largest one."""
    start, steps = inputs()
    params = case.of(start)
    optimizer = getattr(ss, case.ours)(params, backend="numpy", **{**case.hyper, **hyper})
    for k, grads in enumerate(steps):
        if case.estimates_every and k % case.estimates_every == 0:
            optimizer.update_hessian(case.of(steps[(k + 1) % len(steps)]))
        optimizer.step(case.of(grads))
    if optimizer.rule.average_share is not None:
        optimizer.eval()
    return max(
        np.abs(param.reshape(-1) - recorded[name]).max() / np.abs(param).max()
        for name, param in params.items()
    )


@pytest.mark.parametrize("name", CASES)
def test_the_reference_implementation_takes_the_same_steps(name):
    case = CASES[name]
    assert difference(case, RECORDED[name]) <= TOLERANCE
    assert difference(case, RECORDED[name], lr=case.hyper["lr"] * (1 + 1e-9)) > TOLERANCE  # control


def test_every_recorded_run_is_compared():
    assert RECORDED.keys() == CASES.keys()
