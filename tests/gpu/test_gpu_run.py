"""``tests/gpu/run`` as far as it goes without a GPU: it says so, and its parts work on what a GPU
would give them."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from gpu import checks, session
from gpu.driver import Gpu, NoGpuError, look
from helpers import ROOT, has_gpu
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


# ---- checks


def check(code: str, **more: Any) -> checks.Check:
    return checks.Check("name", [sys.executable, "-c", code], checks.last_line, **more)


def test_a_check_passes_fails_or_does_not_run(tmp_path):
    log = tmp_path / "name.log"
    passed = checks.run(check("print('a'); print('all well')"), log, {})
    assert (passed.status, passed.detail) == (checks.PASSED, "all well")
    failed = checks.run(check("raise SystemExit('went wrong')"), log, {})
    assert (failed.status, failed.detail) == (
        checks.FAILED, "status 1; went wrong; see name.log",
    )  # fmt: skip
    silent = checks.run(check("raise SystemExit(3)"), log, {})
    assert silent.detail == "status 3; no output; see name.log"
    seen = check("import os; print(os.environ['THAT'])", environment={"THAT": "this"})
    assert checks.run(seen, log, {"THAT": "other"}).detail == "this"
    missing = checks.run(check("", missing="it is not installed"), log, {})
    assert (missing.status, missing.detail) == (checks.NOT_RUN, "it is not installed")
    slow = checks.run(check("import time; time.sleep(60)", seconds=1), log, {})
    assert slow.status == checks.FAILED
    assert "no end after 1 s" in slow.detail
    absent = checks.Check("name", ["/nowhere/python"], checks.last_line)
    assert checks.run(absent, log, {}).status == checks.FAILED


def test_what_logs_say(tmp_path):
    table = "Backends\n\nname  can run\n----\nnumpy  yes\ncupy  yes  CUDA kernels on Test GPU\n"
    assert checks.cupy_line(table) == "yes CUDA kernels on Test GPU"
    summary = "========= COMPUTE-SANITIZER\nfine\n========= ERROR SUMMARY: 0 errors\n"
    assert checks.summary_line(summary) == "ERROR SUMMARY: 0 errors"
    report = tmp_path / "tests.xml"
    assert checks.counts(report) == "no report"
    (tmp_path / "test_three.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert False\n"
        "@pytest.mark.skip\ndef test_c(): pass\n@pytest.fixture\ndef f(): raise OSError\n"
        "def test_d(f): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "test_three.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert checks.counts(report) == (
        "1 passed, 2 failed, 1 skipped: test_three::test_b, test_three::test_d"
    )


def test_the_commands_exist(tmp_path):
    """On the reference instead of the GPU, and one golden file instead of all."""
    names = {case.name for case in all_cases()}
    assert set(checks.CASES) <= names
    found = {each.name: each for each in checks.all_checks(Path(sys.executable), tmp_path, True)}
    golden = [str(word).replace("cupy", "numpy") for word in found["golden files"].command]
    golden = checks.Check("golden", [*golden, "--rule", "sgd.float32"], checks.last_line)
    outcome = checks.run(golden, tmp_path / "log", {})
    assert outcome.detail == "1 golden file, all with the same bits on numpy"
    pytest_ = [*found["tests"].command, "--collect-only", "-p", "no:xdist"]
    pytest_ = [word for word in pytest_ if word not in ("-n", "4")]
    outcome = checks.run(checks.Check("tests", pytest_, checks.last_line), tmp_path / "log", {})
    assert outcome.status == checks.PASSED, (tmp_path / "log").read_text()
    assert found["tests"].environment == {"SAMESTEP_TEST_BACKENDS": "numpy,cupy"}
    listed = checks.run(found["backends"], tmp_path / "log", {})
    assert listed.status == checks.PASSED
    sanitized = found["racecheck"].command
    assert list(map(str, sanitized))[1:5] == ["--tool", "racecheck", "--error-exitcode", "1"]


# ---- results


def test_a_session_from_the_gpu_to_the_file(tmp_path, monkeypatch, capsys):
    figures = {
        "work": [
            {
                "title": "one tensor",
                "contenders": [
                    {"name": "samestep", "seconds": 0.5, "times_reference": 1.0,
                     "bytes_per_second": 2e12, "fraction_of_copy": 0.97},
                ],
            }
        ],
        "left_out": ["Apex FusedAdam is left out: apex is not installed"],
    }  # fmt: skip
    write = f"import pathlib; pathlib.Path('benchmark.json').write_text({json.dumps(figures)!r})"
    some = [
        checks.Check("golden files", [sys.executable, "-c", "print('136 files, all the same')"], checks.last_line),
        checks.Check("memcheck", [], checks.last_line, missing="compute-sanitizer is not installed"),
        checks.Check("benchmark", [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {write}; print('done')"], checks.last_line),
    ]  # fmt: skip
    monkeypatch.setattr(session, "look", lambda: GPU)
    monkeypatch.setattr(session, "install", lambda extra: Path(sys.executable))
    monkeypatch.setattr(checks, "all_checks", lambda python, out, quick: some)
    assert session.main(["--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["passed"] is True
    assert found["gpu"] == {
        "name": "Test GPU", "capability": "9.0", "memory": 80 << 30, "cuda": "13.2",
    }  # fmt: skip
    assert [entry["status"] for entry in found["checks"]] == ["passed", "not run", "passed"]
    assert found["benchmark"] == figures
    assert {"samestep", "numpy"} <= set(found["setting"]["versions"])
    shown = capsys.readouterr().out
    table = (tmp_path / "results.txt").read_text()
    assert table in shown
    lines = [line.split() for line in table.splitlines()]
    assert ["golden", "files", "passed", "0", "136", "files,", "all", "the", "same"] in lines
    assert ["samestep", "500.000", "1.00", "2000", "97%"] in lines
    assert "left out: apex" in table
    some.append(check("raise SystemExit(1)"))
    assert session.main(["--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "results.json").read_text())["passed"] is False
