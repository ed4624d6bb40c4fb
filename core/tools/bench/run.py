"""``samestep bench``: what a step costs, beside other libraries and beside the memory's speed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ... import __version__
from ..cli.console import progress
from ..cli.errors import UserError, users_mistakes
from ..cli.installation import core_count, installed_versions, need
from .contenders import BYTES_PER_PARAMETER, RULE, makers
from .output import print_left_out, print_rules, print_startup, print_work
from .plot import draw
from .rules_table import COMPARED, NAME, RuleTable
from .startup import measure_startup
from .work import all_work
from .work_table import WorkTable

QUICK_REPEATS = 2
PACKAGES = ("numpy", "numba", "torch", "optax", "jax", "deepspeed")


def run(
    names: Sequence[str] | None,
    repeats: int,
    backends: Sequence[str] | None,
    json_path: Path | None,
    plot_path: Path | None,
    quick: bool,
) -> int:
    """Measure, print a table per work, and write figures and plot where asked for."""
    need("bench", ("numba", "rich"), "cli,numba")
    if plot_path is not None:
        need("bench --plot", ("matplotlib",), "demo")
    repeats = min(repeats, QUICK_REPEATS) if quick else repeats
    if repeats < 1:
        raise UserError("--repeats must be at least 1")
    for option, path in (("--json", json_path), ("--plot", plot_path)):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.parent}")
    chosen = _choose(names, quick)
    with users_mistakes():
        rules = RuleTable(COMPARED, backends, quick) if NAME in chosen else None
    known = all_work(quick)
    with progress() as advance:
        advance("contenders: some are built now")
        found, left_out = makers()
        works = [
            WorkTable(known[name], found, partial(advance, f"{known[name].title}: memory"))
            for name in chosen
            if name != NAME
        ]
    turns = 1 + sum(work.turns for work in works) + (rules.turns if rules else 0)
    with progress(repeats * turns) as advance:
        results = [result for table in works for result in table.measure(repeats, advance)]
        of_rules = rules.measure(repeats, advance) if rules else []
        startup = measure_startup(repeats, partial(advance, "a new process"))
    for result in results:
        print_work(result)
    for result in of_rules:
        print_rules(result)
    print_startup(startup)
    print_left_out(left_out)
    if plot_path is not None:
        draw(results, plot_path)
        print(f"Plot: {plot_path}")
    if json_path is not None:
        figures = {"setting": _setting(repeats, quick), "work": results, "rules": of_rules}
        json_path.write_text(json.dumps({**figures, "startup": startup}, indent=2) + "\n")
    return 0


def _choose(names: Sequence[str] | None, quick: bool) -> list[str]:
    known = [*all_work(quick), NAME]
    for name in names or ():
        if name not in known:
            raise UserError(f"--work {name}: no such work; there are {', '.join(known)}")
    return list(dict.fromkeys(names or known))


def _setting(repeats: int, quick: bool) -> dict[str, Any]:
    """What one has to know to judge the figures."""
    threads = {"cores": core_count(), "SAMESTEP_THREADS": os.environ.get("SAMESTEP_THREADS")}
    return {
        "rule": RULE,
        "dtype": "float32",
        "bytes_per_parameter": BYTES_PER_PARAMETER,
        "repeats": repeats,
        "quick": quick,
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {"samestep": __version__, **installed_versions(*PACKAGES)},
        **threads,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
