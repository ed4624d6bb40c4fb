"""What may be given as a gradient of some rows, and what is refused and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on, refused
from samestep.backends import rows as rows_module
from samestep.backends.rows import coalesced
from samestep.step.indexed_slices import IndexedSlices

GOOD = np.ones((2, 3), np.float32)
ERRORS = {
    "negative": (GOOD, np.array([0, -1]), ValueError, "has rows -1 to 0; the parameter's are 0 to 3"),
    "too large": (GOOD, np.array([4, 0]), ValueError, "has rows 0 to 4; the parameter's are 0 to 3"),
    "floats": (GOOD, np.array([0.0, 1.0]), TypeError, "has indices of dtype float64; expected integers"),
    "booleans": (GOOD, np.array([True, False]), TypeError, "has indices of dtype bool; expected integers"),
    "another count": (GOOD, np.array([0]), ValueError, r"has indices of shape \(1,\) for values of \(2, 3"),
    "matrix": (GOOD, np.array([[0, 1]]), ValueError, r"has indices of shape \(1, 2\) for values"),
    "columns": (GOOD[:, :2], np.array([0, 1]), ValueError, r"has values of shape \(2, 2\); expected \(3,\) f"),
    "a row": (GOOD[0], np.array([0]), ValueError, r"has values of shape \(3,\); expected \(3,\) for"),
    "a number": (np.float32(1), np.array([0]), TypeError, "is a numpy.float32; expected"),
    "dtype": (GOOD.astype(np.float64), np.array([0, 1]), TypeError, "has dtype float64; expected float3"),
    "a list": ([[1.0] * 3] * 2, np.array([0, 1]), TypeError, "is a list; expected"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS)
def test_wrong_rows_are_named_and_change_nothing(kind, any_backend):
    given, indices, error, message = ERRORS[kind]
    params = on(any_backend, [np.ones((4, 3), np.float32), np.ones((4, 3), np.float32)])
    optimizer = ss.SparseAdam(params, backend=any_backend)
    good = on(any_backend, IndexedSlices(GOOD, np.array([3, 0])))
    optimizer.step([good, good])
    if isinstance(given, np.ndarray):
        given = on(any_backend, given)
    with refused(optimizer, error, rf"the gradient of params\[1\] {message}"):
        optimizer.step([good, IndexedSlices(given, on(any_backend, indices))])


def test_what_cannot_be_combined_changes_nothing(any_backend):
    rows = on(any_backend, IndexedSlices(GOOD, np.array([3, 0])))
    params = on(any_backend, [np.ones((4, 3), np.float32), np.ones((), np.float32)])
    optimizer = ss.SparseAdam(params, backend=any_backend, accumulation_steps=2)
    with refused(optimizer, TypeError, "not accumulated over micro-batches"):
        optimizer.step([rows, None])
    optimizer.accumulation_steps = 1
    with refused(
        optimizer, ValueError, r"params\[1\] is sparse, of some rows; the parameter has non"
    ):
        optimizer.step([rows, rows])
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with refused(
        optimizer,
        TypeError,
        r"params\[0\] is sparse.*clip_norm adds up, compares or counts over all",
    ):
        optimizer.step([rows, None])


def test_indices_are_where_the_parameter_is(any_backend):
    if ss.get_backend(any_backend).accepts(np.ones(1)):
        return
    param = on(any_backend, np.ones((4, 3), np.float32))
    optimizer = ss.SparseAdam(param, backend=any_backend)
    with refused(
        optimizer, TypeError, "gradient of params has indices that are a numpy.ndarray; ex"
    ):
        optimizer.step(IndexedSlices(on(any_backend, GOOD), np.array([3, 0])))


@pytest.mark.parametrize("empty", [[], np.zeros(0), np.zeros(0, np.int32)], ids=repr)
def test_a_step_without_rows_counts(empty, any_backend):
    """Whatever the dtype: NumPy and PyTorch say that an empty list is of floats."""
    param = on(any_backend, np.ones((4, 2)))
    optimizer = ss.Adagrad(param, backend=any_backend)
    indices = empty if isinstance(empty, list) else on(any_backend, empty)
    optimizer.step(IndexedSlices(on(any_backend, np.zeros((0, 2))), indices))
    assert optimizer.steps == [1]
    assert (off(any_backend, param) == 1).all()


def test_a_list_of_indices_is_taken(any_backend):
    param = on(any_backend, np.ones((4, 2)))
    optimizer = ss.SGD(param, lr=1.0, backend=any_backend)
    optimizer.step(IndexedSlices(on(any_backend, np.ones((2, 2))), [3, 1]))
    assert off(any_backend, param)[:, 0].tolist() == [1, 0, 1, 0]


def test_indices_that_change_after_they_were_checked_are_those_that_were_checked(
    any_backend, monkeypatch
):
    """Another thread may write to them; what is out of bounds would end the process."""
    params = on(any_backend, np.ones((4, 3), np.float32))
    optimizer = ss.SGD(params, lr=1.0, backend=any_backend)
    given = on(any_backend, IndexedSlices(GOOD, np.array([3, 1])))

    def changing(*args):
        given.indices[...] = 1 << 40
        off(any_backend, given.indices)  # waits
        return coalesced(*args)

    monkeypatch.setattr(rows_module, "coalesced", changing)
    optimizer.step(given)
    assert off(any_backend, params)[:, 0].tolist() == [1, 0, 1, 0]
