"""``samestep bench``: the cost of a step, beside other libraries and the speed of the memory."""

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
from ..cli.errors import UserError, check_output, check_picture, users_mistakes
from ..cli.installation import core_count, installed_versions, need
from .contenders import BYTES_PER_PARAMETER, RULE, makers
from .output import print_left_out, print_rules, print_startup, print_work
from .plot import draw
from .rules_table import COMPARED, NAME, RuleTable
from .startup import measure_startup
from .torch_table import run_torch
from .work import all_work, choose
from .work_table import WorkTable

QUICK_REPEATS = 2
PACKAGES = ("numpy", "numba", "torch", "optax", "jax", "deepspeed")


def run(
    works: Sequence[str] | None,
    repeats: int,
    backends: Sequence[str] | None,
    json_path: Path | None,
    plot_path: Path | None,
    from_path: Path | None,
    quick: bool,
    torch: bool,
) -> int:
    """Time AdamW on every backend, beside torch, optax and DeepSpeed where they are installed.

    The work is large (one tensor of 50 million), resnet50 (its 161 tensors), gpt2 (the 148 of
    GPT-2 small), thousand (1,000 tensors of 1,000), small (2,000 tensors of 64), tiny (4 tensors
    of 10) and rules (AdamW, LAMB, Adafactor and AdamW with clipping on a matrix of 50 million).
    With --torch it is large, many (500 tensors of 100,000), thousand and population.
    """
    if from_path is not None:
        return _draw_from(from_path, plot_path)
    need("bench", ("numba", "rich"), "cli,numba")
    repeats = min(repeats, QUICK_REPEATS) if quick else repeats
    if repeats < 1:
        raise UserError(f"--repeats must be at least 1, not {repeats}")
    check_output("--json", json_path)
    if plot_path is not None:
        _check_plot(plot_path)
    if torch:
        return run_torch(works, repeats, quick)
    known = all_work(quick)
    chosen = choose(works, [*known, NAME])
    with users_mistakes():
        rules = RuleTable(COMPARED, backends, quick) if NAME in chosen else None
    with progress() as advance:
        advance("contenders: some are built now")
        found, left_out = makers()
        tables = [
            WorkTable(known[name], found, partial(advance, f"{known[name].title}: memory"))
            for name in chosen
            if name != NAME
        ]
    turns = 1 + sum(table.turns for table in tables) + (rules.turns if rules else 0)
    with progress(repeats * turns) as advance:
        results = [result for table in tables for result in table.measure(repeats, advance)]
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


def _check_plot(path: Path) -> None:
    need("bench --plot", ("matplotlib",), "demo")
    check_picture("--plot", path)


def _draw_from(figures: Path, picture: Path | None) -> int:
    """Draw what an earlier run wrote to a file."""
    if picture is None:
        raise UserError("--from draws the figures of a file; --plot says which picture to write")
    _check_plot(picture)
    with users_mistakes():
        text = figures.read_text()
    try:
        draw(json.loads(text)["work"], picture)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"--from {figures} is not what --json writes: {error!r}") from error
    print(f"Plot: {picture}")
    return 0


def _setting(repeats: int, quick: bool) -> dict[str, Any]:
    """Return the circumstances that the figures depend on."""
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
        "cores": core_count(),
        "SAMESTEP_THREADS": os.environ.get("SAMESTEP_THREADS"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
