"""What the printers write: readable, the same as in tests/printing/snapshots, accepted by compilers
without a warning, and, run as C, the bits of the reference."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
import samestep as ss
from c_target import FLAGS, COptimizer, compile_c
from machines.compilers import need
from printing import write_snapshots
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from variants import DTYPES, options_of, values, variants

CUDA_FLAGS = ["--fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false", "--std=c++17"]


def test_kernels_are_those_that_were_reviewed():
    """`python tests/printing/write_snapshots.py` writes them anew; look at the difference."""
    texts = write_snapshots.snapshots()
    assert {file.name for file in write_snapshots.FOLDER.iterdir()} == set(texts)
    for name, text in texts.items():
        assert (write_snapshots.FOLDER / name).read_text(encoding="utf-8") == text, name


def test_memory_of_all_columns_is_asked_for():
    """Where rows are summed, equally far ahead in whole chunks and in the columns after them: else
    those between the two distances are left out in the next row."""
    passes = ss.emit("adafactor", "numba").split("_pass")[1:3]
    for text in passes:
        places = re.findall(r"fetch_ahead\(\w+, (r .+), \w+\)", text)
        assert len(places) > 1
        assert len(set(places)) == 1


def test_the_page_shows_what_is_printed():
    page = write_snapshots.PAGE.read_text(encoding="utf-8")
    assert page == write_snapshots.page()
    for target in ("c", "cuda", "numba"):
        assert f"\n{ss.emit('adamw', target)}```\n" in page


@pytest.mark.parametrize("target", ["numba", "c", "cuda"])
def test_the_text_of_the_rule_can_be_recognized(target):
    source = ss.emit("adamw", target).replace("s->", "").replace(";", "").replace("sqrtf", "sqrt")
    lines = [line.strip() for line in source.splitlines()]
    assert "exp_avg = beta1 * exp_avg + rest1 * grad" in lines
    assert "exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)" in lines
    assert any(line.endswith("denom = sqrt(exp_avg_sq) + scaled_eps") for line in lines)
    assert any(line.endswith("delta = step_size * (exp_avg / denom)") for line in lines)
    subtracted = "param - (delta + decay * finite_or_zero(param))"
    assert any(line.endswith(f" = {subtracted}") for line in lines)
    assert "arXiv:1711.05101, Algorithm 2" in source


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
def test_printed_c_gives_the_bits_of_the_reference(rule, dtype, tmp_path):
    rng = np.random.default_rng(0)
    numpy_type = numpy_dtype(dtype)
    start = values(rng, (3, 1001), numpy_type, 0.05)
    ours, printed_c = start.copy(), start.copy()
    hyper = {**options_of(rule), "maximize": True}
    optimizer = ss.Optimizer(rule, [ours], backend="numpy", **hyper)
    other = COptimizer(rule, printed_c, tmp_path, **hyper)
    for _ in range(6):
        grad = values(rng, start.shape, numpy_type, 0.05)
        optimizer.step([grad])
        other.step(grad)
        assert first_difference(printed_c, ours) is None
        for name, array in optimizer.state[0].items():
            assert first_difference(other.state[name], array) is None, name


@pytest.mark.parametrize("compiler", ["g++", "clang"])
def test_other_compilers_take_the_c_without_a_warning(compiler, tmp_path):
    need(compiler)
    standard = "-std=c++17" if compiler == "g++" else "-std=c17"
    flags = [standard, *FLAGS[1:]]
    for rule in ("nadam", "lamb", "novograd", "adafactor"):
        compile_c(ss.emit(rule, "c"), tmp_path, compiler, flags)


def test_control_the_compiler_check_notices_a_warning(tmp_path):
    with pytest.raises(AssertionError, match="unused"):
        compile_c("int f(void) { int unused; return 1; }", tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("rule", ["rprop", "lamb", "novograd", "adafactor"])
def test_nvcc_takes_the_cuda_without_a_warning(rule, dtype, tmp_path):
    """Compiled, not run: there is no GPU here."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    file = tmp_path / "kernel.cu"
    file.write_text(ss.emit(rule, "cuda", dtype))
    command = ["nvcc", "-arch=sm_80", "-Werror", "all-warnings", *CUDA_FLAGS, "-cubin", str(file)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernel.cubin")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adamw", "fortran"), "target='fortran': expected one of numba, c, cuda"),
        (("adamw", "c", "int8"), "dtype='int8': expected one of"),
        (("adamw", "c", "float32", "bfloat16"), "grad_dtype='bfloat16': expected one of float32"),
        (("nosuch", "c"), "no rule 'nosuch'; there are sgd, adam, "),
    ],
)
def test_emit_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        ss.emit(*arguments)
