"""Optimizers to save, and what must be equal after loading."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, random_like, snapshot
from samestep import checkpoint

DTYPES = ("float32", "float64", "float16", ml_dtypes.bfloat16, "complex64", "complex128")


def arrays(seed: int = 0) -> dict[str, Any]:
    """Nested parameters of every dtype: 0-d, empty, with strides, and Fortran-ordered."""
    rng = np.random.default_rng(seed)
    every = {str(np.dtype(d)): (rng.standard_normal(7) * 3).astype(d) for d in DTYPES}
    return {
        "layers": [{"weight": rng.standard_normal((4, 6)).astype(np.float32), "bias": rng.random(4)}],
        "every dtype": every,
        "odd": (
            np.asfortranarray(rng.random((5, 3))),
            rng.standard_normal((6, 4)).astype(np.complex64)[::2, ::-1],
            np.zeros((0, 3), np.float32),
            np.array(2.5),
            np.array(1 - 2j),
        ),
    }  # fmt: skip


def emptied(tree: Any) -> Any:
    """Arrays of the same shapes, strides and dtypes, filled with sevens."""
    if isinstance(tree, dict):
        return {key: emptied(child) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(emptied(child) for child in tree)
    array = np.empty_like(tree)
    array[...] = 7
    return array


def grads_like(optimizer: ss.Optimizer, number: int) -> list[Any]:
    """A gradient for each parameter, in order; the second step leaves out the first one."""
    grads = [np.asarray(g) for g in random_like(leaves(optimizer), number)]
    return [None, *grads[1:]] if number == 1 else grads


def step(optimizer: ss.Optimizer, number: int) -> None:
    """One step with random gradients, whatever the structure of the parameters."""
    grads = iter(grads_like(optimizer, number))
    groups = [_filled(group["params"], grads) for group in optimizer.param_groups]
    optimizer.step(groups[0] if optimizer._run.groups.single and len(groups) == 1 else groups)


def _filled(tree: Any, values: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _filled(child, values) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [_filled(child, values) for child in tree]
    return next(values)


def assert_equal(ours: ss.Optimizer, expected: ss.Optimizer) -> None:
    """The same parameters, state, step counts, hyperparameters and settings, bit for bit."""
    assert ours.rule is expected.rule
    assert_same(snapshot(ours), snapshot(expected))
    rest = [{**o.state_dict(), "state": None, "accumulated": None} for o in (ours, expected)]
    assert repr(rest[0]) == repr(rest[1])
    sums = [o.state_dict().get("accumulated", {}) for o in (ours, expected)]
    assert_same(*({str(i): a for i, a in s.items()} for s in sums))
    assert repr(ours.defaults) == repr(expected.defaults)


def reloaded(optimizer: ss.Optimizer, path: Any, backend: str | None = None, **more: Any) -> Any:
    """Another optimizer, with arrays of its own, from a file written now."""
    optimizer.save(path)
    groups = [emptied(group["params"]) for group in optimizer.param_groups]
    alone = optimizer._run.groups.single and len(groups) == 1
    params = groups[0] if alone else [{"params": group} for group in groups]
    return ss.Optimizer.load(path, params, backend=backend or optimizer.backend.name, **more)


def written(path: Any, params: Any = None) -> ss.Optimizer:
    """One that has stepped once and been saved."""
    optimizer = ss.NAdam([np.ones(3)] if params is None else params, backend="numpy")
    step(optimizer, 0)
    optimizer.save(path)
    return optimizer


def assert_file_refused(path: Any, message: str) -> None:
    """Loading what `written` has written says what is wrong and changes nothing."""
    params = [np.zeros(3)]
    with pytest.raises(checkpoint.CheckpointError, match=message) as caught:
        ss.Optimizer.load(path, params)
    assert str(caught.value).startswith(f"{path}: ")
    assert not params[0].any()
