"""What is run on the GPU, the most telling first: commands, and what their output says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .running import Check

TESTS = Path(__file__).parent.parent
SANITIZER = "compute-sanitizer"
CASES = ("adamw.float32", "adamw.bfloat16", "lamb.float32", "novograd.float16", "adafactor.float32")
COMMAND_LINE = "import sys; from samestep.tools.cli.commands import main; sys.exit(main())"
FAST = ("cupy", "torch:fused", "torch:foreach", "torch:forloop")  # to compile
WHAT = ("golden", "random", "sparse")  # `gpu.bits` compares
# of the tests, these first
TELLING = ("backends/cupy", "backends/cuda", "step/test_sparse.py", "step/test_mixed_precision.py",
           "language/test_clipping.py")  # fmt: skip
# shares of the time by which bits, the benchmark and variants of the kernel are done
EARLY, LATE, LATER = 0.6, 0.85, 0.95
NEEDED = ("numpy", "safetensors", "ml_dtypes")  # by the package itself
MODULES = (*NEEDED, "cupy", "torch", "pytest", "hypothesis", "xdist")

PACKAGES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "cuda-bindings", "nvidia-cuda-nvrtc",
            "nvidia-cuda-nvrtc-cu12", "torch", "triton", "jax", "optax", "apex")  # fmt: skip

FACTS = """
import glob, importlib.metadata, importlib.util, json, platform, sys
found = [name for name in {modules!r} if importlib.util.find_spec(name)]
if "torch" in found:
    import torch
    if not torch.cuda.is_available():
        found.remove("torch")
versions = {{"python": platform.python_version()}}
for name in {packages!r}:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
homes = [f"{{path}}/nvidia/*/lib" for path in sys.path] + ["/usr/local/cuda*/lib64"]
compilers = sorted({{file for home in homes for file in glob.glob(f"{{home}}/libnvrtc.so.1?")}})
print(json.dumps({{"modules": found, "compilers": compilers, "versions": versions}}))
"""


def facts(python: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Which modules a Python has, PyTorch only with CUDA; the files of NVRTC; versions."""
    script = [python, "-c", FACTS.format(modules=MODULES, packages=PACKAGES)]
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def all_checks(python: Path, out: Path, quick: bool, found: Mapping[str, Any]) -> list[Check]:
    """In the order they run. ``python`` runs them, ``found`` is what `facts` says about it."""
    lacks = {name: f"{name} is not installed" for name in MODULES if name not in found["modules"]}
    if "torch" in lacks:
        lacks["torch"] = "PyTorch with CUDA is not installed"
    samestep = [python, "-c", COMMAND_LINE]
    checks = [Check("backends", [*samestep, "backends"], cupy_line, share=EARLY)]
    for library in found["compilers"]:
        name = f"compile with {Path(library).parent.parent.name} {Path(library).name}"
        command = [python, TESTS / "cuda" / "nvrtc_release.py", library]
        checks.append(Check(name, command, last_line, refused, share=EARLY))
    if not found["compilers"]:
        checks.append(Check("compile", [], last_line, missing="no NVRTC is found"))
    checks += [on_bits(python, what, backend, lacks) for what in WHAT for backend in FAST]
    telling = [TESTS / name for name in TELLING if (TESTS / name).exists()]
    checks.append(tests("streams, capture, sparse", python, telling, lacks, EARLY))
    checks += [sanitized(tool, samestep, lacks, EARLY) for tool in ("memcheck", "racecheck")]
    # whose compiler takes minutes
    checks += [on_bits(python, what, "torch:compiled", lacks) for what in WHAT]
    command = [python, "-m", "gpu.benchmark", "--json", out / "benchmark.json"]
    missing = lacks["torch"] if "cupy" in lacks and "torch" in lacks else ""
    command += ["--quick"] * quick
    checks.append(Check("benchmark", command, last_line, missing=missing, share=LATE, loud=True))
    if not quick:
        command = [python, "-m", "gpu.kernel_variants", "--json", out / "kernel_variants.json"]
        missing = lacks.get("cupy", "")
        checks.append(
            Check("kernel variants", command, last_line, missing=missing, share=LATER, loud=True)
        )
        checks += [sanitized(tool, samestep, lacks, 1.0) for tool in ("initcheck", "synccheck")]
        checks.append(tests("all tests", python, [TESTS], lacks, 1.0))
    return checks


def on_bits(python: Path, what: str, backend: str, lacks: Mapping[str, str]) -> Check:
    """Compare the bits of a backend on the device."""
    missing = lacks.get(backend.partition(":")[0], "")
    command = [python, "-m", "gpu.bits", what, backend]
    return Check(f"{what} {backend}", command, last_line, failed, missing=missing, share=EARLY)


def tests(
    name: str, python: Path, paths: list[Path], lacks: Mapping[str, str], share: float
) -> Check:
    """Run tests on the backends whose arrays are on the device."""
    there = [backend for backend in FAST if backend.partition(":")[0] not in lacks]
    plugins = [] if "torch" in lacks else ["-p", "gpu.on_cuda"]
    workers = [] if "xdist" in lacks else ["-n", "4"]
    command = [python, "-m", "pytest", "-v", "-rN", "--tb=short", *plugins, *workers, *paths]
    environment = {"SAMESTEP_TEST_BACKENDS": ",".join(["numpy", *there])}
    missing = lacks.get("pytest") or lacks.get("hypothesis") or ""
    return Check(name, command, counts, failed_test, environment, missing, share)


def sanitized(tool: str, samestep: list[Any], lacks: Mapping[str, str], share: float) -> Check:
    """Run a few golden files on CuPy under one of compute-sanitizer's tools."""
    program = shutil.which(SANITIZER) or shutil.which(SANITIZER, path="/usr/local/cuda/bin")
    rules = [word for case in CASES for word in ("--rule", case)]
    command = [program or SANITIZER, "--tool", tool, "--error-exitcode", "1"]
    command += [*samestep, "golden", "verify", "--backend", "cupy", *rules]
    missing = lacks.get("cupy") or ("" if program else f"{SANITIZER} is not installed")
    return Check(tool, command, summary_line, missing=missing, share=share)


# ---- what a line says


def failed(line: str) -> str:
    """What `gpu.bits` says about a case that failed."""
    return line.strip() if line.startswith("FAILED ") else ""


def refused(line: str) -> str:
    """What ``nvrtc_release.py`` says about a text that is refused."""
    return line.strip() if re.match(r".* sm_\d+: ", line) else ""


def failed_test(line: str) -> str:
    """The name of a test that failed, as pytest says it, with several processes or one."""
    found = re.search(r"(\S+::.*?) (?:FAILED|ERROR)|(?:FAILED|ERROR) (\S+::.*)", line)
    return (found[1] or found[2]).strip() if found else ""


# ---- what a log says


def last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def cupy_line(log: str) -> str:
    """The line of the table that is about the backend."""
    lines = [line for line in log.splitlines() if line.split()[:1] == ["cupy"]]
    return " ".join(lines[0].split()[1:]) if lines else last_line(log)


def summary_line(log: str) -> str:
    lines = [line for line in log.splitlines() if "SUMMARY" in line]
    return lines[-1].strip("= ") if lines else last_line(log)


def counts(log: str) -> str:
    """How many tests passed, failed and were skipped, of those that ended."""
    words = re.findall(
        r"^.*::.* (PASSED|FAILED|ERROR|SKIPPED)|\] (PASSED|FAILED|ERROR|SKIPPED) ", log, re.M
    )
    found = Counter(a or b for a, b in words)
    return ", ".join(f"{found[w]} {w.lower()}" for w in ("PASSED", "FAILED", "ERROR", "SKIPPED"))
