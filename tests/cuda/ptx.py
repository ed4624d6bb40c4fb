"""Reads PTX text into kernels: what the text checks and the interpreter work on.

What is not understood is an error, never skipped. The language: NVIDIA's PTX ISA manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

TYPES = {
    "pred": np.dtype(bool),
    **{f"f{bits}": np.dtype(f"float{bits}") for bits in (32, 64)},
    **{f"s{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"{kind}{bits}": np.dtype(f"uint{bits}") for kind in "ub" for bits in (8, 16, 32, 64)},
}

IGNORED = re.compile(
    r"\.(version|target|address_size|visible|globl|maxntid|reqntid|minnctapersm|pragma)\b.*"
)
UNUSED = re.compile(r"\.global \.align \d+ \.\w+ ([\w$]+)(?:\[\d+\])? = (?:\w+|\{[\d, ]+\})")
UNNAMED = re.compile(r"\{ \.reg \.b32 tmp; (mov\.b64 [^;]*;) \}")  # one half of a register
SHARED = re.compile(r"\.shared \.align (\d+) \.b8 ([\w$]+)\[(\d+)\]")
REGISTERS = re.compile(r"\.reg \.(\w+) (%\w+)<(\d+)>")
PARAMETER = re.compile(r"\.param \.(\w+)(?: \.ptr(?: \.global)? \.align \d+)? (\w+)")
STATEMENT = re.compile(r"(?:@(!?)(%\w+) )?([a-z][\w.:]*)(?: (.*))?")
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``opcode`` split at its dots, the predicate that guards it or ""."""

    text: str
    opcode: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str = ""
    negated: bool = False

    @property
    def dtype(self) -> np.dtype:
        """What the last part of the opcode says."""
        return TYPES[self.opcode[-1]]

    @property
    def lanes(self) -> int:
        """How many values an access moves: 4 for ``.v4``."""
        return max([int(part[1:]) for part in self.opcode if re.fullmatch(r"v\d", part)], default=1)

    @property
    def bytes(self) -> int:
        """How many bytes an access moves."""
        return self.lanes * self.dtype.itemsize

    @property
    def is_global(self) -> bool:
        """Whether it is an access to global memory."""
        return self.opcode[0] in ("ld", "st") and "global" in self.opcode


@dataclass
class Kernel:
    """One entry: sizes in bytes, widths in bits (1: predicate), labels as positions in ``code``;
    ``shared`` is where each array of shared memory begins."""

    name: str
    parameters: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    shared_size: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)

    def add_shared(self, alignment: int, name: str, size: int) -> None:
        """Room for an array behind those there are."""
        self.shared[name] = -(-self.shared_size // alignment) * alignment
        self.shared_size = self.shared[name] + size


def read(text: str) -> dict[str, Kernel]:
    """The kernels of a PTX file by name.

    Raises
    ------
    ValueError
        For a line that is not understood, quoting it.
    """
    text = re.sub(r"//[^\n]*", "", text)
    text = UNNAMED.sub(lambda found: found[1].replace("tmp", "_"), text)
    kernels: dict[str, Kernel] = {}
    outside = re.sub(r"(\.visible )?\.entry .*?\n\}", "", text, flags=re.DOTALL)
    module = [line for line in _lines(outside) if not IGNORED.fullmatch(line)]
    constants = [found[1] for line in module if (found := UNUSED.fullmatch(line))]
    module = [line for line in module if not UNUSED.fullmatch(line)]
    for entry in re.finditer(r"\.entry (\w+)\(([^)]*)\)(.*?)\{(.*?)\n\}", text, re.DOTALL):
        name, parameters, attributes, body = entry.groups()
        kernel = kernels[name] = Kernel(name)
        for parameter in filter(None, map(_tidy, parameters.split(","))):
            kind, label = _match(PARAMETER, parameter).groups()
            kernel.parameters[label] = TYPES[kind].itemsize
        for line in _lines(attributes):
            _match(IGNORED, line)
        for line in _lines(body):
            _read_line(line, kernel)
        for line in module:  # of the whole module, but only there if the kernel uses it
            alignment, label, size = _match(SHARED, line).groups()
            if any(label in instruction.text for instruction in kernel.code):
                kernel.add_shared(int(alignment), label, int(size))
        for label in constants:
            if any(label in instruction.text for instruction in kernel.code):
                raise ValueError(f"a variable in global memory: {label}")
    return kernels


def _lines(text: str) -> list[str]:
    lines = re.split(r"[;\n]", text.replace(":\n", ":;"))
    return [tidy for line in lines if (tidy := _tidy(line))]


def _read_line(line: str, kernel: Kernel) -> None:
    if IGNORED.fullmatch(line) or line in "{}":
        return
    if found := SHARED.fullmatch(line):
        kernel.add_shared(int(found[1]), found[2], int(found[3]))
    elif found := REGISTERS.fullmatch(line):
        bits = 1 if found[1] == "pred" else TYPES[found[1]].itemsize * 8
        kernel.registers |= {f"{found[2]}{i}": bits for i in range(int(found[3]))}
    elif re.fullmatch(r"[\w$]+:", line):
        kernel.labels[line[:-1]] = len(kernel.code)
    else:
        kernel.code.append(_instruction(line))


def _instruction(line: str) -> Instruction:
    negated, guard, opcode, operands = _match(STATEMENT, line).groups()
    return Instruction(
        text=line,
        opcode=tuple(opcode.split(".")),
        operands=tuple(OPERAND.findall(operands or "")),
        guard=guard or "",
        negated=bool(negated),
    )


def _tidy(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()


def _match(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    found = pattern.fullmatch(line)
    if found is None:
        raise ValueError(f"PTX that is not understood: {line!r}")
    return found
