"""The benchmark: work, turns, tables, figures and plot."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
from command_line import call
from helpers import ROOT
from samestep.tools.bench import contenders
from samestep.tools.bench import output as bench_output
from samestep.tools.bench import plot as bench_plot
from samestep.tools.bench import rules_table as bench_rules
from samestep.tools.bench import run as bench
from samestep.tools.bench import work_table as bench_work
from samestep.tools.bench.timing import Spread, ratio, ratios, take_turns
from samestep.tools.bench.work import Work, all_work

WORK = Work("two", "two tensors", ((40, 50), (7,)), many_small=True)


def unnoticed(*about: str) -> None:
    """No progress is shown."""


# ---- work and turns


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("large", 1, 50_000_000),
        ("resnet50", 161, 25_557_032),
        ("gpt2", 148, 124_439_808),
        ("thousand", 1_000, 1_000_000),
        ("small", 2_000, 128_000),
        ("tiny", 4, 40),
    ],
)
def test_work_has_its_shapes(name: str, tensors: int, parameters: int) -> None:
    work = all_work()[name]
    assert (len(work.shapes), work.parameters) == (tensors, parameters)
    assert all_work(quick=True)[name].parameters < 10_000_000


class Sleeper:
    """A contender that takes a given time and notes which gradients it got."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.given = seconds, []

    def give(self, k: int) -> None:
        self.given.append(k)

    def step(self) -> None:
        time.sleep(self.seconds)

    def count_bytes(self) -> None:
        return None


def test_contenders_take_turns_with_gradients_that_alternate() -> None:
    sleepers = {"slow": Sleeper(0.02), "fast": Sleeper(0.002)}
    rounds: list[None] = []
    seconds = take_turns(sleepers, 3, 4, lambda: rounds.append(None))
    assert [len(times) for times in seconds.values()] == [4, 4]
    assert len(rounds) == 4
    for sleeper in sleepers.values():
        assert sleeper.given == [i % 3 for i in range(len(sleeper.given))]
    assert min(seconds["slow"]) >= 0.02
    assert ratio(seconds, "slow", "fast") > 1


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert ratio({"a": [2.0, 30.0, 4.0], "b": [1.0, 10.0, 4.0]}, "a", "b") == 2.0


# ---- a work's figures


def sleepers(**milliseconds: float) -> dict[str, Any]:
    """Makers of contenders that take these times, under the names that the table compares with."""
    names = {"reference": contenders.REFERENCE, "bare_loop": contenders.BARE_LOOP}
    return {
        names.get(name, name): lambda params, sets, seconds=value / 1e3: Sleeper(seconds)
        for name, value in milliseconds.items()
    }


@pytest.fixture
def only_sleepers_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine 2 ms of sleep are sometimes 4."""
    passed = [0.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: passed.append(passed[-1] + seconds))
    monkeypatch.setattr(time, "perf_counter", lambda: passed[-1])


@pytest.mark.usefixtures("only_sleepers_take_time")
def test_figures_are_relative_to_reference_and_the_bare_loop() -> None:
    makers = sleepers(slow=8.0, reference=4.0, bare_loop=2.0)
    same, fresh = bench_work.WorkTable(WORK, makers, unnoticed).measure(3, unnoticed)
    assert (same["gradients"], fresh["gradients"]) == ("same", "fresh")
    slow, reference, bare_loop = same["contenders"]
    assert slow["times_reference"] == pytest.approx((2.0, 2.0, 2.0))
    assert slow["fraction_of_bare_loop"] == pytest.approx(0.25)
    assert (reference["times_reference"].median, bare_loop["fraction_of_bare_loop"]) == (1.0, 1.0)
    assert slow["seconds"] == sorted(slow["all_seconds"])[1]
    assert slow["bytes_per_second"] == pytest.approx(28 * WORK.parameters / slow["seconds"])
    assert slow["bytes_moved_per_parameter"] is None


@pytest.mark.parametrize(("times", "equal"), [((9, 11, 10), True), ((12, 11, 13), False)])
def test_a_ratio_comes_with_its_quartiles_and_says_what_is_within_the_noise(
    times: tuple[float, ...], equal: bool
) -> None:
    found = ratios({"a": list(times), "b": [10.0] * 3}, "a", "b")
    low, middle, high = sorted(times)
    assert found == pytest.approx((middle / 10, (low + middle) / 20, (middle + high) / 20))
    assert found.within_noise_of_one == equal


def test_contenders_that_do_not_fit_together_take_turns_in_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[str] = []
    together: list[set[str]] = []

    class Alive(Sleeper):
        def __init__(self, name: str) -> None:
            super().__init__(0.001)
            self.name = name
            alive.append(name)

        def step(self) -> None:
            together.append(set(alive))
            super().step()

        def __del__(self) -> None:
            alive.remove(self.name)

    names = ["a", contenders.REFERENCE, "b", contenders.BARE_LOOP]
    makers = {name: lambda params, sets, name=name: Alive(name) for name in names}
    monkeypatch.setattr(bench_work, "available_memory", lambda: 300)
    monkeypatch.setattr(bench_work, "resident_peak", lambda call: call() and 100)
    table = bench_work.WorkTable(WORK, makers, unnoticed)
    assert table.groups == [names[:2] + names[3:], names[1:]]
    assert {len(found) for found in together} == {1}  # tried out one by one
    together.clear()
    results = table.measure(1, unnoticed)
    assert max(map(len, together)) == 3
    for result in results:
        assert [figures["name"] for figures in result["contenders"]] == names
        assert result["groups"] == table.groups


def test_no_contender_is_tried_out_where_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(call: Any) -> int:
        raise AssertionError("tried out")

    monkeypatch.setattr(bench_work, "resident_peak", refuse)
    for available in (10**9, None):  # None: the system does not tell
        monkeypatch.setattr(bench_work, "available_memory", lambda available=available: available)
        table = bench_work.WorkTable(WORK, sleepers(a=1, reference=1, bare_loop=1), unnoticed)
        assert [len(group) for group in table.groups] == [3]


# ---- rules beside each other


def test_rules_are_compared_with_the_first(backend: str) -> None:
    table = bench_rules.RuleTable(bench_rules.COMPARED, [backend], quick=True)
    (result,) = table.measure(2, unnoticed)
    assert (result["backend"], result["shape"]) == (backend, [500, 1000])
    moved = {rule["title"]: rule["bytes_moved_per_parameter"] for rule in result["rules"]}
    assert moved == {
        "AdamW": 28, "LAMB": 40, "Adafactor": 24, "AdamW, clip_global_norm=1": 32,
        "AdamW, bfloat16 states": 20,
    }  # fmt: skip
    assert result["rules"][0]["times_first"] == (1.0, 1.0, 1.0)
    assert all(rule["times_first"].median > 0 for rule in result["rules"])


@pytest.mark.parametrize(
    ("entry", "backends", "message"),
    [
        (bench_rules.Entry("No", "nope"), ["numpy"], "no rule 'nope'"),
        (bench_rules.Entry("No", "adamw", dict(nope=1.0)), ["numpy"], "nope"),
        (bench_rules.Entry("No", "adamw"), ["nope"], "nope"),
    ],
)
def test_a_wrong_entry_is_refused_before_anything_is_timed(
    entry: bench_rules.Entry, backends: list[str], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        bench_rules.RuleTable([entry], backends, quick=True)


# ---- the command


def test_bench_writes_tables_figures_and_plot(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    path, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    words = ["--quick", "--repeats", 1, "--json", path, "--plot", plot, "--backend", "numpy"]
    for name in ("tiny", "large", "rules"):
        words += ["--work", name]
    assert call("bench", *words) == 0
    figures = json.loads(path.read_text())
    assert set(figures) == {"setting", "work", "rules", "startup"}
    assert figures["setting"]["bytes_per_parameter"] == 28
    ways = [(work["name"], work["gradients"]) for work in figures["work"]]
    assert ways == [("tiny", "same"), ("tiny", "fresh"), ("large", "same")]
    names = list(contenders.makers()[0])
    for work in figures["work"]:
        assert [contender["name"] for contender in work["contenders"]] == names
        for contender in work["contenders"]:
            assert contender["all_seconds"] == [contender["seconds"]]
            assert contender["bytes_moved_per_parameter"] >= 28
    assert [result["backend"] for result in figures["rules"]] == ["numpy"]
    assert set(figures["startup"]) == {
        "import numpy",
        "import samestep",
        "first step, cold",
        "first step, warm",
    }
    shown = capsys.readouterr().out
    assert all(column in shown for column in bench_output.COLUMNS)
    assert all(name in shown for name in (*names, "LAMB"))
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--plot /nowhere/a.png", "there is no folder /nowhere"),
        ("--plot a.xyz", "--plot a.xyz: the ending says the format; expected one of .eps, "),
        ("--json .", "--json . is a folder; expected the name of a file"),
        ("--work rules --backend nope", "nope"),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, capsys: Any) -> None:
    pytest.importorskip("numba")
    assert call("bench", "--quick", *words.split()) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert message in shown.err


@pytest.mark.usefixtures("only_sleepers_take_time")
def test_a_plot_has_a_row_for_every_contender_and_a_number_for_every_work(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    makers = sleepers(a=60, reference=4, bare_loop=1)
    results = bench_work.WorkTable(WORK, makers, unnoticed).measure(1, unnoticed)
    path = tmp_path / "plot.svg"
    bench_plot.draw(results, path)
    drawn = re.findall("<!-- (.*) -->", path.read_text())
    for name, times in (
        ("a", "15"),
        (contenders.REFERENCE, "1.00"),
        (contenders.BARE_LOOP, "0.25"),
    ):
        assert (drawn.count(name), drawn.count(times)) == (1, len(results))


def test_the_picture_of_the_page_is_drawn_from_its_figures(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.svg"
    assert call("bench", "--from", ROOT / "docs" / "benchmark.json", "--plot", picture) == 0
    assert "<!-- torch fused -->" in picture.read_text()
    assert capsys.readouterr().out == f"Plot: {picture}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "is not what --json writes"), ("[", "is not what --json writes"), (None, "No such")],
)
def test_a_file_that_is_none_of_figures_is_refused(
    text: str | None, message: str, tmp_path: Path, capsys: Any
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "figures.json"
    if text is not None:
        file.write_text(text)
    assert call("bench", "--from", file, "--plot", tmp_path / "a.png") == 2
    assert message in capsys.readouterr().err
    assert call("bench", "--from", file) == 2
    assert "--plot says which picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        ((1.23456, 1.2, 1.3), "1.2 [1.2 1.3]"),
        ((1.23456, 1.234, 1.2351), "1.235 [1.234 1.235]"),
        ((0.0123, 0.01, 0.02), "0.01 [0.01 0.02]"),
        ((1234.5, 1100.2, 1300.4), "1,234 [1,100 1,300]"),
        ((12.3456, 12.3456, 12.3456), "12.3 [12.3 12.3]"),
        ((0.0, 0.0, 0.0), "0 [0 0]"),
    ],
)
def test_figures_have_the_digits_that_their_spread_supports(
    figures: tuple[float, float, float], shown: str
) -> None:
    assert Spread(*figures).shown() == shown


def test_progress_counts_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    bars: list[tuple[int | None, list[str]]] = []

    class Bar:
        def __init__(self, total: int | None = None) -> None:
            bars.append((total, []))

        def __enter__(self) -> Any:
            return bars[-1][1].append

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(bench, "progress", Bar)
    assert call("bench", "--quick", "--repeats", 2, "--work", "tiny", "--work", "rules") == 0
    (planned, _), (total, advanced) = bars
    assert planned is None
    assert total == len(advanced) == 2 * (2 + 1 + 1)


def test_a_step_of_ours_counts_what_its_options_move() -> None:
    arrays = [np.ones((30, 40), np.float32)]
    plain, amsgrad = (
        contenders.Samestep("numpy", arrays, [arrays], "adamw", hyper).count_bytes() / 1200
        for hyper in ({}, dict(amsgrad=True))
    )
    assert (plain, amsgrad) == (28, 36)
    assert contenders.BYTES_PER_PARAMETER == 28
    assert len(ss.rules.registry["adamw"].variant(amsgrad=True).state) == 3
