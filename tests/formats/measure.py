"""Measure what fewer bits cost, and write ``docs/formats.json`` and the tables of its page.

``python tests/formats/measure.py`` measures everything, in ten minutes on two idle cores.
``--part`` and ``--format`` choose; what is not measured anew stays in the file as it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import digits_loss
import movement_error
import storage_costs
import text_loss
from candidates import CANDIDATES
from formats_page import with_tables
from samestep.tools.cli.installation import core_count, installed_versions
from stored_formats import FORMATS, Format, others

DOCS = Path(__file__).parents[2] / "docs"
FIGURES, PAGE = DOCS / "formats.json", DOCS / "formats.md"
Settings = Mapping[str, dict[str, Any]]
SETTINGS: Settings = {
    "bytes": {},
    "speed": dict(size=50_000_000, rounds=15),
    "error": dict(steps=(1, 10, 100, 1000), shape=(16, 32)),
    "digits": dict(epochs=30, seeds=5),
    "text": dict(steps=400, seeds=5),
}


def losses(final_loss: Callable[..., float]) -> Callable[..., list[float]]:
    """Return a function that trains from several seeds and returns the loss of each."""
    return lambda form, seeds, **settings: [
        final_loss(form, seed, **settings) for seed in range(seeds)
    ]


PARTS: Mapping[str, Callable[..., Any]] = {
    "bytes": storage_costs.bytes_per_parameter,
    "speed": storage_costs.times,
    "error": movement_error.errors,
    "digits": losses(digits_loss.final_loss),
    "text": losses(text_loss.final_loss),
}


def measure(before: Mapping[str, Any], parts: Settings, names: Sequence[str]) -> dict[str, Any]:
    """Return figures, those of these parts and formats measured anew. Raises KeyError for a format
    that there is not."""
    found = json.loads(json.dumps(before or {"settings": {}, "formats": {}}))
    found["versions"] = installed_versions("numpy", "numba", "torch")
    found["cores"] = core_count()
    known: dict[str, Format] = {**FORMATS, **CANDIDATES, **others()}
    chosen = [known[name] for name in names or known]
    for part, settings in parts.items():
        found["settings"][part] = settings | (text_loss.sizes() if part == "text" else {})
        for form in chosen:
            if part in form.parts:
                print(part, form.name, flush=True)
                figures = found["formats"].setdefault(form.name, {})
                figures[part] = PARTS[part](form, **settings)
    return json.loads(json.dumps(found))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--part", action="append", choices=SETTINGS, help="Repeatable.")
    options.add_argument("--format", action="append", default=[], help="Its name; repeatable.")
    given = options.parse_args()
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    for part in given.part or SETTINGS:
        for name in given.format or [*FORMATS, *CANDIDATES, *others()]:
            found = measure(found, {part: SETTINGS[part]}, [name])
            FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
