"""The truth: the same steps by the papers' formulas in 50-digit arithmetic.

Shares no code with the rules. Needs mpmath, which the extra ``oracle`` brings. Takes the
float64 hyperparameters and the stored gradients as they are; parameters and state are never
rounded on the way, only what is returned is, once, to float64.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from .exact_gradients import Seen, exact, gradients_seen
from .format import Golden
from .formulas import FORMULAS
from .formulas.totals import BEFORE

Array = NDArray[Any]
DIGITS = 50
TAKES_A_SIGN = frozenset(
    {
        "cautious_lion",
        "cautious_decay_lion",
        "lion",
        "mars_lion",
        "rprop",
        "scion_sign",
        "signed_sgd",
        "signsgd",
        "signum",
    }
)


def announcement(rule: str, tensors: list[str], steps: list[int]) -> dict[str, Any]:
    """Return the header's field ``truth``. Once a rule has taken the sign of something tiny, one
    rounding can send an element elsewhere, so the truth of such a rule is its first step."""
    signs = rule in TAKES_A_SIGN
    return {
        "oracle": f"mpmath, {DIGITS} digits",
        "tensors": tensors,
        "steps": steps[:1] if signs else steps,
        "measure": "signs" if signs else "ulps",
    }


def truth(golden: Golden) -> dict[str, Array]:
    """Return the tensors ``truth.<step>.param.<tensor>`` and
    ``truth.<step>.state.<tensor>.<state>``, float64, of those tensors and steps that the header
    announces."""
    announced = golden.header.truth
    if announced is None:
        return {}
    with mpmath.workdps(DIGITS):
        seen = gradients_seen(golden)
        if golden.header.shared:  # a step of one tensor depends on all
            return _truth_of(golden, seen, golden.header.tensors)
        result: dict[str, Array] = {}
        for tensor in announced["tensors"]:
            result |= _truth_of(golden, seen, [tensor])
        return result


def _truth_of(golden: Golden, seen: list[Seen], tensors: list[str]) -> dict[str, Array]:
    """Return the truth of these tensors, which the header announces or others depend on."""
    header, announced = golden.header, golden.header.truth or {}
    result: dict[str, Array] = {}
    formula, before = FORMULAS[header.base], BEFORE.get(header.base)
    estimates = header.estimates or {"steps": []}
    start = {tensor: golden.tensors[f"param.0.{tensor}"] for tensor in tensors}
    params, own_steps = {name: exact(array) for name, array in start.items()}, Counter[str]()
    common: defaultdict[str, Any] = defaultdict(mpmath.mpf)  # zero, until it is set
    states = {tensor: defaultdict(mpmath.mpf, common=common) for tensor in tensors}
    for step in range(1, max(announced["steps"]) + 1):
        h, grads = _hyper(header.hyper_at(step)), seen[step - 1]
        if before is not None:
            before(h, common)
        for tensor, state in states.items():
            if grads[tensor] is not None:
                if step in estimates["steps"]:
                    FORMULAS[estimates["rule"]](h, step, params[tensor], grads[tensor], state)
                own_steps[tensor] += 1
                grad, t = h.sign * grads[tensor], own_steps[tensor]
                param = params[tensor] = formula(h, t, params[tensor], grad, state)
                if isinstance(getattr(h, "average", None), str):
                    state["average"] = _averaged(h, t, param, state["average"])
                elif hasattr(h, "average"):
                    _take_copy(h, t, param, state)
            if step in announced["steps"] and tensor in announced["tensors"]:
                arrays = {f"param.{tensor}": params[tensor]}
                arrays |= {f"state.{tensor}.{n}": state[n] for n in header.states if n in state}
                for key, values in arrays.items():
                    rounded = np.asarray(values, np.float64)
                    # a single number was a vector of one
                    alone = start[tensor].ndim == 0
                    result[f"truth.{step}.{key}"] = rounded.reshape(()) if alone else rounded
    return result


def _averaged(h: SimpleNamespace, t: int, p: Any, before: Any) -> Any:
    """Return the average of a parameter after step ``t``: its first value, then an exponential one
    or the mean of all."""
    count = t - h.average_start
    if count <= 1:
        return p
    if h.average == "mean":
        return (before * (count - 1) + p) / count
    return h.average_decay * before + (1 - h.average_decay) * p


def _take_copy(h: SimpleNamespace, t: int, p: Any, state: Any) -> None:
    """Write the parameter after step ``t`` over the oldest of ``h.average`` copies, where as many
    steps as ``h.average_every`` have counted since the last one was taken."""
    if t <= h.average_start:
        return
    state["since the last copy"] += 1
    if state["since the last copy"] >= h.average_every:
        state[f"average_{int(state['copies'] % h.average)}"] = p
        state["copies"] += 1
        state["since the last copy"] = mpmath.mpf(0)


def _hyper(hyper: dict[str, Any]) -> SimpleNamespace:
    """Return the hyperparameters as exact numbers; ``sign`` is what the gradient is multiplied
    by."""
    exact = {name: _exact_number(value) for name, value in hyper.items()}
    return SimpleNamespace(**exact, sign=-1 if hyper["maximize"] else 1)


def _exact_number(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [mpmath.mpf(number) for number in value]
    return mpmath.mpf(value)
