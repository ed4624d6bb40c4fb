"""Gradients of some rows: what a step does with them, the same bits on every backend, and which
rules take them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, refused, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samestep.golden.compare import assert_same_bits, first_difference
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.language.scalars import as_numbers, next_scalars
from samestep.language.zero_gradient import rests
from samestep.step.indexed_slices import IndexedSlices, coalesced
from variants import DTYPES, options_of, values, variants

ELEMENTWISE = [rule for rule in variants() if not program(rule).sums]
AT_REST = {"sgd", "adagrad", "signsgd"}  # without weight decay, and with one of none
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
    found = coalesced(slices)
    assert found.indices.tolist() == sorted(set(slices.indices.tolist()))
    assert_same_bits(slices.values, kept)
    with np.errstate(all="ignore"):
        expected = dense(slices, (rows, 2), np.float32)
    assert first_difference(found.values, expected[found.indices]) is None


def test_control_another_order_of_the_same_values_has_other_bits():
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((64, 1)).astype(np.float32)
    zeros = np.zeros(64, int)
    sums = [coalesced(IndexedSlices(v, zeros)).values for v in (numbers, rng.permutation(numbers))]
    assert first_difference(*sums) is not None


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.label)
def test_named_rows_step_as_a_parameter_of_these_rows_would(rule, backend):
    """And the others, their state included, stay as they are."""
    rng = np.random.default_rng(1)
    whole, part = rng.standard_normal((30, 3)), None
    options = {**options_of(rule), "lazy": True}
    optimizer = ss.Optimizer(rule, whole, backend=backend, **options)
    optimizer.step(rng.standard_normal((30, 3)))
    named = np.array([20, 3, 4, 29])
    part = whole[np.sort(named)].copy()
    alone = ss.Optimizer(rule, part, backend=backend, **options)
    alone.load_state_dict(rows_of_state(optimizer.state_dict(), np.sort(named)))
    before = snapshot(optimizer)
    for _ in range(3):
        grad = rng.standard_normal((4, 3))
        optimizer.step(IndexedSlices(grad, named))
        alone.step(grad[np.argsort(named)])
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
def test_a_rule_that_rests_takes_the_dense_step_bit_for_bit(label, dtype, backend):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 60)), int(rng.integers(1, 9)))
        start = values(rng, shape, dtype, 0.0)
        results = []
        for sparse in (True, False):
            rng = np.random.default_rng(seed + 100)
            param = start.copy()
            optimizer = ss.Optimizer(label, param, backend=backend, lr=0.3, clip_value=50.0)
            for _ in range(5):
                slices = random_rows(rng, shape, dtype, int(rng.integers(0, 80)))
                optimizer.step(slices if sparse else dense(slices, shape, dtype))
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
def test_every_backend_gives_the_bits_of_the_reference(label, dtype, other_backend, data):
    """Rows beside dense gradients and none, any shapes, empty ones, special values."""
    seed = data.draw(st.integers(0, 2**32))
    shapes = st.tuples(st.integers(0, 40), st.integers(0, 70)) | st.tuples(st.integers(0, 300))
    shapes = data.draw(st.lists(shapes, min_size=1, max_size=3))
    special = data.draw(st.sampled_from([0.0, 0.1]))
    around = data.draw(st.sampled_from([{}, {"clip_global_norm": 1.0}, {"skip_nonfinite": True}]))
    rule = by_label(label)
    results = []
    for backend in ("numpy", other_backend):
        rng = np.random.default_rng(seed)
        arrays = [values(rng, shape, numpy_dtype(dtype), special) for shape in shapes]
        hyper = {**options_of(rule), **around, "lazy": True, "maximize": bool(seed % 2)}
        optimizer = ss.Optimizer(rule, arrays, backend=backend, **hyper)
        for _ in range(4):
            optimizer.step([random_gradient(rng, array, special) for array in arrays])
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


def test_rows_longer_than_a_chunk_and_without_elements(other_backend):
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in [(3, 70_001), (5, 0)]]
    slices = [random_rows(rng, a.shape, a.dtype, 3) for a in arrays]
    results = []
    for backend in ("numpy", other_backend):
        optimizer = ss.SparseAdam([a.copy() for a in arrays], backend=backend)
        optimizer.step(slices)
        results.append(snapshot(optimizer))
    assert_same(*results)


def test_dense_steps_and_steps_of_rows_share_their_counts(backend):
    """A parameter's clock goes on whichever kind its gradient is of."""
    embedding, head = np.ones((10, 2)), np.ones(3)
    optimizer = ss.SparseAdam([embedding, head], backend=backend)
    rows = IndexedSlices(np.ones((1, 2)), np.array([4]))
    for grads in (
        [rows, np.ones(3)],
        [np.ones((10, 2)), np.ones(3)],
        [None, np.ones(3)],
        [rows, None],
        [np.ones((10, 2)), np.ones(3)],
        [IndexedSlices(np.ones((0, 2)), np.zeros(0, int)), None],
    ):
        optimizer.step(grads)
    assert optimizer.steps == [5, 4]


def test_parameters_of_any_strides_and_subclasses(backend, tmp_path):
    shape = (6, 4)
    start = np.arange(24.0).reshape(shape)
    mapped = np.memmap(tmp_path / "m", np.float64, "w+", shape=shape)
    results = []
    for param in (
        start.copy(),
        np.asfortranarray(start),
        np.repeat(start, 2, 0)[::-2][::-1],
        mapped,
    ):
        param[...] = start
        optimizer = ss.Adagrad(param, backend=backend, lr=0.3)
        optimizer.step(IndexedSlices(np.ones((3, 4))[:, ::-1], np.array([5, 0, 5], np.uint8)))
        results.append(np.array(param))
    for other in results[1:]:
        assert_same_bits(other, results[0])


# ---- around the step


def test_what_stands_around_a_step_sees_the_rows(backend):
    rows = IndexedSlices(np.array([[3.0], [1.0], [3.0]]), np.array([7, 2, 7]))
    param = np.zeros((9, 1))
    optimizer = ss.SGD({"w": param}, lr=1.0, backend=backend, clip_global_norm=np.sqrt(37) / 2)
    optimizer.step({"w": rows})
    assert optimizer.grad_norm == np.sqrt(37)
    np.testing.assert_allclose(param[[2, 7], 0], [-0.5, -3], rtol=1e-15)
    optimizer = ss.SGD(param, lr=1.0, backend=backend, loss_scaler=ss.LossScaler(scale=4.0))
    param[...] = 0
    optimizer.step(rows)
    assert param[[2, 7], 0].tolist() == [-0.25, -1.5]
    optimizer.step(IndexedSlices(np.array([[np.inf]]), np.array([0])))
    assert optimizer.skipped
    assert param[0, 0] == 0
    assert optimizer.loss_scaler.scale == 2.0


def test_a_frozen_parameter_stays(backend):
    param = np.ones((4, 2))
    optimizer = ss.AdamW([{"params": param, "frozen": True}], backend=backend)
    optimizer.step([IndexedSlices(np.ones((1, 2)), np.array([1]))])
    assert (param == 1).all()


@pytest.mark.parametrize("strided", [False, True])
def test_a_step_allocates_nothing_of_the_parameter_s_size(backend, strided):
    param = np.zeros((400_000, 4), np.float32)[:: 1 + strided]
    optimizer = ss.SparseAdam(param, backend=backend)
    rows = IndexedSlices(np.ones((50, 4), np.float32), np.arange(50) * 3)
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


# ---- which rules


def row_of(rule, **hyper):
    numbers = as_numbers({**rule.defaults, **hyper})
    return next_scalars(rule, 4, rule.carry, numbers)[0]


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
@pytest.mark.parametrize("decay", [0.0, 1e-300, 0.1])
def test_what_the_text_says_about_resting_is_so(rule, decay):
    """A step with a zero gradient, taken: it leaves everything if and only if the text says so."""
    if "weight_decay" not in rule.defaults and decay:
        return
    hyper = {"weight_decay": decay} if "weight_decay" in rule.defaults else {}
    said = rests(rule, row_of(rule, **hyper))
    assert said == (rule.label in AT_REST | {"lars_no_momentum"} and not decay)
    if decay == 1e-300:  # which the text sees and rounding hides
        return
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((40, 30)),
        rng.standard_normal((40, 30)) * 1e-30,
        np.zeros((5, 5)),
    ]
    optimizer = ss.Optimizer(rule, arrays, backend="numpy", **{**options_of(rule), **hyper})
    optimizer.step(random_like(arrays, 3))
    before = snapshot(optimizer)
    optimizer.step([np.zeros_like(a) for a in arrays])
    after = snapshot(optimizer)
    changed = [n for n in before if "step" not in n and first_difference(after[n], before[n])]
    assert (not changed) == said


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
def test_other_rules_refuse_rows_unless_they_are_lazy(rule, backend):
    params = [np.ones((4, 3)), np.ones(5)]
    grads = [IndexedSlices(np.ones((2, 3)), np.array([1, 3])), np.ones(5)]
    hyper = {**options_of(rule), **({"weight_decay": 0} if "weight_decay" in rule.defaults else {})}
    if rule.lazy:
        hyper["lazy"] = False
    optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
    if program(rule).sums:
        with refused(optimizer, TypeError, r"params\[0\] is sparse, of some rows; .* adds up over"):
            optimizer.step(grads)
    elif rule.label in AT_REST:
        optimizer.step(grads)
        assert (params[0][[0, 2]] == 1).all()
        assert (params[0][[1, 3]] != 1).all()
    else:
        with refused(optimizer, TypeError, r"params\[0\] is sparse.*Give a dense one, or leave"):
            optimizer.step(grads)
        optimizer.param_groups[0]["lazy"] = True
        optimizer.step(grads)
        assert optimizer.steps == [1, 1]


def test_a_text_that_hides_its_zero_is_not_trusted():
    def update(xp, s, param, grad, total):
        kept = xp.where(grad > 0, total, total)  # at rest, but not by the words that are known
        return param - s.lr * grad, kept

    rule = ss.Rule("own", lambda xp, step, carry, h: (dict(lr=h.lr), carry), update, dict(lr=0.1))
    assert not rests(rule, {"lr": 0.1})


# ---- errors


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
def test_wrong_rows_are_named_and_change_nothing(kind, backend):
    given, indices, error, message = ERRORS[kind]
    params = [np.ones((4, 3), np.float32), np.ones((4, 3), np.float32)]
    optimizer = ss.SparseAdam(params, backend=backend)
    good = IndexedSlices(GOOD, np.array([3, 0]))
    optimizer.step([good, good])
    with refused(optimizer, error, rf"the gradient of params\[1\] {message}"):
        optimizer.step([good, IndexedSlices(given, indices)])


def test_what_cannot_be_combined_changes_nothing(backend):
    rows = IndexedSlices(GOOD, np.array([3, 0]))
    params = [np.ones((4, 3), np.float32), np.ones((), np.float32)]
    optimizer = ss.SparseAdam(params, backend=backend, accumulation_steps=2)
    with refused(optimizer, TypeError, "not accumulated over micro-batches"):
        optimizer.step([rows, None])
    optimizer.accumulation_steps = 1
    with refused(
        optimizer, ValueError, r"params\[1\] is sparse, of some rows; the parameter has non"
    ):
        optimizer.step([rows, rows])
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with refused(optimizer, TypeError, r"params\[0\] is sparse.*clip_norm adds up over all"):
        optimizer.step([rows, None])


def test_a_device_says_what_it_expects(any_backend):
    if any_backend != "cupy":
        return
    param = ss.get_backend("cupy").asarray(np.ones((4, 3), np.float32))
    optimizer = ss.SparseAdam(param, backend="cupy")
    with refused(
        optimizer,
        TypeError,
        r"params is a samestep.step.indexed_slices.IndexedSlices; expected an arra",
    ):
        optimizer.step(IndexedSlices(GOOD, np.array([3, 0])))
