"""A kernel in Triton's language, as PyTorch's compiler generates it: compiled to PTX by Triton,
which needs no GPU for that, and executed by the interpreter on tensors in host memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import ptx
import torch
from ptx_machine import Machine
from ptx_memory import Array, GlobalMemory, Races
from ptx_operations import Fault
from torch._inductor.codecache import PyCodeCache
from torch._inductor.runtime.triton_heuristics import GridExpr


class RacesOfOwners(Races):
    """Where a block has more threads than elements, the last of them hold copies: they read and
    compute what others do, and store nothing. So what they read does not matter."""

    def __init__(self, granules: int, threads: int, owners: int) -> None:
        super().__init__(granules)
        self.threads, self.owners = threads, owners

    def read(self, at: Array, lane: Array, block: Array, epoch: Array, text: str) -> None:
        own = lane % self.threads < self.owners
        super().read(at[own], lane[own], block[own], epoch[own], text)

    def write(self, at: Array, lane: Array, block: Array, epoch: Array, text: str) -> None:
        if (lane % self.threads >= self.owners).any():
            raise Fault(f"store by a thread that has no element: {text}")
        super().write(at, lane, block, epoch, text)


class Kernel:
    """What the generated module launches. ``ptx`` is its code in each of the configurations that
    tuning chooses from on a GPU; which of them runs here is said by ``number``."""

    def __init__(self, name: str, text: str, number: int) -> None:
        self.name, self.text = name, text
        self.tuner = getattr(PyCodeCache.load(text), name)
        results = [self.tuner._precompile_config(config) for config in self.tuner.configs]
        self.ptx = [ptx.read(result.kernel.asm["ptx"])[name] for result in results]
        self.chosen = number % len(self.ptx)
        self.failure: Exception | None = None
        self.machines: dict[Any, Machine] = {}

    @torch.compiler.disable
    def run(self, *given: Any, stream: int) -> None:
        """Launch it: ``given`` are tensors and integers in the order of the signature."""
        try:
            self._run(given)
        except Exception as error:
            self.failure = error  # PyTorch hides it behind one of its own
            raise

    def _run(self, given: tuple[Any, ...]) -> None:
        kernel, config = self.ptx[self.chosen], self.tuner.configs[self.chosen]
        signature, threads = self.tuner.triton_meta["signature"], 32 * config.num_warps
        grid = self._grid(config, dict(zip(signature, given, strict=False)))
        if grid not in self.machines:
            self.machines[grid] = Machine(kernel, grid, threads)
        values = dict(zip(signature, given, strict=False))
        for name in self.tuner.triton_meta["constants"]:
            del values[name]
        tensors = {name: x for name, x in values.items() if isinstance(x, torch.Tensor)}
        written = {x.data_ptr() for name, x in tensors.items() if not name.startswith("in_ptr")}
        arrays = {x.data_ptr(): host_memory(x) for x in tensors.values()}
        for place in arrays.keys() - written:
            arrays[place].flags.writeable = False
        arguments = [
            np.uint64(x.data_ptr()) if name in tensors else np.dtype(f"int{kind[1:]}").type(x)
            for (name, x), kind in zip(values.items(), map(signature.get, values), strict=True)
        ]
        memory = GlobalMemory(list(arrays.values()))
        owners = math.prod(config.kwargs.values())  # the elements of a block
        memory.races = RacesOfOwners(len(memory.constant), threads, owners)
        scratch = [np.uint64(0)] * (len(kernel.parameters) - len(arguments))
        self.machines[grid].run([*arguments, *scratch], memory)

    def _grid(self, config: Any, values: dict[str, Any]) -> tuple[int, int]:
        found = GridExpr.from_meta(self.tuner.inductor_meta, config)
        assert (found.prefix, found.z_grid) == ([], 1)
        return eval(str(found.x_grid), values), eval(str(found.y_grid), values)


def host_memory(tensor: torch.Tensor) -> Array:
    """A tensor's memory, from its first element to its last, as a vector."""
    size = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.as_strided((size,), (1,)).numpy()
