"""The code that `torch:compiled` has generated for a GPU: exact operations only, and the bits of
the golden files when its PTX is interpreted.

PyTorch generates it without a GPU (`pretended_gpu`), Triton compiles it. In float32 all golden
files are run, in float64 those of some variants; ``SAMESTEP_TEST=everything`` runs all.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import warnings

import numpy as np
import pytest
import samestep as ss
import torch
from golden_files import LABELS, load
from golden_files import NAMES as FILES
from ptx_checks import complaints
from ptx_operations import Fault
from samestep.backends.torch import compiled
from samestep.golden.composed import RULES
from samestep.golden.verify import verify_one
from sampling import EVERYTHING
from uneven import MATRICES, VECTORS, assert_same, run
from variants import options_of

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(torch.version.cuda is not None, reason="this build of torch is for a GPU"),
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None and os.environ.get("SAMESTEP_TEST_TORCH") != "1",
        reason="Triton is not installed",
    ),
]
BACKEND = "torch:compiled"
IN_FLOAT64 = ("adamw", "adafactor_beta1", "lamb_everything", "nadam", "rprop")
NAMES = [name for label in LABELS if (name := f"{label}.float32") in FILES]
NAMES += [f"{label}.float64" for label in LABELS if label in IN_FLOAT64 or EVERYTHING]


@pytest.fixture(scope="module")
def pretended_gpu():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own imports are deprecated ones
        return importlib.import_module("pretended_gpu").pretended_gpu


def complaints_of(kernels):
    """About every kernel in every configuration."""
    assert kernels
    return [c for kernel in kernels.values() for code in kernel.ptx for c in complaints(code)]


@pytest.mark.parametrize("name", NAMES)
def test_golden_file(name, pretended_gpu):
    golden = load(name)
    with pretended_gpu() as kernels:
        result = verify_one(golden, RULES[golden.header.base], BACKEND)
    assert result.same, result.differences[0]
    assert not complaints_of(kernels)


@pytest.mark.parametrize("architecture", [75, 80, 89, 120])
def test_other_architectures(architecture, pretended_gpu):
    with pretended_gpu(architecture) as kernels:
        assert verify_one(load("adamw.float32"), ss.rules.registry["adamw"], BACKEND).same
    assert not complaints_of(kernels)


@pytest.mark.parametrize("name", ["adamw", "lamb", "adafactor"])
def test_large_uneven_and_unaligned_tensors(name, pretended_gpu):
    """Tensors that are run alone and in blocks, among those that share a slice."""
    tensors = [*VECTORS, *MATRICES, ((140_001,), 1, 1), ((40_000,), 0, 3)]
    rule = ss.rules.registry[name]
    with pretended_gpu() as kernels:
        found = run(rule, BACKEND, tensors, "float32", 1, **options_of(rule))
    assert_same(found, run(rule, "numpy", tensors, "float32", 1, **options_of(rule)))
    assert not complaints_of(kernels)


def test_groups_with_hyperparameters_of_their_own(pretended_gpu):
    """Scalars that are one per element."""
    results = []
    for backend in ("numpy", BACKEND):
        params = [np.linspace(-1, 1, n, dtype=np.float32) for n in (1000, 77)]
        grads = [np.cos(p) for p in params]
        with pretended_gpu() if backend == BACKEND else contextlib.nullcontext():
            groups = [{"params": [p], "lr": lr} for p, lr in zip(params, (0.1, 0.3), strict=True)]
            optimizer = ss.AdamW(groups, backend=backend)
            for _ in range(3):
                optimizer.step([[g] for g in grads])
        results.append((params, optimizer.state))
    assert_same(*results)


@pytest.mark.parametrize(
    ("setting", "label", "complaint"),
    [
        ("emulate_precision_casts", "adamw", "inexact: fma.rn.f32 "),
        ("eager_numerics.division_rounding", "adamw", "inexact: div.full.f32 "),
        ("eager_numerics.disable_ftz", "adafactor_beta1_accumulation", "inexact: abs.ftz.f32 "),
    ],
)
def test_settings_are_needed(setting, label, complaint, pretended_gpu, monkeypatch):
    """Control: without each of them the code is inexact, the check tells and the interpreter
    refuses to go on."""
    fewer = {name: value for name, value in compiled.EXACT.items() if name != setting}
    assert len(fewer) == len(compiled.EXACT) - 1
    monkeypatch.setattr(compiled, "EXACT", fewer)
    golden = load(f"{label}.float32")
    with pytest.raises(Fault, match="not exact"), pretended_gpu() as kernels:
        verify_one(golden, RULES[golden.header.base], BACKEND)
    assert any(found.startswith(complaint) for found in complaints_of(kernels))


def test_control_only_threads_with_an_element_may_store(pretended_gpu):
    races = importlib.import_module("triton_kernel").RacesOfOwners(8, threads=32, owners=4)
    at, block, copy = np.array([1]), np.array([0]), np.array([31])
    races.read(at, copy, block, block, "")
    races.write(at, np.array([1]), block, block, "")
    with pytest.raises(Fault, match="has no element"):
        races.write(at, copy, block, block, "")
