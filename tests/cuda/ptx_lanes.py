"""What instructions of PTX do to the threads of a launch: every thread is a lane of NumPy
arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from ptx import TYPES, Instruction, Kernel
from ptx_memory import Array, GlobalMemory, SharedMemory
from ptx_operations import Fault, function

Reader = Callable[[Any], Any]
# say nothing about values; the last has one more operand, what `createpolicy` made
CACHE_HINTS = {"nc", "ca", "cg", "cs", "L1::no_allocate", "L1::evict_last", "L1::evict_first"}
CACHE_POLICY = "L2::cache_hint"
ADDRESS = re.compile(r"\[ ?([%\w$]+)(?: ?\+ ?(-?\w+))? ?\]")


class Lanes:
    """The registers of all threads of a launch, and functions that execute instructions on them.

    Parameters
    ----------
    kernel
        Whose registers they are.
    grid
        Numbers of blocks, along x and y.
    block
        Number of threads in a block, along x.
    """

    memory: GlobalMemory
    shared: SharedMemory
    parameters: dict[str, bytes]
    epoch: Array  # of each block: how many barriers have opened

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

    def build(self, instruction: Instruction) -> Callable[[Any], None]:
        """A function that executes ``instruction`` for the given lanes."""
        name = instruction.opcode[0]
        if name in ("ld", "st"):
            return self._access(instruction)
        if name in ("mov", "cvta"):
            return self._move(instruction)
        if name == "createpolicy":
            return lambda lanes: None
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
        if not set(hints) <= {*CACHE_HINTS, CACHE_POLICY, *vector} or space not in (
            "global",
            "shared",
            "param",
        ):
            raise Fault(f"not modelled: {instruction.text}")
        operands = instruction.operands[: -1 if CACHE_POLICY in hints else None]
        place, values = operands[::-1] if name == "ld" else operands
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
