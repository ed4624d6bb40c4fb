"""The CUDA that is checked: every variant of every rule, and the dtypes it is printed for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from samestep.language.clipping import clipped
from samestep.language.passes import program
from samestep.printing.cuda import Cuda
from samestep.printing.printer import Printer
from variants import variants

PAIRS = (
    ("float32", "float32"),
    ("float64", "float64"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("bfloat16", "float32"),
    ("float16", "float32"),
)  # storage dtypes of parameters and gradients
ALL = {rule.label: rule for rule in variants()}
ALL |= {
    f"{label}+{clip}": clipped(ALL[label], (clip,))
    for label in ("adamw", "lamb")
    for clip in ("clip_norm", "clip_value")
}


def matrix(label: str, architectures: Sequence[str]) -> list[tuple[str, tuple[str, str]]]:
    """Architectures and dtypes that a variant is compiled for: float32 for all, each other pair of
    dtypes for one, in turn, so that every pair meets every architecture."""
    cells = [(architecture, PAIRS[0]) for architecture in architectures]
    first = list(ALL).index(label) % len(architectures)
    turn = itertools.islice(itertools.cycle(architectures), first, None)
    return cells + list(zip(turn, PAIRS[1:], strict=False))


def printer(label: str, pair: tuple[str, str] = PAIRS[0]) -> Printer:
    """What prints the rule called ``label`` in `ALL`."""
    return Printer(program(ALL[label]), *pair, Cuda)
