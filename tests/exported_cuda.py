"""Exported CUDA as a program for the CPU, over a stand-in for CUDA's runtime."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ON_CPU = Path(__file__).parent / "cuda_on_cpu"


def build(text: str, folder: Path) -> Path:
    """The program for the CPU. A launch's brackets are not C++."""
    launch = r"([\w:]+)<<<(.+?), (\d+), 0, stream>>>\("
    text, count = re.subn(launch, r"cuda_on_cpu::launch(CALL(\1), \2, \3, ", text)
    assert count
    text = re.sub(
        r"__shared__ (alignas\(\d+\))", r"\1 __shared__", text
    )  # the order that g++ takes
    (folder / "exported.cpp").write_text(text)
    words = ["g++", "-std=c++17", "-O0", f"-I{ON_CPU}"]
    done = subprocess.run(
        [*words, folder / "exported.cpp", "-o", folder / "program"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "program"
