"""Prints what ptxas makes of printed kernels, as a table: no GPU is needed.

``python kernel_table.py`` has the kernels of this checkout; ``python kernel_table.py FILE.cu ...``
those of printed files, such as another version's. Per kernel and architecture: the bytes of an
element that are read and written, what one round of the loop over most elements loads and stores,
its instructions, in all and for an element (the calls of slow paths are among them); registers of a
thread; the share of a processor's threads that fit side by side.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cubin import disassembly, resources
from gpu.kernel_variants import VARIANTS
from nvrtc import cubin
from printed import ALL
from samestep.backends.launching.table import LaunchTable
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.printing.cuda import BLOCK, Cuda
from samestep.printing.printer import Printer
from samestep.step.measurement import NORM

ARCHITECTURES = ("80", "90")
# what a multiprocessor of these has: threads, blocks, registers, bytes of shared memory; a block
# has 1,024 bytes of that for the system
THREADS, BLOCKS, REGISTERS = 2048, 32, 65_536
SHARED = {"80": 164 * 1024, "90": 228 * 1024}
SYSTEM = 1024
SHAPES = [(5_000, 10_000), (64, 800_000), (800_000, 64)]
RULES = [
    ALL["adamw"],
    NORM,
    ALL["lamb"],
    ALL["adafactor"],
]
LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)")
TARGET = re.compile(r"\.L_x_\d+")
LABEL = re.compile(r"^(\.L_x_\d+):", re.M)


def occupancy(used: dict[str, int], architecture: str) -> float:
    """The share of a multiprocessor's threads that blocks of a kernel fill."""
    warps = BLOCK // 32
    registers = -(-used["REG"] * 32 // 256) * 256 * warps  # given to warps, 256 at a time
    shared = -(-(used["SHARED"] + SYSTEM) // 128) * 128
    blocks = min(BLOCKS, THREADS // BLOCK, REGISTERS // registers, SHARED[architecture] // shared)
    return blocks * BLOCK / THREADS


def loops(text: str) -> list[Counter[str]]:
    """The instructions of each loop of a kernel that loads from global memory, without the loops in
    it and what is jumped over with them, such as a remainder of single elements."""
    labels: dict[str, int] = {}
    code: list[str] = []
    jumps: list[tuple[int, str]] = []
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(code)
        elif instruction := LINE.search(line):
            code.append(instruction[2])
            if instruction[2].startswith("BRA") and (target := TARGET.search(instruction[3])):
                jumps.append((len(code), target[0]))
    spans = [(at, labels[to]) for at, to in jumps if to in labels]
    back = {(to, at) for at, to in spans if to < at and "LDG" in " ".join(code[to:at])}
    found = []
    for start, end in back:
        within = {(a, b) for a, b in back if start <= a and b <= end} - {(start, end)}
        over = [(i, j) for i, j in spans if start <= i < j <= end
                and any(i <= a and b <= j for a, b in within)]  # fmt: skip
        left_out = {k for i, j in [*over, *within] for k in range(i, j)}
        found.append(Counter(code[k] for k in range(start, end) if k not in left_out))
    return [counts for counts in found if moved(counts, "LDG")]


def moved(counts: Counter[str], kind: str) -> int:
    """The bytes of global memory that a thread loads (``LDG``) or stores (``STG``)."""
    total = 0
    for name, n in counts.items():
        if name.startswith(kind):
            size = re.search(r"\.(128|64|[US]16|[US]8)(?:\.|$)", name)
            total += n * (int(size[1].lstrip("US")) // 8 if size else 4)
    return total


def rows(source: str, printer: Printer, architecture: str, folder: Path) -> list[str]:
    """The lines of the table for the passes of a printed rule."""
    code = cubin(source, architecture)
    usage, texts = resources(code, folder), disassembly(code, folder)
    lines = []
    for kind, k in printer.program.launches:
        name = printer.name_of(kind, k)
        if kind != "pass" or name not in texts:
            continue
        step = printer.program.passes[k]
        size = {a: numpy_dtype(d).itemsize for a, d in printer.stored.items()}
        read = sum(size[a] for a in step.loads)
        written = sum(size[a] for a, _ in step.stores)
        found = [c for c in loops(texts[name]) if bool(moved(c, "STG")) == bool(step.stores)]
        best = max(found, key=lambda c: (moved(c, "LDG"), -sum(c.values())))
        factors = 4 * sum(node.per == "column" for node in step.received)
        elements = moved(best, "LDG") // (read + factors)
        used = usage[name]
        lines.append(
            f"| {name} | sm_{architecture} | {read} + {written} | "
            f"{moved(best, 'LDG')} + {moved(best, 'STG')} | {sum(best.values())} | "
            f"{sum(best.values()) / elements:.1f} | {used['REG']} | "
            f"{used['SHARED']} | {occupancy(used, architecture):.0%} |"
        )
    return lines


def blocks(shape: tuple[int, int]) -> int:
    """How many blocks a pass of Adafactor has for a matrix."""
    layout = Printer(program(ALL["adafactor"]), "float32", "float32", Cuda).layout
    addresses = {name: [0] for name in ("param", *ALL["adafactor"].state)}
    return len(LaunchTable(layout, [shape], addresses, {"param": 4, "grad": 4}, [0]).table)


def main(files: list[str]) -> None:
    print("| kernel | for | bytes an element: read + written | in the loop | its instructions "
          "| an element | registers | shared memory | occupancy |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rule in RULES:
            printer = Printer(program(rule), "float32", "float32", Cuda)
            printed = [Path(f).read_text() for f in files if Path(f).stem == rule.label]
            if files and not printed:
                continue
            sources = {"": printed[0] if printed else printer.source()}
            if rule is RULES[0] and not files:
                texts = {name: variant for name, variant in VARIANTS.items() if variant.text}
                sources |= {f", {name}": each.of(sources[""]) for name, each in texts.items()}
            for name, source in sources.items():
                for architecture in ARCHITECTURES:
                    for line in rows(source, printer, architecture, Path(folder)):
                        print(line.replace(" | ", f"{name} | ", 1))
    if not files:
        print()
        for shape in SHAPES:
            print(f"Adafactor on {shape[0]:,} x {shape[1]:,}: {blocks(shape):,} blocks")


if __name__ == "__main__":
    main(sys.argv[1:])
