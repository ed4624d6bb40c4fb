"""The rule's text compiled by PyTorch's compiler, over the same slices.

One graph per variant, compute dtype and pass. Whatever changes from step to step is an input, and
lengths are symbols: a graph is compiled once. Only an axis of length 1 is different for the
compiler, and scalars that are one per tensor instead of one for all; each of these has a graph of
its own, so that none is ever compiled again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...rule import Rule
from .launch import Passes, SumPendingError, TorchLaunch
from .text import Text, size_kinds, text_of_pass

Tensor = torch.Tensor
# code for a GPU: division is rounded correctly, nothing is fused, subnormals stay
EXACT = {
    "emulate_precision_casts": True,
    "eager_numerics.division_rounding": True,
    "eager_numerics.disable_ftz": True,
}


@dataclass(frozen=True)
class Compiled:
    """One pass of a rule's text, and the function that computes it."""

    text: Text
    function: Callable[..., Any]


@functools.cache
def compiled_pass(
    rule: Rule,
    scalars: tuple[str, ...],
    known: int,
    dtype: torch.dtype,
    device: torch.device,
    form: tuple[Any, ...],
) -> Compiled:
    """The pass once ``known`` sums are; ``form`` is what the compiler specializes on."""
    text = text_of_pass(rule, scalars, known, dtype, device)
    return Compiled(
        text, torch.compile(text.graph, dynamic=True, fullgraph=True, options={**EXACT})
    )


class CompiledLaunch(TorchLaunch):
    """As `TorchLaunch`, with the text compiled."""

    def _evaluate(
        self, xp: Passes, s: Any, inputs: list[Tensor], grad: Tensor, scaled: bool
    ) -> list[tuple[int, Tensor]]:
        numbers = [getattr(s, name) for name in self.scalars]
        form = (*(n == 1 for n in grad.shape), numbers[0].ndim)
        known = len(xp.known)
        compiled = compiled_pass(self.rule, self.scalars, known, self.dtype, self.device, form)
        text = compiled.text
        sizes = [xp.size_of(*kind) for kind in self._sizes]
        sums = [xp.known_sum(k) for k in range(known)]
        with torch.fx.experimental._config.patch(use_duck_shape=False):
            constants = [xp.typed(number) for number in text.constants]
            given = (*numbers, *sizes, *sums, inputs[0], grad, *inputs[1:], *constants)
            # without their history as views, which the compiler would look at
            found = compiled.function(*(each.detach() for each in given))
        if text.per:
            xp.gather(found[0], text.per)
            raise SumPendingError
        small = zip(text.returned, found, strict=True)
        return [*((k, inputs[k]) for k in text.written), *small]

    @functools.cached_property
    def _sizes(self) -> list[tuple[str, str]]:
        return size_kinds(self.rule)
