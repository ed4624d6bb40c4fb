"""Steps that other parameters sit out each time: they cost no more than a few passes, and are as if
each parameter had an optimizer of its own."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, random_like, snapshot, step
from samestep.backends.gradients import GradientChecker


def params(dtype=np.float32):
    return [np.full(shape, 2.0, dtype) for shape in [(3,), (), (2, 5), (1,), (9, 3), (4,)]]


PATTERNS = [(0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5), (4,), (), (0, 1, 3), (0, 1, 2, 3, 4, 5), (2,)]


@pytest.mark.parametrize(
    ("rule", "options"),
    [("adamw", {}), ("adamw", {"accumulation_steps": 2}), ("lamb", {"clip_global_norm": 0.1})],
    ids=str,
)
def test_random_halves_have_the_bits_of_separate_steps(rule, options, any_backend, monkeypatch):
    """The same steps with each gradient looked at by itself."""
    results = []
    for one_by_one in (False, True):
        if one_by_one:
            monkeypatch.setattr(GradientChecker, "_check", GradientChecker._one_by_one)
        arrays = on(any_backend, params())
        optimizer = ss.Optimizer(rule, arrays, backend=any_backend, **options)
        for seed, there in enumerate(PATTERNS):
            grads = random_like(off(any_backend, arrays), seed)
            step(optimizer, [g if i in there else None for i, g in enumerate(grads)])
        results.append(snapshot(optimizer))
    assert_same(*results)


def test_gradients_that_are_not_there_do_not_make_the_others_slow(any_backend, monkeypatch):
    """None is looked at one by one: with half of a thousand gone, that took 30 times as long."""
    looked_at = []
    checked = GradientChecker._checked
    monkeypatch.setattr(
        GradientChecker,
        "_checked",
        lambda self, *args: looked_at.append(args) or checked(self, *args),
    )
    arrays = on(any_backend, params())
    optimizer = ss.AdamW(arrays, backend=any_backend)
    for there in PATTERNS:
        grads = on(any_backend, params())
        optimizer.step([g if i in there else None for i, g in enumerate(grads)])
    assert not looked_at
    with pytest.raises(TypeError, match="dtype float64"):  # control: this one is looked at
        step(optimizer, [None, np.ones(()), *[None] * 4])
    assert looked_at


def test_wrong_gradients_beside_absent_ones_are_refused(backend):
    arrays = params()
    optimizer = ss.Adam(arrays, backend=backend)
    before = snapshot(optimizer)
    for wrong, message in [
        (np.ones(4, np.float32), r"the gradient of params\[0\] has shape"),
        (np.ones(3), r"the gradient of params\[0\] has dtype float64"),
        (arrays[5][:3], r"the gradient of params\[0\] shares memory with params\[5\]"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.step([wrong, None, np.ones((2, 5), np.float32), None, None, None])
    assert_same(snapshot(optimizer), before)
