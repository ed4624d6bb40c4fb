"""Training of copies of the digits network that differ in their learning rate alone.

Every copy starts from the same weights and sees the same batches. Gradients are computed copy by
copy, by the same NumPy calls on arrays of the same shapes whether one copy is trained or many, so
that all that copies share is the optimizer's step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...choice import get_backend
from ...golden.compare import first_difference
from ...language.rule import Rule
from ...optimizers.optimizer import Optimizer
from ...protocol import Backend
from ..cli.errors import UserError, check_picture, users_mistakes
from .digits import CLASSES, PIXELS, Digits
from .network import Parameters, accuracy, initial_parameters, loss_and_gradients

HIDDEN, BATCH = 256, 32
SIZES = (PIXELS, HIDDEN, CLASSES)


@dataclass(frozen=True)
class Training:
    """The result of training a network per learning rate with one optimizer.

    ``losses`` is (epochs, networks), float64: means over the batches of an epoch. ``accuracies``
    are fractions of the test images; ``step_seconds`` are those of the optimizer alone.
    """

    backend: str
    networks: list[Parameters]
    losses: NDArray[Any]
    accuracies: list[float]
    step_seconds: list[float]

    @property
    def size(self) -> str:
        """The number of weights of a network, and of steps, in words."""
        count = sum(array.size for layer in self.networks[0] for array in layer.values())
        return f"{count:,} weights after {len(self.step_seconds):,} steps"


def train(
    rule: Rule | str,
    learning_rates: Sequence[float],
    backend: str | None,
    digits: Digits,
    epochs: int,
    seed: int,
    advance: Callable[[str], None],
) -> Training:
    """Train a copy of the network per learning rate: one optimizer, a param group for each copy.

    ``seed`` determines the initial weights and the order of the images. A copy that diverges goes
    on to the end with what it has, infinite and NaN included.
    """
    generator = np.random.default_rng(seed)
    start = initial_parameters(SIZES, generator)
    networks = [_mapped(np.copy, start) for _ in learning_rates]
    home = get_backend(backend, [array for layer in start for array in layer.values()])
    trained = [_mapped(home.asarray, network) for network in networks]
    optimizer = Optimizer(
        rule,
        [{"params": n, "lr": lr} for n, lr in zip(trained, learning_rates, strict=True)],
        backend=backend,
    )
    name = optimizer.backend.name
    losses, step_seconds = [], []
    for _ in range(epochs):
        order = generator.permutation(len(digits.train_images))
        of_batches = []
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            images, labels = digits.train_images[batch], digits.train_labels[batch]
            with np.errstate(all="ignore"):  # of a copy that diverges
                found = [loss_and_gradients(network, images, labels) for network in networks]
            began = time.perf_counter()
            optimizer.step([_mapped(home.asarray, gradients) for _, gradients in found])
            _bring_back(trained, networks, home)
            step_seconds.append(time.perf_counter() - began)
            of_batches.append([loss for loss, _ in found])
        losses.append(np.mean(of_batches, axis=0, dtype=np.float64))
        advance(f"{optimizer.rule.name} on {name}: loss {np.fmin.reduce(losses[-1]):.4f}")
    with np.errstate(all="ignore"):
        hits = [accuracy(network, digits.test_images, digits.test_labels) for network in networks]
    return Training(name, networks, np.stack(losses), hits, step_seconds)


def check_arguments(epochs: int, seed: int, backends: Sequence[str | None], picture: Path) -> None:
    """Raise UserError if options of a command cannot be used; None is the usual backend."""
    for option, number, least in (("--epochs", epochs, 1), ("--seed", seed, 0)):
        if number < least:
            raise UserError(f"{option} must be at least {least}, not {number}")
    check_picture("--picture", picture)
    with users_mistakes():
        for name in backends:
            get_backend(name)


def report(differences: Sequence[str], without: str) -> int:
    """Print the differences, or the sentence for none, and return the exit code."""
    print("\n".join(differences) or without)
    return 1 if differences else 0


def different_weights(actual: Parameters, expected: Parameters) -> list[str]:
    """Describe, for each array of ``actual`` with other bits than ``expected``, the difference."""
    return [
        f"layer {i}, {name}: {difference}"
        for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True))
        for name in theirs
        if (difference := first_difference(ours[name], theirs[name])) is not None
    ]


def _mapped(function: Callable[[Any], Any], network: Parameters) -> Parameters:
    return [{name: function(array) for name, array in layer.items()} for layer in network]


def _bring_back(
    trained: Sequence[Parameters], networks: Sequence[Parameters], backend: Backend
) -> None:
    """Copy updated weights from a device to the host, where gradients are computed."""
    for there, here in zip(trained, networks, strict=True):
        for updated, layer in zip(there, here, strict=True):
            for name, array in layer.items():
                if updated[name] is not array:
                    array[...] = backend.to_numpy(updated[name])
