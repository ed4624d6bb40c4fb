"""The benchmark on a GPU: ``python -m gpu.benchmark --json FILE`` in the folder ``tests``.

Contenders take turns in one process. A timing is of several steps and one wait for the device, so
that the host may run ahead as it does in a training loop. What has been measured is printed and
written after each work, so that it is kept when time runs out.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from samestep.tools.bench.contenders import BYTES_PER_PARAMETER
from samestep.tools.bench.room import groups_that_fit
from samestep.tools.bench.timing import ratio, ratios, spread
from samestep.tools.bench.work import Work, all_work
from samestep.tools.cli.errors import UserError

from . import contenders, results
from .contenders import COPY, Contender, Place, Step, Wait

ENOUGH_SECONDS, MOST_STEPS, WARM_UP = 0.05, 200, 2  # of one timing; timings before the first
NEED = 8 * 4  # bytes per parameter that a contender may take: with what torch foreach makes anew
SHARE = 0.8  # of the free memory that contenders may take together


def huge(quick: bool) -> Work:
    """One tensor that takes ten times as long as the largest of `all_work`."""
    size = 2_000_000 if quick else 500_000_000
    return Work("huge", f"one tensor of {size:,}", ((size,),))


def matrices(quick: bool) -> list[Work]:
    """What other rules are timed on: one matrix each."""
    large = [(5000, 10_000), (64, 800_000), (800_000, 64)]
    shapes = [(n // 30, m // 30) for n, m in large] if quick else [*large, (1024, 1024)]
    return [Work("matrix", f"one matrix of {n:,} x {m:,}", ((n, m),)) for n, m in shapes]


def table(quick: bool) -> Work:
    """What gradients of some rows are timed on."""
    rows = 33_333 if quick else 1_000_000
    name = f"a table of {rows:,} x 64, {rows // contenders.SPARSE:,} rows named"
    return Work("sparse", name, ((rows, 64),))


class Timed:
    """A contender at work: timings of as many steps as take long enough."""

    def __init__(self, step: Step, wait: Wait) -> None:
        self.step, self.wait, self.steps = step, wait, 1
        seconds = min(self.take()[0] for _ in range(WARM_UP))
        self.steps = min(max(int(ENOUGH_SECONDS / seconds), 1), MOST_STEPS)

    def take(self) -> tuple[float, float]:
        """Seconds per step, and of these those that the host takes to enqueue it."""
        self.wait()
        start = time.perf_counter()
        for _ in range(self.steps):
            self.step()
        enqueued = time.perf_counter()
        self.wait()
        end = time.perf_counter()
        return (end - start) / self.steps, (enqueued - start) / self.steps


def measure(
    found: Mapping[str, Contender], work: Work, rounds: int, left_out: list[str]
) -> list[dict[str, Any]]:
    """Timings of contenders that are in memory together; who fails is left out with a line."""
    at_work = {}
    for name, contender in found.items():
        try:
            at_work[name] = Timed(*contender.make(work))
        except Exception as error:  # whatever a library raises, out of memory among it
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            left_out.append(f"{name} is left out of {work.title}: {line}")
    seconds: dict[str, list[float]] = {name: [] for name in at_work}
    host: dict[str, list[float]] = {name: [] for name in at_work}
    names = list(at_work)
    for _ in range(rounds):
        for name in names:
            total, enqueued = at_work[name].take()
            seconds[name].append(total)
            host[name].append(enqueued)
        names = [*names[1:], *names[:1]]  # each of them goes first
    return [entry(name, found[name], work, seconds, host[name]) for name in at_work]


def entry(
    name: str, contender: Contender, work: Work, seconds: dict[str, list[float]], host: list[float]
) -> dict[str, Any]:
    """A contender's figures; ratios are medians of those within a round, quartiles beside."""
    to_copy = ratio(seconds, COPY, name) if COPY in seconds else 0.0
    time_of_step, times_first = spread(seconds[name]), ratios(seconds, name, next(iter(seconds)))
    return {
        "name": name,
        "seconds": time_of_step.median,
        "seconds_quartiles": [*time_of_step[1:]],
        "host_seconds": median(host),
        "all_seconds": seconds[name],
        "times_first": times_first.median,
        "times_first_quartiles": [*times_first[1:]],
        "bytes_per_second": contender.moved * work.parameters / time_of_step.median,
        "fraction_of_copy": to_copy * contender.moved / BYTES_PER_PARAMETER,
    }


def on_work(
    found: Mapping[str, Contender], work: Work, place: Place, rounds: int, left_out: list[str]
) -> dict[str, Any]:
    """A work's table: all contenders, in groups that fit into the device's memory, each beside
    the first and the copy."""
    always = [next(iter(found)), COPY]
    gc.collect()
    needs = dict.fromkeys(found, NEED * work.parameters)
    entries: dict[str, dict[str, Any]] = {}
    try:
        groups = groups_that_fit(needs, always, int(SHARE * place.free()))
    except UserError as error:
        left_out.append(f"{work.title} is left out: {error}")
        groups = []
    for group in groups:
        place.free()
        measured = measure({name: found[name] for name in group}, work, rounds, left_out)
        gc.collect()
        entries |= {each["name"]: each for each in measured if each["name"] not in entries}
    return {
        "name": work.name,
        "title": work.title,
        "parameters": work.parameters,
        "contenders": [entries[name] for name in found if name in entries],
    }


def run(there: list[Place], quick: bool, rounds: int, path: Path) -> dict[str, Any]:
    """Measure everything; print and write what is known after each work."""
    adamw, left_out = contenders.adamw(there)
    rules = contenders.rules(there)
    figures: dict[str, Any] = {
        "dtype": "float32", "rounds": rounds, "quick": quick, "work": [], "left_out": left_out,
    }  # fmt: skip
    todo = [(adamw, work) for work in all_work(quick).values()]
    todo += [(rules, work) for work in matrices(quick)]
    todo.append((contenders.sparse(there), table(quick)))
    todo.append((adamw, huge(quick)))
    for found, work in todo:
        measured = on_work(found, work, there[0], rounds, left_out)
        if measured["contenders"]:
            figures["work"].append(measured)
            print(f"\n{results.work_table(measured)}", flush=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")
    print("", *left_out, f"{len(figures['work'])} works, figures in {path.name}", sep="\n")
    return figures


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("gpu.benchmark", description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(words)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too
    run(contenders.places(), chosen.quick, 2 if chosen.quick else chosen.rounds, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
