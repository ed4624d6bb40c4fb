"""The same steps by this library, by others, and with nothing but storage rounded.

Each function returns the parameter after the steps asked for, or a string that says why there is
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

from ...golden.replay import replay
from ...language.dtypes import numpy_dtype
from ...optimizers.classes import CLASS_NAMES
from ...optimizers.optimizer import Optimizer
from ...rules import find_rule
from .optax import transformation
from .problem import TENSOR, Array, Problem

Outcome = dict[int, Array] | str

DIFFERENT_IN_TORCH = {
    "adafactor": "it bounds the factored estimate from below instead of adding to the square, and "
    "decays by the learning rate alone",
}
NOT_INSTALLED = "it is not installed"
STORAGE = "storage"


def ours(problem: Problem, steps: list[int]) -> Outcome:
    """Take the steps with the NumPy reference; all backends have its bits."""
    header = problem.golden.header
    found = replay(problem.golden, find_rule(header.rule), "numpy")
    return {step: found[f"param.{step}.{TENSOR}"] for step in steps}


def _stored(problem: Problem, steps: list[int], advance: Callable[[Array], Array]) -> Outcome:
    """Return the parameter in its dtype after each of ``steps``.

    ``advance(gradient)`` takes a step and returns the parameter in float64, without rounding.
    """
    result = {}
    for step in range(1, max(steps) + 1):
        values = advance(problem.gradient(step))
        if step in steps:
            result[step] = values.astype(numpy_dtype(problem.golden.header.dtype))
    return result


def storage_alone(problem: Problem, steps: list[int]) -> Outcome:
    """Take the steps in float64 and round the parameter to its dtype after each.

    That is the least error that is possible with this storage.
    """
    header = problem.golden.header
    if header.dtype == "float64":
        return "in float64 there is no wider arithmetic to compute it in"
    param = problem.start.astype(np.float64)
    optimizer = Optimizer(header.rule, param, backend="numpy", **header.hyperparameters)
    estimated = (header.estimates or {"steps": []})["steps"]

    def advance(gradient: Array) -> Array:
        if optimizer.steps_taken + 1 in estimated:
            optimizer.update_hessian(gradient.astype(np.float64))
        optimizer.step(gradient.astype(np.float64))
        param[...] = param.astype(numpy_dtype(header.dtype))
        return param

    return _stored(problem, steps, advance)


def by_torch(problem: Problem, steps: list[int]) -> Outcome:
    """Take the steps with torch.optim on the CPU: the for-loop, state in the parameter's dtype."""
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

    def tensor(array: Array) -> Any:  # exact: float64 is no narrower than the array was
        return torch.from_numpy(array.astype(np.float64)).to(getattr(torch, header.dtype))

    param = tensor(problem.start).requires_grad_()
    optimizer = kind([param], **hyper)

    def advance(gradient: Array) -> Array:
        grad = tensor(gradient)
        param.grad = grad.to_sparse(1) if kind is torch.optim.SparseAdam else grad
        optimizer.step()
        values: Array = param.detach().double().numpy()
        return values

    return _stored(problem, steps, advance)


def by_optax(problem: Problem, steps: list[int]) -> Outcome:
    """Take the steps with optax, compiled, state in the parameter's dtype."""
    if importlib.util.find_spec("optax") is None:
        return NOT_INSTALLED
    header = problem.golden.header
    rule = transformation(header.rule, SimpleNamespace(**header.hyperparameters))
    if isinstance(rule, str):
        return rule
    import jax
    import optax

    @jax.jit
    def update(param: Any, state: Any, grad: Any) -> Any:
        updates, state = rule.update(grad, state, param)
        return optax.apply_updates(param, updates), state

    with _in_full_precision(jax):
        param = jax.numpy.asarray(problem.start)
        state = rule.init(param)

        def advance(gradient: Array) -> Array:
            nonlocal param, state
            param, state = update(param, state, jax.numpy.asarray(gradient))
            return np.asarray(param, np.float64)

        return _stored(problem, steps, advance)


@contextlib.contextmanager
def _in_full_precision(jax: Any) -> Iterator[None]:
    """Keep float64 arrays in float64 in this block; other dtypes are not affected."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


RUNS: dict[str, Callable[[Problem, list[int]], Outcome]] = {
    "samestep": ours,
    "torch": by_torch,
    "optax": by_optax,
    STORAGE: storage_alone,
}
