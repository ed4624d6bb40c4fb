"""The rule's text compiled by PyTorch's compiler, over the same slices.

One graph per variant, compute dtype and pass. Whatever changes from step to step is an input, and
lengths are symbols: a graph is compiled once. Only an axis of length 1 is different for the
compiler, and scalars that are one per tensor instead of one for all; each of these has a graph of
its own, so that none is ever compiled again.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ...program import program
from ...rule import Rule
from .launch import Passes, SumPendingError, TorchLaunch
from .text import Text, text_of_pass

Tensor = torch.Tensor
LONG = 1 << 24  # elements of a tensor that are updated by one call
# code for a GPU: nothing is fused, division is rounded correctly, subnormals stay
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
    ready: list[bool] = field(default_factory=list)

    def __call__(self, *given: Tensor) -> Any:
        if self.ready:
            return self.function(*given)
        shapes: Any = torch.fx.experimental._config
        with shapes.patch(use_duck_shape=False):  # equal lengths are not taken to be one symbol
            found = self.function(*given)
        self.ready.append(True)
        return found


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own imports are deprecated ones
        importlib.import_module("torch._inductor.compile_fx")
    text = text_of_pass(rule, scalars, known, dtype, device)
    function = torch.compile(text.graph, dynamic=True, fullgraph=True, options={**EXACT})
    return Compiled(text, function)


class CompiledLaunch(TorchLaunch):
    """As `TorchLaunch`, with the text compiled."""

    in_text = False

    @property
    def _longest(self) -> int:
        """Compiled text has no temporaries, so only copies in another dtype have to be short."""
        return super()._longest if self.converts else LONG

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
        constants = [xp.typed(number) for number in text.constants]
        given = (*numbers, *sizes, *sums, inputs[0], grad, *inputs[1:], *constants)
        found = compiled(*map(plain, given))
        if text.per:
            xp.gather(found[0], text.per)
            raise SumPendingError
        small = zip(text.returned, found, strict=True)
        return [*((k, inputs[k]) for k in text.written), *small]

    @functools.cached_property
    def _sizes(self) -> list[tuple[str, str]]:
        return program(self.rule).size_kinds


def plain(tensor: Tensor) -> Tensor:
    """The tensor without what the compiler would look at and does not matter: its history as a
    view, and the stride of a batch of one."""
    if tensor.ndim and tensor.shape[0] == 1:
        return tensor.detach()[0].unsqueeze(0).detach()
    return tensor.detach()
