"""A warning where rounding loses the updates of 16-bit parameters: they would stay what they are.

A sample of their elements is looked at before and after one early step. On a device that would be
waited for, so only parameters in host memory are looked at.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..language.around import OF_16_BITS
from ..pages import see
from ..parameters.clock import Clock
from ..parameters.hyper import GroupHyper
from ..protocol import Backend, Dtypes, Gradients

LOOKED_AT = (
    10  # which update: the first ones are often those of a warm-up, or of moments that begin
)
SAMPLE = 512  # elements of all parameters together, one of each at least


class LostUpdates:
    """The look at one step of these parameters; ``done`` once it was taken and what was seen is
    told."""

    def __init__(self, backend: Backend, tensors: Sequence[Any], clocks: Sequence[Clock]) -> None:
        self._backend, self._updates, self._told = backend, 0, ""
        self._loses = {
            i: tensor
            for i, (tensor, clock) in enumerate(zip(tensors, clocks, strict=True))
            if tensor.dtype in ("bfloat16", "float16")
            and isinstance(tensor.flat, np.ndarray)
            and tensor.flat.size
            and not tensor.staged
            and clock.rule.rounding == "nearest"
            and not any(clock.rule.around.get(name) for name in OF_16_BITS)
        }
        self.done = not self._loses

    def tell(self) -> None:
        """Warn, before a step changes anything, if the last one was seen to be lost."""
        if self._told:
            message, self._told, self.done = self._told, "", True
            warnings.warn(message, stacklevel=_depth_of_caller())

    def before(
        self, gradients: Gradients, dtypes: Dtypes, clocks: Sequence[Clock], hyper: list[GroupHyper]
    ) -> list[tuple[int, Any, Any]]:
        """Count an update, and return what is needed after it: of some parameters the position, the
        sampled places and their values there; empty for a step that is not looked at."""
        self._updates += 1
        if self._updates != LOOKED_AT:
            return []
        samples, each = [], max(SAMPLE // len(self._loses), 1)
        for i, tensor in self._loses.items():
            rate = getattr(hyper[clocks[i].group].numbers(True), "lr", 1.0)
            if dtypes[i] is None or i in gradients.rows or rate == 0:
                continue
            size = tensor.flat.size
            places = np.arange(0, size, max(size // each, 1))[:each]
            grad = self._backend.to_numpy(gradients.arrays[i], copied=False)  # type: ignore[attr-defined]
            places = places[grad.flat[places].astype(np.float32) != 0]
            samples.append((i, places, tensor.flat[places]))
        return samples

    def after(self, samples: list[tuple[int, Any, Any]]) -> None:
        """Look at the sample again. What is to be told is told before the next step."""
        seen = sum(len(places) for _, places, _ in samples)
        lost = {i: int(np.sum(self._loses[i].flat[at] == old)) for i, at, old in samples}
        count = sum(lost.values())
        if 2 * count <= seen:
            self.done = self._updates >= LOOKED_AT
            return
        name = self._loses[max(lost, key=lost.__getitem__)].name
        self._told = (
            f"rounding loses most updates of 16-bit parameters: {count} of {seen} elements with a "
            f"gradient did not move at a step, such as those of {name}. master='float32' or "
            "compensated=True keeps what is lost, rounding='stochastic' is right on average; "
            f"warn_lost_updates=False looks at nothing{see('explain/half.md')}"
        )


def _depth_of_caller() -> int:
    """Return the ``stacklevel`` of the first frame outside this package, and outside of PyTorch,
    whose hooks are between, for whoever calls this."""
    depth, frame, ours = 1, sys._getframe(1), ("samestep.", "torch.")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ours):
        depth, frame = depth + 1, frame.f_back
    return depth
