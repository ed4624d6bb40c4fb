"""The averages of parameters, as their rules keep them.

The mean of the last copies is computed here: they are added in the order of their places, in the
compute dtype, and the sum is divided once. Launches do it, so it has the same bits on every
backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..interrupts import held
from ..language.around import last_copies
from ..language.rule import Rule
from ..parameters.clock import Clock
from ..protocol import Backend, Tensor
from .launches import Launches


def averages_of(backend: Backend, tensors: Sequence[Tensor], clocks: Sequence[Clock]) -> list[Any]:
    """Return the average of each parameter, of the compute dtype; None where no step counted, or
    none is kept. Means of copies are new arrays."""
    found: list[Any] = [None] * len(tensors)
    of_copies = []
    for i, (tensor, clock) in enumerate(zip(tensors, clocks, strict=True)):
        if "average" in clock.rule.around and clock.carry["averaged"] > 0:
            if last_copies(clock.rule.around):
                of_copies.append(i)
            else:
                found[i] = tensor.state["average"]
    if of_copies:
        copies = []
        for i in of_copies:
            names = last_copies(clocks[i].rule.around)[: int(clocks[i].carry["averaged"])]
            copies.append([tensors[i].state[name] for name in names])
        with held():
            means = _means(backend, [tensors[i] for i in of_copies], copies)
        for i, mean in zip(of_copies, means, strict=True):
            found[i] = mean
    return found


def scalars(xp: Any, step: Any, carry: Any, h: Any) -> Any:
    """Say whether this is the first copy, and what the sum is divided by: 1 but for the last
    one."""
    return dict(first=h.first, divisor=h.divisor), carry


def update(xp: Any, s: Any, param: Any, grad: Any, mean: Any) -> Any:
    """Add a copy, in the place of the gradient, to the sum of those before it."""
    return param, xp.where(s.first > 0, grad, mean + grad) / s.divisor


RULE = Rule(
    "mean_of_copies",
    scalars,
    update,
    defaults=dict(first=1.0, divisor=1.0),
    reference="The mean of copies of a parameter: their sum, divided once.",
)


def _means(
    backend: Backend, tensors: Sequence[Tensor], copies: Sequence[Sequence[Any]]
) -> list[Any]:
    """Return the mean of the copies of each parameter, one at least."""
    states = [backend.new_state(tensor, RULE, {}) for tensor in tensors]
    summed = [t.with_state(state) for t, state in zip(tensors, states, strict=True)]
    launches, checker = Launches(backend, summed), backend.gradient_checker(summed)
    counts, rules = list(map(len, copies)), [RULE] * len(tensors)
    for k in range(max(counts)):
        gradients = checker.accept([own[k] if k < len(own) else None for own in copies])
        launches.choose(gradients.dtypes, lambda _: (rules, counts))
        for bucket in launches:
            bucket.set_rows(
                [(float(k == 0), float(n if k == n - 1 else 1), 1.0) for n in bucket.keys]
            )
            bucket.ready(gradients)
            bucket.run(gradients)
        gradients.release()
    return [state["mean"] for state in states]
