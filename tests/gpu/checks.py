"""What is run on the GPU: commands, when they can run, and what their output says."""

from __future__ import annotations

import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parent.parent
SANITIZER = "compute-sanitizer"
CASES = ("adamw.float32", "adamw.bfloat16", "lamb.float32", "novograd.float16", "adafactor.float32")
COMMAND_LINE = "import sys; from samestep.tools.cli.commands import main; sys.exit(main())"
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


@dataclass
class Check:
    """One command. ``missing`` is why it cannot run, or empty; ``detail`` reads its log."""

    name: str
    command: Sequence[str | Path]
    detail: Callable[[str], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    seconds: int = 3600  # at most


@dataclass
class Outcome:
    """What became of a check."""

    name: str
    status: str
    detail: str
    seconds: float = 0.0


def all_checks(python: Path, out: Path, quick: bool) -> list[Check]:
    """In the order they run. ``python`` is that of the virtual environment."""
    backends = {"SAMESTEP_TEST_BACKENDS": "numpy,cupy"}
    report, figures = out / "tests.xml", out / "benchmark.json"
    samestep = [python, "-c", COMMAND_LINE]
    pytest = [python, "-m", "pytest", "-q", "-n", "4", f"--junitxml={report}", TESTS]
    pytest += ["-k", "golden or same_bits"] if quick else []
    sanitizer = shutil.which(SANITIZER) or shutil.which(SANITIZER, path="/usr/local/cuda/bin")
    rules = [word for case in CASES for word in ("--rule", case)]
    found = [
        Check("backends", [*samestep, "backends"], cupy_line),
        Check("golden files", [*samestep, "golden", "verify", "--backend", "cupy"], last_line),
        Check("tests", pytest, lambda log: counts(report), backends),
    ]
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        words = [sanitizer or SANITIZER, "--tool", tool, "--error-exitcode", "1"]
        command = [*words, *samestep, "golden", "verify", "--backend", "cupy", *rules]
        missing = "" if sanitizer else f"{SANITIZER} is not installed"
        found.append(Check(tool, command, summary_line, missing=missing))
    benchmark = [python, "-m", "gpu.benchmark", "--json", figures, *["--quick"] * quick]
    return [*found, Check("benchmark", benchmark, lambda log: f"figures in {figures.name}")]


def run(check: Check, log: Path, environment: Mapping[str, str]) -> Outcome:
    """Run it; its output goes to ``log``. An exit status other than 0 is a failure."""
    if check.missing:
        return Outcome(check.name, NOT_RUN, check.missing)
    started = time.monotonic()
    with log.open("w") as file:
        try:
            status = subprocess.run(
                list(map(str, check.command)),
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment, **check.environment},
                cwd=TESTS,
                timeout=check.seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"no end after {check.seconds} s"
        except OSError as error:
            status = str(error)
    text = log.read_text(errors="replace")
    detail = check.detail(text) if text else ""
    if status:
        detail = f"status {status}; {detail or last_line(text)}; see {log.name}"
    return Outcome(check.name, FAILED if status else PASSED, detail, time.monotonic() - started)


# ---- what a log says


def last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def cupy_line(log: str) -> str:
    """The line of the table that is about the backend."""
    lines = [line for line in log.splitlines() if line.split()[:1] == ["cupy"]]
    return " ".join(lines[0].split()[1:]) if lines else last_line(log)


def summary_line(log: str) -> str:
    lines = [line for line in log.splitlines() if "SUMMARY" in line]
    return lines[-1].strip("= ") if lines else last_line(log)


def counts(report: Path) -> str:
    """How many tests passed, failed and were skipped, and which failed."""
    try:
        cases = ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return "no report"
    by_kind: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in cases:
        kinds = {child.tag for child in case}
        kind = (
            "failed"
            if kinds & {"failure", "error"}
            else "skipped"
            if "skipped" in kinds
            else "passed"
        )
        by_kind[kind].append(f"{case.get('classname')}::{case.get('name')}")
    text = ", ".join(f"{len(names)} {kind}" for kind, names in by_kind.items())
    if failed := by_kind["failed"]:
        text += f": {', '.join(failed[:20])}{', ...' * (len(failed) > 20)}"
    return text
