"""A number that a rule reads from outside may not change, and what could change unseen is
refused."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import samestep as ss

SIZE = 1.0
TABLE = {"size": 1.0}
TUPLE = (1.0, 2.0)
SETTINGS = ModuleType("settings")
SETTINGS.size = 1.0


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def scaled(grad):
    return SIZE * grad


def reads_global(xp, s, param, grad):
    return param - s.lr * SIZE * grad


def reads_through_a_function(xp, s, param, grad):
    return param - s.lr * scaled(grad)


def reads_module(xp, s, param, grad):
    return param - s.lr * SETTINGS.size * grad


def reads_tuple(xp, s, param, grad):
    return param - s.lr * TUPLE[0] * grad


def reads_table(xp, s, param, grad):
    return param - s.lr * TABLE["size"] * grad


def reads_h(xp, s, param, grad):
    return param - h.lr * grad  # noqa: F821


def scalars_of_global(xp, step, carry, h):
    return dict(lr=h.lr * SIZE), carry


def rule(update, of=scalars) -> ss.Rule:
    return ss.Rule("own", of, update, defaults=dict(lr=0.1))


def change(monkeypatch) -> None:
    monkeypatch.setitem(globals(), "SIZE", 3.0)
    monkeypatch.setattr(SETTINGS, "size", 3.0)


@pytest.mark.parametrize("update", [reads_global, reads_through_a_function, reads_module])
def test_a_number_that_changes_is_an_error_at_the_next_step(update, backend, monkeypatch):
    own, params = rule(update), [np.ones(3)]
    optimizer = ss.Optimizer(own, params, backend=backend)
    optimizer.step([np.ones(3)])
    before = params[0].copy()
    change(monkeypatch)
    with pytest.raises(ValueError, match=r"is 3.0 now and was 1.0.*defaults=dict\((SIZE|size)=1.0"):
        optimizer.step([np.ones(3)])
    np.testing.assert_array_equal(params[0], before)
    assert optimizer.steps_taken == 1
    with pytest.raises(ValueError, match=r"is 3.0 now and was 1.0"):
        ss.Optimizer(own, params, backend=backend)
    with pytest.raises(ValueError, match=r"is 3.0 now and was 1.0"):
        ss.emit(own, "c")
    monkeypatch.undo()
    optimizer.step([np.ones(3)])  # the control


def test_a_number_of_the_scalars_too(backend, monkeypatch):
    optimizer = ss.Optimizer(rule(reads_tuple, scalars_of_global), [np.ones(3)], backend=backend)
    optimizer.step([np.ones(3)])
    change(monkeypatch)
    with pytest.raises(ValueError, match="reads SIZE"):
        optimizer.step([np.ones(3)])


def test_a_number_of_the_function_that_made_it(backend):
    size = 1.0

    def update(xp, s, param, grad):
        return param - s.lr * size * grad

    optimizer = ss.Optimizer(rule(update), [np.ones(3)], backend=backend)
    optimizer.step([np.ones(3)])
    size = 3.0
    with pytest.raises(ValueError, match="reads size"):
        optimizer.step([np.ones(3)])


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (reads_table, "reads TABLE, a dict, whose contents may change unseen"),
        (reads_h, "refers to h, which is not defined; a hyperparameter reaches update as a scalar"),
    ],
)
def test_what_could_change_unseen_is_refused(update, message):
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule(update), [np.ones(3)])
