"""The worked example: copies of one network at 16 learning rates, one launch a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
from command_line import call, call_base
from samestep.golden.compare import first_difference
from samestep.install_command import install_command
from samestep.tools.demo import population, training
from samestep.tools.demo.digits import CLASSES, PIXELS, Digits
from samestep.tools.demo.network import Parameters, initial_parameters, loss_and_gradients
from samestep.tools.demo.population import LEARNING_RATES, RULES, sensitivity
from samestep.tools.demo.training import BATCH, SIZES, train

COPIES, EPOCHS, SEED = 16, 2, 3


def digits(images: int) -> Digits:
    """Random images with labels that can be learnt from them."""
    generator = np.random.default_rng(7)
    pixels = generator.random((images + 50, PIXELS), np.float32)
    labels = (pixels @ generator.standard_normal((PIXELS, CLASSES))).argmax(axis=1)
    return Digits(pixels[:images], labels[:images], pixels[images:], labels[images:])


def quietly(about: str) -> None:
    """No progress is shown."""


def test_learning_rates_span_decades_evenly() -> None:
    assert len(LEARNING_RATES) == COPIES
    np.testing.assert_allclose(np.diff(np.log10(LEARNING_RATES)), 0.4, atol=0.01)


# ---- one launch a step


class Launches:
    """Counts what a backend launches: the number of rows of scalars of every launch."""

    def __init__(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.made: list[Any] = []
        kind = type(ss.get_backend(backend))
        make = kind.launch

        def counted(*args: Any, **options: Any) -> Any:
            launch = make(*args, **options)
            run = launch.run

            def counted_run(rows: Any, *others: Any) -> Any:
                self.rows.append(len(rows))
                return run(rows, *others)

            launch.run = counted_run
            self.made.append(launch)
            return launch

        monkeypatch.setattr(kind, "launch", counted)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_16_copies_is_one_launch_of_16_rows(
    rule: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = Launches(backend, monkeypatch)
    train(rule, LEARNING_RATES, backend, digits(5 * BATCH), EPOCHS, SEED, quietly)
    assert launches.rows == [COPIES] * 5 * EPOCHS
    (launch,) = launches.made
    assert len(getattr(launch, "kernels", [None])) == 1  # compiled: a launch is one call


def test_control_separate_optimizers_launch_once_each(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = Launches(backend, monkeypatch)
    for lr in LEARNING_RATES[:3]:
        train("adam", [lr], backend, digits(5 * BATCH), 1, SEED, quietly)
    assert launches.rows == [1] * 5 * 3
    assert len(launches.made) == 3


# ---- the bits of separate runs


def train_alone(optimizer_class: Any, lr: float, backend: str, data: Digits) -> Parameters:
    """A training loop of its own: one network, one optimizer, no groups."""
    generator = np.random.default_rng(SEED)
    network = initial_parameters(SIZES, generator)
    optimizer = optimizer_class(network, lr=lr, backend=backend)
    for _ in range(EPOCHS):
        order = generator.permutation(len(data.train_images))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            with np.errstate(all="ignore"):
                _, gradients = loss_and_gradients(
                    network, data.train_images[batch], data.train_labels[batch]
                )
            optimizer.step(gradients)
    return network


@pytest.mark.parametrize(("rule", "class_name"), RULES.items())
def test_16_copies_have_the_bits_of_16_separate_runs(
    rule: str, class_name: str, backend: str
) -> None:
    data = digits(10 * BATCH + 5)
    together = train(rule, LEARNING_RATES, backend, data, EPOCHS, SEED, quietly)
    assert len(together.networks) == COPIES
    for lr, network in zip(LEARNING_RATES, together.networks, strict=True):
        alone = train_alone(getattr(ss, class_name), lr, backend, data)
        for ours, expected in zip(network, alone, strict=True):
            for name in expected:
                assert first_difference(ours[name], expected[name]) is None, (lr, name)
    weights = [network[0]["weight"] for network in together.networks]
    trained = [array.tobytes() for array in weights if np.isfinite(array).all()]
    assert len(set(trained)) == len(trained) >= COPIES - 4  # the others diverged


# ---- the command


def test_the_command_finds_the_same_bits_and_draws(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "population.png"
    assert call("population", "--epochs", 1, "--picture", picture) == 0
    shown = capsys.readouterr().out
    assert "The same bits in one launch a step and alone" in shown
    assert f"4 times {COPIES} networks of 19,210 weights after 45 steps." in shown
    rows = [line.split() for line in shown.splitlines()]
    assert [row[0] for row in rows[3 : 3 + COPIES]] == [f"{lr:g}" for lr in LEARNING_RATES]
    assert {row[0] for row in rows if row} >= set(RULES.values())
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("where", ["weight", "losses"])
def test_the_command_reports_one_wrong_bit(
    where: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def train_with_a_flaw(rule: str, rates: Any, *args: Any) -> training.Training:
        found = train(rule, rates, *args)
        if rule == "adagrad" and len(rates) == COPIES:
            flawed = found.losses.view(np.uint64) if where == "losses" else None
            flawed = found.networks[4][1]["weight"].view(np.uint32) if flawed is None else flawed
            flawed[0, 4] ^= 1
        return found

    monkeypatch.setattr(population, "train", train_with_a_flaw)
    monkeypatch.setattr(population, "load", lambda: digits(2 * BATCH))
    monkeypatch.setattr(population, "need", lambda *args: None)
    assert call("population", "--epochs", 1, "--picture", tmp_path / "a.png") == 1
    shown = capsys.readouterr().out
    place = "losses: 1 of 1" if where == "losses" else "layer 1, weight: 1 of 2560"
    assert f"adagrad, lr {LEARNING_RATES[4]:g}: not as trained alone in {place} elements" in shown
    assert shown.count("not as trained alone") == 1
    assert "The same bits" not in shown


def test_sensitivity_is_the_range_around_the_best() -> None:
    rates = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    found = sensitivity(rates, [0.985, 0.90, 0.97, 0.98, 0.975, 0.5])
    assert (found.best, found.accuracy) == (0.001, 0.985)
    assert (found.low, found.high, found.decades) == (0.001, 0.001, 0.0)
    found = sensitivity(rates, [0.978, 0.90, 0.97, 0.98, 0.98, 0.9699])
    assert (found.best, found.low, found.high) == (1.0, 0.1, 10.0)
    assert found.decades == pytest.approx(2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs 0", "--epochs"),
        ("--seed -1", "--seed"),
        ("--backend nope", "backend='nope'"),
        ("--picture /nowhere/a.png", "there is no folder /nowhere"),
        ("--picture a", "--picture a: the ending says the format; expected one of .eps, "),
        ("--picture a.xyz", "--picture a.xyz: the ending says the format; expected one of .eps, "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: str, message: str, capsys: Any) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert call("population", *words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("samestep: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_the_base_installation_names_the_extra() -> None:
    done = call_base("population")
    assert (done.returncode, done.stdout) == (2, "")
    assert install_command("demo") in done.stderr
