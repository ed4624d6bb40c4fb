"""Measure Muon beside the matrix products that it consists of and beside torch.optim.Muon, and
write ``docs/compared_products.json`` and the page's table.

``python tests/compared/measure_products.py`` takes some two minutes on two idle cores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

import numpy as np
import samestep.torch
import torch
from compared_page import (
    NUMBA,
    OF_PRODUCTS,
    OURS,
    OURS_BFLOAT16,
    PRODUCTS,
    TORCH,
    write,
)
from samestep.language.matrix_functions import newton_schulz, newton_schulz_memory
from samestep.tools.bench.contenders import Samestep
from samestep.tools.bench.frameworks import Torch
from samestep.tools.bench.timing import Arrays, Contender, take_turns
from samestep.tools.bench.work import normal
from samestep.tools.cli.installation import core_count, installed_versions

SHAPES = {"1 of 2,048 x 2,048": ((2048, 2048),), "64 of 256 x 256": ((256, 256),) * 64}


class Products(Contender):
    """The matrix products of Muon's steps, by NumPy, and nothing else. They are of orthonormal
    matrices, which stay so, where other ones would soon be subnormal."""

    def __init__(self, params: Arrays, sets: Sequence[Arrays]) -> None:
        super().__init__(params, sets)
        self.calls: list[tuple[Any, Any, Any]] = []
        self.start = np.linalg.qr(np.stack(sets[0])).Q
        self.stack = self.start.copy()
        memory = np.empty(len(self.stack) * newton_schulz_memory(*params[0].shape), np.float32)
        newton_schulz(self._take_note, self.stack, memory, 0, 0, 1, 5)

    def _take_note(self, a: Any, b: Any, out: Any) -> None:
        self.calls.append((a, b, out))
        np.matmul(a, b, out)

    def give(self, k: int) -> None:
        self.stack[...] = self.start

    def step(self) -> None:
        for a, b, out in self.calls:
            np.matmul(a, b, out)


def contenders(params: Arrays, grads: Arrays) -> dict[str, Contender]:
    """Return the products, Muon of both packages, and torch's own."""
    ours = partial(samestep.torch.Muon, lr=1e-3)
    made = {OURS: ours, OURS_BFLOAT16: partial(ours, ns_dtype="bfloat16"), TORCH: torch.optim.Muon}
    return {
        PRODUCTS: Products(params, [grads]),
        NUMBA: Samestep("numba", params, [grads], "muon", {}),
        **{name: Torch(make, params, [grads]) for name, make in made.items()},
    }


def measure(shapes: dict[str, Sequence[tuple[int, int]]], rounds: int) -> dict[str, Any]:
    """Return the seconds that each contender took for a step in each round, by the work."""
    works = {}
    for work, each in shapes.items():
        params, grads = normal(tuple(each), 0), normal(tuple(each), 1)
        works[work] = take_turns(contenders(params, grads), 1, rounds, lambda: None)
        print(work, {name: min(seconds) for name, seconds in works[work].items()}, flush=True)
    return {
        "versions": installed_versions("numpy", "numba", "torch"),
        "settings": {"rounds": rounds, "cores": core_count()},
        "seconds": works,
    }


if __name__ == "__main__":
    write(OF_PRODUCTS, measure(SHAPES, rounds=5))
