"""Everything that needs a GPU, once, into one file of results."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import checks, results
from .driver import NoGpuError, look
from .package import linked
from .running import Check, Outcome, run

ROOT = checks.TESTS.parent
ENVIRONMENT = ROOT / ".venv-gpu"


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every check that could run passed, 1 if not, or without a GPU."""
    chosen = arguments(words)
    try:
        gpu = look()
    except NoGpuError as error:
        print(f"tests/gpu/run: {error}; nothing was installed or run", file=sys.stderr)
        return 1
    started = time.monotonic()
    out: Path = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    here: bool = chosen.here
    print(f"{gpu.name}: {'with' if here else 'installing into'} {python_of(here)}", flush=True)
    python = python_of(here) if here else install(gpu.extra)
    environment = surroundings(out, here)
    found = checks.facts(python, environment)
    if lacking := [name for name in checks.NEEDED if name not in found["modules"]]:
        print(f"tests/gpu/run: {python} lacks {', '.join(lacking)}", file=sys.stderr)
        return 1
    outcomes = run_all(
        checks.all_checks(python, out, chosen.quick, found),
        out,
        environment,
        chosen.minutes and 60 * chosen.minutes,
        started,
    )
    setting = about(found["versions"], chosen.quick, here)
    everything = results.collect(gpu, outcomes, setting, out / "benchmark.json")
    text = results.table(everything)
    (out / "results.txt").write_text(text, encoding="utf-8")
    path = results.write(everything, out)
    print(f"\n{text}\nPlease send {path} to the project.")
    return 0 if everything["passed"] else 1


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "tests/gpu/run",
        description="Bits, tests, compute-sanitizer and a benchmark on a real GPU, the most telling "
        "first. Please send us results.json, whatever is in it: there is nothing personal in it "
        "but the GPU's name and versions.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-results", help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="fewer tests, small arrays")
    parser.add_argument(
        "--here", action="store_true",
        help="use this Python as it is: install nothing, need no network, skip what is missing",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, help="time for all; without it there is no limit")
    return parser.parse_args(words)


def python_of(here: bool) -> Path:
    """The Python that runs the checks: this one, or that of an environment of its own."""
    return Path(sys.executable) if here else ENVIRONMENT / "bin" / "python"


def install(extra: str) -> Path:
    """A virtual environment with this checkout; returns its Python."""
    python = python_of(here=False)
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    words = ["install", "-q", "-e", f".[test,{extra}]", "-c", "constraints.txt"]
    subprocess.run([python, "-m", "pip", *words], cwd=ROOT, check=True)
    return python


def surroundings(out: Path, here: bool) -> dict[str, str]:
    """The environment of the checks: the checkout as the package, kernels compiled anew."""
    environment = {"SAMESTEP_CACHE_DIR": str(out / "kernels"), **os.environ}
    paths = [str(checks.TESTS), *filter(None, [environment.get("PYTHONPATH")])]
    paths = [str(linked(ROOT, out / "package")), *paths] if here else paths
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


def run_all(
    all_checks: Iterable[Check],
    out: Path,
    environment: Mapping[str, str],
    seconds: float | None,
    started: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run the checks one after the other. Of the ``seconds`` since ``started`` each ends by its
    share, so that what is cut short leaves time to what comes after it."""
    outcomes = []
    for check in all_checks:
        print(f"==== {check.name}", flush=True)
        left = None if seconds is None else started + check.share * seconds - clock()
        log = out / f"{check.name.replace(' ', '-').replace(':', '-')}.log"
        say = lambda line: print(line, flush=True)  # noqa: E731
        outcomes.append(run(check, log, environment, checks.TESTS, left, say))
        print(f"     {outcomes[-1].status}: {outcomes[-1].detail}", flush=True)
    return outcomes


def about(versions: Mapping[str, str], quick: bool, here: bool) -> dict[str, Any]:
    """What one has to know to judge the results."""
    commit = ""
    if shutil.which("git"):
        words = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        commit = done.stdout.strip()
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit or None,
        "quick": quick,
        "here": here,
        "machine": platform.machine(),
        "system": platform.platform(),
        "versions": dict(versions),
    }


if __name__ == "__main__":
    sys.exit(main())
