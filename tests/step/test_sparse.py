"""Gradients of some rows: what a step does with them, and the same bits on every backend."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import samestep as ss
from conftest import DOUBLED
from helpers import HOST, assert_same, off, on, snapshot, step
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samestep.backends.rows import coalesced
from samestep.golden import replay as golden_replay
from samestep.golden.compare import assert_same_bits, first_difference
from samestep.golden.format import EXTENSION, VALUES, read
from samestep.golden.verify import verify_one
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.step.indexed_slices import IndexedSlices
from variants import AT_REST, DTYPES, options_of, values, variants

ELEMENTWISE = [r for r in variants() if not (program(r).sums or r.average_share)]
IN_SIGHT = [*HOST, *["cupy"] * DOUBLED]
SOME = ["sgd", "adagrad", "sparseadam", "adamw", "rmsprop_momentum_centered"]


def by_label(label):
    return next(rule for rule in variants() if rule.label == label)


def random_rows(rng, shape, dtype, count, special=0.0):
    indices = rng.integers(0, max(shape[0], 1), count if shape[0] else 0)
    return IndexedSlices(values(rng, (len(indices), *shape[1:]), dtype, special), indices)


def sum_in_pairs(rows):
    """One number or row at a time: neighbours, then neighbours of these sums, and so on."""
    while len(rows) > 1:
        pairs = [rows[i] + rows[i + 1] for i in range(0, len(rows) - 1, 2)]
        rows = pairs + rows[len(rows) - len(rows) % 2 :]
    return rows[0]


def dense(slices, shape, dtype):
    """The same gradient with all rows."""
    result = np.zeros(shape, dtype)
    for row in {int(i) for i in slices.indices}:
        named = [v for i, v in zip(slices.indices, slices.values, strict=True) if i == row]
        result[row] = sum_in_pairs(named)
    return result


# ---- what a step does


@given(seed=st.integers(0, 2**32), count=st.integers(0, 70), rows=st.integers(1, 30))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rows_that_are_named_several_times_are_added_in_pairs(seed, count, rows):
    rng = np.random.default_rng(seed)
    slices = random_rows(rng, (rows, 2), np.float32, count, 0.05)
    kept = slices.values.copy()
    with np.errstate(all="ignore"):
        found, first = coalesced(slices.values, slices.indices, np.arange(count))
        expected = dense(slices, (rows, 2), np.float32)
    indices = slices.indices[first]
    assert indices.tolist() == sorted(set(slices.indices.tolist()))
    assert_same_bits(slices.values, kept)
    assert first_difference(found, expected[indices]) is None


def test_control_another_order_of_the_same_values_has_other_bits():
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((64, 1)).astype(np.float32)
    zeros, order = np.zeros(64, int), np.arange(64)
    sums = [coalesced(v, zeros, order)[0] for v in (numbers, rng.permutation(numbers))]
    assert first_difference(*sums) is not None


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.label)
def test_named_rows_step_as_a_parameter_of_these_rows_would(rule, any_backend):
    """And the others, their state included, stay as they are."""
    backend, rng = any_backend, np.random.default_rng(1)
    whole = on(backend, rng.standard_normal((30, 3)))
    options = {**options_of(rule), "lazy": True}
    optimizer = ss.Optimizer(rule, whole, backend=backend, **options)
    step(optimizer, rng.standard_normal((30, 3)))
    named = np.array([20, 3, 4, 29])
    part = on(backend, off(backend, whole)[np.sort(named)])
    alone = ss.Optimizer(rule, part, backend=backend, **options)
    alone.load_state_dict(rows_of_state(optimizer.state_dict(), np.sort(named)))
    before = snapshot(optimizer)
    for _ in range(3):
        grad = rng.standard_normal((4, 3))
        step(optimizer, IndexedSlices(grad, named))
        step(alone, grad[np.argsort(named)])
    after, expected = snapshot(optimizer), snapshot(alone)
    for name, array in after.items():
        if array.ndim == 2:
            others = np.delete(np.arange(30), named)
            assert_same_bits(array[others], before[name][others])
            array = array[np.sort(named)]
        assert_same_bits(array, expected[name])
    assert optimizer.steps == [4]


def rows_of_state(state_dict, rows):
    (entry,) = state_dict["state"].values()
    for name, value in entry.items():
        entry[name] = value[rows] if getattr(value, "ndim", 0) else value
    return state_dict


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("label", sorted(AT_REST))
def test_a_rule_that_rests_takes_the_dense_step_bit_for_bit(label, dtype, any_backend):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 60)), int(rng.integers(1, 9)))
        start = values(rng, shape, dtype, 0.0)
        results = []
        for sparse in (True, False):
            rng = np.random.default_rng(seed + 100)
            param = on(any_backend, start.copy())
            optimizer = ss.Optimizer(label, param, backend=any_backend, lr=0.3, clip_value=50.0)
            for _ in range(5):
                slices = random_rows(rng, shape, dtype, int(rng.integers(0, 80)))
                step(optimizer, slices if sparse else dense(slices, shape, dtype))
            results.append(snapshot(optimizer))
        assert_same(*results)


def test_control_a_lazy_step_is_not_the_dense_one():
    rows = IndexedSlices(np.ones((1, 2)), np.array([1]))
    params = [np.ones((3, 2)) for _ in range(2)]
    for param, sparse in zip(params, (True, False), strict=True):
        optimizer = ss.Adam(param, backend="numpy", lazy=True)
        optimizer.step(np.ones((3, 2)))
        optimizer.step(rows if sparse else dense(rows, (3, 2), np.float64))
    assert_same_bits(params[0][1], params[1][1])
    assert first_difference(params[0][0], params[1][0]) is not None


# ---- the same bits


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
@pytest.mark.parametrize("label", SOME)
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_backend_gives_the_bits_of_the_reference(label, dtype, any_other_backend, data):
    """Rows beside dense gradients and none, any shapes, empty ones, special values."""
    seed = data.draw(st.integers(0, 2**32))
    shapes = st.tuples(st.integers(0, 40), st.integers(0, 70)) | st.tuples(st.integers(0, 300))
    shapes = data.draw(st.lists(shapes, min_size=1, max_size=3))
    special = data.draw(st.sampled_from([0.0, 0.1]))
    around = data.draw(st.sampled_from([{}, {"clip_global_norm": 1.0}, {"skip_nonfinite": True}]))
    rule = by_label(label)
    results = []
    for backend in ("numpy", any_other_backend):
        rng = np.random.default_rng(seed)
        arrays = [values(rng, shape, numpy_dtype(dtype), special) for shape in shapes]
        hyper = {**options_of(rule), **around, "lazy": True, "maximize": bool(seed % 2)}
        optimizer = ss.Optimizer(rule, on(backend, arrays), backend=backend, **hyper)
        for _ in range(4):
            step(optimizer, [random_gradient(rng, array, special) for array in arrays])
        results.append(snapshot(optimizer))
    assert_same(*results)


def random_gradient(rng, array, special):
    kind = rng.integers(4)
    if kind == 0:
        return None
    if kind == 1:
        return values(rng, array.shape, array.dtype, special)
    dtype = np.float32 if array.dtype.itemsize == 2 and kind == 3 else array.dtype
    return random_rows(rng, array.shape, dtype, int(rng.integers(0, 60)), special)


def test_rows_longer_than_a_chunk_and_without_elements(any_other_backend):
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in [(3, 70_001), (5, 0)]]
    slices = [random_rows(rng, a.shape, a.dtype, 3) for a in arrays]
    results = []
    for backend in ("numpy", any_other_backend):
        optimizer = ss.SparseAdam(on(backend, [a.copy() for a in arrays]), backend=backend)
        step(optimizer, slices)
        results.append(snapshot(optimizer))
    assert_same(*results)


def test_dense_steps_and_steps_of_rows_share_their_counts(any_backend):
    """A parameter's clock goes on whichever kind its gradient is of."""
    params = on(any_backend, [np.ones((10, 2)), np.ones(3)])
    optimizer = ss.SparseAdam(params, backend=any_backend)
    rows = IndexedSlices(np.ones((1, 2)), np.array([4]))
    for grads in (
        [rows, np.ones(3)],
        [np.ones((10, 2)), np.ones(3)],
        [None, np.ones(3)],
        [rows, None],
        [np.ones((10, 2)), np.ones(3)],
        [IndexedSlices(np.ones((0, 2)), np.zeros(0, int)), None],
    ):
        step(optimizer, grads)
    assert optimizer.steps == [5, 4]


ROWS = IndexedSlices(np.ones((3, 4)), np.array([5, 0, 5], np.uint8))


def test_parameters_that_are_subclasses(backend, tmp_path):
    start = np.arange(24.0).reshape(6, 4)
    mapped = np.memmap(tmp_path / "m", np.float64, "w+", shape=start.shape)
    results = []
    for param in (start.copy(), np.repeat(start, 2, 0)[::-2][::-1], mapped):
        param[...] = start
        ss.Adagrad(param, backend=backend, lr=0.3).step(ROWS)
        results.append(np.array(param))
    for other in results[1:]:
        assert_same_bits(other, results[0])


def test_parameters_and_values_of_any_strides(any_backend):
    start, results = np.arange(24.0).reshape(6, 4), []
    for layout in ("rows", "every second row", "columns"):
        base = {"rows": start, "every second row": np.repeat(start, 2, 0), "columns": start.T}
        param = on(any_backend, np.array(base[layout], order="C"))
        param = {"rows": param, "every second row": param[::2], "columns": param.T}[layout]
        values = on(any_backend, np.ones((4, 3))).T if layout == "columns" else None
        optimizer = ss.Adagrad(param, backend=any_backend, lr=0.3)
        given = on(any_backend, ROWS)
        optimizer.step(given if values is None else IndexedSlices(values, given.indices))
        results.append(off(any_backend, param))
    for other in results[1:]:
        assert_same_bits(other, results[0])
    assert (results[0] != start).any(axis=1).tolist() == [True, False, False, False, False, True]


class ByRows(ss.Optimizer):
    """An optimizer whose gradients come as rows in another order, all of them."""

    def step(self, grads):
        self.param_groups[0]["lazy"] = True
        super().step({name: self._by_rows(grad) for name, grad in grads.items()})

    def _by_rows(self, grad):
        if grad is None or not grad.ndim:
            return grad
        order = np.random.default_rng(0).permutation(grad.shape[0])
        rows = IndexedSlices(self.backend.to_numpy(grad)[order], order)
        return on(self.backend.name, rows)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("label", SOME)
def test_golden_files_hold_for_gradients_by_rows(label, dtype, any_backend, monkeypatch):
    monkeypatch.setattr(golden_replay, "Optimizer", ByRows)
    file = read(VALUES / f"{label}.{dtype}{EXTENSION}")
    assert not verify_one(file, ss.rules.registry[file.header.base], any_backend).differences


# ---- around the step


def test_what_stands_around_a_step_sees_the_rows(any_backend):
    rows = IndexedSlices(np.array([[3.0], [1.0], [3.0]]), np.array([7, 2, 7]))
    param = on(any_backend, np.zeros((9, 1)))
    optimizer = ss.SGD({"w": param}, lr=1.0, backend=any_backend, clip_global_norm=np.sqrt(37) / 2)
    step(optimizer, {"w": rows})
    assert optimizer.grad_norm == np.sqrt(37)
    np.testing.assert_allclose(off(any_backend, param)[[2, 7], 0], [-0.5, -3], rtol=1e-15)
    param = on(any_backend, np.zeros((9, 1)))
    optimizer = ss.SGD(param, lr=1.0, backend=any_backend, loss_scaler=ss.LossScaler(scale=4.0))
    step(optimizer, rows)
    assert off(any_backend, param)[[2, 7], 0].tolist() == [-0.25, -1.5]
    step(optimizer, IndexedSlices(np.array([[np.inf]]), np.array([0])))
    assert optimizer.skipped
    assert off(any_backend, param)[0, 0] == 0
    assert optimizer.loss_scaler.scale == 2.0


def test_a_frozen_parameter_stays(any_backend):
    param = on(any_backend, np.ones((4, 2)))
    optimizer = ss.AdamW([{"params": param, "frozen": True}], backend=any_backend)
    step(optimizer, [IndexedSlices(np.ones((1, 2)), np.array([1]))])
    assert (off(any_backend, param) == 1).all()


@pytest.mark.parametrize("strided", [False, True])
def test_a_step_allocates_nothing_of_the_parameter_s_size(any_backend, strided):
    if any_backend not in IN_SIGHT:
        pytest.skip("Python sees NumPy's memory, also where it stands for a device's; no other")
    param = on(any_backend, np.zeros((400_000, 4), np.float32))[:: 1 + strided]
    optimizer = ss.SparseAdam(param, backend=any_backend)
    rows = on(any_backend, IndexedSlices(np.ones((50, 4), np.float32), np.arange(50) * 3))
    optimizer.step(rows)
    tracemalloc.start()
    optimizer.step(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000  # of 3.2 or 6.4 MB an array
    tracemalloc.start()
    kept = param.copy()
    _, control = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert control >= kept.nbytes > 3_000_000
