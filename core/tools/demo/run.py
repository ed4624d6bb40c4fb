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
from .training import SIZES, Training, check_arguments, different_weights, train, weight_count

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
    print_table(
        f"A {'-'.join(map(str, SIZES))} network on handwritten digits, AdamW",
        ["backend", "test accuracy", "optimizer step"],
        rows,
    )
    draw_loss_curves(
        [Curve(t.backend, range(1, epochs + 1), t.losses[:, 0].tolist()) for t in trainings],
        f"Handwritten digits: {trainings[0].accuracies[0]:.2%} test accuracy after {epochs} epochs",
        picture,
    )
    print(f"Loss curves: {picture}")
    count, steps = weight_count(trainings[0].networks[0]), len(trainings[0].step_seconds)
    return report_differences(trainings, f"{count:,} weights after {steps:,} steps")


def report_differences(trainings: Sequence[Training], what: str) -> int:
    """Print whether the weights equal the first training's, and return 1 if some do not."""
    first, *others = trainings
    differences = [
        f"{other.backend} differs from {first.backend} in {difference}"
        for other in others
        for difference in different_weights(other.networks[0], first.networks[0])
    ]
    for difference in differences:
        print(difference)
    if not others:
        print(f"Only {first.backend} was asked for: there is nothing to compare its bits with.")
    elif not differences:
        names = ", ".join(training.backend for training in trainings)
        print(f"The same bits on {names}: {what}.")
    return 1 if differences else 0
