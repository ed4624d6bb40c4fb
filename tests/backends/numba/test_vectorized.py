"""Printed Numba kernels compile to SIMD loops, which is noticed without a timing. What keeps loops
from it: indices that might be negative, so that they may count from the end."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
import samestep as ss
from samestep.golden.cases import variants
from samestep.language.summation import fold_by_halves

if not ss.available_backends()["numba"].available:
    pytest.skip("only the numba backend compiles at run time", allow_module_level=True)

LABELS = ["adamw", "rmsprop_momentum_centered", "lamb", "lars", "novograd", "adafactor_beta1"]
VECTOR = re.compile(r"fmul <(?:vscale x )?\d+ x float>")
GATHER = re.compile(r"llvm\.masked\.gather")
LOADED = re.compile(r"(%\S+) = load float,")
ELEMENT = re.compile(r"insertelement <\d+ x float> \S+, float (%\S+), i\d+ [1-9]")


def loaded(source, folder):
    """The printed module, compiled anew."""
    file = folder / "kernels.py"
    file.write_text(source.replace("cache=True", "cache=False"))
    spec = importlib.util.spec_from_file_location("kernels", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def optimized(source, folder):
    """Name of each pass to its optimized LLVM text."""
    module = loaded(source, folder)
    names = re.findall(r"^def (\w+)\(table", source, re.MULTILINE)
    passes = [name for name in names if "_fold" not in name]
    assert passes
    return {n: "".join(getattr(module, n).inspect_llvm().values()) for n in passes}


def gathered(text):
    """Whether the elements of a vector come from places of their own: by one instruction, or where
    the processor has none (or a slow one) loaded one by one."""
    numbers = set(LOADED.findall(text))
    return bool(GATHER.search(text)) or not numbers.isdisjoint(ELEMENT.findall(text))


@pytest.mark.parametrize("label", LABELS)
def test_every_pass_is_vectorized(label, tmp_path):
    (rule,) = (rule for rule in variants() if rule.label == label)
    for name, text in optimized(ss.emit(rule, "numba", **rule.options), tmp_path).items():
        assert VECTOR.search(text), name
        assert not gathered(text), name


def test_control_signed_indices_are_noticed(tmp_path):
    source = ss.emit("lamb", "numba").replace(" uint64(", " (")
    assert not VECTOR.search(optimized(source, tmp_path)["lamb_pass0"])
    source = ss.emit("adafactor", "numba").replace("[uint64(", "[(")
    text = optimized(source, tmp_path)["adafactor_pass1"]
    assert gathered(text) or not VECTOR.search(text)


def test_a_chunk_of_a_row_is_folded_by_vectors(tmp_path):
    """Of 255 additions the last 15 may be single ones. The control folds as many by the function
    that takes any number of them."""
    module = loaded(ss.emit("adafactor", "numba"), tmp_path)
    fold = module.fold
    control = module.njit(**module.options | {"cache": False})(lambda lanes: fold(lanes, 256))
    lanes = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    single = []
    for function in (module.fold_chunk, control):
        assert function(lanes.copy()) == fold_by_halves(lanes)
        (text,) = function.inspect_llvm().values()
        single.append(len(re.findall("fadd float", text)))
    assert single[0] <= 15 < single[1]


@pytest.mark.whole
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86-64")
@pytest.mark.parametrize("processor", ["generic", "skylake-avx512"])
def test_both_hold_for_other_processors(processor):
    """Without AVX and with AVX-512. Numba compiles for them; nothing is run."""
    # no features named: those of that processor, instead of this one's
    env = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    chosen = ["-k", "(vectorized and adafactor_beta1) or control"]
    command = [sys.executable, "-m", "pytest", "-q", __file__, *chosen]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
