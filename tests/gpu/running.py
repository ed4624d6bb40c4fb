"""Runs a check: a command with a time limit, whose failures are said while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, NOT_RUN, CUT = "passed", "FAILED", "not run", "cut short"
MOST_NAMED = 50  # failures of one check


@dataclass
class Check:
    """One command, run in ``folder``. ``missing`` is why it cannot run, or empty.

    ``alarm`` returns what a line of its output says has failed, or an empty text; ``detail`` says
    in a line what the whole output says.
    """

    name: str
    command: Sequence[str | Path]
    detail: Callable[[str], str]
    alarm: Callable[[str], str] = lambda line: ""
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    share: float = 1.0  # of the session's time, by whose end it is cut short
    loud: bool = False  # whether all of its output is said


@dataclass
class Outcome:
    """What became of a check. ``failures`` are names and what was said about them."""

    name: str
    status: str
    detail: str
    seconds: float = 0.0
    failures: tuple[str, ...] = ()


def run(
    check: Check,
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    seconds: float | None,
    say: Callable[[str], None],
) -> Outcome:
    """Run it for at most ``seconds``; the output goes to ``log``, failures also to ``say``, when
    they happen. It fails by its exit status, or by a failure that its output tells of."""
    if check.missing:
        return Outcome(check.name, NOT_RUN, check.missing)
    if seconds is not None and seconds <= 0:
        return Outcome(check.name, NOT_RUN, "no time was left")
    started, failures, cut = time.monotonic(), [], threading.Event()
    try:
        process = subprocess.Popen(
            list(map(str, check.command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={**environment, **check.environment}, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Outcome(check.name, FAILED, str(error))

    def stop() -> None:
        cut.set()
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started

    timer = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, stop)
    timer.daemon = True
    timer.start()
    with process, log.open("w", encoding="utf-8") as file:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if check.loud:
                say(line.rstrip())
            if failed := check.alarm(line):
                failures.append(failed)
                if len(failures) <= MOST_NAMED:
                    say(f"     {failed}")
    timer.cancel()
    text = log.read_text(encoding="utf-8", errors="replace")
    detail, status = check.detail(text) if text else "no output", PASSED
    if cut.is_set():
        status, detail = CUT, f"after {seconds:.0f} s; {detail}"
    elif process.returncode:
        status, detail = FAILED, f"status {process.returncode}; {detail}; see {log.name}"
    if failures:
        status = FAILED
    taken = time.monotonic() - started
    return Outcome(check.name, status, detail, taken, tuple(failures[:MOST_NAMED]))
