"""Other ways to write the elementwise kernel: they compile, and have the reference's bits when
their PTX is interpreted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gpu import kernel_variants
from gpu.contenders import Contender
from samestep import choice as known_backends
from samestep.printing.emit import emit

sys.path.append(str(Path(__file__).parent.parent / "cuda"))

import nvrtc
import ptx_backend  # noqa: F401 (a backend, by name)
from uneven import VECTORS, assert_same, run

TEXTS = {name: v for name, v in kernel_variants.VARIANTS.items() if v.text}


@pytest.mark.parametrize("name", TEXTS)
def test_a_variant_is_another_kernel_with_the_same_bits(name, monkeypatch):
    variant, source = TEXTS[name], emit("adamw", "cuda")
    assert nvrtc.cubin(variant.of(source), "90") != nvrtc.cubin(source, "90")
    monkeypatch.setitem(known_backends.BUILT_IN, "ptx", "ptx_backend")
    monkeypatch.setattr(kernel_variants, "LAUNCH", __name__)  # grids are the interpreter's
    monkeypatch.setattr(sys.modules[__name__], "PART", 0, raising=False)
    monkeypatch.setattr(sys.modules[__name__], "BLOCKS_PER_PROCESSOR", 0, raising=False)
    tensors = [*VECTORS, ((5000,), 0, 0), ((5003,), 2, 2)]
    with variant.chosen():
        found = run("adamw", "ptx", tensors, "float32", 2)
    assert_same(found, run("adamw", "numpy", tensors, "float32", 2))


def test_streamed_arrays_are_hinted_and_two_groups_are_loaded():
    streamed = nvrtc.ptx(TEXTS["streamed"].of(emit("adamw", "cuda")))
    assert streamed.count("ld.global.cs.v4") == 4
    assert streamed.count("st.global.cs.v4") == 3
    two = nvrtc.ptx(TEXTS["two groups in flight"].of(emit("adamw", "cuda")))
    assert two.count("ld.global.v4") == 2 * nvrtc.ptx(emit("adamw", "cuda")).count("ld.global.v4")


def test_a_text_that_has_changed_is_noticed():
    with pytest.raises(ValueError, match="the printed text has no"):
        TEXTS["streamed"].of("something else")


def test_grids_are_constants_of_the_launch():
    launch = pytest.importorskip("cupy") and pytest.importorskip(kernel_variants.LAUNCH)
    before = launch.PART
    with kernel_variants.VARIANTS["small blocks"].chosen():
        assert launch.PART == 1024
    assert before == launch.PART


def test_the_first_step_is_taken_with_the_variant():
    said = []

    class Noted(kernel_variants.Variant):
        def chosen(self):
            said.append("chosen")
            return super().chosen()

    make = lambda work: (lambda: said.append("step"), lambda: said.append("wait"))  # noqa: E731
    Contender(kernel_variants.bound(Noted(), make)).make(None)
    assert said == ["chosen", "step", "wait"]
