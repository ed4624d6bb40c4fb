"""NumPy and every other backend agree on every bit: any shapes, values and hyperparameters, one
thread or two, any split into tensors."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
import samestep as ss
from conftest import OTHERS
from helpers import off, on, step
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from samestep.language.intervals import FINITE, USUAL_BOUNDS
from samestep.language.passes import program
from sampling import EVERYTHING
from variants import DTYPES, options_of, values, variants

SHAPES = st.one_of(
    st.just(()),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    st.tuples(st.integers(1, 5000)),
    st.sampled_from([(70_001,), (66, 1025), (3, 5, 300)]),
)


def numbers(name: str, default: float, rule: ss.Rule) -> st.SearchStrategy[float]:
    bounds = rule.bounds.get(name, USUAL_BOUNDS.get(name, FINITE))
    usual = [default, 0.0, 0.5, 1e-3, 1e-8, 0.999, 1.5, 1e-40, 3.0]
    usual = [number for number in usual if number in bounds]
    within = st.floats(1e-6, 10.0).map(lambda number: number if number in bounds else default)
    return st.sampled_from(usual) | within


def hyperparameters(rule: ss.Rule) -> st.SearchStrategy[dict]:
    drawn = {}
    for name, default in rule.defaults.items():
        if isinstance(default, tuple):
            each = rule.bounds.get(name, USUAL_BOUNDS.get(name, FINITE))
            each = each if isinstance(each, tuple) else (each,) * len(default)
            drawn[name] = st.tuples(
                *(st.sampled_from([d, 0.5, 0.0, 1.3, 0.9999]).filter(b.__contains__)
                  for d, b in zip(default, each, strict=True))
            )  # fmt: skip
        elif isinstance(default, bool):
            drawn[name] = st.booleans()
        elif name not in rule.options:
            drawn[name] = numbers(name, default, rule)
    return st.fixed_dictionaries({**drawn, "maximize": st.booleans()})


def run(rule, hyper, changed, arrays, steps, backend):
    """Parameters and states after the steps; ``changed`` hyperparameters from the second on."""
    params = on(backend, [param.copy() for param in arrays])
    optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
    for number, grads in enumerate(steps):
        if number == 1:
            optimizer.param_groups[0].update(changed)
        step(optimizer, grads)
    return off(backend, params), off(backend, optimizer.state)


def assert_same(ours, reference, backend=""):
    for i, (param, expected) in enumerate(zip(ours[0], reference[0], strict=True)):
        assert first_difference(param, expected) is None, f"{backend} parameter {i}"
    for i, (state, expected) in enumerate(zip(ours[1], reference[1], strict=True)):
        for name, array in state.items():
            assert first_difference(array, expected[name]) is None, f"{backend} {name} {i}"


# they draw once for all backends: drawing and the reference take longer than most of these
on_others = pytest.mark.skipif(not OTHERS, reason="only the reference is tested")


@on_others
@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
@settings(
    max_examples=480 if EVERYTHING else 16,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_backend_gives_the_bits_of_the_reference(rule, data, monkeypatch):
    dtype = data.draw(st.sampled_from(DTYPES), "dtype")
    monkeypatch.setenv("SAMESTEP_THREADS", str(data.draw(st.integers(1, 2), "threads")))
    shapes = data.draw(st.lists(SHAPES, min_size=1, max_size=4), "shapes")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    special = data.draw(st.sampled_from([0.0, 0.02, 0.5]), "special")
    hyper = {**data.draw(hyperparameters(rule)), **options_of(rule)}
    changed = {k: v for k, v in data.draw(hyperparameters(rule)).items() if k != "maximize"}
    dtype = numpy_dtype(dtype)
    arrays = [values(rng, shape, dtype, special) for shape in shapes]
    steps = [
        [None if rng.random() < 0.1 else values(rng, shape, dtype, special) for shape in shapes]
        for _ in range(4)
    ]
    try:
        reference = run(rule, hyper, changed, arrays, steps, "numpy")
    except ValueError:  # rates that are estimated may grow beyond float32: so on all backends
        for backend in OTHERS:
            with pytest.raises(ValueError, match="is infinite in float32"):
                run(rule, hyper, changed, arrays, steps, backend)
        return
    for backend in OTHERS:
        assert_same(run(rule, hyper, changed, arrays, steps, backend), reference, backend)


def codecs(rule: ss.Rule) -> dict[str, str]:
    """Both codecs in turns, for the states of any shape's variant that may have fewer bits."""
    shaped = (rule.for_shape(shape) for shape in ((2, 2), (2,)))
    states = dict.fromkeys(n for each in shaped for n in each.free)
    return dict(zip(states, itertools.cycle(["bfloat16", "float16"]), strict=False))


@on_others
@pytest.mark.parametrize(
    "rule", [rule for rule in variants() if codecs(rule)], ids=lambda r: r.label
)
@settings(
    max_examples=int(os.environ.get("SAMESTEP_TEST_EXAMPLES", "3")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_states_in_fewer_bits_have_the_bits_of_the_reference(rule, data, monkeypatch):
    monkeypatch.setenv("SAMESTEP_THREADS", str(data.draw(st.integers(1, 2), "threads")))
    shapes = data.draw(st.lists(SHAPES, min_size=1, max_size=4), "shapes")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    special = data.draw(st.sampled_from([0.0, 0.02, 0.5]), "special")
    hyper = {**data.draw(hyperparameters(rule)), **options_of(rule), "state_dtype": codecs(rule)}
    arrays, *steps = (
        [values(rng, shape, np.float32, special) for shape in shapes] for _ in range(4)
    )
    reference = run(rule, hyper, {}, arrays, steps, "numpy")
    for entry in reference[1]:
        assert {
            name: a.dtype.name for name, a in entry.items() if a.dtype != np.float32
        }.items() <= (codecs(rule).items())
    for backend in OTHERS:
        assert_same(run(rule, hyper, {}, arrays, steps, backend), reference, backend)


ELEMENTWISE = [rule for rule in variants() if not program(rule).sums]


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=lambda rule: rule.label)
def test_any_split_into_tensors_gives_the_same_bits(rule, any_backend):
    """An elementwise rule does not see where a tensor ends."""
    rng = np.random.default_rng(0)
    size = 70_000
    whole = values(rng, (size,), np.float32, 0.01)
    steps = [values(rng, (size,), np.float32, 0.01) for _ in range(3)]
    cuts = sorted({0, size, *rng.integers(0, size, 40).tolist()})
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    hyper = options_of(rule)
    reference = run(rule, hyper, {}, [whole], [[grad] for grad in steps], any_backend)
    split = run(
        rule,
        hyper,
        {},
        [whole[p] for p in parts],
        [[grad[p] for p in parts] for grad in steps],
        any_backend,
    )
    assert_same(([np.concatenate(split[0])], []), (reference[0], []))
    for name, expected in reference[1][0].items():
        joined = np.concatenate([state[name] for state in split[1]])
        assert first_difference(joined, expected) is None, name


def test_control_one_wrong_operation_is_noticed(any_other_backend):
    """A rule that differs in the order of one addition."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def left(xp, s, param, grad):
        return param - (s.lr * grad + s.lr * param)

    def right(xp, s, param, grad):
        return (param - s.lr * grad) - s.lr * param

    rng = np.random.default_rng(1)
    array, grad = (values(rng, (1000,), np.float32, 0.0) for _ in range(2))
    first, second = (ss.Rule("ordered", scalars, f, defaults=dict(lr=0.3)) for f in (left, right))
    reference = run(first, {}, {}, [array], [[grad]], "numpy")
    assert_same(run(first, {}, {}, [array], [[grad]], any_other_backend), reference)
    with pytest.raises(AssertionError):
        assert_same(run(second, {}, {}, [array], [[grad]], any_other_backend), reference)
