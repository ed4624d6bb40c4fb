"""``samestep population``: how sensitive a result is to its learning rate, in one picture.

For each of four rules, a copy of the digits network per learning rate. All copies of a rule are
groups of one optimizer: the groups' scalars are rows of one table, so a step of all of them is one
launch. Each copy is then trained again alone, by an optimizer of its own, and its weights must have
the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...golden.compare import first_difference
from ...rules import find_rule
from ..cli.console import print_table, progress
from ..cli.installation import need
from .digits import CLASSES, Digits, load
from .picture import Curve, draw_accuracy_curves
from .training import Training, check_arguments, different_weights, report, train

RULES = {"sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop", "adam": "Adam"}
LEARNING_RATES = tuple(float(f"{10**exponent:.2g}") for exponent in np.linspace(-5, 1, 16))
TOLERATED = 0.01  # loss of accuracy against the best, in fractions of the test images


@dataclass(frozen=True)
class Sensitivity:
    """The best learning rate (the lowest of equals) and the range of good ones around it.

    From ``low`` to ``high`` the accuracy is at most `TOLERATED` below the best.
    """

    best: float
    accuracy: float
    low: float
    high: float

    @property
    def decades(self) -> float:
        return float(np.log10(self.high / self.low))


def run(epochs: int, seed: int, backend: str | None, picture: Path) -> int:
    """Train 16 copies of the digits network at 16 learning rates in one launch a step.

    With SGD, Adagrad, RMSprop and Adam: how much the learning rate matters, in one picture. Each
    copy is then trained alone, too. The exit code is 1 if its weights have other bits.
    """
    need("population", ("sklearn", "matplotlib", "rich"), "demo")
    check_arguments(epochs, seed, [backend], picture)
    digits = load()
    together, differences = {}, []
    with progress(len(RULES) * (epochs + len(LEARNING_RATES))) as advance:
        for rule in RULES:
            training = train(rule, LEARNING_RATES, backend, digits, epochs, seed, advance)
            differences += compare_with_alone(rule, training, digits, epochs, seed, advance)
            together[rule] = training
    _print_accuracies(together)
    _print_sensitivities(together)
    curves = [Curve(RULES[rule], LEARNING_RATES, t.accuracies) for rule, t in together.items()]
    title = f"Handwritten digits after {epochs} epochs: {len(LEARNING_RATES)} networks per curve"
    draw_accuracy_curves(curves, 1 / CLASSES, title, picture)
    print(f"Accuracy against learning rate: {picture}")
    first = next(iter(together.values()))
    same = (
        f"The same bits in one launch a step and alone, on {first.backend}: {len(together)} times "
        f"{len(first.networks)} networks of {first.size}."
    )
    return report(differences, same)


def compare_with_alone(
    rule: str,
    together: Training,
    digits: Digits,
    epochs: int,
    seed: int,
    advance: Callable[[str], None],
) -> list[str]:
    """Train every copy again, alone, and describe the bits that differ.

    Weights and the losses of all epochs are compared.
    """
    differences = []
    for i, lr in enumerate(LEARNING_RATES):
        alone = train(rule, [lr], together.backend, digits, epochs, seed, lambda about: None)
        found = different_weights(together.networks[i], alone.networks[0])
        if difference := first_difference(together.losses[:, i], alone.losses[:, 0]):
            found.append(f"losses: {difference}")
        differences += [f"{rule}, lr {lr:g}: not as trained alone in {text}" for text in found]
        advance(f"{rule} on {together.backend}, alone: lr {lr:g}")
    return differences


def sensitivity(learning_rates: Sequence[float], accuracies: Sequence[float]) -> Sensitivity:
    """Return how the accuracy depends on the learning rates, which ascend."""
    best = int(np.argmax(accuracies))
    # in counts of images the bound may be met exactly, which floats would not show
    good = np.asarray(accuracies) >= accuracies[best] - TOLERATED - 1e-9
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return Sensitivity(
        learning_rates[best], accuracies[best], learning_rates[low], learning_rates[high]
    )


def _print_accuracies(together: dict[str, Training]) -> None:
    rows = [
        [f"{lr:g}", *(f"{t.accuracies[i]:.1%}" for t in together.values())]
        for i, lr in enumerate(LEARNING_RATES)
    ]
    print_table("Test accuracy", ["learning rate", *(RULES[rule] for rule in together)], rows)
    print()


def _print_sensitivities(together: dict[str, Training]) -> None:
    rows = []
    for rule, training in together.items():
        found = sensitivity(LEARNING_RATES, training.accuracies)
        usual = find_rule(rule).defaults["lr"]
        row = [RULES[rule], f"{found.best:g}", f"{found.accuracy:.1%}"]
        row += [f"{found.low:g} to {found.high:g}", f"{found.decades:.1f}", f"{usual:g}"]
        rows.append(row)
    title = f"Learning rates within {TOLERATED * 100:g} percentage point of the best accuracy"
    print_table(title, ["rule", "best", "accuracy", "range", "decades", "default"], rows)
    print()
