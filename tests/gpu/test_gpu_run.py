"""``tests/gpu/run`` as far as it goes without a GPU: it says so, and its parts work on what a GPU
would give them."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu import bits, checks, running, session
from gpu.driver import Gpu, NoGpuError, look
from gpu.package import INSIDE, linked
from helpers import ROOT, has_gpu, run_python
from samestep.golden.around import all_cases

GPU = Gpu("Test GPU", "9.0", 80 << 30, 13_020)


def test_without_a_gpu_it_fails_at_once_in_one_line():
    if has_gpu():
        pytest.skip("there is a GPU")
    existed = session.ENVIRONMENT.exists()
    done = subprocess.run(
        [ROOT / "tests" / "gpu" / "run"], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("tests/gpu/run: ")
    assert done.stderr.endswith("; nothing was installed or run\n")
    assert done.stderr.count("\n") == 1
    assert session.ENVIRONMENT.exists() == existed


def test_an_old_python_is_named():
    done = subprocess.run(
        [ROOT / "tests" / "gpu" / "run"], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHON": "false"},
    )  # fmt: skip
    message = "tests/gpu/run: false is no Python 3.11 or newer; PYTHON= names another\n"
    assert (done.returncode, done.stderr) == (1, message)


# ---- the driver


class Library:
    """A CUDA driver: its answers by the names of its functions."""

    def __init__(self, **answers: int) -> None:
        self.answers = {"devices": 1, "cuda": 13_020, "init": 0, **answers}

    def cuInit(self, flags: int) -> int:
        return self.answers["init"]

    def cuDeviceGetCount(self, number: Any) -> int:
        number._obj.value = self.answers["devices"]
        return 0

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = self.answers["cuda"]
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b"Test GPU"
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        memory._obj.value = 80 << 30
        return 0

    def cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> int:
        number._obj.value = {75: 9, 76: 0}[attribute]
        return 0


def test_the_driver_is_asked_what_there_is():
    assert look(lambda name: Library()) == GPU
    assert (GPU.extra, GPU.cuda_version) == ("cuda13", "13.2")
    assert look(lambda name: Library(cuda=12_040)).extra == "cuda12"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"init": 100}, r"finds no GPU \(cuInit says 100\)"),
        ({"devices": 0}, "finds no GPU$"),
        ({"cuda": 11_080}, r"supports CUDA 11\.8; it takes 12\.0 or newer"),
    ],
)
def test_a_driver_that_does_not_do_is_named(answers, message):
    with pytest.raises(NoGpuError, match=message):
        look(lambda name: Library(**answers))


def test_no_driver_is_named():
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    with pytest.raises(NoGpuError, match=r"there is no NVIDIA driver here \(libcuda\.so\.1"):
        look(absent)


def test_the_extras_exist():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {dataclasses.replace(GPU, cuda=cuda).extra for cuda in (12_000, 14_000)} <= set(known)


# ---- the package without an installation


def test_the_checkout_is_the_package_without_being_installed(tmp_path):
    folder = linked(ROOT, tmp_path / "package")
    assert linked(ROOT, folder) == folder  # a second time, too
    script = """
import samestep as ss, samestep.golden, samestep.backends.cupy, samestep.tools.cli.commands
import numpy as np, samestep.golden.verify
params = [np.ones(3)]
ss.AdamW(params).step([np.ones(3)])
assert (params[0] < 1).all() and samestep.golden.verify.verify(names=["sgd.float32"])[0].same
print(ss.__file__, samestep.golden.__file__)
"""
    printed = run_python(script, folder=Path("/"), PYTHONPATH=str(folder))
    package = folder / "samestep"
    assert printed.split() == [
        str(package / "__init__.py"), str(package / "golden" / "__init__.py"),
    ]  # fmt: skip


def test_the_links_are_the_folders_that_an_installation_maps():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    mapped = {name: where for name, where in settings["package-dir"].items() if "/" not in where}
    assert mapped == {"samestep": "core", **{f"samestep.{name}": name for name in INSIDE}}


# ---- checks


def check(code: str, **more: Any) -> running.Check:
    return running.Check("name", [sys.executable, "-c", code], checks.last_line, **more)


def run(each: running.Check, log: Path, seconds=None, **environment: str):
    said: list[str] = []
    return running.run(each, log, environment, log.parent, seconds, said.append), said


def test_a_check_passes_fails_or_does_not_run(tmp_path):
    log = tmp_path / "name.log"
    passed, _ = run(check("print('a'); print('all well')"), log)
    assert (passed.status, passed.detail) == (running.PASSED, "all well")
    failed, _ = run(check("raise SystemExit('went wrong')"), log)
    assert (failed.status, failed.detail) == (
        running.FAILED, "status 1; went wrong; see name.log",
    )  # fmt: skip
    silent, _ = run(check("raise SystemExit(3)"), log)
    assert silent.detail == "status 3; no output; see name.log"
    seen = check("import os; print(os.environ['THAT'])", environment={"THAT": "this"})
    assert run(seen, log, THAT="other")[0].detail == "this"
    missing, _ = run(check("", missing="it is not installed"), log)
    assert (missing.status, missing.detail) == (running.NOT_RUN, "it is not installed")
    absent = running.Check("name", ["/nowhere/python"], checks.last_line)
    assert run(absent, log)[0].status == running.FAILED


def test_what_takes_too_long_is_cut_short_with_all_that_it_started(tmp_path):
    code = """
import subprocess, sys
print("one", flush=True)
child = "import pathlib, time; time.sleep(6); pathlib.Path('late').touch()"
subprocess.run([sys.executable, "-c", child])
"""
    cut, _ = run(check(code), tmp_path / "name.log", 3.0)
    assert (cut.status, cut.detail) == (running.CUT, "after 3 s; one")
    time.sleep(4)
    assert not (tmp_path / "late").exists()
    late, _ = run(check("print(1)"), tmp_path / "name.log", -1.0)
    assert (late.status, late.detail) == (running.NOT_RUN, "no time was left")


def test_failures_are_named_while_a_check_runs_and_even_if_it_is_cut_short(tmp_path):
    code = """
import time
print("a line")
print("FAILED adamw.float32: param.1.w: element 3", flush=True)
time.sleep(60)
"""
    started = time.monotonic()
    when: list[float] = []
    outcome = running.run(
        check(code, alarm=checks.failed), tmp_path / "name.log", {}, tmp_path, 5.0,
        lambda line: when.append(time.monotonic() - started),
    )  # fmt: skip
    assert outcome.status == running.FAILED
    assert outcome.failures == ("FAILED adamw.float32: param.1.w: element 3",)
    assert len(when) == 1
    assert when[0] < 4.9
    loud, said = run(check("print('a'); print('b')", loud=True), tmp_path / "name.log")
    assert (said, loud.status) == (["a", "b"], running.PASSED)


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_tests_that_fail_are_named_and_counted(workers, tmp_path):
    (tmp_path / "test_three.py").write_text(
        "import pytest\ndef test_a(): pass\n@pytest.mark.parametrize('x', ['a b'])\n"
        "def test_b(x): assert False\n@pytest.mark.skip\ndef test_c(): pass\n@pytest.fixture\n"
        "def f(): raise OSError\ndef test_d(f): pass\n"
    )
    one = checks.tests("tests", Path(sys.executable), [Path("test_three.py")], {"torch": "no"}, 1.0)
    words = [word for word in one.command if word not in ("-n", "4")]
    one = dataclasses.replace(one, command=[*words, *workers])
    outcome, said = run(one, tmp_path / "log", PATH=os.environ["PATH"])
    assert "1 passed, 1 failed, 1 error, 1 skipped" in outcome.detail, (
        tmp_path / "log"
    ).read_text()
    assert outcome.failures == ("test_three.py::test_b[a b]", "test_three.py::test_d")
    assert said == [f"     {name}" for name in outcome.failures]


def test_what_logs_say():
    table = "Backends\n\nname  can run\n----\nnumpy  yes\ncupy  yes  CUDA kernels on Test GPU\n"
    assert checks.cupy_line(table) == "yes CUDA kernels on Test GPU"
    summary = "========= COMPUTE-SANITIZER\nfine\n========= ERROR SUMMARY: 0 errors\n"
    assert checks.summary_line(summary) == "ERROR SUMMARY: 0 errors"
    line = "lamb ('float16', 'float32') sm_90: kernels.cu(3): error: no"
    assert checks.refused(f"{line}\n") == line
    assert not checks.refused("NVRTC 13.0, sm_75 80 90: 94 compiled, 1 refused\n")


FOUND = {"modules": list(checks.MODULES), "compilers": ["/env/nvidia/cu13/lib/libnvrtc.so.13"]}


def test_the_most_telling_checks_come_first(tmp_path):
    found = checks.all_checks(Path("python"), tmp_path, False, FOUND)
    assert [each.name for each in found] == [
        "backends", "compile with cu13 libnvrtc.so.13",
        *(f"{what} {backend}" for what in checks.WHAT for backend in checks.FAST),
        "streams, capture, sparse", "memcheck", "racecheck", "golden torch:compiled",
        "random torch:compiled", "sparse torch:compiled", "benchmark", "kernel variants",
        "initcheck", "synccheck", "all tests",
    ]  # fmt: skip
    shares = [each.share for each in found]
    assert shares == sorted(shares)
    few = checks.all_checks(Path("python"), tmp_path, True, FOUND)
    assert [each.name for each in few] == [each.name for each in found][:-4]
    assert "--quick" in few[-1].command


def test_what_is_not_there_is_skipped_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: None)

    def missing(quick, **found):
        all_checks = checks.all_checks(Path("python"), tmp_path, quick, {**FOUND, **found})
        return {each.name: each.missing for each in all_checks}

    found = missing(False, modules=list(checks.NEEDED), compilers=[])
    assert found["compile"] == "no NVRTC is found"
    assert found["golden cupy"] == found["memcheck"] == "cupy is not installed"
    assert found["random torch:fused"] == found["benchmark"] == "PyTorch with CUDA is not installed"
    assert found["all tests"] == "pytest is not installed"
    assert [name for name, reason in found.items() if not reason] == ["backends"]
    assert missing(False)["racecheck"] == "compute-sanitizer is not installed"
    some = missing(True, modules=[*checks.NEEDED, "cupy"])
    assert (some["golden cupy"], some["benchmark"]) == ("", "")


def test_what_a_python_has_is_asked_of_it():
    found = checks.facts(Path(sys.executable), {})
    assert set(checks.NEEDED) <= set(found["modules"])
    assert "torch" not in found["modules"] or has_gpu()
    assert found["versions"]["numpy"] == np.__version__


def test_the_commands_exist(tmp_path):
    """On the reference instead of the device, and one golden file instead of some."""
    assert {case.name for case in all_cases()} >= set(checks.CASES)
    found = {e.name: e for e in checks.all_checks(Path(sys.executable), tmp_path, False, FOUND)}
    environment = session.surroundings(tmp_path, here=True)

    def ends_well(name: str, command: list[str]) -> bool:
        each = dataclasses.replace(found[name], command=command, environment={}, missing="")
        log = tmp_path / "log"
        outcome = running.run(each, log, environment, checks.TESTS, None, print)
        return outcome.status == running.PASSED or log.read_text()

    commands = {
        name: [str(word).replace("cupy", "numpy") for word in each.command]
        for name, each in found.items()
    }
    assert ends_well("backends", commands["backends"]) is True
    assert commands["memcheck"][1:5] == ["--tool", "memcheck", "--error-exitcode", "1"]
    assert ends_well("memcheck", [*commands["memcheck"][5:-8]]) is True
    tests = [word for word in commands["all tests"] if word not in ("-n", "4", "-p", "gpu.on_cuda")]
    tests[tests.index(str(checks.TESTS))] = str(
        checks.TESTS / "golden"
    )  # a folder is soon collected
    assert ends_well("all tests", [*tests, "--collect-only", "-q"]) is True
    assert found["all tests"].environment == {
        "SAMESTEP_TEST_BACKENDS": "numpy,cupy,torch:fused,torch:foreach,torch:forloop"
    }
    assert commands["golden torch:fused"][1:] == ["-m", "gpu.bits", "golden", "torch:fused"]


# ---- bits


def test_bits_of_the_reference_are_its_own():
    cases = [*itertools.islice(bits.golden("numpy"), 3), *itertools.islice(bits.random("numpy"), 3)]
    assert bits.failures(cases) == (6, 0)


def test_control_a_wrong_bit_and_an_error_are_named(monkeypatch, capsys):
    stepped = bits._stepped

    def wrong(rule, dtype, seed, backend):
        if dtype == "float64":
            raise ValueError("too wide\nfor it")
        found = stepped(rule, dtype, seed, "numpy")
        if backend == "broken":
            found["param 2"].reshape(-1).view(np.uint8)[0] ^= 1
        return found

    monkeypatch.setattr(bits, "_stepped", wrong)
    cases = [case for case in bits.random("broken") if case[0].startswith("sgd.float")]
    assert bits.failures(cases) == (3, 3)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("FAILED sgd.float32: param 2: ")
    assert said[1] == "FAILED sgd.float64: ValueError: too wide"


def test_torch_s_arrays_are_brought_to_the_device():
    pytest.importorskip("torch")
    script = """
import torch, numpy as np, samestep as ss
from gpu import on_cuda
from samestep.backends import torch as backend
seen = []
on_cuda.by_arrays = lambda implementation, arrays: seen.append(arrays[0].device.type)
backend.get_backend("foreach", [])
backend.get_backend("foreach", [torch.ones(3)])
assert seen == ["meta", "cpu"], seen
"""
    run_python(script, SAMESTEP_TEST_DEVICE="meta")


# ---- a session


class Clock:
    """A clock that goes on by a minute whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


def test_each_check_has_its_share_of_the_time(tmp_path, monkeypatch):
    given: list[float | None] = []

    def noted(check, log, environment, folder, seconds, say):
        given.append(seconds)
        return running.Outcome(check.name, running.PASSED, "")

    monkeypatch.setattr(session, "run", noted)
    some = [check("", share=0.6), check("", share=0.6), check("", share=1.0)]
    session.run_all(some, tmp_path, {}, 600, 0.0, Clock())
    assert given == [300, 240, 420]
    session.run_all(some, tmp_path, {}, None, 0.0, Clock())
    assert given[3:] == [None] * 3


def test_a_session_from_the_gpu_to_the_file(tmp_path, monkeypatch, capsys):
    figures = {
        "work": [
            {
                "title": "one tensor",
                "contenders": [
                    {"name": "samestep", "seconds": 0.5, "seconds_quartiles": [0.4, 0.75],
                     "host_seconds": 0.25, "times_first": 1.0, "times_first_quartiles": [0.9, 1.25],
                     "bytes_per_second": 2e12, "fraction_of_copy": 0.97},
                ],
            }
        ],
        "left_out": ["Apex FusedAdam is left out: apex is not installed"],
    }  # fmt: skip
    write = f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'benchmark.json').write_text({json.dumps(figures)!r})"
    some = [
        check("print('136 files, all the same')"),
        check("", missing="compute-sanitizer is not installed"),
        check(f"{write}; print('done')"),
    ]
    monkeypatch.setattr(session, "look", lambda: GPU)
    monkeypatch.setattr(session, "install", lambda extra: pytest.fail("nothing is installed"))
    monkeypatch.setattr(checks, "all_checks", lambda python, out, quick, found: some)
    words = ["--here", "--minutes", "5", "--out", str(tmp_path)]
    assert session.main(words) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["passed"] is True
    assert found["gpu"] == {
        "name": "Test GPU", "capability": "9.0", "memory": 80 << 30, "cuda": "13.2",
    }  # fmt: skip
    assert [entry["status"] for entry in found["checks"]] == ["passed", "not run", "passed"]
    assert found["benchmark"] == figures
    assert found["setting"]["here"] is True
    assert {"python", "numpy"} <= set(found["setting"]["versions"])
    shown = capsys.readouterr().out
    table = (tmp_path / "results.txt").read_text()
    assert table in shown
    lines = [line.split() for line in table.splitlines()]
    assert ["name", "passed", "0", "136", "files,", "all", "the", "same"] in lines
    expected = "samestep 500,000 [400,000 750,000] 250,000 1.0 [0.9 1.2] 2,000 97.0%"
    assert expected.split() in lines
    assert "left out: apex" in table
    some.append(check("print('FAILED a case: a bit', flush=True)", alarm=checks.failed))
    assert session.main(words) == 1
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["passed"] is False
    assert found["checks"][-1]["failures"] == ["FAILED a case: a bit"]
    assert "FAILED a case: a bit" in (tmp_path / "results.txt").read_text()


def test_a_python_without_what_the_package_needs_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "look", lambda: GPU)
    monkeypatch.setattr(checks, "facts", lambda python, environment: {"modules": ["numpy"]})
    assert session.main(["--here", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("lacks safetensors, ml_dtypes\n")
