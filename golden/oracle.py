"""The truth: the same steps by the papers' formulas in 50-digit arithmetic.

Shares no code with the rules. Needs mpmath, which the extra ``oracle`` brings. Takes the
float64 hyperparameters and the stored gradients as they are; parameters and state are never
rounded on the way, only what is returned is, once, to float64.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from . import (
    formulas,
    formulas_of_averages,
    formulas_of_parts,
    formulas_of_square_states,
    formulas_since_adam,
)
from .exact_gradients import Seen, exact, gradients_seen
from .format import Golden

Array = NDArray[Any]
DIGITS = 50
FORMULAS = {
    **vars(formulas),
    **vars(formulas_of_averages),
    **vars(formulas_of_square_states),
    **vars(formulas_since_adam),
    **formulas_of_parts.FORMULAS,
}
TAKES_A_SIGN = frozenset(
    {
        "cautious_lion",
        "cautious_decay_lion",
        "lion",
        "mars_lion",
        "rprop",
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
    result: dict[str, Array] = {}
    announced = golden.header.truth
    if announced is not None:
        with mpmath.workdps(DIGITS):
            seen = gradients_seen(golden)
            for tensor in announced["tensors"]:
                result |= _truth_of(golden, seen, tensor, announced["steps"])
    return result


def _truth_of(golden: Golden, seen: list[Seen], tensor: str, steps: list[int]) -> dict[str, Array]:
    header = golden.header
    result: dict[str, Array] = {}
    formula = FORMULAS[header.base]
    start = golden.tensors[f"param.0.{tensor}"]
    param, own_step = exact(start), 0
    state: defaultdict[str, Any] = defaultdict(mpmath.mpf)  # zero, until it is set
    for step in range(1, max(steps) + 1):
        grad = seen[step - 1][tensor]
        if grad is not None:
            own_step += 1
            h = _hyper(header.hyper_at(step))
            param = formula(h, own_step, param, h.sign * grad, state)
            if hasattr(h, "average"):
                state["average"] = _averaged(h, own_step, param, state["average"])
        if step in steps:
            arrays = {f"param.{tensor}": param}
            arrays |= {f"state.{tensor}.{n}": state[n] for n in header.states if n in state}
            for key, values in arrays.items():
                rounded = np.asarray(values, np.float64)
                # a single number was a vector of one
                result[f"truth.{step}.{key}"] = rounded if start.ndim else rounded.reshape(())
    return result


def _averaged(h: SimpleNamespace, t: int, p: Any, before: Any) -> Any:
    """Return the average of a parameter after step ``t``: its first value, then an exponential one or
    the mean of all."""
    count = t - h.average_start
    if count <= 1:
        return p
    if h.average == "mean":
        return (before * (count - 1) + p) / count
    return h.average_decay * before + (1 - h.average_decay) * p


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
