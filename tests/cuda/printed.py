"""The CUDA that is checked: every variant of every rule, and the dtypes it is printed for."""

from __future__ import annotations

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


def printer(label: str, pair: tuple[str, str] = PAIRS[0]) -> Printer:
    """What prints the rule called ``label`` in `ALL`."""
    return Printer(program(ALL[label]), *pair, Cuda)
