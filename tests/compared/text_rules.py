"""Rules beside each other on a small transformer: how many steps each takes to one loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import samestep.torch
import text_loss
from stored_formats import Format

Params = list[tuple[str, Any]]


@dataclass(frozen=True)
class Trained(Format):
    """An optimizer of tensors with a learning rate, for trainings that take a format: here
    float32."""

    make: Callable[[Params, float], Any] = samestep.torch.AdamW
    lr: float = 0.0

    def torch_optimizer(self, params: Params, seed: int) -> Any:
        return self.make(params, self.lr)


def beside_adamw(rule: str, **options: Any) -> Callable[[Params, float], Any]:
    """Return a maker of optimizers: ``rule`` for the matrices of layers, AdamW for embeddings and
    vectors. Both have one learning rate."""

    def make(params: Params, lr: float) -> Any:
        matrices, others = [], []
        for name, param in params:
            (matrices if name.startswith("layers.") and param.ndim > 1 else others).append(param)
        groups = [{"params": matrices, "rule": rule, **options}, {"params": others}]
        return samestep.torch.Optimizer("adamw", groups, lr=lr)

    return make


MAKERS: Mapping[str, Callable[[Params, float], Any]] = {
    "AdamW": lambda params, lr: samestep.torch.AdamW(params, lr=lr),
    "Schedule-Free AdamW": lambda params, lr: samestep.torch.AdamWScheduleFree(params, lr=lr),
    "Muon, AdamW": beside_adamw("muon", match_rms_adamw=True),  # its steps are as long as AdamW's
    "SOAP, AdamW": beside_adamw("soap"),
}


def steps_to(name: str, lr: float, seed: int, loss: float, steps: int, every: int) -> int | None:
    """Return the first step after which the loss on text that is held out is at most ``loss``,
    looked at after ``every`` so many steps; None where none of the ``steps`` is."""
    trained = Trained(name, make=MAKERS[name], lr=lr)
    for i, found in enumerate(text_loss.losses(trained, seed, steps, every), 1):
        if found <= loss:
            return i * every
    return None
