"""Functions of whole matrices in a rule's text: what they compute, in which stages, on which
shapes."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot
from samestep.golden.compare import assert_same_bits
from samestep.language.matrix_functions import newton_schulz, newton_schulz_memory
from samestep.language.passes import program
from samestep.language.stages import stages

A, B, C = 3.4445, -4.7750, 2.0315
SHAPES = [(6, 11), (11, 6), (1, 5), (5, 1), (1, 1), (3, 4, 5), (0, 4), (6, 11), (40, 40), (6, 11)]


def scalars(xp, step, carry, h):
    return dict(lr=h.lr, a=h.a, b=h.b, c=h.c, steps=h.steps, decay=h.lr * h.weight_decay), carry


def delta(xp, s, param, grad, average):
    average = 0.5 * average + grad
    whole = xp.newton_schulz(average / xp.maximum(xp.norm(average), 1e-7), s.a, s.b, s.c, s.steps)
    return s.lr * whole, average


def decay(xp, s, param, delta):
    return s.decay * xp.finite_or_zero(param)


whitening = ss.Rule(
    "whitening",
    scalars,
    delta=delta,
    decay=decay,
    defaults=dict(lr=0.1, a=A, b=B, c=C, steps=5.0, weight_decay=0.1),
)


def twice(xp, s, param, grad):
    once = xp.newton_schulz(grad / xp.norm(grad), s.a, s.b, s.c, s.steps)
    again = xp.newton_schulz(0.5 * once, s.a, s.b, s.c, s.steps)
    return param - (s.lr * (again + once) + s.decay * param)


def matrices(seed, shapes=SHAPES, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def by_formula(x, steps=5, a=A, b=B, c=C):
    x = x.reshape(len(x), -1).astype(np.float64) if x.size else x.astype(np.float64)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def run(rule, backend, shapes=SHAPES, dtype=np.float32, steps=3, **hyper):
    """Return the parameters after some steps."""
    params, grads = on(backend, matrices(1, shapes, dtype)), on(backend, matrices(2, shapes, dtype))
    optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
    for _ in range(steps):
        optimizer.step(grads)
    return off(backend, params)


# ---- the function


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_newton_schulz_is_its_formula(shape, steps):
    (x,) = matrices(0, [shape], np.float64)
    x = x.reshape(len(x), -1) if x.size else x
    x = x / max(np.linalg.norm(x), 1)
    stack, memory = np.stack([x, 0.5 * x, 0 * x]), np.empty(3 * newton_schulz_memory(*x.shape))
    newton_schulz(np.matmul, stack, memory, A, B, C, steps)
    for found, factor in zip(stack, (1, 0.5, 0), strict=True):
        np.testing.assert_allclose(found, by_formula(factor * x, steps), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_steps_may_have_coefficients_of_their_own(shape):
    """The last ones are those of all further steps."""
    (x,) = matrices(0, [shape], np.float64)
    x /= np.linalg.norm(x)
    first, second = (4.0, -6.0, 2.5), (2.0, -1.5, 0.5)
    stack, memory = x[None].copy(), np.empty(newton_schulz_memory(*shape))
    newton_schulz(np.matmul, stack, memory, *first, *second, 4)
    expected = by_formula(by_formula(x, 1, *first), 3, *second)
    np.testing.assert_allclose(stack[0], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_newton_schulz_keeps_singular_vectors_and_brings_values_near_one(shape):
    """Against the singular value decomposition, whose ``U V^T`` is what it approaches."""
    (x,) = matrices(0, [shape], np.float64)
    x /= np.linalg.norm(x)
    stack, memory = x[None].copy(), np.empty(newton_schulz_memory(*shape))
    newton_schulz(np.matmul, stack, memory, A, B, C, 5)
    u, before, vt = np.linalg.svd(x, full_matrices=False)
    inside = u.T @ stack[0] @ vt.T
    after = np.diag(inside)
    np.testing.assert_allclose(inside, np.diag(after), atol=1e-12)
    assert (after[before > 0.003] > 0.65).all()
    assert (after < 1.25).all()


# ---- stages


def test_a_rule_without_such_functions_is_its_only_stage():
    rule = ss.rules.registry["adamw"]
    assert stages(rule).rules == (rule,)
    assert stages(rule).calls == ()


def test_the_text_is_cut_at_each_call():
    found = stages(ss.Rule("twice", scalars, twice, whitening.defaults))
    assert [call.result for call in found.calls] == ["newton_schulz_1", "newton_schulz_2"]
    assert [call.scalars for call in found.calls] == [("a", "b", "c", "steps")] * 2
    read = [[load for each in program(rule).passes for load in each.loads] for rule in found.rules]
    assert read == [
        ["grad", "grad"],
        ["newton_schulz_1"],
        ["param", *(c.result for c in found.calls)],
    ]
    wrote = [[n for each in program(r).passes for n, _ in each.stores] for r in found.rules]
    assert wrote == [["newton_schulz_1"], ["newton_schulz_2"], ["param"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda xp, s, param, grad: xp.newton_schulz(grad, 1, 2, 3, 5), "takes scalars as numbers"),
        (
            lambda xp, s, param, grad: xp.newton_schulz(grad, s.a * 2, s.b, s.c, s.steps),
            "takes scalars as numbers",
        ),
        (
            lambda xp, s, param, grad: xp.newton_schulz(xp.sum(grad), s.a, s.b, s.c, s.steps),
            "for a value per element, not per tensor",
        ),
        (lambda xp, s, param, grad: xp.newton_schulz(grad), "got 0 numbers; expected three"),
        (lambda xp, s, param, grad: xp.newton_schulz(grad, s.a, s.steps), "got 2 numbers"),
    ],
)
def test_what_such_a_function_does_not_take_is_refused(text, message):
    rule = ss.Rule("wrong", scalars, lambda xp, s, param, grad: text(xp, s, param, grad),
                   whitening.defaults)  # fmt: skip
    with pytest.raises(TypeError, match=message):
        ss.Optimizer(rule, np.ones((2, 2)))


def test_printed_source_has_no_such_function():
    with pytest.raises(ValueError, match="no product of matrices"):
        ss.emit(whitening, "c")


# ---- steps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_are_those_of_the_formula(any_backend, dtype):
    params = run(whitening, any_backend, dtype=dtype)
    bound = {np.float32: 2e-5, np.float64: 1e-13}[dtype]
    for param, grad, found in zip(
        matrices(1, dtype=dtype), matrices(2, dtype=dtype), params, strict=True
    ):
        expected, average = param.astype(np.float64), 0.0
        for _ in range(3):
            average = 0.5 * average + grad.astype(np.float64)
            whole = by_formula(average / max(np.linalg.norm(average), 1e-7)).reshape(param.shape)
            expected = expected - 0.1 * whole - 0.01 * expected
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_two_functions_one_after_the_other(any_backend):
    rule = ss.Rule("twice", scalars, twice, whitening.defaults)
    (param,) = run(rule, any_backend, [(4, 6)], np.float64, 1)
    (start,), (grad,) = matrices(1, [(4, 6)], np.float64), matrices(2, [(4, 6)], np.float64)
    once = by_formula(grad / np.linalg.norm(grad))
    again = by_formula(0.5 * once)
    np.testing.assert_allclose(param, start - 0.1 * (again + once) - 0.01 * start, rtol=1e-9)


def test_all_backends_in_host_memory_have_the_same_bits(other_backend):
    """They multiply by NumPy, all of them."""
    expected = run(whitening, "numpy")
    for found, param in zip(run(whitening, other_backend), expected, strict=True):
        assert_same_bits(found, param)


def test_bits_do_not_depend_on_what_else_is_there(any_backend):
    """In another order and in two groups, and so in other stacks."""
    expected = run(whitening, any_backend)
    rng = np.random.default_rng(3)
    for _ in range(4):
        order = rng.permutation(len(SHAPES))
        params = on(any_backend, [matrices(1)[i] for i in order])
        grads = on(any_backend, [matrices(2)[i] for i in order])
        cut = int(rng.integers(1, len(order)))
        groups = [dict(params=params[:cut]), dict(params=params[cut:], weight_decay=0.1)]
        optimizer = ss.Optimizer(whitening, groups, backend=any_backend)
        for _ in range(3):
            optimizer.step([grads[:cut], grads[cut:]])
        for i, found in zip(order, off(any_backend, params), strict=True):
            assert_same_bits(found, expected[i])


def test_a_large_stack_is_cut_where_memory_is(any_backend, monkeypatch):
    from samestep.step import matrix_work

    shapes = [(5, 7)] * 9
    expected = run(whitening, any_backend, shapes)
    monkeypatch.setattr(matrix_work, "STACK", 80)
    for found, param in zip(run(whitening, any_backend, shapes), expected, strict=True):
        assert_same_bits(found, param)


def test_a_parameter_without_a_gradient_stays(any_backend):
    params = on(any_backend, matrices(1, [(4, 4)] * 3))
    grads = on(any_backend, matrices(2, [(4, 4)] * 3))
    optimizer = ss.Optimizer(whitening, params, backend=any_backend)
    optimizer.step([grads[0], None, grads[2]])
    found = off(any_backend, params)
    assert_same_bits(found[1], matrices(1, [(4, 4)] * 3)[1])
    expected = run(whitening, any_backend, [(4, 4)] * 3, steps=1)
    assert_same_bits(found[0], expected[0])
    assert_same_bits(found[2], expected[2])


def test_a_zero_gradient_is_no_step(any_backend):
    param = on(any_backend, np.ones((3, 5), np.float32))
    zero = on(any_backend, np.zeros((3, 5), np.float32))
    ss.Optimizer(whitening, param, backend=any_backend, weight_decay=0.0).step(zero)
    assert_same_bits(off(any_backend, param), np.ones((3, 5), np.float32))


@pytest.mark.parametrize("part", ["cautious", "cautious_decay", "rms_clipped", "trust_ratio"])
def test_parts_compose_with_it(any_backend, part):
    rule = getattr(ss.parts, part)(whitening)
    expected = run(rule, "numpy", dtype=np.float64)
    for found, param in zip(run(rule, any_backend, dtype=np.float64), expected, strict=True):
        np.testing.assert_allclose(found, param, rtol=1e-10, atol=1e-12)


def test_clipping_and_accumulation_come_before(any_backend):
    hyper = dict(clip_value=0.5, clip_norm=1.0, accumulation_steps=2, clip_global_norm=3.0)
    expected = run(whitening, "numpy", dtype=np.float64, **hyper)
    found = run(whitening, any_backend, dtype=np.float64, **hyper)
    for mine, param in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, param, rtol=1e-10, atol=1e-12)


def test_numbers_of_a_group_reach_the_function(any_backend):
    params = on(any_backend, matrices(1, [(4, 4)] * 2))
    groups = [dict(params=params[0], steps=0.0), dict(params=params[1], steps=1.0)]
    grads = matrices(2, [(4, 4)] * 2)
    optimizer = ss.Optimizer(whitening, groups, backend=any_backend, weight_decay=0.0)
    optimizer.step(on(any_backend, grads))
    pairs = zip(off(any_backend, params), matrices(1, [(4, 4)] * 2), grads, strict=True)
    for k, (found, start, grad) in enumerate(pairs):
        whole = by_formula(grad / np.linalg.norm(grad), steps=k)
        np.testing.assert_allclose(found, start - 0.1 * whole, atol=1e-6)


# ---- what it is not for


@pytest.mark.parametrize("shape", [(), (5,)])
def test_vectors_are_refused_by_name(any_backend, shape):
    params = on(any_backend, {"weight": np.ones((2, 2)), "bias": np.ones(shape)})
    with pytest.raises(ValueError, match=r'bias.*has shape .* is for matrices.*"rule": ...'):
        ss.Optimizer(whitening, params, backend=any_backend)
    both = ss.Optimizer("adamw", params, rules={"weight": whitening}, backend=any_backend)
    both.step(on(any_backend, {"weight": np.ones((2, 2)), "bias": np.ones(shape)}))


def test_complex_parameters_are_refused(backend):
    with pytest.raises(TypeError, match="complex; whitening needs real parameters"):
        ss.Optimizer(whitening, np.ones((2, 2), np.complex64), backend=backend)


def test_gradients_of_some_rows_are_refused(backend):
    params = np.ones((4, 3), np.float32)
    before = snapshot(optimizer := ss.Optimizer(whitening, params, backend=backend, lazy=True))
    with pytest.raises(TypeError, match="sparse"):
        optimizer.step(ss.IndexedSlices(np.ones((1, 3), np.float32), np.array([2])))
    assert_same(snapshot(optimizer), before)


def of_its_state(xp, s, param, grad, basis):
    return param - s.lr * grad, xp.random_start(basis, s.first, s.b)


def test_a_function_of_states_alone_runs_in_a_rule_of_one_stage(any_backend):
    def first(xp, step, carry, h):
        return dict(lr=h.lr, first=xp.where(step == 1, 1, 0), b=h.b), carry

    rule = ss.Rule(
        "of_its_state",
        first,
        of_its_state,
        defaults=dict(lr=0.1, b=2.0),
        per=dict(basis="column_rank"),
        rank=2,
    )
    params = on(any_backend, matrices(0, [(6, 4)]))
    optimizer = ss.Optimizer(rule, params, backend=any_backend)
    grads = on(any_backend, matrices(1, [(6, 4)]))
    optimizer.step(grads)
    (basis,) = off(any_backend, [optimizer.state[0]["basis"]])
    assert basis.shape == (4, 2)
    assert (basis != 0).all()
    optimizer.step(grads)
    assert_same_bits(off(any_backend, optimizer.state[0]["basis"]), basis)
