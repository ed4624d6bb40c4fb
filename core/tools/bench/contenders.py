"""Who competes in the benchmark: one rule's step by each backend, by others, and a bare loop.

A contender gets parameters that are its own, and gradients that all of them share.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...language.rule import Rule
from ...language.scalars import as_numbers, next_scalars
from ...optimizers.optimizer import Optimizer
from ...parameters.clock import Clock
from ...rules import find_rule
from ...step.measurement import measuring
from ..cli.installation import host_backends
from ..memory.moved import Counted, bytes_by_program
from . import exported_c
from .bare_loop import BareLoop
from .exported_c import ExportedC
from .frameworks import TORCH_VARIANTS, Optax, Torch, deepspeed_adamw, torch_adamw

Array = NDArray[Any]
Arrays = list[Array]

RULE = "adamw"
HYPER = dict(lr=1e-3, weight_decay=1e-2)
BYTES_PER_PARAMETER = 4 * (3 + 2 * len(find_rule(RULE).state))
"""A step reads parameter, gradient and state and writes all but the gradient, in float32."""
NUMPY, REFERENCE = "samestep numpy", "samestep numba"
WHOLE_ARRAYS, BARE_LOOP = "NumPy whole arrays", "bare loop"
OPTAX, DEEPSPEED = "optax jit", "DeepSpeed CPUAdam"
EXPORTED_C = "exported C, gcc"


class Contender(Protocol):
    """An optimizer with parameters of its own."""

    def give(self, k: int) -> None:
        """Take gradient set ``k`` for the next step; not timed."""

    def step(self) -> object:
        """One step, complete when it returns; timed."""

    def count_bytes(self) -> int | None:
        """How many bytes a step moves, counted; None where that cannot be seen."""


Maker = Callable[[Arrays, Sequence[Arrays]], Contender]


def makers() -> tuple[dict[str, Maker], list[str]]:
    """By name what makes each contender that can run here from parameters and sets of gradients,
    and who is left out and why. The last is the bare loop."""
    found: dict[str, Maker] = {f"samestep {name}": _samestep(name) for name in host_backends()}
    found[WHOLE_ARRAYS] = WholeArrays
    left_out = []
    if exported_c.is_possible():
        found[EXPORTED_C] = lambda params, sets: ExportedC(RULE, HYPER, params, sets)
    else:
        left_out.append(f"{EXPORTED_C} is left out: {exported_c.COMPILER} is not installed")
    for module, others in _others().items():
        if importlib.util.find_spec(module) is None:
            left_out += [f"{name} is left out: {module} is not installed" for name in others]
        else:
            found |= others
    if DEEPSPEED in found and (reason := _failure(found[DEEPSPEED])):
        del found[DEEPSPEED]
        left_out.append(f"{DEEPSPEED} is left out: {reason}")
    found[BARE_LOOP] = BareLoop
    return found, left_out


def _samestep(backend: str) -> Maker:
    return lambda params, sets: Samestep(backend, params, sets)


def _others() -> dict[str, dict[str, Maker]]:
    """Contenders by the module they need."""
    return {
        "torch": {name: _torch(torch_adamw(name, **HYPER)) for name in TORCH_VARIANTS},
        "optax": {OPTAX: lambda params, sets: Optax(params, sets, **HYPER)},
        "deepspeed": {DEEPSPEED: _torch(deepspeed_adamw(**HYPER), visible=False)},
    }


def _torch(make: Callable[[list[Any]], Any], visible: bool = True) -> Maker:
    return lambda params, sets: Torch(make, params, sets, visible)


def _failure(make: Maker) -> str | None:
    """Why a contender that is built when it is first made cannot take a step, in one line."""
    one = [np.ones(1, np.float32)]
    try:
        contender = make(one, [one])
        contender.give(0)
        contender.step()
    except Exception as error:  # anything that a build may raise
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


class Samestep:
    """This library, on one backend."""

    def __init__(
        self,
        backend: str,
        params: Arrays,
        sets: Sequence[Arrays],
        rule: Rule | str = RULE,
        hyper: Mapping[str, Any] = HYPER,
    ) -> None:
        self.params = [param.copy() for param in params]
        self.optimizer = Optimizer(rule, self.params, backend=backend, **hyper)
        self.sets = sets

    def give(self, k: int) -> None:
        self.gradients = self.sets[k]

    def step(self) -> None:
        self.optimizer.step(self.gradients)

    def count_bytes(self) -> int:
        rule, hyper = self.optimizer.rule, self.optimizer.defaults
        count = bytes_by_program(rule.variant(**rule.chosen_options(hyper)), self.params)
        if self.optimizer.clip_global_norm is not None:  # a launch of its own, before the step
            count += bytes_by_program(measuring(norm=True, finite=False), self.params)
        return count


class WholeArrays:
    """The rule's formula on one whole array after the other, as one would write it by hand."""

    def __init__(self, params: Arrays, sets: Sequence[Arrays]) -> None:
        self.rule = find_rule(RULE)
        hyper = self.rule.hyperparameters(HYPER)
        self.hyper = as_numbers({name: hyper[name] for name in self.rule.defaults})
        self.clock = Clock(self.rule, 0, 0, dict(self.rule.carry))
        self.params = [param.copy() for param in params]
        self.state = [[np.zeros_like(param) for _ in self.rule.state] for param in params]
        self.sets = sets

    def give(self, k: int) -> None:
        self.gradients = self.sets[k]

    def step(self) -> None:
        row, _ = next_scalars(self.rule, self.clock.step, self.clock.carry, self.hyper)
        self.clock.step += 1
        scalars = SimpleNamespace(**{name: np.float32(value) for name, value in row.items()})
        for param, grad, state in zip(self.params, self.gradients, self.state, strict=True):
            results = self.rule.update(np, scalars, param, grad, *state)
            for target, result in zip((param, *state), results, strict=True):
                target[...] = result

    def count_bytes(self) -> int:
        self.params = [param.view(Counted) for param in self.params]
        self.gradients = [grad.view(Counted) for grad in self.gradients]
        self.state = [[array.view(Counted) for array in arrays] for arrays in self.state]
        Counted.total = 0
        self.step()
        return Counted.total
