"""The demonstration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
from command_line import call
from samestep.golden.compare import first_difference
from samestep.tools.demo import digits, network
from samestep.tools.demo import run as demo
from samestep.tools.demo.training import Training, different_weights, train


def test_gradients_of_the_network_are_those_of_its_loss() -> None:
    generator = np.random.default_rng(0)
    parameters = [
        {name: array.astype(np.float64) for name, array in layer.items()}
        for layer in network.initial_parameters((5, 4, 3), generator)
    ]
    images, labels = generator.random((6, 5)), generator.integers(0, 3, 6)
    _, gradients = network.loss_and_gradients(parameters, images, labels)
    for layer, gradient in zip(parameters, gradients, strict=True):
        for name, array in layer.items():
            slopes = np.empty_like(array)
            for index in np.ndindex(array.shape):
                middle, losses = array[index], []
                for array[index] in (middle + 1e-6, middle - 1e-6):
                    losses.append(network.loss_and_gradients(parameters, images, labels)[0])
                array[index] = middle
                slopes[index] = (losses[0] - losses[1]) / 2e-6
            np.testing.assert_allclose(gradient[name], slopes, rtol=1e-5, atol=1e-9)


def test_demo_learns_and_finds_the_same_bits(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "demo.png"
    names = [word for name in usable_backends() for word in ("--backend", name)]
    assert call("demo", "--epochs", 2, "--picture", picture, *names) == 0
    shown = capsys.readouterr().out
    assert f"The same bits on {', '.join(usable_backends())}: 19,210 weights" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def usable_backends() -> list[str]:
    names = ("numpy", "numba", "cupy")
    return [name for name in names if ss.available_backends()[name].available]


def test_demo_reports_one_wrong_bit(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")

    def train_with_a_flaw(rule: str, rates: Any, name: str, *args: Any) -> Training:
        training = dataclasses.replace(train(rule, rates, "numpy", *args), backend=name)
        if name == "flawed":
            training.networks[0][1]["weight"].view(np.uint32)[3, 4] ^= 1
        return training

    monkeypatch.setattr(demo, "train", train_with_a_flaw)
    monkeypatch.setattr(demo, "host_backends", lambda: ["numpy", "flawed"])
    monkeypatch.setattr(demo, "check_arguments", lambda *args: None)
    assert call("demo", "--epochs", 1, "--picture", tmp_path / "a.png") == 1
    shown = capsys.readouterr().out
    assert "flawed differs from numpy in layer 1, weight: 1 of 2560 elements" in shown
    assert "The same bits" not in shown


def test_training_is_reproducible_and_good() -> None:
    """Matrix products have the same bits from run to run, so a difference is the optimizer's."""
    pytest.importorskip("sklearn")
    trainings = [
        train("adamw", [1e-3], usable_backends()[-1], digits.load(), 20, 0, lambda done: None)
        for _ in range(2)
    ]
    assert different_weights(*(training.networks[0] for training in trainings)) == []
    assert first_difference(trainings[0].losses, trainings[1].losses) is None
    assert trainings[0].accuracies[0] > 0.97
