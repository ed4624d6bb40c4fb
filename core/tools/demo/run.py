"""``samestep demo``: one small network, trained by every backend from the same start.

Forward and backward are the same NumPy code each time, so all that differs between the runs is
who carries out the optimizer's step. If the steps have the same bits, so do the final weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ..cli.console import print_table, progress
from ..cli.installation import host_backends, need
from .digits import load
from .picture import Curve, draw_loss_curves
from .training import SIZES, check_arguments, different_weights, report, train

RULE, LEARNING_RATE = "adamw", 1e-3


def run(epochs: int, seed: int, backends: Sequence[str] | None, picture: Path) -> int:
    """Train a network on handwritten digits with every backend and compare the bits.

    Each backend starts from the same weights. The exit code is 1 if the final weights differ.
    """
    need("demo", ("sklearn", "matplotlib", "rich"), "demo")
    names = list(dict.fromkeys(backends or host_backends()))
    check_arguments(epochs, seed, names, picture)
    digits = load()
    with progress(epochs * len(names)) as advance:
        trainings = [
            train(RULE, [LEARNING_RATE], name, digits, epochs, seed, advance) for name in names
        ]
    rows = [
        [t.backend, f"{t.accuracies[0]:.2%}", f"{median(t.step_seconds) * 1e6:,.0f} µs"]
        for t in trainings
    ]
    title = f"A {'-'.join(map(str, SIZES))} network on handwritten digits, AdamW"
    print_table(title, ["backend", "test accuracy", "optimizer step"], rows)
    first, *others = trainings
    curves = [Curve(t.backend, range(1, epochs + 1), t.losses[:, 0].tolist()) for t in trainings]
    title = f"Handwritten digits: {first.accuracies[0]:.2%} test accuracy after {epochs} epochs"
    draw_loss_curves(curves, title, picture)
    print(f"Loss curves: {picture}")
    differences = [
        f"{other.backend} differs from {first.backend} in {difference}"
        for other in others
        for difference in different_weights(other.networks[0], first.networks[0])
    ]
    same = f"The same bits on {', '.join(t.backend for t in trainings)}: {first.size}."
    alone = f"Only {first.backend} was asked for: there is nothing to compare its bits with."
    return report(differences, same if others else alone)
