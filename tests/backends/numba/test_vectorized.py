"""Printed Numba kernels compile to SIMD loops, which is noticed without a timing. What keeps loops
from it: indices that might be negative, so that they may count from the end."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys

import pytest
import samestep as ss
from samestep.golden.cases import variants

if not ss.available_backends()["numba"].available:
    pytest.skip("only the numba backend compiles at run time", allow_module_level=True)

LABELS = ["adamw", "rmsprop_momentum_centered", "lamb", "lars", "novograd", "adafactor_beta1"]
VECTOR = re.compile(r"fmul <(?:vscale x )?\d+ x float>")
GATHER = re.compile(r"llvm\.masked\.gather")
LOADED = re.compile(r"(%\S+) = load float,")
ELEMENT = re.compile(r"insertelement <\d+ x float> \S+, float (%\S+), i\d+ [1-9]")


def optimized(source, folder):
    """Name of each pass to its optimized LLVM text."""
    file = folder / "kernels.py"
    file.write_text(source.replace("cache=True", "cache=False"))
    spec = importlib.util.spec_from_file_location("kernels", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = re.findall(r"^def (\w+)\(table", source, re.MULTILINE)
    passes = [name for name in names if "_fold" not in name]
    assert passes
    return {n: "".join(getattr(module, n).inspect_llvm().values()) for n in passes}


def gathered(text):
    """Whether the elements of a vector come from places of their own: by one instruction, or where
    the processor has none (or a slow one) loaded one by one."""
    loaded = set(LOADED.findall(text))
    return bool(GATHER.search(text)) or not loaded.isdisjoint(ELEMENT.findall(text))


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
