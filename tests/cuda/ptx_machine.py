"""Executes unmodified PTX over NumPy arrays: every thread of every block is a lane.

The lanes that are furthest behind go first, so threads that parted meet again where their paths
do. Within an instruction all of its lanes act at once. That one order stands for all others,
because an access that depends on the order is reported as a race (`ptx_memory`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ptx import TYPES, Instruction, Kernel
from ptx_memory import Array, GlobalMemory, SharedMemory
from ptx_operations import Fault, function

Reader = Callable[[Any], Any]
CACHE_HINTS = {"nc", "ca", "cg", "cs", "L1::no_allocate"}  # say nothing about values
ADDRESS = re.compile(r"\[ ?([%\w$]+)(?: ?\+ ?(-?\w+))? ?\]")


class Machine:
    """A kernel and as many lanes as a launch has threads; it may run several times. One that takes
    more than ``most`` instructions does not end.

    Parameters
    ----------
    kernel
        What to run.
    grid
        Numbers of blocks, along x and y.
    block
        Number of threads in a block, along x.
    """

    most = 1_000_000

    def __init__(self, kernel: Kernel, grid: tuple[int, int], block: int) -> None:
        self.kernel, self.blocks = kernel, grid[0] * grid[1]
        self.lanes = np.arange(self.blocks * block)
        self.block_of = self.lanes // block
        places = {
            "%tid.x": self.lanes % block,
            "%ntid.x": np.full(len(self.lanes), block),
            "%ctaid.x": self.block_of % grid[0],
            "%ctaid.y": self.block_of // grid[0],
            "%nctaid.x": np.full(len(self.lanes), grid[0]),
            "%nctaid.y": np.full(len(self.lanes), grid[1]),
        }
        self.special = {name: values.astype(np.uint32) for name, values in places.items()}
        self.registers = {
            name: np.empty(len(self.lanes), TYPES["pred" if bits == 1 else f"b{bits}"])
            for name, bits in kernel.registers.items()
        }
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
        for register in self.registers.values():
            register.view(np.uint8).fill(0xA5)  # what is used before it is set shows
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
                    action = self.actions[place - 1] = self._build(instruction)
                action(guarded)
        else:
            at[lanes] = place
        self.executed += place - begun
        self.reached[begun:place] = True

    # ---- instructions

    def _build(self, instruction: Instruction) -> Callable[[Any], None]:
        """A function that executes ``instruction`` for the given lanes."""
        name = instruction.opcode[0]
        if name in ("ld", "st"):
            return self._access(instruction)
        if name in ("mov", "cvta"):
            return self._move(instruction)
        compute, dtypes, result = function(instruction)
        if len(instruction.operands) != len(dtypes) + 1:
            raise Fault(f"wrong number of operands: {instruction.text}")
        wider = name == "cvt"
        target = self._target(instruction.operands[0], result, wider)
        sources = [
            self._source(operand, dtype, wider)
            for operand, dtype in zip(instruction.operands[1:], dtypes, strict=True)
        ]

        def act(lanes: Any) -> None:
            target[lanes] = compute(*[source(lanes) for source in sources])

        return act

    def _target(self, operand: str, dtype: np.dtype, wider: bool = False) -> Array:
        """A register to write to. Where it may be ``wider`` than the value, integers are
        extended: by their own sign if they have one."""
        register = self.registers.get(operand)
        if register is None or (register.dtype == bool) != (dtype.kind == "b"):
            raise Fault(f"{operand} is not a register of {dtype}")
        if register.itemsize == dtype.itemsize:
            return register.view(dtype)
        if not wider or register.itemsize < dtype.itemsize or dtype.kind == "f":
            raise Fault(f"{operand} is not a register of {dtype}")
        return register.view(f"{dtype.kind}{register.itemsize}")

    def _source(self, operand: str, dtype: np.dtype, wider: bool = False) -> Reader:
        if not operand.startswith("%"):
            value = self._constant(operand, dtype)
            return lambda lanes: value
        known = self.special.get(operand)
        if known is not None:
            view = known.astype(dtype)
        else:
            view = self._target(operand, dtype, wider)
        if view.dtype != dtype:  # the lower part of a wider register
            return lambda lanes: view[lanes].astype(dtype)
        return lambda lanes: view[lanes]

    def _constant(self, operand: str, dtype: np.dtype) -> Any:
        if operand in self.kernel.shared:
            return dtype.type(self.kernel.shared[operand])
        if operand.startswith("0f") or operand.startswith("0d"):
            kind = TYPES["b32" if operand[1] == "f" else "b64"].type
            return kind(int(operand[2:], 16)).view(dtype)
        number = re.fullmatch(r"(-?(?:0x[0-9A-Fa-f]+|\d+))U?", operand)
        if number is None:
            raise Fault(f"operand that is not understood: {operand}")
        return np.array(int(number[1], 0) % (1 << 8 * dtype.itemsize), f"u{dtype.itemsize}").view(
            dtype
        )[()]

    def _move(self, instruction: Instruction) -> Callable[[Any], None]:
        to, source = instruction.operands
        if instruction.opcode[0] == "cvta" and instruction.opcode[1:] not in (
            ("to", "global", "u64"),
            ("global", "u64"),
        ):
            raise Fault(f"not modelled: {instruction.text}")
        if "{" in to or "{" in source:
            return self._pack(instruction)
        target, read = self._target(to, instruction.dtype), self._source(source, instruction.dtype)

        def act(lanes: Any) -> None:
            target[lanes] = read(lanes)

        return act

    def _pack(self, instruction: Instruction) -> Callable[[Any], None]:
        """Between one register and the registers of its parts, the lowest first."""
        split = "{" in instruction.operands[0]
        parts, whole = instruction.operands if split else instruction.operands[::-1]
        names = re.findall(r"%\w+|_", parts)
        dtype = np.dtype(f"u{instruction.dtype.itemsize // len(names)}")
        pieces = [None if name == "_" else self._target(name, dtype) for name in names]
        joined = self._target(whole, instruction.dtype).view(dtype).reshape(-1, len(names))

        def act(lanes: Any) -> None:
            for i, piece in enumerate(pieces):
                if piece is not None and split:
                    piece[lanes] = joined[lanes, i]
                elif piece is not None:
                    joined[lanes, i] = piece[lanes]

        return act

    def _access(self, instruction: Instruction) -> Callable[[Any], None]:
        name, space, *hints = instruction.opcode[:-1]
        vector = [hint for hint in hints if re.fullmatch(r"v[24]", hint)]
        constant = "nc" in hints and name == "ld"
        if not set(hints) <= {*CACHE_HINTS, *vector} or space not in ("global", "shared", "param"):
            raise Fault(f"not modelled: {instruction.text}")
        place, values = instruction.operands[::-1] if name == "ld" else instruction.operands
        base, offset = _match_address(place)
        dtype, names = instruction.dtype, re.findall(r"[^{},\s]+", values)
        if len(names) != instruction.lanes:
            raise Fault(f"wrong number of registers: {instruction.text}")
        if space == "param":
            return self._load_parameter(instruction, base, offset)
        read_base = self._source(base, TYPES["u64"] if space == "global" else self._width(base))
        memory = (lambda: self.memory) if space == "global" else (lambda: self.shared)
        extra = {"constant": constant} if name == "ld" and space == "global" else {}

        def locate(lanes: Any) -> tuple[Array, tuple[Array, Array, Array]]:
            lane = self.lanes[lanes]
            block = self.block_of[lanes]
            address = np.broadcast_to(read_base(lanes), lane.shape).astype(np.int64) + offset
            return address, (lane, block, self.epoch[block])

        if name == "ld":
            targets = [self._target(register, dtype, wider=True) for register in names]

            def load(lanes: Any) -> None:
                address, who = locate(lanes)
                found = memory().load(address, dtype, len(targets), who, instruction.text, **extra)
                for i, target in enumerate(targets):
                    target[lanes] = found[:, i]

            return load
        sources = [self._source(register, dtype, wider=True) for register in names]

        def store(lanes: Any) -> None:
            address, who = locate(lanes)
            stored = [np.broadcast_to(source(lanes), address.shape) for source in sources]
            memory().store(address, np.stack(stored, axis=1), who, instruction.text)

        return store

    def _width(self, base: str) -> np.dtype:
        """The type of an address in shared memory: 32 or 64 bits."""
        return TYPES[f"u{self.kernel.registers.get(base, 32)}"]

    def _load_parameter(
        self, instruction: Instruction, name: str, offset: int
    ) -> Callable[[Any], None]:
        if name not in self.kernel.parameters or instruction.opcode[0] != "ld":
            raise Fault(f"not modelled: {instruction.text}")
        dtype, count = instruction.dtype, instruction.lanes
        if not 0 <= offset <= self.kernel.parameters[name] - instruction.bytes:
            raise Fault(f"outside of the parameter: {instruction.text}")
        names = re.findall(r"%\w+", instruction.operands[0])
        targets = [self._target(register, dtype) for register in names[:count]]

        def act(lanes: Any) -> None:
            values = np.frombuffer(self.parameters[name], dtype, count, offset)
            for target, value in zip(targets, values, strict=True):
                target[lanes] = value

        return act


def _match_address(operand: str) -> tuple[str, int]:
    found = ADDRESS.fullmatch(operand)
    if found is None:
        raise Fault(f"operand that is not understood: {operand}")
    return found[1], int(found[2] or "0", 0)
