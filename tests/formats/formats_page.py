"""The tables of ``docs/formats.md``, from the file of figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from candidates import CANDIDATES
from samestep.tools.bench.timing import ratios
from stored_formats import FORMATS, REFERENCE

TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
NONE = "–"
Figures = Mapping[str, Any]


def with_tables(page: str, found: Figures) -> str:
    """Return the page with its tables, which are the only ones on it, of these figures."""
    return replaced(page, tables(found))


def replaced(page: str, tables: Iterable[str]) -> str:
    """Return the page with these tables in the places of its own, of which there are as many."""
    made = iter(tables)
    return TABLE.sub(lambda match: next(made), page)


def tables(found: Figures) -> tuple[str, str]:
    """Return a table of what formats cost and how wrong they are, and one of losses."""
    steps = [f"{step:,}" for step in found["settings"]["error"]["steps"]]
    names = [
        name
        for name in dict.fromkeys((*FORMATS, *CANDIDATES, *found["formats"]))
        if name in found["formats"]
    ]
    formats = {name: found["formats"][name] for name in names}
    costs = [
        [name, *_costs(name, f), *map(_percent, f["error"].values())]
        for name, f in formats.items()
        if "error" in f  # which others' take to be installed
    ]
    reference = formats[REFERENCE]
    rows = [
        [name, *_losses(f, reference, "digits"), *_losses(f, reference, "text")]
        for name, f in formats.items()
    ]
    first = ["format", "bytes", "time", *(f"error after {step}" for step in steps)]
    second = ["format", "digits", "beside float32", "text", "beside float32"]
    return table(first, costs), table(second, rows)


def _costs(name: str, figures: Figures) -> list[str]:
    """Return the bytes and the time, as far as they are known: others' are not counted."""
    held, seconds = figures.get("bytes"), figures.get("speed")
    timed = seconds is not None and name != REFERENCE
    return [
        NONE if held is None else f"{held:.4g}",
        ratios(seconds, name, REFERENCE).shown() if timed else NONE,
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.0f} %"


def _losses(figures: Figures, reference: Figures, part: str) -> list[str]:
    """Return the losses over seeds, and what is added to float32's of the same seed: the median,
    the least and the most of each."""
    if part not in figures:
        return [NONE, NONE]
    losses = figures[part]
    failed = sum(not math.isfinite(loss) for loss in losses)
    if failed:
        return [f"{failed} of {len(losses)} not finite", NONE]
    more = [a - b for a, b in zip(losses, reference[part], strict=True)]
    beside = NONE if figures is reference else spread(more, _difference)
    return [spread(losses, "{:#.4g}".format), beside]


def _difference(number: float) -> str:
    return f"{number:+.4f}" if abs(number) < 100 else f"{number:+.1e}"


def spread(numbers: Sequence[float], shown: Callable[[float], str]) -> str:
    """Return the median of the numbers, with the least and the most."""
    middle, least, most = map(shown, (median(numbers), min(numbers), max(numbers)))
    return f"{middle} [{least} {most}]"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
