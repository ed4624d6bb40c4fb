"""AdamW of other libraries as contenders of the benchmark. They are imported only here, lazily."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

from ...language.scalars import as_numbers, next_scalars
from ...parameters.clock import Clock
from ...rules import find_rule
from ..memory.moved import bytes_by_torch, bytes_by_xla

Arrays = list[NDArray[Any]]

TORCH_VARIANTS: dict[str, dict[str, Any]] = {
    "torch for-loop": dict(foreach=False, fused=False),
    "torch foreach": dict(foreach=True),
    "torch fused": dict(fused=True),
}


class Torch:
    """An optimizer on torch tensors; those of the gradients share the gradients' memory.

    ``make(tensors)`` is the optimizer; ``visible`` says whether its arithmetic is made of torch's
    operations, so that they can be counted.
    """

    def __init__(
        self,
        make: Callable[[list[Any]], Any],
        params: Arrays,
        sets: Sequence[Arrays],
        visible: bool = True,
    ) -> None:
        import torch

        self.params = [torch.from_numpy(param.copy()).requires_grad_() for param in params]
        self.sets = [[torch.from_numpy(grad) for grad in grads] for grads in sets]
        self.optimizer = make(self.params)
        self.step = self.optimizer.step
        self.visible = visible

    def give(self, k: int) -> None:
        for param, grad in zip(self.params, self.sets[k], strict=True):
            param.grad = grad

    def count_bytes(self) -> int | None:
        self.step()  # the first step makes the state
        return bytes_by_torch(self.step) if self.visible else None


class TorchCompiled(Torch):
    """One of torch's optimizers, its step compiled."""

    def __init__(
        self, make: Callable[[list[Any]], Any], params: Arrays, sets: Sequence[Arrays]
    ) -> None:
        import torch

        super().__init__(make, params, sets, visible=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own imports are deprecated ones
            importlib.import_module("torch._inductor.compile_fx")
        self.step = torch.compile(self.optimizer.step)


class Vmapped:
    """Copies of a network as ``torch.func.vmap`` has them: stacked tensors, and a functional step
    of one copy, by the formula of ``rule``, over their first axis. Learning rates differ.

    ``params`` are those of all copies, one network after the other.
    """

    def __init__(
        self,
        rule: str,
        hyper: Mapping[str, Any],
        copies: int,
        params: Arrays,
        sets: Sequence[Arrays],
        compiled: bool = False,
    ) -> None:
        import torch

        self.rule = find_rule(rule)
        self.copies, self.size = copies, len(params) // copies
        self.params = self._stacked(params)
        self.state = [[torch.zeros_like(param) for _ in self.rule.state] for param in self.params]
        self.sets = [self._stacked(grads) for grads in sets]
        self.hyper = [
            as_numbers({**self.rule.defaults, **hyper, "lr": hyper["lr"] * (1 + k)})
            for k in range(copies)
        ]
        self.clock = Clock(self.rule, 0, 0, dict(self.rule.carry))

        def one(scalars: dict[str, Any], param: Any, grad: Any, *state: Any) -> Any:
            return self.rule.update(torch, SimpleNamespace(**scalars), param, grad, *state)

        self.update: Any = torch.func.vmap(one)
        if compiled:
            self.update = torch.compile(self.update)

    def _stacked(self, arrays: Arrays) -> list[Any]:
        import torch

        return [
            torch.stack([torch.from_numpy(array) for array in arrays[i :: self.size]])
            for i in range(self.size)
        ]

    def give(self, k: int) -> None:
        self.gradients = self.sets[k]

    def step(self) -> None:
        import torch

        rows = [
            next_scalars(self.rule, self.clock.step, self.clock.carry, hyper)[0]
            for hyper in self.hyper
        ]
        self.clock.step += 1
        scalars = {
            name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in rows[0]
        }
        for i, (param, grad) in enumerate(zip(self.params, self.gradients, strict=True)):
            self.params[i], *self.state[i] = self.update(scalars, param, grad, *self.state[i])

    def count_bytes(self) -> None:
        """Not counted."""


def torch_adamw(variant: str, **hyper: Any) -> Callable[[list[Any]], Any]:
    """torch.optim's own; ``variant`` is one of `TORCH_VARIANTS`."""

    def make(tensors: list[Any]) -> Any:
        import torch

        return torch.optim.AdamW(tensors, **hyper, **TORCH_VARIANTS[variant])

    return make


def deepspeed_adamw(**hyper: Any) -> Callable[[list[Any]], Any]:
    """DeepSpeed's vectorized C++, which a compiler builds when the first one is made."""

    def make(tensors: list[Any]) -> Any:
        module = importlib.import_module("deepspeed.ops.adam")
        return module.DeepSpeedCPUAdam(tensors, adamw_mode=True, **hyper)

    return make


class Optax:
    """optax, compiled as one function that may overwrite parameters and state."""

    def __init__(
        self, params: Arrays, sets: Sequence[Arrays], lr: float, weight_decay: float
    ) -> None:
        import jax
        import optax

        rule = optax.adamw(lr, weight_decay=weight_decay)

        def update(params: Any, state: Any, grads: Any) -> Any:
            updates, state = rule.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        with jax.default_device(jax.devices("cpu")[0]):
            self.params = [jax.numpy.array(param) for param in params]
            self.sets = [[jax.numpy.asarray(grad) for grad in grads] for grads in sets]
            self.state = rule.init(self.params)
        self.update: Any = jax.jit(update, donate_argnums=(0, 1))
        self.finish: Any = jax.block_until_ready

    def give(self, k: int) -> None:
        self.gradients = self.sets[k]

    def step(self) -> None:
        self.params, self.state = self.finish(self.update(self.params, self.state, self.gradients))

    def count_bytes(self) -> int:
        lowered = self.update.lower(self.params, self.state, self.gradients)
        return bytes_by_xla(lowered.compile())
