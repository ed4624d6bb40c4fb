"""NVRTC takes every printed kernel, for every architecture, with the options that users get, and
ptxas fits it: no spills, few registers, shared memory that every device has.

In float32 every variant is compiled for every architecture. Each variant's other dtypes are spread
over the architectures, one each, so that every dtype meets every architecture; with
``SAMESTEP_TEST=everything`` all are compiled for all that NVRTC knows, which takes ten minutes.
Users have older releases of NVRTC, with CuPy or PyTorch; those that ``SAMESTEP_TEST_NVRTC`` names
take every kernel, too, for architectures that are not in this list.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import samestep as ss
from cubin import resources
from nvrtc import ARCHITECTURES, CompileError, cubin, newest, others
from printed import ALL, PAIRS, matrix, printer
from samestep.language.passes import program
from samestep.printing.cuda import Cuda, CudaOfTiles
from samestep.printing.printer import Printer
from sampling import EVERYTHING

REGISTERS = 104  # a thread's at most: two blocks of 256 threads have 128 on a multiprocessor
STATIC_SHARED = 48 * 1024  # bytes a block may have without asking
SYSTEM_SHARED = 1024  # of them taken by the system, from sm_90 on


def cells(label: str) -> list[tuple[str, tuple[str, str]]]:
    """Architectures and dtypes that a variant is compiled for."""
    if EVERYTHING:
        return list(itertools.product(newest().architectures(), PAIRS))
    return matrix(label, ARCHITECTURES)


def over_budget(usage: dict[str, dict[str, int]]) -> dict[str, int]:
    """The kernels that use too much of anything, and the bytes of their stack."""
    return {
        name: used["STACK"]
        for name, used in usage.items()
        if used["STACK"] or used["LOCAL"] or used["REG"] > REGISTERS
        or used["SHARED"] > STATIC_SHARED + SYSTEM_SHARED
    }  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("label", ALL)
def test_every_kernel_compiles_and_fits(label, tmp_path):
    for architecture, pair in cells(label):
        printed = printer(label, pair)
        usage = resources(cubin(printed.source(), architecture), tmp_path)
        assert set(usage) == {launch.name for launch in printed.functions()}
        assert not over_budget(usage), (architecture, pair)


@pytest.mark.parametrize("rule", ["adamw", "lamb"])
@pytest.mark.parametrize(
    "codecs", [("int8", "uint8"), ("dynamic8", "udynamic8"), ("int4", "uint4")], ids=str
)
def test_kernels_of_states_in_blocks_fit(rule, codecs, tmp_path):
    codecs = dict(zip(("exp_avg", "exp_avg_sq"), codecs, strict=True))
    variant = ss.rules.registry[rule].stored_as(codecs)
    for architecture, dtype in zip(ARCHITECTURES, ("float32", "bfloat16") * 4, strict=False):
        printed = Printer(program(variant), dtype, dtype, Cuda)
        assert not over_budget(resources(cubin(printed.source(), architecture), tmp_path))


@pytest.mark.parametrize(
    ("rule", "codec"),
    [("adafactor", "int8"), ("adafactor", "int4"), ("adafactor", "dynamic8"), ("came", "int4")],
    ids=["adafactor-int8", "adafactor-int4", "adafactor-dynamic8", "came-int4"],
)
def test_kernels_of_states_in_blocks_of_matrices_fit(rule, codec, tmp_path):
    options = dict(beta1=True) if rule == "adafactor" else {}
    variant = ss.rules.registry[rule].variant(**options).stored_as(codec)
    for k, dtype in ((0, "float32"), (1, "bfloat16"), (-1, "float32")):
        printed = Printer(program(variant), dtype, dtype, Cuda)
        assert not over_budget(resources(cubin(printed.source(), ARCHITECTURES[k]), tmp_path))


@pytest.mark.parametrize("pair", PAIRS[:2])
@pytest.mark.parametrize("label", [label for label, rule in ALL.items() if program(rule).matrix])
def test_the_kernels_for_matrices_of_one_tile_compile_and_fit(label, pair, tmp_path):
    printed = Printer(program(ALL[label]), *pair, CudaOfTiles)
    usage = resources(cubin(printed.source(), ARCHITECTURES[-1]), tmp_path)
    assert set(usage) == {launch.name for launch in printed.functions()}
    assert not over_budget(usage)


def test_every_pair_of_dtypes_meets_every_architecture():
    found = {cell for label in ALL for cell in cells(label)}
    assert found >= set(itertools.product(ARCHITECTURES, PAIRS))


def by_release(library, *without: str) -> str:
    """Return what compiling every kernel with another release prints."""
    script = [sys.executable, Path(__file__).with_name("nvrtc_release.py"), library, *without]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == int(", 0 refused" not in done.stdout), done.stderr
    return done.stdout


@pytest.mark.parametrize("library", others(), ids=str)
def test_an_older_release_takes_every_kernel(library):
    printed = by_release(library)
    assert re.fullmatch(r"NVRTC [\d.]+, sm_[\d ]+: [1-9]\d* compiled, 0 refused\n", printed), (
        printed
    )


@pytest.mark.parametrize("library", others(), ids=str)
def test_control_an_older_release_refuses_a_lambda_that_may_be_the_host_s(library):
    printed = by_release(library, "-default-device")
    major, minor = map(int, re.findall(r"NVRTC (\d+)\.(\d+)", printed)[0])
    if (major, minor) > (13, 1):
        pytest.skip("newer releases take it")
    assert "without execution space annotations" in printed


def test_control_text_that_is_wrong_or_draws_a_warning_is_refused():
    source = printer("adamw").source()
    with pytest.raises(CompileError, match="undefined"):
        cubin(source.replace("sqrtf(", "square_root("), "80")
    with pytest.raises(CompileError, match="never referenced"):
        cubin(
            source.replace("    const int64_t n =", "    int unused;\n    const int64_t n ="), "80"
        )


def test_control_spills_and_registers_are_noticed(tmp_path):
    """Registers capped below what a kernel needs; a group that is indexed at run time."""
    source = printer("lamb", PAIRS[1]).source()
    capped = source.replace("__launch_bounds__(256, 2)", "__launch_bounds__(256, 8)")
    assert not over_budget(resources(cubin(source, "90"), tmp_path))
    assert over_budget(resources(cubin(capped, "90"), tmp_path))
    source = printer("adamw").source()
    indexed = source.replace('_Pragma("unroll")\n        for (int k', "for (volatile int k")
    assert indexed != source
    assert over_budget(resources(cubin(indexed, "90"), tmp_path))
