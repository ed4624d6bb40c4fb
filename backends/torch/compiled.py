"""The rule's text compiled by PyTorch's compiler, over the same slices.

One graph per variant, compute dtype and pass. Whatever changes from step to step is an input, and
lengths are symbols: a graph is compiled once. Only an axis of length 1 is different for the
compiler, and scalars that are one per tensor instead of one for all; each of these has a graph of
its own, so that none is ever compiled again.
"""

from __future__ import annotations

import functools
import importlib
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from ...interrupts import held
from .batch import Evaluate
from .launch import TorchLaunch
from .text import Text

Tensor = torch.Tensor
LONG = 1 << 24  # elements of a tensor that are updated by one call
# code for a GPU: nothing is fused, division is rounded correctly, subnormals stay
EXACT = {
    "emulate_precision_casts": True,
    "eager_numerics.division_rounding": True,
    "eager_numerics.disable_ftz": True,
}

_compiling = threading.Lock()


@dataclass(frozen=True)
class Compiled:
    """The function that computes one pass of a rule's text."""

    function: Callable[..., Any]
    ready: list[bool] = field(default_factory=list)

    def __call__(self, *given: Tensor) -> Any:
        if self.ready:
            return self.function(*given)
        shapes: Any = torch.fx.experimental._config
        # equal lengths are not taken to be one symbol; the setting is the process's
        with held(), _compiling, shapes.patch(use_duck_shape=False):
            found = self.function(*given)
        self.ready.append(True)
        return found


@functools.cache
def compiled_pass(
    text: Text, dtype: torch.dtype, device: torch.device, form: tuple[Any, ...]
) -> Compiled:
    """``form`` is what the compiler specializes on."""
    with held(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own imports are deprecated ones
        importlib.import_module("torch._inductor.compile_fx")
    return Compiled(torch.compile(storing(text), dynamic=True, fullgraph=True, options={**EXACT}))


def storing(text: Text) -> fx.GraphModule:
    """The graph with what it writes stored where it belongs, and the smaller values returned."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(text.graph, copies)
    for k, value in zip(text.written, text.results, strict=False):
        graph.call_method("copy_", (copies[text.arrays[k]], copies[value]))
    graph.output(tuple(copies[value] for value in text.results[len(text.written) :]))
    return fx.GraphModule({}, graph)


class CompiledLaunch(TorchLaunch):
    """As `TorchLaunch`, with the text compiled."""

    @property
    def _longest(self) -> int:
        """Compiled text has no temporaries, so only copies in another dtype have to be short."""
        return super()._longest if self.form.converts else LONG

    def _of_text(self) -> tuple[int, int]:
        return 1, 2 * len(self.names) + 1

    def _evaluation(self, scaled: bool) -> Evaluate:
        texts = self.texts(scaled=True)  # one graph, whether gradients are multiplied or not
        constants = [self._constants(text) for text in texts]

        def evaluate(known: int, given: Sequence[Tensor], shape: torch.Size) -> Sequence[Tensor]:
            form = (*(n == 1 for n in shape), given[0].ndim)
            compiled = compiled_pass(texts[known], self.dtype, self.device, form)
            found: Sequence[Tensor] = compiled(*map(plain, (*given, *constants[known])))
            return found

        return evaluate


def plain(tensor: Tensor) -> Tensor:
    """The tensor without what the compiler would look at and does not matter: its history as a
    view, and the stride of a batch of one."""
    if tensor.ndim and tensor.shape[0] == 1:
        return tensor.detach()[0].unsqueeze(0).detach()
    return tensor.detach()
