"""Schedules that warm up: the step of number ``warmup_steps`` is the first with all of ``base``.

They count the steps from 1 where they warm up, as the Transformer's paper does, so that the first
step is not lost on a value of 0: at ``step`` (taken so far) the way is ``(step + 1) /
warmup_steps``. For a warm-up that begins at a value of its own and counts from 0, as torch's
LinearLR, there is `linear`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

from .arguments import Count, CountOrZero, Finite, check_choice
from .interpolation import SHAPES, between, linear
from .schedule import Schedule, kind


def _warming(warmup_init: float, base: float, step: int, warmup_steps: int) -> float:
    return between(warmup_init, base, linear(step + 1, warmup_steps))


@kind
class linear_warmup(Schedule):
    """From ``warmup_init`` (not reached) up to ``base`` in ``warmup_steps`` steps; then that.

    Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, section 2.2. As a factor:
    ``linear_warmup(1.0, 100) * cosine(1e-3, T_max=1000)``; as a beginning:
    ``linear_warmup(1e-3, 100).then(cosine(1e-3, T_max=900), after=100)``.
    """

    base: Finite
    warmup_steps: Count
    warmup_init: Finite = 0.0

    def _at(self, step: int) -> float:
        step = min(step, self.warmup_steps - 1)
        return _warming(self.warmup_init, self.base, step, self.warmup_steps)


@kind
class inverse_sqrt(Schedule):
    """Linear warm-up to ``base``, then ``base * sqrt(warmup_steps / (step + 1))``, without end.

    Vaswani et al., Attention Is All You Need, arXiv:1706.03762, equation 3, whose factor
    ``d_model ** -0.5`` is ``base * warmup_steps ** 0.5`` and whose step number is ``step + 1``.
    With ``warmup_init`` it is fairseq's ``inverse_sqrt`` at ``num_updates = step + 1``.
    """

    base: Finite
    warmup_steps: Count
    warmup_init: Finite = 0.0

    def _at(self, step: int) -> float:
        if step < self.warmup_steps:
            return _warming(self.warmup_init, self.base, step, self.warmup_steps)
        return self.base * math.sqrt(self.warmup_steps / (step + 1))


@kind
class warmup_stable_decay(Schedule):
    """Linear warm-up to ``base``, ``base`` for as long as there is time, and decay to ``eta_min``
    in the last ``decay_steps`` of ``total_steps``; then that.

    Hu et al., MiniCPM, arXiv:2404.06395, section 4, and Hägele et al., Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations, arXiv:2405.18392, section 3, whose
    forms of decay are ``anneal_strategy="linear"`` and ``"1-sqrt"``; ``"cos"`` is half a period of
    the cosine, by the C library's ``sin``. MiniCPM's exponential decay, which has no end, is
    ``linear_warmup(…).then(exponential(…), after=…)``.

    Raises ValueError if warm-up and decay together are longer than ``total_steps``.
    """

    base: Finite
    total_steps: Count
    warmup_steps: CountOrZero
    decay_steps: CountOrZero
    anneal_strategy: Annotated[str, partial(check_choice, choices=tuple(SHAPES))] = "linear"
    eta_min: Finite = 0.0
    warmup_init: Finite = 0.0

    def _check_together(self) -> None:
        if self.warmup_steps + self.decay_steps > self.total_steps:
            raise ValueError(
                f"{self.kind}: warmup_steps={self.warmup_steps} and decay_steps="
                f"{self.decay_steps} are more than total_steps={self.total_steps}"
            )

    def _at(self, step: int) -> float:
        if step < self.warmup_steps:
            return _warming(self.warmup_init, self.base, step, self.warmup_steps)
        decaying = min(step, self.total_steps) - (self.total_steps - self.decay_steps)
        if decaying <= 0:
            return self.base
        weights = SHAPES[self.anneal_strategy](decaying, self.decay_steps)
        return between(self.base, self.eta_min, weights)
