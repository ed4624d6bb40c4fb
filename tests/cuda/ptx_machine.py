"""Executes unmodified PTX over NumPy arrays: every thread of every block is a lane.

The lanes that are furthest behind go first, so threads that parted meet again where their paths
do. Within an instruction all of its lanes act at once. That one order stands for all others,
because an access that depends on the order is reported as a race (`ptx_memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ptx import Kernel
from ptx_lanes import Lanes
from ptx_memory import Array, GlobalMemory, SharedMemory
from ptx_operations import Fault


class Machine(Lanes):
    """Lanes that run through their kernel; they may do so several times. A run that takes more than
    ``most`` instructions does not end."""

    most = 1_000_000

    def __init__(self, kernel: Kernel, grid: tuple[int, int], block: int) -> None:
        super().__init__(kernel, grid, block)
        self.executed = 0  # instructions of the last run, counted once for all lanes
        self.reached = np.zeros(len(kernel.code), bool)  # by any run
        self.actions: list[Callable[[Any], None] | None] = [None] * len(kernel.code)

    def run(self, arguments: Sequence[Any], memory: GlobalMemory) -> None:
        """Execute to the end.

        ``arguments`` are scalars of NumPy in the order of the kernel's parameters, ``memory`` is
        what the launch may use.

        Raises
        ------
        Fault
            For whatever hardware would fault on, leave undefined, or compute inexactly.
        """
        self.memory = memory
        self.parameters = self._check_arguments(arguments)
        self.shared = SharedMemory(self.kernel.shared_size, self.blocks)
        self.epoch = np.zeros(self.blocks, np.int64)
        for name, register in self.registers.items():  # what is used before it is set shows
            register.view(np.uint8).fill(0xFF if name.startswith("%f") else 0xA5)  # a NaN
        with np.errstate(all="ignore"):
            self._run()

    def _check_arguments(self, arguments: Sequence[Any]) -> dict[str, bytes]:
        sizes = self.kernel.parameters
        if len(arguments) != len(sizes):
            raise Fault(f"{self.kernel.name} takes {len(sizes)} arguments, got {len(arguments)}")
        parameters = {}
        for (name, size), argument in zip(sizes.items(), arguments, strict=True):
            parameters[name] = np.asarray(argument).tobytes()
            if len(parameters[name]) != size:
                raise Fault(f"{name} has {size} bytes, the argument {len(parameters[name])}")
        return parameters

    # ---- control

    def _run(self) -> None:
        end = len(self.kernel.code)
        at = np.zeros(len(self.lanes), np.int64)
        waiting = np.zeros(len(self.lanes), bool)
        self.executed = 0
        while True:
            ready = at < end
            if not ready.any():
                return
            ready &= ~waiting
            if not ready.any():
                self._open_barrier(at, waiting, end)
                continue
            places = np.where(ready, at, end)
            first = int(places.min())
            chosen = places == first
            stop = int(places[~chosen].min(initial=end))
            self._run_straight(first, stop, chosen, at, waiting)
            if self.executed > self.most:
                raise Fault("the kernel does not end")

    def _open_barrier(self, at: Array, waiting: Array, end: int) -> None:
        """All threads wait: those of a block at the same barrier, none of them ended."""
        places = at.reshape(len(self.epoch), -1)
        live = places[:, 0] < end
        if (places != places[:, :1]).any():
            raise Fault("threads of a block wait at different barriers, or not at all")
        waiting[:] = False
        at[np.repeat(live, places.shape[1])] += 1
        self.epoch[live] += 1

    def _run_straight(
        self, place: int, stop: int, chosen: Array, at: Array, waiting: Array
    ) -> None:
        """Let the chosen lanes go on until they branch, wait, end or meet others."""
        every = bool(chosen.all())
        lanes: Any = slice(None) if every else np.nonzero(chosen)[0]
        begun = place
        while place < stop:
            instruction = self.kernel.code[place]
            name = instruction.opcode[0]
            guarded = lanes
            if instruction.guard:
                taken = self.registers[instruction.guard][lanes] ^ instruction.negated
                guarded = self.lanes[lanes][taken]
            place += 1
            if name in ("bra", "ret", "exit"):
                at[lanes] = place
                label = instruction.operands[0] if name == "bra" else None
                at[guarded] = self.kernel.labels[label] if label else len(self.kernel.code)
                break
            if name in ("bar", "barrier"):
                if instruction.opcode[-1] != "sync" or instruction.operands != ("0",):
                    raise Fault(f"not modelled: {instruction.text}")
                at[guarded], waiting[guarded] = place - 1, True
                if instruction.guard:
                    raise Fault(f"barrier for some threads only: {instruction.text}")
                break
            if not instruction.guard or len(guarded):
                action = self.actions[place - 1]
                if action is None:
                    action = self.actions[place - 1] = self.build(instruction)
                action(guarded)
        else:
            at[lanes] = place
        self.executed += place - begun
        self.reached[begun:place] = True
