"""A rule's passes compiled by PyTorch's compiler, over the same slices.

One graph per variant, compute dtype and pass; folds, on few numbers, are not compiled. Whatever
changes from step to step is an input, and lengths are symbols: a graph is compiled once. Only an
axis of length 1 is different for the compiler, and scalars that are one per tensor instead of one
for all; each of these has a graph of its own, so that none is ever compiled again.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...interrupts import held
from ...language.kept import kept
from .batch import Evaluate
from .in_place import in_place, storing
from .launch import TorchLaunch
from .operations import Operations

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
    """The function that computes one pass of a rule."""

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


@kept
def compiled_pass(
    operations: Operations, dtype: torch.dtype, device: torch.device, form: tuple[Any, ...]
) -> Compiled:
    """Return the compiled graph for what the compiler specializes on: dtype, device, ``form``."""
    with held(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own imports are deprecated ones
        importlib.import_module("torch._inductor.compile_fx")
    graph = storing(operations, {}, {})
    unknown = unknown_settings()
    known: dict[str, Any] = {name: on for name, on in EXACT.items() if name not in unknown}
    return Compiled(torch.compile(graph, dynamic=True, fullgraph=True, options=known))


def unknown_settings() -> list[str]:
    """Return those of `EXACT` that this PyTorch's compiler does not have: on a GPU each is needed,
    on a host none."""
    from torch._inductor import config

    return sorted(EXACT.keys() - config.get_config_copy().keys())


class CompiledLaunch(TorchLaunch):
    """A `TorchLaunch` whose passes are compiled."""

    @property
    def _longest(self) -> int:
        """Compiled passes have no temporaries, so only copies in another dtype have to be short."""
        return super()._longest if self.converts else LONG

    def _evaluation(self, scaled: bool) -> tuple[list[Operations], Evaluate]:
        launches = self.operations(scaled=True)  # one graph, whether the coefficient is 1 or not
        constants = [self._constants(each) for each in launches]

        def evaluate(k: int, given: Sequence[Tensor]) -> Sequence[Tensor]:
            given, each = (*given, *constants[k]), launches[k]
            if not each.in_pass:
                return in_place(each).function(*given)
            grad = given[len(given) - len(each.constants) - 1]
            form = (*(n == 1 for n in grad.shape), given[0].ndim)
            compiled = compiled_pass(each, self.dtype, self.device, form)
            found: Sequence[Tensor] = compiled(*map(plain, given))
            return found

        return launches, evaluate


def plain(tensor: Tensor) -> Tensor:
    """Return the tensor without what the compiler would look at and does not matter: its history as
    a view, and the stride of a batch of one."""
    if tensor.ndim and tensor.shape[0] == 1:
        return tensor.detach()[0].unsqueeze(0).detach()
    return tensor.detach()
