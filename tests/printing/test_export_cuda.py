"""Exported CUDA: nvcc takes it without a warning; its kernels and its host code, run on the CPU
over a stand-in for CUDA's runtime, give the golden files' bits. No GPU is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import samestep as ss
from exported_cuda import build
from golden_files import EXPORTED, load
from helpers import has_gpu
from samestep.golden.around import all_cases
from samestep.golden.format import VALUES
from samestep.language.blockwise import BLOCKWISE
from samestep.language.rule import CLIPS
from variants import DTYPES, exported_variant, exported_variants

FLAGS = ["-std=c++17", "-O1", "-fmad=false", "-Xcompiler", "-ffp-contract=off,-Wall,-Wextra"]
# of each label one dtype, and all dtypes in turn
CASES = [case for case in all_cases() if case.name in EXPORTED and not case.settings]
CASES = [
    case
    for i, case in enumerate(CASES)
    if i % 4 == (i // 4) % 4
    or case.suffix in ("states_8_bits", "states_dynamic8", "states_of_matrices")
]


def exported(case) -> str:
    clips = {name: True for name in CLIPS if name in case.hyper}
    return ss.export(case.variant, "cuda", case.dtype, with_check=True, **clips)


def run(program: Path, name: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [program, VALUES / f"{name}.safetensors"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_the_cpu_it_gives_the_bits_of_the_golden_file(case, tmp_path):
    program = build(exported(case), tmp_path)
    results = sum(array.size for array in load(case.name).results().values())
    assert run(program, case.name) == (0, f"{results} values, 0 differ\n")
    reversed_ = run(program, case.name, CUDA_ON_CPU_REVERSED="1")
    assert reversed_ == (0, f"{results} values, 0 differ\n")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(delta + decay * ", "(delta - decay * "),
        ("tensor->exp_avg_sqs + offset", "tensor->exp_avgs + offset"),
        ("scalars[row].grad_coefficient", "-scalars[row].grad_coefficient"),
    ],
)
def test_control_a_change_is_noticed(right, wrong, tmp_path):
    text = ss.export("adamw", "cuda", with_check=True)
    assert right in text
    assert run(build(text.replace(right, wrong), tmp_path), "adamw.float32")[0] == 1


@pytest.mark.parametrize("target", ["c", "cuda"])
def test_the_text_on_top_says_how_many_scales_there_are(target):
    text = " ".join(ss.export("adamw", target, state_dtype="int8").replace("\n *", " ").split())
    for state, codec in (("exp_avg", "int8"), ("exp_avg_sq", "uint8")):
        blocks = f"{state}s has codes of {codec}, in blocks of 128 neighbours"
        assert f"{blocks}, and {state}_scales a scale for each block: (n + 127) / 128." in text


FIRST_STATE = """
#include <stdio.h>
int main()
{
    adagrad_tensor tensor = {};
    adagrad_hyper hyper = adagrad_defaults();
    uint8_t sums[300];
    float sum_scales[3];
    hyper.initial_accumulator_value = 0.1;
    tensor.sums = sums, tensor.sum_scales = sum_scales, tensor.n = 300;
    adagrad_init(&hyper, &tensor, 0);
    cudaDeviceSynchronize();
    for (int i = 0; i < 300; i++) if (sums[i] != 255) return 1;
    for (int i = 0; i < (300 + BLOCK - 1) / BLOCK; i++) if (sum_scales[i] != 0.1f) return 2;
    return 0;
}
"""


@pytest.mark.parametrize(("codec", "block"), [("uint8", 128), ("udynamic8", 256), ("uint4", 128)])
def test_states_in_blocks_that_do_not_start_at_zero(codec, block, tmp_path):
    text = ss.export("adagrad", "cuda", state_dtype=codec)
    main = FIRST_STATE.replace("BLOCK", str(block))
    if codec == "uint4":  # two codes of 15 in a byte
        main = main.replace("i < 300; i++) if (sums", "i < 150; i++) if (sums")
    program = build(text + main, tmp_path)
    assert subprocess.run([program], check=False).returncode == 0


STEPS_AHEAD = """
int main()
{
    float params[2][100], grads[100], exp_avgs[100], exp_avg_sqs[100];
    for (int waiting = 0; waiting < 2; waiting++) {
        adamw_hyper hyper = adamw_defaults();
        adamw_tensor tensor = {params[waiting], grads, exp_avgs, exp_avg_sqs, 100, 0};
        adamw_launch launch;
        for (int i = 0; i < 100; i++) params[waiting][i] = i, grads[i] = i - 50;
        adamw_create(&launch, &tensor, 1, 1, 0);
        adamw_init(&hyper, &tensor, 0);
        for (int step = 1; step <= 5; step++) {
            hyper.lr = step;
            adamw_scalars s = adamw_compute_scalars(step, &hyper);
            adamw_step(&launch, &s, 0);
            if (waiting) cudaDeviceSynchronize();
        }
        cudaDeviceSynchronize();
        adamw_destroy(&launch);
    }
    return memcmp(params[0], params[1], sizeof params[0]) != 0;
}
"""


def test_a_host_that_runs_ahead_spoils_no_rows(tmp_path):
    text = ss.export("adamw", "cuda") + STEPS_AHEAD
    assert subprocess.run([build(text, tmp_path)], check=False).returncode == 0
    waits = "    SAMESTEP_TRY(cudaEventSynchronize(launch->copied));\n    for"
    assert waits in text  # control: pinned memory that is written while it may still be read
    program = build(text.replace(waits, "    for"), tmp_path)
    assert subprocess.run([program], check=False).returncode == 1


def test_running_out_of_memory_is_an_error_that_frees(tmp_path):
    text = ss.export("adamw", "cuda", with_check=True)
    program = build(text, tmp_path)
    for allocations in ("0", "5", "9"):
        status, said = run(program, "adamw.float32", CUDA_ON_CPU_ALLOCATIONS=allocations)
        assert (status, said) == (2, "CUDA: out of memory\n")


def compile_by_nvcc(text, file):
    """Compile exported CUDA; a compiler that does not end is an error."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    file.write_text(text)
    command = ["nvcc", "-arch=sm_80", "-Werror", "all-warnings", *FLAGS, "-c", file]
    command += ["-o", file.with_suffix(".o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.whole
@pytest.mark.parametrize("dtype", DTYPES)
def test_nvcc_takes_it_without_a_warning(dtype, tmp_path):
    for rule in exported_variants()[DTYPES.index(dtype) :: len(DTYPES)]:
        text = exported_variant(rule, "cuda", dtype)
        compile_by_nvcc(text, tmp_path / f"{rule.label}.cu")


@pytest.mark.parametrize("codec", [*BLOCKWISE])
def test_nvcc_takes_states_in_blocks(codec, tmp_path):
    compile_by_nvcc(ss.export("adagrad", "cuda", state_dtype=codec), tmp_path / "exported.cu")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_the_gpu_it_gives_the_bits_of_the_golden_file(case, tmp_path):
    if shutil.which("nvcc") is None or not has_gpu():
        pytest.skip("there is no GPU, or no nvcc")
    file = tmp_path / "exported.cu"
    file.write_text(exported(case))
    words = ["nvcc", "-arch=native", *FLAGS, file, "-o", tmp_path / "program"]
    subprocess.run(words, check=True)
    results = sum(array.size for array in load(case.name).results().values())
    assert run(tmp_path / "program", case.name) == (0, f"{results} values, 0 differ\n")


def test_without_a_driver_the_check_says_so(tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    if has_gpu():
        pytest.skip("there is a GPU")
    file = tmp_path / "lion.cu"
    file.write_text(ss.export("lion", "cuda", with_check=True))
    subprocess.run(["nvcc", "-arch=sm_80", *FLAGS, file, "-o", tmp_path / "check"], check=True)
    status, said = run(tmp_path / "check", "lion.float32")
    assert status == 2
    assert re.fullmatch(r"CUDA: .*(driver|device).*\n", said)
