"""The same steps by this library, by others, and with nothing but storage rounded.

Each function returns the parameter after the steps asked for, or says in a string why there is
nothing to compare: another formula is not an error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...golden.replay import replay
from ...language.dtypes import numpy_dtype
from ...optimizers.classes import CLASS_NAMES
from ...optimizers.optimizer import Optimizer
from ...rules import find_rule
from .optax import transformation
from .problem import TENSOR, Problem

Array = NDArray[Any]
Outcome = dict[int, Array] | str

DIFFERENT_IN_TORCH = {
    "adafactor": "it bounds the factored estimate from below instead of adding to the square, and "
    "decays by the learning rate alone",
}
NOT_INSTALLED = "it is not installed"
STORAGE = "storage"


def ours(problem: Problem, steps: list[int]) -> Outcome:
    """The NumPy reference; all backends have its bits."""
    header = problem.golden.header
    found = replay(problem.golden, find_rule(header.rule), "numpy")
    return {step: found[f"param.{step}.{TENSOR}"] for step in steps}


def storage_alone(problem: Problem, steps: list[int]) -> Outcome:
    """In float64, with the parameter rounded to its dtype after each step: the least error that
    is possible with this storage."""
    header = problem.golden.header
    if header.dtype == "float64":
        return "in float64 there is no wider arithmetic to compute it in"
    param = problem.start.astype(np.float64)
    optimizer = Optimizer(header.rule, param, backend="numpy", **header.hyperparameters)
    result = {}
    for step in range(1, max(steps) + 1):
        optimizer.step(problem.gradient(step).astype(np.float64))
        stored = param.astype(numpy_dtype(header.dtype))
        param[...] = stored
        if step in steps:
            result[step] = stored
    return result


def by_torch(problem: Problem, steps: list[int]) -> Outcome:
    """torch.optim on the CPU, as it comes: the for-loop, state in the parameter's dtype."""
    if importlib.util.find_spec("torch") is None:
        return NOT_INSTALLED
    import torch

    header = problem.golden.header
    if header.rule in DIFFERENT_IN_TORCH:
        return DIFFERENT_IN_TORCH[header.rule]
    kind = getattr(torch.optim, CLASS_NAMES[header.rule], None)
    if kind is None:
        return "it does not have this rule"
    known = inspect.signature(kind).parameters
    for name, value in header.hyperparameters.items():
        if name not in known and value:
            return f"it has no {name}"
    hyper = {name: value for name, value in header.hyperparameters.items() if name in known}
    dtype = getattr(torch, header.dtype)
    param = _to_torch(problem.start, dtype).requires_grad_()
    optimizer = kind([param], **hyper)
    result = {}
    for step in range(1, max(steps) + 1):
        grad = _to_torch(problem.gradient(step), dtype)
        param.grad = grad.to_sparse(1) if kind is torch.optim.SparseAdam else grad
        optimizer.step()
        if step in steps:
            result[step] = _stored(param.detach().double().numpy(), header.dtype)
    return result


def _to_torch(array: Array, dtype: Any) -> Any:
    import torch

    return torch.from_numpy(array.astype(np.float64)).to(dtype)  # exact: no narrower than it was


def by_optax(problem: Problem, steps: list[int]) -> Outcome:
    """optax, compiled, state in the parameter's dtype."""
    if importlib.util.find_spec("optax") is None:
        return NOT_INSTALLED
    header = problem.golden.header
    rule = transformation(header.rule, SimpleNamespace(**header.hyperparameters))
    if isinstance(rule, str):
        return rule
    import jax
    import optax

    @jax.jit
    def advance(param: Any, state: Any, grad: Any) -> Any:
        updates, state = rule.update(grad, state, param)
        return optax.apply_updates(param, updates), state

    result = {}
    with _in_full_precision(jax):
        param = jax.numpy.asarray(problem.start)
        state = rule.init(param)
        for step in range(1, max(steps) + 1):
            param, state = advance(param, state, jax.numpy.asarray(problem.gradient(step)))
            if step in steps:
                result[step] = _stored(np.asarray(param, np.float64), header.dtype)
    return result


@contextlib.contextmanager
def _in_full_precision(jax: Any) -> Iterator[None]:
    """float64 arrays stay float64 in this block; the others are what they were."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _stored(values: Array, dtype: str) -> Array:
    """Numbers that came as float64 in the dtype they are stored in, exactly."""
    result: Array = values.astype(numpy_dtype(dtype))
    return result


RUNS: dict[str, Callable[[Problem, list[int]], Outcome]] = {
    "samestep": ours,
    "torch": by_torch,
    "optax": by_optax,
    STORAGE: storage_alone,
}
