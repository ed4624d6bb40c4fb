"""The tables of ``docs/compared.md``, from the files of figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compared_rules import RULES
from formats_page import NONE, replaced, spread, table
from samestep.tools.bench.timing import ratios
from samestep.tools.bench.timing import spread as quartiles

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "compared.md"
OF_RULES, OF_TEXT, OF_COSTS, OF_PRODUCTS = FILES = tuple(
    DOCS / f"compared{part}.json" for part in ("", "_text", "_costs", "_products")
)
Figures = Mapping[str, Any]
# who multiplies matrices, and whose times stand beside whose
NUMBA, PRODUCTS, TORCH = "Muon, Numba", "its products alone", "torch.optim.Muon"
OURS, OURS_BFLOAT16 = "samestep.torch.Muon", "samestep.torch.Muon in bfloat16"
BESIDE = ((NUMBA, PRODUCTS), (TORCH, OURS), (TORCH, OURS_BFLOAT16))


def read(file: Path) -> dict[str, Any]:
    """Return the figures in a file; empty without it."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write(file: Path, found: Figures) -> None:
    """Write figures to a file, and the tables of all files to the page."""
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    made = tables(*map(read, FILES))
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


def tables(rules: Figures, text: Figures, costs: Figures, products: Figures) -> list[str]:
    """Return the tables of the page, which has no others."""
    return [of_rules(rules), of_text(text), of_costs(costs), of_products(products)]


def of_rules(found: Figures) -> str:
    """Return the table of rules, each with its best learning rates."""
    rules = {label: found["rules"][label] for label in RULES if label in found["rules"]}
    rows = [
        [f"`{label}`", *_steps(f["quadratic"]), *_steps(f["rosenbrock"]), *_loss(f["digits"])]
        for label, f in rules.items()
    ]
    return table(["rule", "quadratic", "lr", "Rosenbrock", "lr", "digits", "lr"], rows)


def of_text(found: Figures) -> str:
    """Return the table of steps to a loss of the transformer."""
    rows = [[name, *_taken(f["steps"]), f"{f['lr']:g}"] for name, f in found["rules"].items()]
    return table(["rule", "steps", "of each seed", "lr"], rows)


def of_costs(found: Figures) -> str:
    """Return the table of what steps cost, beside a loop that moves as many bytes."""
    rows = [
        [f"`{label}`", f"{f['bytes']:.4g}", str(f["passes"]), quartiles(f["times"]).shown()]
        for label, f in (
            (label, found["rules"][label]) for label in RULES if label in found["rules"]
        )
    ]
    return table(["rule", "bytes", "passes", "times the limit"], rows)


def of_products(found: Figures) -> str:
    """Return the table of Muon's times, each as a multiple of another one's."""
    rows = [
        [work, *(ratios(seconds, a, b).shown() for a, b in BESIDE)]
        for work, seconds in found["seconds"].items()
    ]
    return table(["matrices", *(f"{a} / {b}" for a, b in BESIDE)], rows)


def _steps(figures: Figures | None) -> list[str]:
    return [NONE, NONE] if figures is None else [str(figures["steps"]), f"{figures['lr']:g}"]


def _loss(figures: Figures) -> list[str]:
    losses = figures["losses"]
    failed = sum(not math.isfinite(loss) for loss in losses)
    shown = f"{failed} of {len(losses)} not finite"
    return [shown if failed else spread(losses, "{:.2g}".format), f"{figures['lr']:g}"]


def _taken(steps: list[int | None]) -> list[str]:
    """Return the steps of all seeds, and their median with the least and the most; a seed that did
    not get there counts as more than all others."""
    numbers = [math.inf if each is None else each for each in steps]
    return [spread(numbers, "{:g}".format), ", ".join(map("{:g}".format, numbers))]
