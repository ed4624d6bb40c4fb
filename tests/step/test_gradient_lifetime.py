"""Lifetime and identity of gradients: recognized while they live, and never kept alive."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, run_python, snapshot
from samestep.golden.compare import same_bits


def test_gradients_changed_in_place_replaced_and_alternating_are_all_seen(backend):
    """The fast path for arrays seen before must not reuse what they held or were."""
    rng = np.random.default_rng(4)
    values = [rng.standard_normal(50) for _ in range(12)]
    same, a, b = np.empty(50), np.empty(50), np.empty(50)
    expected, optimizers = [], []
    for _ in range(4):
        params = [np.ones(50), np.zeros(3)]
        optimizers.append(ss.AdamW(params, backend=backend))
        expected.append(params[0])
    for step, value in enumerate(values):
        same[...] = value
        alternating = a if step % 2 else b
        alternating[...] = value
        sometimes = [value, value.copy(), same][step % 3]
        for optimizer, gradient in zip(
            optimizers, [value.copy(), same, alternating, sometimes], strict=True
        ):
            optimizer.step([gradient, np.zeros(3)])
    for other in expected[1:]:
        assert same_bits(other, expected[0])


def test_the_same_array_may_be_the_gradient_of_several_parameters(backend):
    gradient = np.full(4, 0.5)
    params = [np.ones(4), np.ones(4), np.ones(4)]
    optimizer = ss.SGD(params, lr=1.0, backend=backend)
    for _ in range(2):
        optimizer.step([gradient, gradient, gradient])
    assert np.array(params).tolist() == [[0.0] * 4] * 3


@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray])
def test_gradients_are_not_kept_alive_after_the_step(layout, backend):
    params = [np.ones((4, 5)), np.ones((3, 2), np.float16)]
    optimizer = ss.LAMB(params, backend=backend)
    for _ in range(3):
        gradients = [layout(g) for g in random_like(params, 0)]
        seen = [weakref.ref(g) for g in gradients]
        optimizer.step(gradients)
        del gradients
        gc.collect()
        assert [ref() for ref in seen] == [None, None]


def test_none_after_a_gradient_that_is_gone_is_none(backend):
    params = [np.ones(4)]
    optimizer = ss.SGD(params, backend=backend)
    optimizer.step([np.ones(4)])
    gc.collect()
    before = snapshot(optimizer)
    optimizer.step([None])
    assert_same(snapshot(optimizer), before)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="identities are CPython's")
def test_an_array_with_the_identity_of_one_that_is_gone_is_a_new_array(backend):
    """CPython likes to put a new object where an old one was."""
    optimizer = ss.SGD([np.zeros(4)], lr=1.0, backend=backend)
    total, reused, kept = 0.0, set(), []  # all are kept: what is freed leaves a gap to fill
    for value in range(1, 30):
        gradient = [np.full(4, float(value))]
        identity = id(gradient[0])
        for _ in range(2):  # from the second time on it is recognized
            optimizer.step(gradient)
            total += value
        del gradient
        shape, content = ((5,), 0.0) if value % 2 else ((4,), 100.0)
        for _ in range(100):
            kept.append(np.empty(shape))  # not np.full: its temporary array takes the place
            kept[-1].fill(content)
            if id(kept[-1]) == identity:
                break
        else:
            continue
        reused.add(shape)
        if shape == (5,):
            with pytest.raises(ValueError, match=r"has shape \(5,\)"):
                optimizer.step([kept[-1]])
        else:
            optimizer.step([kept[-1]])
            total += 100.0
    assert reused == {(4,), (5,)}
    assert optimizer.param_groups[0]["params"][0].tolist() == [-total] * 4


def test_an_optimizer_is_freed_at_once_not_only_by_the_garbage_collector(backend):
    """Its state may be most of the memory."""
    params = [np.ones(1000)]
    optimizer = ss.AdamW(params, backend=backend)
    gradients = [np.ones(1000)]
    for _ in range(2):
        optimizer.step(gradients)
    state = optimizer.state[0]
    refs = [weakref.ref(a) for a in (optimizer, params[0], *state.values())]
    gc.collect()
    gc.disable()
    try:
        del optimizer, params, state
        assert [ref() is None for ref in refs] == [True] * 4
    finally:
        gc.enable()


def test_memory_does_not_grow_with_the_number_of_steps(backend):
    """10,000 steps with fresh gradients of 80 kB would be 800 MB."""
    script = f"""
import resource
import numpy as np
import samestep as ss
optimizer = ss.SGD([np.ones(10_000)], backend={backend!r})
def step(count):
    for _ in range(count):
        optimizer.step([np.ones(10_000)])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, B on macOS
before = step(500)
print(step(5_000) / before)
"""
    pytest.importorskip("resource")
    assert float(run_python(script)) < 1.5
