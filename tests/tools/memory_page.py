"""The tables of ``docs/memory.md``: the memory that optimizers take, computed and measured.

``python tests/tools/memory_page.py`` writes them, and the versions, into the page anew. It takes a
minute, most of it for measuring.
"""

from __future__ import annotations

import gc
import math
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import samestep as ss
from samestep.tools.bench.contenders import BARE_LOOP, Samestep, makers
from samestep.tools.bench.peak import peak_memory
from samestep.tools.bench.rules_table import COMPARED
from samestep.tools.bench.timing import Arrays, Contender, Maker
from samestep.tools.bench.work import Shape, all_work, normal
from samestep.tools.cli.console import plain_table
from samestep.tools.cli.installation import host_backends, installed_versions
from samestep.tools.memory.footprint import footprint
from samestep.tools.memory.run import chosen_rules, heading, model, notes, table

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"
BLOCK = re.compile(r"(?<=\n)(```\w+.*\n)((?s:.+?))(?=```\n)")
FEW_RULES = ("sgd", "adamw", "lion", "adafactor")
ALLOCATED = ("sgd", "adamw", "lamb", "adafactor")
MODELS: tuple[tuple[Shape, ...], ...] = (
    ((1_000, 4_000),),
    ((1_000, 4_000),) * 4,
    ((2_000, 8_000),),
)
MEGA = 1e6


def page() -> str:
    """Return the page with tables and versions of now."""
    texts = iter([*computed(), allocated(), temporary()])
    page = BLOCK.sub(lambda match: match[1] + next(texts), PAGE.read_text(encoding="utf-8"))
    found = installed_versions("numpy", "numba", "torch", "optax", "jax")
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return re.sub("Versions: .*", f"Versions: {versions}.", page)


def computed() -> list[str]:
    """Return what the command prints, which is the same on every machine."""
    blocks = []
    for param_dtype, names in (("float32", None), ("bfloat16", FEW_RULES)):
        words = ["samestep memory --params 7e9", *(f"--rule {name}" for name in names or ())]
        words += [] if param_dtype == "float32" else [f"--param-dtype {param_dtype}"]
        shapes = model(7e9, None)
        lines = plain_table(*table(chosen_rules(names), shapes, param_dtype, param_dtype), left=2)
        title = heading(shapes, param_dtype, param_dtype)
        blocks.append(_block([f"$ {' '.join(words)}", title, *lines, *notes(shapes, param_dtype)]))
    return blocks


def allocated() -> str:
    """Return a table of the state's bytes: computed, of its arrays, and all that is allocated."""
    params = [np.zeros(shape, np.float32) for shape in all_work()["resnet50"].shapes]
    ss.Optimizer(ALLOCATED[0], params)  # so that what is imported lazily does not count
    columns = ["rule", "state, bytes", "arrays, bytes", "allocated, bytes"]
    return _block(plain_table(columns, [_allocated_by(name, params) for name in ALLOCATED]))


def _allocated_by(rule: str, params: Arrays) -> list[str]:
    made: list[ss.Optimizer] = []
    grown = traced_growth(lambda: made.append(ss.Optimizer(rule, params)))
    shapes = Counter(param.shape for param in params)
    need = footprint(ss.rules.registry[rule], shapes, "float32", "float32").state
    held = sum(array.nbytes for state in made[0].state for array in state.values())
    return [rule, f"{need:,}", f"{held:,}", f"{grown:,}"]


def temporary() -> str:
    """Return a table of the peaks of one step."""
    rows = []
    for name, make in _contenders():
        sizes = [_peak(make, shapes) for shapes in MODELS]
        left = f"{_left(make, MODELS[-1]) / MEGA:.1f}" if "samestep" in name else "-"
        rows.append([name, *(f"{size / MEGA:.1f}" for size in sizes), left])
    sizes = [4 * sum(map(math.prod, shapes)) for shapes in MODELS]
    rows.append(["(the parameters themselves)", *(f"{size / MEGA:.1f}" for size in sizes), ""])
    titles = [f"{len(shapes)} of {shapes[0][0]:,} x {shapes[0][1]:,}, MB" for shapes in MODELS]
    return _block(plain_table(["", *titles, "left, MB"], rows))


def _peak(make: Maker, shapes: tuple[Shape, ...]) -> int:
    """Measure a step with gradients in other arrays than the step before."""
    contender = _made(make, shapes)
    _take_two_steps(contender)
    contender.give(0)
    return peak_memory(contender.step).most


def _left(make: Maker, shapes: tuple[Shape, ...]) -> int:
    """Measure what the first two steps leave in memory that NumPy and Python know of."""
    _take_two_steps(_made(make, ((2, 2),)))  # what is imported or compiled is not counted
    contender = _made(make, shapes)
    return traced_growth(lambda: _take_two_steps(contender))


def traced_growth(call: Callable[[], object]) -> int:
    """Return the bytes that a call allocates with NumPy and Python and does not give back."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def _made(make: Maker, shapes: tuple[Shape, ...]) -> Contender:
    params, *sets = (normal(shapes, seed) for seed in range(3))
    return make(params, sets)


def _take_two_steps(contender: Contender) -> None:
    for k in range(2):
        contender.give(k)
        contender.step()


def _contenders() -> Iterator[tuple[str, Maker]]:
    for name, make in makers()[0].items():
        if name != BARE_LOOP:
            yield f"AdamW, {name}", make
    for backend in host_backends():
        for entry in COMPARED[1:]:
            make = partial(Samestep, backend, rule=entry.rule, hyper=entry.hyper)
            yield f"{entry.title}, samestep {backend}", make


def _block(lines: list[str]) -> str:
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
