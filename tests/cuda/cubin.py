"""What ptxas made of kernels: resources and instructions, by NVIDIA's own wheels of tools."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

from nvrtc import wheel_file

USAGE = re.compile(r"Function (\w+):\s*\n\s*(.*)")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.M)
SECTION = re.compile(r"\.section\s+\.text\.(\w+)")


def resources(cubin: bytes, folder: Path) -> dict[str, dict[str, int]]:
    """Per kernel: ``REG`` (a thread's), ``STACK``, ``LOCAL`` and ``SHARED`` in bytes."""
    text = _run("nvidia-cuda-cuobjdump", "cuobjdump", "-res-usage", cubin, folder)
    usage = {
        name: {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", line)}
        for name, line in USAGE.findall(text)
    }
    if not usage:
        raise ValueError(f"cuobjdump says nothing that is understood: {text[:200]!r}")
    return usage


def instructions(cubin: bytes, folder: Path) -> dict[str, Counter[str]]:
    """Per kernel: how often each instruction, with its modifiers, stands in its machine code."""
    texts = disassembly(cubin, folder)
    return {name: Counter(INSTRUCTION.findall(text)) for name, text in texts.items()}


def disassembly(cubin: bytes, folder: Path) -> dict[str, str]:
    """Per kernel: its machine code as text."""
    text = _run("nvidia-cuda-nvdisasm", "nvdisasm", "-c", cubin, folder)
    _, *parts = SECTION.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def accesses(counts: Counter[str], bits: int) -> tuple[int, int]:
    """Loads and stores of global memory that move this many bits."""
    found = [
        sum(n for name, n in counts.items() if name.startswith(kind) and f".{bits}" in name)
        for kind in ("LDG.", "STG.")
    ]
    return found[0], found[1]


def _run(wheel: str, tool: str, option: str, cubin: bytes, folder: Path) -> str:
    file = folder / "kernels.cubin"
    file.write_bytes(cubin)
    command = [str(wheel_file(wheel, tool)), option, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
