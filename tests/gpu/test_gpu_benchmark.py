"""The benchmark of ``tests/gpu/run``, without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from gpu import benchmark
from helpers import ROOT
from samestep.tools.bench.work import Work, normal


def on_the_host(free: int = 1 << 40) -> benchmark.Device:
    return benchmark.Device("numpy", np.array, lambda: None, np.copyto, lambda: free)


def test_the_benchmark_on_the_host(monkeypatch):
    works = {name: Work(name, f"work {name}", ((300, 50), (70,))) for name in benchmark.WORK}
    monkeypatch.setattr(benchmark, "all_work", lambda quick: works)
    monkeypatch.setattr(benchmark, "has_torch", lambda: False)
    figures = benchmark.run(on_the_host(), quick=True, rounds=2)
    assert [work["name"] for work in figures["work"]] == [*benchmark.WORK, "rules"]
    assert figures["left_out"] == [
        "torch fused is left out: torch with CUDA is not installed",
        "Apex FusedAdam is left out: apex is not installed",
    ]
    for work in figures["work"]:
        entries = {entry["name"]: entry for entry in work["contenders"]}
        assert entries["samestep"]["times_reference"] == 1
        copy = entries[benchmark.COPY]
        assert copy["fraction_of_copy"] == 1
        moved = copy["bytes_per_second"] * copy["seconds"]
        assert moved == pytest.approx(28 * work["parameters"])
        assert all(len(entry["all_seconds"]) == 2 for entry in entries.values())
    rules = {entry["name"]: entry for entry in figures["work"][-1]["contenders"]}
    for name, count in (("lamb", 40), ("adafactor", 24)):
        moved = rules[name]["bytes_per_second"] * rules[name]["seconds"]
        assert moved == pytest.approx(count * figures["work"][-1]["parameters"])


def test_what_does_not_fit_is_left_out(monkeypatch):
    monkeypatch.setattr(benchmark, "has_torch", lambda: False)
    figures = benchmark.run(on_the_host(free=1 << 20), quick=True, rounds=1)
    assert figures["work"] == []
    assert figures["left_out"][2].endswith("is left out: it takes 0.0 GiB")


def test_a_timing_waits_for_the_device_once():
    said = []
    device = benchmark.Device("numpy", np.array, lambda: said.append("wait"), np.copyto, lambda: 0)
    benchmark.Contender(device, lambda: said.append("step")).step()
    assert said == ["step"] * benchmark.STEPS + ["wait"]


def test_samestep_s_steps_are_taken():
    work = Work("one", "one", ((5,),))
    seen = []
    device = benchmark.Device(
        "numpy", lambda a: seen.append(np.array(a)) or seen[-1], lambda: None, np.copyto, lambda: 0
    )
    one = benchmark.samestep("adamw")(device, work)
    before = normal(work.shapes, 0)[0]
    assert (seen[0] == before).all()
    one()
    assert (seen[0] != before).all()


THROUGH_THE_DOUBLE = """
import sys
sys.path[:0] = [{double!r}, {tests!r}]
import cupy
# what the double does not have
cupy.copyto = lambda to, source: to.__setitem__(Ellipsis, source)
cupy.cuda.runtime.memGetInfo = lambda: (1 << 40, 1 << 40)
from gpu import benchmark
benchmark.WORK, benchmark.STEPS, benchmark.SMALL_MATRIX = ("thousand",), 1, (30, 50)
sys.exit(benchmark.main(["--json", {file!r}, "--quick"]))
"""


def test_the_benchmark_through_the_double_of_cupy(tmp_path):
    tests, file = ROOT / "tests", tmp_path / "benchmark.json"
    script = THROUGH_THE_DOUBLE.format(
        double=str(tests / "cuda_double"), tests=str(tests), file=str(file)
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
    figures = json.loads(file.read_text())
    assert [work["name"] for work in figures["work"]] == ["thousand", "rules"]
    for work in figures["work"]:
        assert all(entry["seconds"] > 0 for entry in work["contenders"])
