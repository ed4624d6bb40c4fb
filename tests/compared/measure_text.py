"""Compare rules on a small transformer, and write ``docs/compared_text.json`` and the page's table.

``python tests/compared/measure_text.py`` takes some five minutes on two cores.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

import text_loss
from compared_page import OF_TEXT, write
from samestep.tools.cli.installation import installed_versions
from text_rules import MAKERS, steps_to

SETTINGS = dict(loss=2.75, rates=(1e-3, 2e-3, 4e-3, 8e-3), steps=800, every=10, seeds=5)


def measure(
    loss: float, rates: tuple[float, ...], steps: int, every: int, seeds: int
) -> dict[str, Any]:
    """Return the steps to a loss of each rule from several seeds, and its learning rate: the one
    that takes fewest from another seed."""
    found: dict[str, Any] = {}
    for name in MAKERS:
        tried = {lr: steps_to(name, lr, seeds, loss, steps, every) for lr in rates}
        best = min(tried, key=lambda lr: tried[lr] or math.inf)
        taken = [steps_to(name, best, seed, loss, steps, every) for seed in range(seeds)]
        found[name] = dict(lr=best, steps=taken)
        print(name, tried, found[name], flush=True)
    return found


def main() -> None:
    found = {
        "versions": installed_versions("numpy", "numba", "torch"),
        "settings": SETTINGS | text_loss.sizes(),
        "rules": measure(**SETTINGS),
    }
    write(OF_TEXT, found)


if __name__ == "__main__":
    main()
