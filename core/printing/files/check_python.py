"""A main program for exported Python: it replays a golden file and compares every bit."""

from __future__ import annotations

from ...language.blockwise import BLOCKWISE
from ...language.rounding import KEY
from ...language.rule import CLIPS
from ..exported import Exported
from ..quoting import literal
from ..templates import Words, filled, read
from .golden_reader import differing_elements, read_golden
from .rule_text import function_text

LINE = 100  # characters


def check_program(exported: Exported) -> str:
    """Return the text behind an exported module that makes it a program; it needs ``sys`` and
    ``json``."""
    defaults = exported.rules[0].numbers
    codecs = {codec for rule in exported.rules for codec in rule.storage.values()}
    words: Words = {
        "RULE": exported.family.name,
        "OPTIONS": literal(dict(exported.family.options)),
        "DTYPE": exported.dtype,
        "UNCLIPPED": literal(tuple(clip for clip in CLIPS if clip not in defaults)),
        "HYPER": _names(tuple(defaults)),
        "ROUNDING": exported.family.rounding,
        "END": str(-1 - len(KEY) * exported.family.stochastic),
        "STATE_DTYPE": literal(exported.family.state_dtype),
        "OF_STATE": 'STORED.get(key.rpartition(".")[2])' if codecs - {*BLOCKWISE} else "None",
    }
    main = filled(read("python_file.py.txt")["check"], words)
    reader = "\n\n\n".join(function_text(each) for each in (read_golden, differing_elements))
    return f"# ---- the check\n\n\n{reader}\n{main}"


def _names(names: tuple[str, ...]) -> str:
    """Return a tuple of names as formatted source: a name a line where one line is too short."""
    line = literal(names)
    if len(f"HYPER = {line}") <= LINE:
        return line
    return "\n".join(["(", *(f"    {literal(name)}," for name in names), ")"])
