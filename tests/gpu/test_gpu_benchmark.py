"""The benchmark of ``tests/gpu/run``, without a GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from gpu import benchmark, contenders
from gpu.contenders import COPY, Contender, Place
from helpers import ROOT
from samestep.tools.bench.work import Work

SMALL = Work("small", "two tensors", ((300, 50), (70,)))
HOST = Place("NumPy arrays", "numpy", np.array, lambda: None, np.copyto, lambda: 1 << 40)


def tensors_on_the_host():
    torch = pytest.importorskip("torch")
    return Place(
        "PyTorch tensors", "torch", lambda a: torch.from_numpy(a.copy()), lambda: None,
        lambda to, source: to.copy_(source), lambda: 1 << 40,
    )  # fmt: skip


def no_optax():
    return "JAX has no GPU here"


@pytest.mark.whole
def test_the_benchmark_from_its_contenders_to_the_file(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "all_work", lambda quick: {"small": SMALL})
    monkeypatch.setattr(contenders, "without_optax", no_optax)
    path = tmp_path / "benchmark.json"
    figures = benchmark.run([HOST], quick=True, rounds=2, path=path)
    assert json.loads(path.read_text()) == figures
    assert [work["name"] for work in figures["work"]] == [
        "small",
        *["matrix"] * 3,
        "sparse",
        "huge",
    ]
    assert figures["left_out"] == [
        "torch is left out: PyTorch with CUDA is not installed",
        "optax jit is left out: JAX has no GPU here",
    ]
    for work in figures["work"]:
        entries = {entry["name"]: entry for entry in work["contenders"]}
        assert work["contenders"][0]["times_first"] == 1
        copy = entries[COPY]
        assert copy["fraction_of_copy"] == 1
        moved = copy["bytes_per_second"] * copy["seconds"]
        assert moved == pytest.approx(28 * work["parameters"])
        assert all(len(entry["all_seconds"]) == 2 for entry in entries.values())
        for entry in entries.values():
            low, high = entry["seconds_quartiles"]
            assert min(entry["all_seconds"]) <= low <= entry["seconds"] <= high
            assert entry["times_first_quartiles"][0] <= entry["times_first"]
        assert all(0 < entry["host_seconds"] <= entry["seconds"] for entry in entries.values())
    rules = {entry["name"]: entry for entry in figures["work"][1]["contenders"]}
    for name, count in (("lamb", 40), ("adafactor", 24), ("adamw, clip_global_norm", 32)):
        entry = rules[f"{name}, NumPy arrays"]
        moved = entry["bytes_per_second"] * entry["seconds"]
        assert moved == pytest.approx(count * figures["work"][1]["parameters"])
    printed = capsys.readouterr().out
    assert (
        printed.index("two tensors") < printed.index("one matrix") < printed.index("optax jit is")
    )
    assert "6 works, figures in benchmark.json" in printed


def test_everybody_takes_the_same_step(monkeypatch):
    """PyTorch's tensors and class, torch and, where it is installed, optax, on the host."""
    if importlib.util.find_spec("optax") is None:
        pytest.skip("optax is not installed")
    monkeypatch.setattr(contenders, "without_optax", lambda: "")
    seen = []
    place = tensors_on_the_host()
    watched = dataclasses.replace(
        place, asarray=lambda a: seen.append(place.asarray(a)) or seen[-1]
    )
    found, _ = contenders.adamw([watched])
    found.pop(COPY)
    results = {}
    for name, contender in found.items():
        seen.clear()
        step, wait = contender.make(SMALL)
        step()
        wait()
        param = seen[0].detach() if seen else inspect.getclosurevars(step).nonlocals["now"][0][0]
        results[name] = np.asarray(param)
    assert list(results) == [
        "samestep, PyTorch tensors", "samestep.torch.AdamW", "torch fused", "torch foreach", "optax jit",
    ]  # fmt: skip
    for name, param in results.items():
        assert (param != contenders.numbers(SMALL, 0)[0]).any()
        np.testing.assert_allclose(
            param, results["torch fused"], rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.whole
def test_what_does_not_fit_is_left_out_and_what_fits_is_measured_in_groups():
    left_out = []
    found = {name: Contender(contenders.samestep(HOST)) for name in "abc"}
    found[COPY] = contenders.copying(HOST)
    small = dataclasses.replace(HOST, free=lambda: 1000)
    assert benchmark.on_work(found, SMALL, small, 1, left_out)["contenders"] == []
    assert "two tensors is left out: b beside a and copy of as many bytes needs" in left_out[0]
    need = benchmark.NEED * SMALL.parameters / benchmark.SHARE
    three = dataclasses.replace(HOST, free=lambda: int(3.1 * need))
    measured = benchmark.on_work(found, SMALL, three, 1, left_out)
    assert [entry["name"] for entry in measured["contenders"]] == list(found)


def test_who_fails_is_left_out_with_a_line():
    def broken(work):
        raise MemoryError("out of memory\nand more")

    left_out = []
    found = {"ours": Contender(contenders.samestep(HOST)), "theirs": Contender(broken)}
    found[COPY] = contenders.copying(HOST)
    measured = benchmark.on_work(found, SMALL, HOST, 1, left_out)
    assert [entry["name"] for entry in measured["contenders"]] == ["ours", COPY]
    assert left_out == ["theirs is left out of two tensors: MemoryError: out of memory"]


def test_a_timing_waits_for_the_device_before_and_after_its_steps(monkeypatch):
    said = []
    timed = benchmark.Timed(lambda: said.append("step"), lambda: said.append("wait"))
    assert timed.steps == benchmark.MOST_STEPS
    timed.steps = 3
    said.clear()
    total, enqueued = timed.take()
    assert said == ["wait", "step", "step", "step", "wait"]
    assert 0 < enqueued < total


THROUGH_THE_DOUBLE = """
import sys
sys.path[:0] = [{double!r}, {tests!r}]
import cupy
# what the double does not have
cupy.copyto = lambda to, source: to.__setitem__(Ellipsis, source)
cupy.cuda.runtime.memGetInfo = lambda: (1 << 40, 1 << 40)
cupy.get_default_memory_pool = lambda: type("Pool", (), {{"free_all_blocks": lambda self: None}})()
from gpu import benchmark
from samestep.tools.bench.work import Work
benchmark.all_work = lambda quick: {{}}
benchmark.huge = lambda quick: Work("some", "some tensors", ((100,),) * 10)
benchmark.matrices = lambda quick: [Work("matrix", "one matrix", ((30, 50),))]
benchmark.MOST_STEPS = 1
sys.exit(benchmark.main(["--json", {file!r}, "--quick"]))
"""


@pytest.mark.whole
def test_the_benchmark_through_the_double_of_cupy(tmp_path):
    tests, file = ROOT / "tests", tmp_path / "benchmark.json"
    script = THROUGH_THE_DOUBLE.format(
        double=str(tests / "cuda_double"), tests=str(tests), file=str(file)
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    figures = json.loads(file.read_text())
    assert [work["name"] for work in figures["work"]] == ["matrix", "sparse", "some"]
    assert len(figures["work"][0]["contenders"]) == 5
    for work in figures["work"]:
        assert all(entry["seconds"] > 0 for entry in work["contenders"])
