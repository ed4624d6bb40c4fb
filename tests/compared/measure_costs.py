"""Measure what a step of each rule costs beside the bytes that it has to move, and write
``docs/compared_costs.json`` and the page's table.

``python tests/compared/measure_costs.py`` takes some four minutes on two idle cores; with
``--rule`` some of it. ``--compile`` makes the kernels first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from compared_page import OF_COSTS, read, write
from compared_rules import RULES, hyper_of
from samestep.language.passes import program
from samestep.language.stages import stages
from samestep.tools.bench.bare_loop import BareLoop
from samestep.tools.bench.contenders import Samestep
from samestep.tools.bench.timing import Arrays, take_turns
from samestep.tools.bench.work import normal
from samestep.tools.cli.installation import core_count, installed_versions

# a rule that multiplies matrices takes a hundred times as long as their bytes do
LABELS = [label for label, rule in RULES.items() if not stages(rule).calls]
BACKEND, BARE_LOOP = "numba", "bare loop"
SETTINGS: Mapping[str, Any] = dict(shape=(5_000, 10_000), rounds=7)


def cost(label: str, params: Arrays, grads: Arrays, rounds: int) -> dict[str, Any]:
    """Return the bytes that a rule moves for each parameter, its passes, and of each round its time
    for a byte beside that of a loop that does nothing else."""
    rule = RULES[label]
    contenders = {
        BARE_LOOP: BareLoop(params, [grads]),
        label: Samestep(BACKEND, params, [grads], rule, hyper_of(rule)),
    }
    seconds = take_turns(contenders, 1, rounds, lambda: None)
    moved = {name: contender.count_bytes() or 0 for name, contender in contenders.items()}
    per_byte = {name: [s / moved[name] for s in seconds[name]] for name in contenders}
    times = [a / b for a, b in zip(per_byte[label], per_byte[BARE_LOOP], strict=True)]
    count = sum(param.size for param in params)
    passes = len(program(rule.for_shape(params[0].shape)).passes)
    return dict(bytes=moved[label] / count, passes=passes, times=times)


def measure(
    before: Mapping[str, Any], labels: Sequence[str], shape: Sequence[int], rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield figures, after each of these rules has been measured anew."""
    params, grads = normal((tuple(shape),), 0), normal((tuple(shape),), 1)
    rules = dict(before.get("rules", {}))
    for label in labels:
        rules[label] = cost(label, params, grads, rounds)
        print(label, rules[label], flush=True)
        settings = dict(shape=[*shape], rounds=rounds, cores=core_count())
        versions = installed_versions("numpy", "numba")
        yield dict(versions=versions, settings=settings, rules=rules)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rule", action="append", choices=LABELS, help="Repeatable.")
    options.add_argument(
        "--compile", action="store_true", help="Make the kernels, measure nothing."
    )
    given = options.parse_args()
    labels = given.rule or LABELS
    if given.compile:
        [*measure({}, labels, (64, 64), 1)]
        return
    for found in measure(read(OF_COSTS), labels, **SETTINGS):
        write(OF_COSTS, found)


if __name__ == "__main__":
    main()
