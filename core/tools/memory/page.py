"""What optimizers take in memory, computed and measured, as a page of the documentation.

``python -m samestep.tools.memory.page docs/memory.md`` writes it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ...optimizers.optimizer import Optimizer
from ...rules import find_rule
from ..bench.contenders import BARE_LOOP, Arrays, Contender, Samestep, makers
from ..bench.peak import peak_memory, traced_growth
from ..bench.rules_table import COMPARED
from ..bench.work import Shape, all_work
from ..bench.work_table import normal
from ..cli.console import plain_table
from ..cli.installation import host_backends, installed_versions
from .footprint import footprint
from .run import chosen_rules, heading, model, notes, table

BILLIONS = 7e9
FEW_RULES = ("sgd", "adamw", "lion", "adafactor")
ALLOCATED = ("sgd", "adamw", "lamb", "adafactor")
MODELS: tuple[tuple[Shape, ...], ...] = (
    ((1_000, 4_000),),
    ((1_000, 4_000),) * 4,
    ((2_000, 8_000),),
)
MEGA = 1e6

INTRODUCTION = """\
# Memory

`samestep memory --params 7e9 --rule adamw --param-dtype bfloat16` tells what an optimizer makes of a
model's size. The tables of this page are its output and measurements; `python -m
samestep.tools.memory.page docs/memory.md` writes it.

An optimizer keeps numbers for each parameter from step to step: its state. Plain SGD keeps none,
momentum and Lion one, Adam two: parameters and state together are then three times the
parameters. With the gradients it is four times, before a single activation is stored. For 16-bit
parameters the state is float32 all the same, so Adam's is four times the parameters' bytes:
parameters and state are five times, and with the gradients six times the parameters.

Adafactor keeps a mean for each row and each column of a matrix instead of a number for each
element: for an m x n matrix m + n numbers, next to nothing beside m n. Only vectors keep theirs in
full. Its option beta1 gives most of that away again.
"""
MEASURED = """\
## Allocated

The table above is arithmetic. Here it is held to what is allocated when an optimizer is made, for
the 161 tensors of ResNet-50 in float32: the bytes of the state arrays, and what NumPy and Python
allocate in all, which has the objects that hold them, too.
"""
TEMPORARY = """\
## During a step

What a step takes at its peak beyond what it found: parameters, gradients, state and what earlier
steps have left. For a float32 matrix, for four of them, and for one of four times its size: what is
bounded stays the same, and what grows fourfold grows with the model, or with its largest tensor.
The last column is what samestep's first steps have left with the last model: tables of addresses,
and room for partial sums.
"""
AFTERWARDS = """\
The NumPy reference works in blocks; for a sum over elements it holds the partial sums of one tensor,
a small part of it, while that is updated. Compiled kernels have their temporaries in registers.
torch's for-loop and foreach make temporaries that grow with the model or with its largest tensor;
its fused form and optax's compiled one make none.

Apart from this, an array that is not C-contiguous is staged through a copy of its size, and
accumulating gradients keeps their sum, one number of the compute dtype for each parameter, from the
first of several micro-batches on. Clipping keeps a few numbers for each tensor.
"""


def page() -> str:
    """Markdown. Takes a minute, most of it for measuring."""
    versions = installed_versions("numpy", "numba", "torch", "optax", "jax")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        "\n".join(
            [
                computed(),
                MEASURED,
                allocated(),
                TEMPORARY,
                temporary(),
                AFTERWARDS,
                f"Versions: {listed}.",
            ]
        )
        + "\n"
    )


def computed() -> str:
    """The part that is the same on every machine."""
    parts = [INTRODUCTION, "## Seven billion parameters\n"]
    for param_dtype, names in (("float32", None), ("bfloat16", FEW_RULES)):
        shapes, rules = model(BILLIONS, None), chosen_rules(names)
        lines = plain_table(*table(rules, shapes, param_dtype, param_dtype), left=2)
        words = f"samestep memory --params {BILLIONS:.0e}".replace("e+0", "e")
        words += "".join(f" --rule {name}" for name in names or ())
        words += "" if param_dtype == "float32" else f" --param-dtype {param_dtype}"
        title = heading(shapes, param_dtype, param_dtype)
        below = notes(shapes, param_dtype)
        parts.append("\n".join(["```", f"$ {words}", title, *lines, *below, "```", ""]))
    return "\n".join(parts)


def allocated() -> str:
    """State by arithmetic, by its arrays and by what was allocated."""
    shapes = all_work()["resnet50"].shapes
    params = [np.zeros(shape, np.float32) for shape in shapes]
    Optimizer(ALLOCATED[0], params)  # so that what is imported lazily does not count
    columns = ["rule", "state, bytes", "arrays, bytes", "allocated, bytes"]
    return _block(plain_table(columns, [_allocated_by(name, params) for name in ALLOCATED]))


def _allocated_by(rule: str, params: Arrays) -> list[str]:
    made: list[Optimizer] = []
    grown = traced_growth(lambda: made.append(Optimizer(rule, params)))
    shapes = Counter(param.shape for param in params)
    need = footprint(find_rule(rule), shapes, "float32", "float32").state
    held = sum(array.nbytes for state in made[0].state for array in state.values())
    return [rule, f"{need:,}", f"{held:,}", f"{grown:,}"]


def temporary() -> str:
    """Peaks of one step."""
    rows = []
    for name, make in _contenders():
        peaks = [f"{_peak(make, shapes) / MEGA:.1f}" for shapes in MODELS]
        left = f"{_left(make, MODELS[-1]) / MEGA:.1f}" if "samestep" in name else "-"
        rows.append([name, *peaks, left])
    titles = [f"{len(shapes)} of {shapes[0][0]:,} x {shapes[0][1]:,}, MB" for shapes in MODELS]
    sizes = [f"{4 * sum(map(math.prod, shapes)) / MEGA:.1f}" for shapes in MODELS]
    rows.append(["(the parameters themselves)", *sizes, ""])
    return _block(plain_table(["", *titles, "left, MB"], rows))


def _peak(make: Callable[..., Contender], shapes: tuple[Shape, ...]) -> int:
    """Of a step with gradients in other arrays than the step before."""
    contender = _made(make, shapes)
    _take(contender, 0, 1)
    contender.give(0)
    return peak_memory(contender.step).most


def _left(make: Callable[..., Contender], shapes: tuple[Shape, ...]) -> int:
    """By the first two steps, in memory that NumPy and Python know of."""
    _take(_made(make, ((2, 2),)), 0)  # what is imported or compiled is not counted
    contender = _made(make, shapes)
    return traced_growth(lambda: _take(contender, 0, 1))


def _made(make: Callable[..., Contender], shapes: tuple[Shape, ...]) -> Contender:
    params, grads, others = (normal(shapes, seed) for seed in range(3))
    return make(params, [grads, others])


def _take(contender: Contender, *sets: int) -> None:
    """A step with each of these sets of gradients."""
    for k in sets:
        contender.give(k)
        contender.step()


def _contenders() -> Iterable[tuple[str, Callable[..., Contender]]]:
    for name, make in makers()[0].items():
        if name != BARE_LOOP:
            yield f"AdamW, {name}", make
    for backend in host_backends():
        for entry in COMPARED[1:]:
            make = functools.partial(Samestep, backend, rule=entry.rule, hyper=entry.hyper)
            yield f"{entry.title}, samestep {backend}", make


def _block(lines: list[str]) -> str:
    return "\n".join(["```", *lines, "```", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
