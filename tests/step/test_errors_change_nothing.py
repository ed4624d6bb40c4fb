"""A step that raises has changed nothing: parameters, state, sums over micro-batches, counts."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, snapshot, step
from samestep.step import stepping, work

SHAPES = ((3,), (2, 2), (2, 3))
DTYPES = (np.float32, np.float32, np.float64)


def gradients(number):
    rng = np.random.default_rng(number)
    shaped = zip(SHAPES, DTYPES, strict=True)
    return [rng.standard_normal(shape).astype(dtype) for shape, dtype in shaped]


def halfway(backend):
    """Two micro-batches of three, after a whole step; everything that can be set is."""
    shaped = zip(SHAPES, DTYPES, strict=True)
    params = on(backend, [np.full(shape, 2.0, dtype) for shape, dtype in shaped])
    scaler = ss.LossScaler(scale=8.0)
    optimizer = ss.AdamW(
        params, lr=0.1, backend=backend, accumulation_steps=3, clip_global_norm=1.0,
        loss_scaler=scaler,
    )  # fmt: skip
    for number in range(5):
        grads = gradients(number)
        step(optimizer, [None, *grads[1:]] if number == 3 else grads)
    assert optimizer.micro_steps == 2
    return optimizer


def everything(optimizer):
    """All that a state dict has, flat."""
    state = optimizer.state_dict()
    counts = ("steps_taken", "skipped_steps", "micro_steps")
    found = {name: np.array(state[name]) for name in counts}
    found |= {f"sum {i}": array for i, array in state["accumulated"].items()}
    found |= {f"scaler {name}": np.array(v) for name, v in state["loss_scaler"].items()}
    return found | snapshot(optimizer)


def infinite_lr(optimizer, patch):
    optimizer.param_groups[0]["lr"] = 1e60
    return ValueError, "the scalar .* is infinite in float32; a hyperparameter is too large"


def negative_lr(optimizer, patch):
    optimizer.param_groups[0]["lr"] = -1.0
    return ValueError, "lr must be"


def failing_schedule(optimizer, patch):
    def lr(step):
        raise ZeroDivisionError("no schedule")

    optimizer.param_groups[0]["lr"] = lr
    return ZeroDivisionError, "no schedule"


def negative_norm(optimizer, patch):
    optimizer.clip_global_norm = -1.0
    return ValueError, "clip_global_norm must be"


def tiny_scale(optimizer, patch):
    optimizer.loss_scaler._scale = 1e-50
    return ValueError, "grad_coefficient is .*, which is infinite in float32"


def failing_scalars(optimizer, patch):
    def raises(*_):
        raise OverflowError("no scalars")

    patch.setattr(stepping, "next_scalars", raises)
    return OverflowError, "no scalars"


def no_memory_to_measure(optimizer, patch):
    def raises(*_):
        raise MemoryError("no sums")

    optimizer.skip_nonfinite = True
    optimizer._run.stepping._work.measurement = None
    patch.setattr(work, "Measurement", raises)
    return MemoryError, "no sums"


def no_compiler(optimizer, patch):
    def raises(*_):
        raise RuntimeError("no compiler")

    optimizer._run.stepping._work.bind_again()
    patch.setattr(type(optimizer.backend), "launch", raises)
    return RuntimeError, "no compiler"


def flushed(optimizer, patch):
    def raises(*_):
        raise RuntimeError("flushes to zero")

    patch.setattr(type(optimizer.backend), "check_arithmetic", raises)
    return RuntimeError, "flushes to zero"


SPOILED = (
    infinite_lr, negative_lr, failing_schedule, negative_norm, tiny_scale, failing_scalars,
    no_memory_to_measure, no_compiler, flushed,
)  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_what_a_step_cannot_compute_costs_nothing(spoil, any_backend, monkeypatch):
    optimizer, expected = halfway(any_backend), halfway(any_backend)
    with monkeypatch.context() as patch:
        error, message = spoil(optimizer, patch)
        before = everything(expected)
        if spoil is tiny_scale:
            before["scaler scale"] = np.array(1e-50)
        for _ in range(2):
            with pytest.raises(error, match=message):
                step(optimizer, gradients(5))
            assert_same(everything(optimizer), before)
    for each in (optimizer, expected):  # mended, it goes on as if nothing had been
        each.param_groups[0]["lr"], each.clip_global_norm = 0.1, 1.0
        each.loss_scaler._scale = 8.0
        step(each, gradients(5))
        assert each.micro_steps == 0
    assert_same(everything(optimizer), everything(expected))


WRONG = {
    "a gradient less": (lambda grads: grads[:2], ValueError),
    "shape": (lambda grads: [grads[0][:2], *grads[1:]], ValueError),
    "dtype": (lambda grads: [*grads[:2], grads[2].astype(np.int32)], TypeError),
    "text": (lambda grads: [*grads[:2], "text"], TypeError),
}


@pytest.mark.parametrize("name", WRONG)
def test_gradients_that_cannot_be_taken_cost_nothing(name, any_backend):
    spoiled, error = WRONG[name]
    optimizer, expected = halfway(any_backend), halfway(any_backend)
    wrong = [on(any_backend, g) if isinstance(g, np.ndarray) else g for g in spoiled(gradients(5))]
    with pytest.raises(error):
        optimizer.step(wrong)
    assert_same(everything(optimizer), everything(expected))
    for each in (optimizer, expected):
        step(each, gradients(5))
    assert_same(everything(optimizer), everything(expected))
    assert optimizer.steps_taken == 2


def test_rows_between_micro_batches_cost_nothing(backend):
    optimizer, expected = halfway(backend), halfway(backend)
    rows = ss.IndexedSlices(values=np.ones((1, 2), np.float32), indices=np.array([0]))
    with pytest.raises(TypeError, match="not accumulated"):
        optimizer.step([None, rows, None])
    assert_same(everything(optimizer), everything(expected))
