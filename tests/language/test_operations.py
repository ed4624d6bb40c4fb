"""Operation by operation, every target against the definition, on values where libraries differ."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from helpers import off, on, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import COMPUTE_DTYPE, numpy_dtype
from samestep.language.vocabulary import NumpyVocabulary
from variants import DTYPES, SPECIAL


def halves(x):
    """By whole numbers: bits are 65,536 times those of the upper half, and what is left."""
    x = x.astype(np.float32)
    bits = x.view(np.uint32).astype(np.int64)
    upper = (bits + 32768) // 65536 * 65536
    upper_half = (upper % 2**32).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), x, upper_half), np.where(np.isnan(x), 0, bits - upper)


def from_halves(upper, lower):
    bits = upper.view(np.uint32).astype(np.int64) + lower.astype(np.int64)
    found = (bits % 2**32).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(found), upper, found)


OPERATIONS = {
    "add": (lambda xp, a, b: a + b, np.add),
    "subtract": (lambda xp, a, b: a - b, np.subtract),
    "multiply": (lambda xp, a, b: a * b, np.multiply),
    "divide": (lambda xp, a, b: a / b, np.divide),
    "negate": (lambda xp, a, b: -a, lambda a, b: -a),
    "sqrt": (lambda xp, a, b: xp.sqrt(a), lambda a, b: np.sqrt(a)),
    "cube_root": (lambda xp, a, b: xp.cube_root(a), lambda a, b: NumpyVocabulary(a.dtype, a.dtype).cube_root(a)),
    "abs": (lambda xp, a, b: xp.abs(a), lambda a, b: np.abs(a)),
    "builtin_abs": (lambda xp, a, b: abs(a), lambda a, b: np.abs(a)),
    "sign": (
        lambda xp, a, b: xp.sign(a),
        lambda a, b: np.where(np.isnan(a), a, np.copysign(np.where(a == 0, 0, 1), a)),
    ),
    "finite_or_zero": (
        lambda xp, a, b: xp.finite_or_zero(a),
        lambda a, b: np.where(np.isfinite(a), a, 0),
    ),
    "upper_half": (lambda xp, a, b: xp.upper_half(a), lambda a, b: halves(a)[0]),
    "lower_half": (lambda xp, a, b: xp.lower_half(a), lambda a, b: halves(a)[1]),
    "from_halves": (
        lambda xp, a, b: xp.from_halves(xp.upper_half(a), xp.lower_half(a)),
        lambda a, b: a.astype(np.float32),
    ),
    "halves_of_others": (
        lambda xp, a, b: xp.from_halves(xp.upper_half(a), xp.lower_half(b)),
        lambda a, b: from_halves(halves(a)[0], halves(b)[1]),
    ),
    "maximum": (
        lambda xp, a, b: xp.maximum(a, b),
        lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.nan, np.where(a > b, a, b)),
    ),
    "minimum": (
        lambda xp, a, b: xp.minimum(a, b),
        lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.nan, np.where(a < b, a, b)),
    ),
    "less": (lambda xp, a, b: xp.where(a < b, 1, -1), lambda a, b: np.where(a < b, 1, -1)),
    "less_equal": (lambda xp, a, b: xp.where(a <= b, a, b), lambda a, b: np.where(a <= b, a, b)),
    "greater": (lambda xp, a, b: xp.where(a > b, 0.5, b), lambda a, b: np.where(a > b, 0.5, b)),
    "greater_equal": (lambda xp, a, b: xp.where(a >= b, a, 2), lambda a, b: np.where(a >= b, a, 2)),
    "equal": (lambda xp, a, b: xp.where(a == b, a, b), lambda a, b: np.where(a == b, a, b)),
    "not_equal": (lambda xp, a, b: xp.where(a != b, a, b), lambda a, b: np.where(a != b, a, b)),
    "association": (lambda xp, a, b: a * (b * a) - (a - (b - a)), lambda a, b: a * (b * a) - (a - (b - a))),
    "constants": (lambda xp, a, b: 0.1 * a + 1 / b - 3, lambda a, b: a.dtype.type(0.1) * a + 1 / b - 3),
}  # fmt: skip


def rule_of(operation) -> ss.Rule:
    """``param`` becomes the operation's result: decay and step are nothing but the operation."""
    return ss.Rule(
        "operation",
        lambda xp, step, carry, h: (dict(lr=h.lr), carry),
        lambda xp, s, param, grad: operation(xp, param, grad),
        defaults=dict(lr=1.0),
    )


def pairs(dtype):
    """All pairs of special values, more than once so that vector code and its tail both run."""
    with np.errstate(all="ignore"):
        special = SPECIAL.astype(dtype)
    rng = np.random.default_rng(0)
    a, b = (
        np.tile(x, 3) for x in (np.repeat(special, len(special)), np.tile(special, len(special)))
    )
    more = [rng.standard_normal(1001).astype(dtype) for _ in range(2)]
    return np.concatenate([a, more[0]]), np.concatenate([b, more[1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_its_definition(name, dtype, any_backend, libraries):
    operation, definition = OPERATIONS[name]
    a, b = pairs(dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(definition(a, b)).astype(dtype)
    ours, printed = on(any_backend, a.copy()), a.copy()
    step(ss.Optimizer(rule_of(operation), [ours], backend=any_backend), [b])
    assert first_difference(off(any_backend, ours), expected) is None
    COptimizer(rule_of(operation), printed, libraries).step(b)
    assert first_difference(printed, expected) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cube_root_is_within_one_and_a_half_units_in_the_last_place(dtype):
    """From the smallest subnormal number to the largest; other tests compare the targets with
    it."""
    mpmath = pytest.importorskip("mpmath")
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    low, high = np.log2(info.smallest_subnormal), np.log2(info.max)
    exponents = [
        *np.linspace(low, high, 400),
        *rng.uniform(low, high, 400),
        *rng.uniform(-3, 3, 200),
    ]
    with np.errstate(over="ignore"):
        x = np.minimum(np.exp2(exponents), info.max).astype(dtype)
    roots = NumpyVocabulary(np.dtype(dtype), np.dtype(dtype)).cube_root(x)
    with mpmath.workdps(30):
        exact = [mpmath.mpf(float(each)) ** (mpmath.mpf(1) / 3) for each in x]
        errors = [abs(mpmath.mpf(float(r)) - e) for r, e in zip(roots, exact, strict=True)]
    assert max(e / np.spacing(r) for e, r in zip(errors, roots, strict=True)) < 1.5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_storage_loads_exactly_and_rounds_to_nearest_even(
    dtype, any_backend, libraries
):
    """All 65,536 values pass through; values between two of them go where ml_dtypes and NumPy
    round them."""
    storage = numpy_dtype(dtype)
    everything = np.arange(65_536, dtype=np.uint16).view(storage)
    keep = rule_of(lambda xp, a, b: 1 * a)
    scale = rule_of(lambda xp, a, b: a * b)
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        factor = np.tile(
            np.float32([1, 1 + 2**-9, 1 - 2**-10, 1 + 2**-8, 1e-3, 1e3, 3e-8, 2**-11]), 8192
        )
        factor *= rng.choice(np.float32([1, 1 + 2**-23, 1 - 2**-24]), factor.shape)
        rounded = (everything.astype(np.float32) * factor).astype(storage)
    for rule, grads, expected in [(keep, factor, everything), (scale, factor, rounded)]:
        ours = on(any_backend, everything.copy())
        step(ss.Optimizer(rule, [ours], backend=any_backend), [grads])
        assert first_difference(off(any_backend, ours), expected) is None
        gradient = grads.astype(storage)
        with np.errstate(all="ignore"):
            product = (everything.astype(np.float32) * gradient.astype(np.float32)).astype(storage)
        printed = everything.copy()
        COptimizer(rule, printed, libraries).step(gradient)
        assert first_difference(printed, everything if rule is keep else product) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_rounds_to_what_the_parameter_is_stored_in(dtype, any_backend, libraries):
    """A state shows the bits; what the parameter is stored in shows nothing of them."""
    storage, compute = numpy_dtype(dtype), numpy_dtype(COMPUTE_DTYPE[dtype])
    rule = ss.Rule(
        "operation",
        lambda xp, step, carry, h: (dict(lr=h.lr), carry),
        lambda xp, s, param, grad, seen: (param, xp.stored(grad * param)),
        defaults=dict(lr=1.0),
    )
    with np.errstate(all="ignore"):
        a, b = (x.astype(storage) for x in pairs(compute))
        product = b.astype(compute) * a.astype(compute)
        expected = product.astype(storage).astype(compute)
    ours, printed = on(any_backend, a.copy()), a.copy()
    optimizer = ss.Optimizer(rule, [ours], backend=any_backend)
    step(optimizer, [b])
    assert first_difference(off(any_backend, optimizer.state[0]["seen"]), expected) is None
    exported = COptimizer(rule, printed, libraries)
    exported.step(b)
    assert first_difference(exported.state["seen"], expected) is None


def test_integer_powers_are_accurate():
    """1 - beta**t to 2e-14 for every usual beta and a million steps; errors grow as 1 / (1 - beta),
    so to 2e-13 for 0.9999."""
    mpmath = pytest.importorskip("mpmath")
    from samestep.language.vocabulary import HOST

    for beta in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999):
        bound = 2e-14 if beta <= 0.999 else 2e-13
        for t in [*range(1, 200), *np.unique(np.geomspace(200, 10**6, 200).astype(int)).tolist()]:
            with mpmath.workdps(50):
                truth = 1 - mpmath.mpf(beta) ** t
                assert abs(mpmath.mpf(float(1 - HOST.ipow(beta, t))) - truth) < bound


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 129, 1000, 2500])
@pytest.mark.parametrize("columns", [1, 5, 256, 257, 1024, 1025, 5000])
def test_reductions_follow_the_written_order(rows, columns, any_backend):
    """Against an independent, element by element reading of core/language/summation.py."""
    from samestep.language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS

    def by_neighbours(values):
        values = list(values)
        while len(values) > 1:
            last = values[-1:] if len(values) % 2 else []
            values = [values[i - 1] + values[i] for i in range(1, len(values), 2)] + last
        return values[0]

    def by_halves(values):
        values = list(values)
        while len(values) > 1:
            half = (len(values) + 1) // 2
            values = [
                v + values[half + i] if half + i < len(values) else v
                for i, v in enumerate(values[:half])
            ]
        return values[0]

    def in_lanes(values, lanes):
        sums = [np.float32(0)] * lanes
        for i, value in enumerate(values):
            sums[i % lanes] = sums[i % lanes] + value
        return by_halves(sums)

    def tensor(values):
        sums = [in_lanes(values[i : i + CHUNK], LANES) for i in range(0, len(values), CHUNK)]
        return sums[0] if len(sums) == 1 else tensor(sums)

    def row(values):
        chunks = [values[i : i + ROW_CHUNK] for i in range(0, len(values), ROW_CHUNK)]
        return by_neighbours([in_lanes(chunk, ROW_LANES) for chunk in chunks])

    rng = np.random.default_rng(rows * columns)
    grad = rng.standard_normal((rows, columns)).astype(np.float32)
    if rows * columns <= 40_000:
        flat = ss.Rule(
            "flat", lambda xp, step, carry, h: (dict(lr=h.lr), carry),
            lambda xp, s, param, grad: param * 0 + xp.sum(grad), defaults=dict(lr=1.0),
        )  # fmt: skip
        ours = on(any_backend, np.zeros_like(grad))
        step(ss.Optimizer(flat, [ours], backend=any_backend), [grad])
        assert (off(any_backend, ours) == tensor(list(grad.reshape(-1)))).all()

        by_row = [row(list(line)) for line in grad]
        seen_as_matrix = ss.Rule(
            "seen_as_matrix", lambda xp, step, carry, h: (dict(lr=h.lr), carry),
            lambda xp, s, param, grad, row_sum, column_sum: (
                param * 0 + xp.sum(grad), xp.sum(grad, per="row"), xp.sum(grad, per="column")),
            defaults=dict(lr=1.0), per=dict(row_sum="row", column_sum="column"),
        )  # fmt: skip
        optimizer = ss.Optimizer(seen_as_matrix, [ours], backend=any_backend)
        step(optimizer, [grad])
        state = off(any_backend, optimizer.state[0])
        assert state["row_sum"].tolist() == by_row
        assert (off(any_backend, ours) == row(by_row)).all()
        for j in range(0, columns, max(columns // 7, 1)):
            strips = []
            for start in range(0, rows, STRIP_ROWS):
                strip = np.float32(0)
                for value in grad[start : start + STRIP_ROWS, j]:
                    strip = strip + value
                strips.append(strip)
            assert state["column_sum"][j] == by_neighbours(strips)
