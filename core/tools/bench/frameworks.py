"""AdamW of other libraries as contenders of the benchmark; they are imported lazily."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ...language.scalars import as_numbers, next_scalars
from ...rules import find_rule
from .by_hand import ByHand
from .moved import Counted, bytes_by_xla, counting_torch
from .timing import Arrays, Contender

TORCH_VARIANTS: dict[str, dict[str, Any]] = {
    "torch for-loop": dict(foreach=False, fused=False),
    "torch foreach": dict(foreach=True),
    "torch fused": dict(fused=True),
}


def torch_adamw(tensors: list[Any], **options: Any) -> Any:
    """Return torch's own optimizer of these tensors."""
    import torch

    return torch.optim.AdamW(tensors, **options)


def deepspeed_adamw(tensors: list[Any], **hyper: Any) -> Any:
    """Return DeepSpeed's optimizer in C++, which a compiler builds for the first one."""
    module = importlib.import_module("deepspeed.ops.adam")
    return module.DeepSpeedCPUAdam(tensors, adamw_mode=True, **hyper)


class Torch(Contender):
    """An optimizer on torch tensors, ``make(tensors)``; gradients share the arrays' memory.

    ``visible``: its arithmetic is made of torch's operations, so that they can be counted.
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
        self.take_step: Callable[[], object] = self.optimizer.step
        self.visible = visible

    def give(self, k: int) -> None:
        for param, grad in zip(self.params, self.sets[k], strict=True):
            param.grad = grad

    def step(self) -> None:
        self.take_step()

    def count_bytes(self) -> int | None:
        self.step()  # the first step makes the state
        if not self.visible:
            return None
        with counting_torch():
            self.step()
        return Counted.moved


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
        self.take_step = torch.compile(self.optimizer.step)


class Vmapped(Contender):
    """Copies of a network, with learning rates of their own, as ``torch.func.vmap`` takes them.

    They are stacked tensors; a functional step of one copy, by the formula of ``rule``, runs over
    their first axis. ``params`` are those of all copies, one network after the other.
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

        self.rule, self.size, self.steps = find_rule(rule), len(params) // copies, 0
        self.params = self._stacked(params)
        self.state = [[torch.zeros_like(param) for _ in self.rule.state] for param in self.params]
        self.sets = [self._stacked(grads) for grads in sets]
        self.hyper = [
            as_numbers({**self.rule.defaults, **hyper, "lr": hyper["lr"] * (1 + k)})
            for k in range(copies)
        ]

        by_hand = ByHand(torch)

        def one(scalars: dict[str, Any], param: Any, grad: Any, *state: Any) -> Any:
            return self.rule.update(by_hand, SimpleNamespace(**scalars), param, grad, *state)

        update: Any = torch.func.vmap(one)
        self.update = torch.compile(update) if compiled else update

    def _stacked(self, arrays: Arrays) -> list[Any]:
        import torch

        tensors = [torch.from_numpy(array) for array in arrays]
        return [torch.stack(tensors[i :: self.size]) for i in range(self.size)]

    def step(self) -> None:
        import torch

        rows = [next_scalars(self.rule, self.steps, {}, hyper)[0] for hyper in self.hyper]
        self.steps += 1
        scalars = {
            name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in rows[0]
        }
        for i, (param, grad) in enumerate(zip(self.params, self.gradients, strict=True)):
            self.params[i], *self.state[i] = self.update(scalars, param, grad, *self.state[i])


class Optax(Contender):
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

    def step(self) -> None:
        self.params, self.state = self.finish(self.update(self.params, self.state, self.gradients))

    def count_bytes(self) -> int:
        lowered = self.update.lower(self.params, self.state, self.gradients)
        return bytes_by_xla(lowered.compile())
