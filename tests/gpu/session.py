"""Everything that needs a GPU, once, from nothing to one file of results."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import checks, results
from .driver import NoGpuError, look

ROOT = checks.TESTS.parent
ENVIRONMENT = ROOT / ".venv-gpu"
PACKAGES = (
    "samestep",
    "numpy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cuda-nvrtc",
    "torch",
    "apex",
)


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every check that could run passed, 1 if not, or without a GPU."""
    parser = argparse.ArgumentParser(
        "tests/gpu/run",
        description="Golden files, all tests, compute-sanitizer and a benchmark on a real GPU. "
        "Please send us results.json, whatever is in it: there is nothing personal in it but "
        "the GPU's name and versions.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-results", help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="fewer tests, small arrays")
    chosen = parser.parse_args(words)
    try:
        gpu = look()
    except NoGpuError as error:
        print(f"tests/gpu/run: {error}; nothing was installed or run", file=sys.stderr)
        return 1
    out: Path = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    print(f"{gpu.name}: installing into {ENVIRONMENT}", flush=True)
    python = install(gpu.extra)
    outcomes = []
    for check in checks.all_checks(python, out, chosen.quick):
        print(f"==== {check.name}", flush=True)
        log = out / f"{check.name.replace(' ', '-')}.log"
        outcomes.append(checks.run(check, log, dict(os.environ)))
        print(f"     {outcomes[-1].status}: {outcomes[-1].detail}", flush=True)
    found = results.collect(gpu, outcomes, setting(python, chosen.quick), out / "benchmark.json")
    text = results.table(found)
    (out / "results.txt").write_text(text, encoding="utf-8")
    path = results.write(found, out)
    print(f"\n{text}\nPlease send {path} to the project: nothing had run on a GPU before.")
    return 0 if found["passed"] else 1


def install(extra: str) -> Path:
    """A virtual environment with this checkout; returns its Python."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    words = ["install", "-q", "-e", f".[test,{extra}]", "-c", "constraints.txt"]
    subprocess.run([python, "-m", "pip", *words], cwd=ROOT, check=True)
    return python


def setting(python: Path, quick: bool) -> dict[str, Any]:
    """What one has to know to judge the results."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    versions = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit or None,
        "quick": quick,
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: versions[name] for name in PACKAGES if name in versions},
    }


if __name__ == "__main__":
    sys.exit(main())
