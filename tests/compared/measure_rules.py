"""Compare all rules, and write ``docs/compared.json`` and the tables of its page.

``python tests/compared/measure_rules.py`` measures all of them, in some ten minutes on two cores.
``--part`` and ``--rule`` choose; what is not measured anew stays in the file as it was.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # so that sums have one order
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

import digits_loss
import numpy as np
from compared_page import OF_RULES, read, write
from compared_rules import RULES, Trained, hyper_of
from minimized import QUADRATIC, ROSENBROCK, Function
from samestep.tools.cli.installation import installed_versions
from steps_down import fewest_steps

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
Settings = Mapping[str, dict[str, Any]]
SETTINGS: Settings = {
    "quadratic": dict(share=1e-4, rates=RATES, steps=1000),
    "rosenbrock": dict(share=1e-2, rates=RATES, steps=1000),
    "digits": dict(rates=RATES, epochs=5, seeds=5),
}


def steps_down(function: Function, label: str, **settings: Any) -> dict[str, Any] | None:
    """Return the fewest steps down a function, and the learning rate that takes them."""
    found = fewest_steps(RULES[label], hyper_of(RULES[label]), function, **settings)
    return found and dict(zip(("steps", "lr"), found, strict=True))


def digits(label: str, rates: Sequence[float], epochs: int, seeds: int) -> dict[str, Any]:
    """Return the losses of trainings from several seeds, and the learning rate: the best one for
    another seed."""

    def loss(lr: float, seed: int) -> float:
        trained = Trained(label, rule=RULES[label], hyper={**hyper_of(RULES[label]), "lr": lr})
        with np.errstate(all="ignore"):  # a learning rate may be too large
            return digits_loss.final_loss(trained, seed, epochs)

    tried = {lr: loss(lr, seeds) for lr in rates}
    best = min(tried, key=lambda lr: tried[lr] if math.isfinite(tried[lr]) else math.inf)
    return dict(lr=best, losses=[loss(best, seed) for seed in range(seeds)])


PARTS: Mapping[str, Callable[..., Any]] = {
    "quadratic": partial(steps_down, QUADRATIC),
    "rosenbrock": partial(steps_down, ROSENBROCK),
    "digits": digits,
}


def measure(before: Mapping[str, Any], parts: Settings, labels: Sequence[str]) -> dict[str, Any]:
    """Return figures, those of these parts and rules measured anew. Raises KeyError for a rule that
    there is not."""
    found = json.loads(json.dumps(before or {"settings": {}, "rules": {}}))
    found["versions"] = installed_versions("numpy")
    found["settings"] |= parts
    for label in labels:
        figures = {part: PARTS[part](label, **settings) for part, settings in parts.items()}
        found["rules"][label] = found["rules"].get(label, {}) | figures
        print(label, figures, flush=True)
    return json.loads(json.dumps(found))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--part", action="append", choices=SETTINGS, help="Repeatable.")
    options.add_argument("--rule", action="append", default=[], help="Its label; repeatable.")
    given = options.parse_args()
    found = read(OF_RULES)
    for label in given.rule or RULES:
        found = measure(found, {p: SETTINGS[p] for p in given.part or SETTINGS}, [label])
        write(OF_RULES, found)


if __name__ == "__main__":
    main()
