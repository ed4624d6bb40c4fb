"""The same CUDA text, compiled by g++ and run on the CPU: the bits of the reference in any order
of threads, and nothing that the address, undefined-behaviour and thread sanitizers object to."""

from __future__ import annotations

import shutil

import pytest
from ordered_backend import OrderedLaunch, host
from samestep import choice as known_backends
from sanitized_backend import SanitizedLaunch
from uneven import assert_same, run

TENSORS = [((517,), 3, 3), ((100,), 1, 2), ((5, 3), 0, 0), ((2, 300), 1, 1)]
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture(autouse=True)
def _under_a_sanitizer(monkeypatch, tmp_path):
    monkeypatch.setitem(known_backends.BUILT_IN, "sanitized", "sanitized_backend")
    monkeypatch.setitem(known_backends.BUILT_IN, "ordered", "ordered_backend")
    monkeypatch.setattr(SanitizedLaunch, "folder", tmp_path)


def check(rule, dtype="float32", backend="sanitized", tensors=TENSORS, **hyper):
    reference = run(rule, "numpy", tensors, dtype, 1, maximize=True, **hyper)
    assert_same(run(rule, backend, tensors, dtype, 1, maximize=True, **hyper), reference)


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [("adamw", "float32"), ("adamw", "bfloat16"), ("rprop", "float16"), ("lamb", "float64"),
     ("novograd", "float32"), ("adafactor", "float32")],
)  # fmt: skip
def test_memory_and_behaviour(rule, dtype):
    check(rule, dtype)


@pytest.mark.parametrize(
    ("rule", "dtype", "codec"),
    [("adamw", "bfloat16", None), ("lamb", "float32", "float16"), ("adafactor", "float16", None)],
)
def test_random_bits(rule, dtype, codec):
    """Wherever tensors lie, so that groups of neighbours begin at any of the eight that share
    bits."""
    check(rule, dtype, rounding="stochastic", seed=2**31, state_dtype=codec)


@pytest.mark.parametrize("rule", ["lamb", "novograd", "adafactor"])
def test_threads(rule, monkeypatch):
    monkeypatch.setattr(SanitizedLaunch, "sanitizers", "thread")
    check(rule, tensors=[((3, 40), 1, 1)])


MISSING_BARRIER = (
    "        __syncthreads();\n    }\n    const float sum",
    "    }\n    const float sum",
)


def breaks(launch, monkeypatch, text, instead):
    """Put ``instead`` of ``text`` into what is compiled."""

    def broken(source):
        assert text in source
        return source.replace(text, instead)

    monkeypatch.setattr(launch, "broken", staticmethod(broken))


def test_control_an_element_too_many_is_noticed(monkeypatch):
    breaks(SanitizedLaunch, monkeypatch, "j < n && j < i + size", "j <= n && j < i + size")
    with pytest.raises(RuntimeError, match="heap-buffer-overflow"):
        check("adamw", tensors=TENSORS[2:3])


def test_control_groups_that_are_not_aligned_are_noticed(monkeypatch):
    breaks(SanitizedLaunch, monkeypatch, "| ...) != 0)", "& ...) == 1)")
    with pytest.raises(RuntimeError, match="misaligned address"):
        check("adamw", tensors=TENSORS[:2])


def test_control_a_missing_barrier_is_noticed(monkeypatch):
    monkeypatch.setattr(SanitizedLaunch, "sanitizers", "thread")
    breaks(SanitizedLaunch, monkeypatch, *MISSING_BARRIER)
    with pytest.raises(RuntimeError, match="data race"):
        check("lamb", tensors=[((3, 40), 1, 1)])


# ---- orders of threads


@pytest.mark.parametrize("order", [0, 1, 2], ids=["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("rule", ["adamw", "lamb", "novograd", "adafactor"])
def test_orders_of_threads(rule, order, monkeypatch):
    monkeypatch.setattr(host, "ORDER", order)
    check(rule, backend="ordered")


def test_control_a_missing_barrier_shows_in_some_order(monkeypatch):
    breaks(OrderedLaunch, monkeypatch, *MISSING_BARRIER)
    agree = []
    for order in range(3):
        monkeypatch.setattr(host, "ORDER", order)
        try:
            check("lamb", backend="ordered")
            agree.append(order)
        except AssertionError:
            pass
    assert len(agree) < 3
