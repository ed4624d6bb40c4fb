"""Contenders of the benchmark: AdamW's step by each backend, by others, and a bare loop.

A contender is made from parameters, which it copies, and sets of gradients, which all share.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...language.rule import Rule
from ...language.scalars import as_numbers, next_scalars
from ...optimizers.optimizer import Optimizer
from ...rules import find_rule
from ...step.measurement import NORM
from ..cli.installation import host_backends
from .bare_loop import BareLoop
from .by_hand import ByHand
from .exported_c import COMPILER, ExportedC
from .frameworks import TORCH_VARIANTS, Optax, Torch, deepspeed_adamw, torch_adamw
from .moved import Counted, bytes_by_program
from .timing import Arrays, Contender, Maker

RULE = "adamw"
HYPER: dict[str, Any] = dict(lr=1e-3, weight_decay=1e-2)
BYTES_PER_PARAMETER = 4 * (3 + 2 * len(find_rule(RULE).state))
"""A step reads parameter, gradient and state and writes all but the gradient, in float32."""
NUMPY, REFERENCE = "samestep numpy", "samestep numba"
WHOLE_ARRAYS, BARE_LOOP = "NumPy whole arrays", "bare loop"
BY_HAND = ByHand(np)
OPTAX, DEEPSPEED = "optax jit", "DeepSpeed CPUAdam"
EXPORTED_C = "exported C, gcc"


def makers() -> tuple[dict[str, Maker], list[str]]:
    """Return by name the makers of all contenders that can run here, the bare loop last.

    Besides a line for each contender that is left out, with the reason.
    """
    found: dict[str, Maker] = {f"samestep {n}": partial(Samestep, n) for n in host_backends()}
    found[WHOLE_ARRAYS] = WholeArrays
    left_out = []
    for name, (needed, make) in _others().items():
        look = shutil.which if name == EXPORTED_C else importlib.util.find_spec
        if look(needed) is None:
            left_out.append(f"{name} is left out: {needed} is not installed")
        elif name == DEEPSPEED and (reason := _failure(make)):
            left_out.append(f"{name} is left out: {reason}")
        else:
            found[name] = make
    found[BARE_LOOP] = BareLoop
    return found, left_out


def _others() -> dict[str, tuple[str, Maker]]:
    """Return the compiler or module that each of the others needs, and its maker."""
    found: dict[str, tuple[str, Maker]] = {EXPORTED_C: (COMPILER, partial(ExportedC, RULE, HYPER))}
    for name, options in TORCH_VARIANTS.items():
        found[name] = ("torch", partial(Torch, partial(torch_adamw, **HYPER, **options)))
    found[OPTAX] = ("optax", partial(Optax, **HYPER))
    deepspeed = partial(Torch, partial(deepspeed_adamw, **HYPER), visible=False)
    return {**found, DEEPSPEED: ("deepspeed", deepspeed)}


def _failure(make: Maker) -> str | None:
    """Return in one line why a contender cannot take a step; some are built when first made."""
    one = [np.ones(1, np.float32)]
    try:
        contender = make(one, [one])
        contender.give(0)
        contender.step()
    except Exception as error:  # anything that a build may raise
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


class Samestep(Contender):
    """This library, on one backend."""

    def __init__(
        self,
        backend: str,
        params: Arrays,
        sets: Sequence[Arrays],
        rule: Rule | str = RULE,
        hyper: Mapping[str, Any] = HYPER,
    ) -> None:
        super().__init__(params, sets)
        self.optimizer = Optimizer(rule, self.params, backend=backend, **hyper)

    def step(self) -> None:
        self.optimizer.step(self.gradients)

    def count_bytes(self) -> int:
        rule, hyper = self.optimizer.rule, self.optimizer.defaults
        variant = rule.variant(**rule.chosen_options(hyper)).stored_as(
            hyper["state_dtype"], hyper["rounding"]
        )
        count = bytes_by_program(variant, self.params)
        if self.optimizer.clip_global_norm is not None:  # a launch of its own, before the step
            count += bytes_by_program(NORM, self.params)
        return count


class WholeArrays(Contender):
    """The rule's formula on one whole array after the other, as one would write it by hand."""

    def __init__(self, params: Arrays, sets: Sequence[Arrays]) -> None:
        super().__init__(params, sets)
        self.rule, self.steps = find_rule(RULE), 0
        hyper = self.rule.hyperparameters(HYPER)
        self.hyper = as_numbers({name: hyper[name] for name in self.rule.defaults})
        self.state = [[np.zeros_like(param) for _ in self.rule.state] for param in params]

    def step(self) -> None:
        row, _ = next_scalars(self.rule, self.steps, {}, self.hyper)
        self.steps += 1
        scalars = SimpleNamespace(**{name: np.float32(value) for name, value in row.items()})
        for param, grad, state in zip(self.params, self.gradients, self.state, strict=True):
            results = self.rule.update(BY_HAND, scalars, param, grad, *state)
            for target, result in zip((param, *state), results, strict=True):
                target[...] = result

    def count_bytes(self) -> int:
        self.params = [param.view(Counted) for param in self.params]
        self.gradients = [grad.view(Counted) for grad in self.gradients]
        self.state = [[array.view(Counted) for array in arrays] for arrays in self.state]
        Counted.moved = 0
        self.step()
        return Counted.moved
