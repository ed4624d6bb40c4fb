"""Exported C: compilers take it as C99, C17 and C++17 without a warning, and its own check program
finds the golden files' bits, on one thread and on several, on this machine and on others."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from golden_files import EXPORTED, load, with_flipped_bit
from machines.compilers import HERE, THREADS, Machine, is_emulated, need, under_test, usable
from samestep.golden.cases import Case
from samestep.golden.compare import first_difference
from samestep.golden.format import VALUES, to_bytes
from sampling import EVERYTHING
from variants import DTYPES, exported_variant, exported_variants, options_of, values

from samestep.golden.around import all_cases  # isort: skip

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
CASES = [case for case in all_cases() if case.name in EXPORTED and not case.settings]
CLIPS = ("clip_value", "clip_norm")
# for other machines: float32, in which every operation shows, and a few rules in every dtype
ELSEWHERE = [
    case
    for case in CASES
    if EVERYTHING or case.dtype == "float32" or case.variant.label in ("nadam", "adafactor")
]


def exported(case: Case, target: str = "c") -> str:
    """The file with a check of this case's golden file."""
    clips = {name: True for name in CLIPS if name in case.hyper}
    return ss.export(case.variant, target, case.dtype, with_check=True, **clips)


def assert_golden_bits(
    machine: Machine, case: Case, folder: Path, *flags: str, threads: Sequence[int] = (1,)
) -> None:
    """The exported check, built and run there, finds no other bit in the case's golden file."""
    results = sum(array.size for array in load(case.name).results().values())
    source = folder / "exported.c"
    source.write_text(exported(case))
    program = machine.build(source, *flags)
    for count in threads:
        said = machine.run(program, VALUES / f"{case.name}.safetensors", count)
        assert said == (0, f"{results} values, 0 differ\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exported_c_gives_the_bits_of_the_golden_file(case, tmp_path):
    assert_golden_bits(HERE, case, tmp_path, "-std=c17", "-O1", *WARNINGS)
    flags = ["-std=c99", "-O1", *WARNINGS, *THREADS]
    assert_golden_bits(HERE, case, tmp_path, *flags, threads=(1, 2))


@pytest.mark.whole
@pytest.mark.parametrize("case", ELSEWHERE, ids=lambda case: case.name)
@pytest.mark.parametrize("machine", under_test())
def test_other_compilers_and_processors_give_the_same_bits(machine, case, tmp_path):
    assert_golden_bits(usable(machine), case, tmp_path, threads=(2,))


@pytest.mark.parametrize("machine", [name for name in under_test() if is_emulated(name)])
def test_control_the_other_processors_fuse_and_it_is_noticed(machine, tmp_path):
    """Without the pragmas in the text."""
    text = exported(next(case for case in CASES if case.name == "adamw.float32"))
    source = tmp_path / "exported.c"
    source.write_text(re.sub(r"#pragma (STDC FP_CONTRACT OFF|GCC optimize.*)\n", "", text))
    program = usable(machine).build(source)
    status, said = usable(machine).run(program, VALUES / "adamw.float32.safetensors", 2)
    assert status == 1
    assert re.search(r"param\.10\.weight: \d+ of 66 differ\n", said)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("g++", ["-x", "c++", "-std=c++17"]),
        ("clang", ["-std=c99"]),
        ("clang++", ["-x", "c++", "-std=c++17"]),
    ],
)
def test_other_compilers_take_every_file_without_a_warning(compiler, flags, tmp_path):
    need(compiler)
    files = []
    for i, rule in enumerate(exported_variants()):
        files.append(tmp_path / f"{rule.label}.c")
        text = exported_variant(rule, "c", DTYPES[i % len(DTYPES)])
        # without a check nothing calls its functions, which are static
        files[-1].write_text(text if "int main" in text else f"#define SAMESTEP_API\n{text}")
    command = [compiler, *flags, "-fsyntax-only", "-fopenmp", *WARNINGS, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", ["adamw", "lars", "adafactor"])
def test_no_bit_depends_on_flags_or_on_the_number_of_threads(rule, tmp_path):
    """Several chunks a tensor, at full speed, contraction allowed on the command line, for the
    very machine: what somebody who did not read the comment would do."""
    rng = np.random.default_rng(0)
    start = values(rng, (300, 701), np.float32, 0.0)
    grads = [values(rng, start.shape, np.float32, 0.0) for _ in range(2)]
    ours = start.copy()
    optimizer = ss.Optimizer(rule, [ours], backend="numpy", **options_of(ss.rules.registry[rule]))
    for grad in grads:
        optimizer.step([grad])
    flags = ["-std=gnu17", "-O3", "-march=native", "-ffp-contract=fast", *WARNINGS, *THREADS]
    for threads in (1, 2):
        param = start.copy()
        other = COptimizer(
            rule,
            param,
            tmp_path,
            emit=ss.export,
            flags=flags,
            **options_of(ss.rules.registry[rule]),
        )
        other.library.omp_set_num_threads(threads)
        for grad in grads:
            other.step(grad)
        assert first_difference(param, ours) is None


@pytest.mark.parametrize("name", ["sgd_momentum.float16", "adafactor.float32", "nadam.bfloat16"])
def test_sanitizers_find_nothing(name, tmp_path):
    case = next(case for case in CASES if case.name == name)
    source = tmp_path / "exported.c"
    source.write_text(exported(case))
    words = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = HERE.build(source, "-O1", "-g", *words, *THREADS)
    status, said = HERE.run(program, VALUES / f"{name}.safetensors", 2)
    assert (status, said.count("\n")) == (0, 1), said


@pytest.mark.parametrize("flag", ["-Ofast", "-funsafe-math-optimizations", "-freciprocal-math"])
def test_fast_math_and_its_parts_are_refused(flag, tmp_path):
    source = tmp_path / "exported.c"
    source.write_text(ss.export("sgd"))
    with pytest.raises(AssertionError, match="needs exact IEEE arithmetic: no -ffast-math"):
        HERE.build(source, "-c", flag)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 has another unit")
def test_x87_is_refused(tmp_path):
    source = tmp_path / "exported.c"
    source.write_text(ss.export("sgd"))
    with pytest.raises(AssertionError, match="needs exact IEEE arithmetic: no x87"):
        HERE.build(source, "-c", "-mfpmath=387")


def test_control_one_other_operation_is_noticed(tmp_path):
    text = exported(next(case for case in CASES if case.name == "adamw.float32"))
    changed = text.replace("(delta + decay * ", "(delta - decay * ")
    reordered = text.replace("rest2 * (grad * grad)", "rest2 * grad * grad")
    for k, other in enumerate((changed, reordered)):
        assert other != text
        source = tmp_path / f"{k}.c"
        source.write_text(other)
        status, said = HERE.run(HERE.build(source, "-O1"), VALUES / "adamw.float32.safetensors")
        assert status == 1
        assert re.search(r"param\.10\.weight: \d+ of 66 differ\n", said)


def test_control_one_other_bit_is_noticed(tmp_path):
    source = tmp_path / "exported.c"
    source.write_text(exported(next(case for case in CASES if case.name == "nadam.bfloat16")))
    program = HERE.build(source, "-O1")
    golden = load("nadam.bfloat16")
    names = ("param.1.scale", "state.10.huge.exp_avg", "carry.3.bias", "scalars.2.weight")
    for name in names:
        corrupted = tmp_path / "corrupted.safetensors"
        changed = with_flipped_bit(golden, name)
        if name.startswith("scalars"):  # the last bit of a double may be rounded away
            changed.tensors[name][-1] *= 2
        corrupted.write_bytes(to_bytes(changed))
        status, said = HERE.run(program, corrupted)
        assert status == 1, said
        assert said.startswith(f"{name}: 1 of "), said


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            VALUES / "adam.float32.safetensors",
            'rule: this program checks "adamw"; the file holds "adam"',
        ),
        (
            VALUES / "adamw_amsgrad.float32.safetensors",
            'options: this program checks {"amsgrad":false}; the file holds {"amsgrad":true}',
        ),
        (
            VALUES / "adamw.float64.safetensors",
            'dtype: this program checks "float32"; the file holds "float64"',
        ),
        (VALUES / "adamw_clip_global_norm.float32.safetensors", "accumulates, skips or clips"),
        (Path(__file__), "is not a safetensors file"),
        (VALUES / "absent", "cannot be read"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_the_check_refuses_other_files(file, message, adamw_check):
    status, said = HERE.run(adamw_check, file)
    assert status == 2
    assert message in said


@pytest.fixture(scope="module")
def adamw_check(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("check") / "adamw.c"
    source.write_text(ss.export("adamw", with_check=True))
    return HERE.build(source, "-O1")


def test_an_unclipped_update_is_not_held_to_a_clipped_one(tmp_path):
    source = tmp_path / "exported.c"
    source.write_text(ss.export("adamw", with_check=True, amsgrad=True))
    file = VALUES / "adamw_amsgrad_clip_norm.float32.safetensors"
    assert HERE.run(HERE.build(source, "-O1"), file) == (
        2,
        "clip_value: clips, which these functions do not\n",
    )


def test_nothing_but_the_c_library_is_linked(adamw_check):
    if shutil.which("ldd") is None:
        pytest.skip("there is no ldd here")
    listed = subprocess.run(["ldd", adamw_check], capture_output=True, text=True, check=True).stdout
    libraries = {Path(line.split()[0]).name for line in listed.splitlines()}
    assert all(re.match(r"(linux-vdso|libc|libm|ld-linux.*)\.so", name) for name in libraries)


def test_one_program_can_use_several_files(tmp_path):
    for rule in ("lamb", "adafactor", "rprop"):
        (tmp_path / f"{rule}.h").write_text(ss.export(rule))
    source = tmp_path / "several.c"
    source.write_text(
        '#include "lamb.h"\n#include "adafactor.h"\n#include "rprop.h"\n#include "lamb.h"\n'
        "int main(void) { return lamb_workspace(3) == 0; }\n"
    )
    HERE.build(source, "-std=c99", "-O1", *WARNINGS)
    Machine("g++").build(source, "-x", "c++", "-std=c++17", "-O1", *WARNINGS)
