"""The formats that are compared: what a parameter and its state are stored in."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np
import samestep as ss
from numpy.typing import NDArray

Array = NDArray[Any]
HYPER = dict(lr=1e-3, weight_decay=1e-2)
BACKEND = "numba"  # all have the same bits
NO_SMALL = 4096  # elements from which on other libraries store 8 bits


@dataclass(frozen=True)
class Format:
    """A dtype of parameters, and keywords of the optimizer that say what else is stored.

    ``parts`` are those of `measure` that it has figures of, ``bytes`` those of a parameter and its
    state where they are not counted.
    """

    parts: ClassVar[tuple[str, ...]] = ("bytes", "speed", "error", "digits", "text")
    name: str
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    bytes: float | None = None

    def keywords(self, seed: int) -> dict[str, Any]:
        """Return what the optimizer is made with; only random rounding takes the seed."""
        random = {"seed": seed} if "rounding" in self.options else {}
        return {**HYPER, **self.options, **random}

    def optimizer(self, params: Any, seed: int = 0) -> ss.Optimizer:
        return ss.AdamW(params, backend=BACKEND, **self.keywords(seed))

    def torch_optimizer(self, params: list[tuple[str, Any]], seed: int) -> Any:
        module = importlib.import_module("samestep.torch")
        return module.AdamW(params, **self.keywords(seed))

    def stored(self, array: Array) -> Array:
        """Return a copy of an array in the parameters' dtype."""
        return array.astype(np.dtype(self.dtype))


@dataclass(frozen=True)
class OtherLibrary(Format):
    """AdamW with states of 8 bits by another library, for tensors of float32."""

    parts = ("error", "text")
    module: str = ""

    def optimizer(self, params: Any, seed: int = 0) -> OnCopies:
        return OnCopies(self, params)

    def torch_optimizer(self, params: list[Any], seed: int) -> Any:
        return importlib.import_module(self.module).AdamW8bit(params, **HYPER)


class OnCopies:
    """Another library's optimizer of a vector of some copies of an array, so that it is no small
    one, whose states would stay in 32 bits. The array has the first copy's values."""

    def __init__(self, form: OtherLibrary, array: Array) -> None:
        torch = importlib.import_module("torch")
        self.array, self.copies = array, -(-NO_SMALL // array.size)
        self.tensor = torch.from_numpy(np.tile(array.reshape(-1), self.copies)).requires_grad_()
        self.optimizer = form.torch_optimizer([self.tensor], 0)

    def step(self, grad: Array) -> None:
        self.tensor.grad = self.tensor.new_tensor(np.tile(grad.reshape(-1), self.copies))
        self.optimizer.step()
        first = self.tensor.detach().numpy()[: self.array.size]
        self.array[...] = first.reshape(self.array.shape)


def others() -> dict[str, OtherLibrary]:
    """Return those that are installed."""
    modules = {"torchao": "torchao.optim", "bitsandbytes": "bitsandbytes.optim"}
    return {
        f"{name} AdamW8bit": OtherLibrary(f"{name} AdamW8bit", module=module)
        for name, module in modules.items()
        if importlib.util.find_spec(name)
    }


UNWARNED = dict(warn_lost_updates=False)  # that updates are lost is what is measured
STOCHASTIC = dict(rounding="stochastic")
EIGHT_BITS = dict(exp_avg="int8", exp_avg_sq="uint8")
FOUR_BITS = dict(exp_avg="int4", exp_avg_sq="uint4")
FORMATS = {
    each.name: each
    for each in (
        Format("float32"),
        Format("float32, states bfloat16", options=dict(state_dtype="bfloat16")),
        Format("float32, exp_avg bfloat16", options=dict(state_dtype={"exp_avg": "bfloat16"})),
        Format(
            "float32, states bfloat16, stochastic",
            options=dict(state_dtype="bfloat16", **STOCHASTIC),
        ),
        Format("float32, states float16", options=dict(state_dtype="float16")),
        Format("float32, exp_avg 8 bits", options=dict(state_dtype={"exp_avg": "int8"})),
        Format("float32, states 8 bits", options=dict(state_dtype=EIGHT_BITS)),
        Format("float32, states 4 bits", options=dict(state_dtype=FOUR_BITS)),
        Format("bfloat16, master float32", "bfloat16", dict(master="float32")),
        Format("bfloat16, compensated", "bfloat16", dict(compensated=True)),
        Format("bfloat16, stochastic", "bfloat16", STOCHASTIC),
        Format(
            "bfloat16, states bfloat16, stochastic",
            "bfloat16",
            dict(state_dtype="bfloat16", **STOCHASTIC),
        ),
        Format(
            "bfloat16, states 8 bits, stochastic",
            "bfloat16",
            dict(state_dtype=EIGHT_BITS, **STOCHASTIC),
        ),
        Format("bfloat16, nearest", "bfloat16", UNWARNED),
    )
}
REFERENCE = next(iter(FORMATS))
