"""The PTX that NVRTC makes of printed CUDA, executed by the interpreter, gives the bits of the
golden files and of the reference, without a fault or a race."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import samestep as ss
from golden_files import PRINTED, load
from ptx_backend import InterpretedLaunch
from ptx_operations import Fault
from samestep import choice as known_backends
from samestep.golden.compare import first_difference
from samestep.golden.composed import RULES
from samestep.golden.verify import verify_one
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.printing.cuda import Cuda, CudaOfTiles
from sampling import half
from uneven import MATRICES, VECTORS, assert_same, run
from variants import DTYPES, options_of, values, variants


@pytest.fixture
def newest_code(monkeypatch):
    """From sm_100 on NVRTC has another generator of code."""
    monkeypatch.setattr(InterpretedLaunch, "architecture", "120")


@pytest.fixture(autouse=True)
def _the_interpreter_is_a_backend(monkeypatch):
    monkeypatch.setitem(known_backends.BUILT_IN, "ptx", "ptx_backend")


# the interpreter does not model arrays in constant memory, which a map of codes is
@pytest.mark.parametrize("name", half([name for name in PRINTED if "dynamic8" not in name]))
def test_golden_file(name):
    golden = load(name)
    result = verify_one(golden, RULES[golden.header.base], "ptx")
    assert result.same, result.differences[0]


LABELLED = {rule.label: rule for rule in variants()}


@pytest.mark.parametrize("name", half([f"{label}.{d}" for label in LABELLED for d in DTYPES]))
def test_unaligned_and_uneven_tensors(name, newest_code):
    label, _, dtype = name.rpartition(".")
    rule, tensors = LABELLED[label], VECTORS + MATRICES
    hyper = {**options_of(rule), "maximize": True}
    reference = run(rule, "numpy", tensors, dtype, 2, **hyper)
    assert_same(run(rule, "ptx", tensors, dtype, 2, **hyper), reference)


@pytest.mark.parametrize("rule", ["adamw", "lamb", "adafactor"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_several_chunks(rule, dtype):
    tensors = [((70_001,), 1, 1), ((70, 260), 0, 0)]
    hyper = {"clip_norm": 1.0} if rule == "adamw" else {}
    reference = run(rule, "numpy", tensors, dtype, 1, **hyper)
    assert_same(run(rule, "ptx", tensors, dtype, 1, **hyper), reference)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "rule", [r for r in variants() if program(r).matrix], ids=lambda r: r.label
)
def test_matrices_of_one_tile(rule, dtype, monkeypatch):
    """Their folds are one kernel each: more than eight chunks of a vector are added there, too."""
    monkeypatch.setattr(InterpretedLaunch, "target", CudaOfTiles)
    tensors = [
        ((67, 3), 0, 0),
        ((3, 300), 1, 1),
        ((2, 5, 3), 1, 0),
        ((1, 1), 0, 0),
        ((9_000, 1), 0, 0),
    ]
    reference = run(rule, "numpy", tensors, dtype, 2, **options_of(rule))
    assert_same(run(rule, "ptx", tensors, dtype, 2, **options_of(rule)), reference)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_another_dtype(dtype):
    params = [values(np.random.default_rng(3), (1001,), numpy_dtype(dtype), 0.03) for _ in "ab"]
    grad = values(np.random.default_rng(4), (1001,), np.float32, 0.03)
    for param, backend in zip(params, ("numpy", "ptx"), strict=True):
        ss.Optimizer("adamw", [param], backend=backend).step([grad])
    assert first_difference(*params) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("rule", "codecs"),
    [("adamw", {"exp_avg": "int8", "exp_avg_sq": "uint8"}), ("lamb", {"exp_avg": "int8"}),
     ("adamw", {"exp_avg": "int4", "exp_avg_sq": "uint4"})],
    ids=["adamw", "lamb", "adamw-4"],
)  # fmt: skip
def test_states_in_blocks(rule, codecs, dtype):
    tensors = [*VECTORS, ((129,), 0, 0), ((66_000,), 0, 0)]
    reference = run(rule, "numpy", tensors, dtype, 2, state_dtype=codecs)
    assert_same(run(rule, "ptx", tensors, dtype, 2, state_dtype=codecs), reference)


def test_control_threads_that_do_not_wait_for_their_block_are_a_race(monkeypatch):
    class Impatient(Cuda):
        barrier: ClassVar[list[str]] = []

    monkeypatch.setattr(InterpretedLaunch, "target", Impatient)
    with pytest.raises(Fault, match=r"race|nobody wrote"):
        run("adamw", "ptx", VECTORS[:1], "float32", 1, state_dtype="int8")
