"""Estimates of the Hessian that the caller hands over between steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import samestep as ss
from helpers import off, on
from samestep.golden.compare import assert_same_bits
from samestep.rules import registry

SHAPES, DTYPES = [(3, 700), (5,), (), (0, 2)], [np.float32, np.float16, np.float32, np.float32]
HYPER = dict(lr=0.1, rho=2.0, eps=1e-3)
STORED = {
    "as computed": {},
    "in blocks": dict(state_dtype="int8"),
    "by random bits": dict(state_dtype="bfloat16", rounding="stochastic", seed=3),
    "with parts": dict(average="ema", clip_value=0.5, maximize=True),
}


def arrays(seed):
    rng = np.random.default_rng(seed)
    each = zip(SHAPES, DTYPES, strict=True)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape, dtype in each]


def states(optimizer):
    return [off(optimizer.backend.name, dict(state)) for state in optimizer.state]


def run(backend, **hyper):
    """Parameters and states after five steps, with estimates before the first and the fourth; the
    second parameter has none then."""
    params = on(backend, arrays(0))
    optimizer = ss.Sophia(params, backend=backend, **HYPER, **hyper)
    for k in range(5):
        if k % 3 == 0:
            estimates = arrays(10 + k)
            optimizer.update_hessian(on(backend, [*estimates[:1], None, *estimates[2:]]))
        optimizer.step(on(backend, arrays(20 + k)))
    return off(backend, params), states(optimizer), optimizer.steps


@pytest.mark.parametrize("hyper", STORED.values(), ids=STORED)
def test_every_backend_takes_estimates_with_the_same_bits(any_backend, hyper):
    expected, found = run("numpy", **hyper), run(any_backend, **hyper)
    assert found[2] == expected[2] == [5] * 4
    for a, b in zip(found[0], expected[0], strict=True):
        assert_same_bits(a, b)
    for a, b in zip(found[1], expected[1], strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert_same_bits(a[name], b[name])
    assert np.any(found[1][0]["hessian"])
    assert not np.any(found[1][1]["hessian"])


def test_an_estimate_is_averaged_and_changes_nothing_else(backend):
    """It is of what is minimized, is not clipped, and may be negative; codes of it have a sign."""
    start, estimates = np.ones((2, 3)), [np.full((2, 3), 4.0), np.full((2, 3), -8.0)]
    optimizer = ss.Sophia(
        [start],
        betas=(0.9, 0.75),
        maximize=True,
        clip_norm=1e-3,
        backend=backend,
        accumulation_steps=2,
    )
    for estimate in estimates:
        optimizer.update_hessian([estimate])
        optimizer.step([np.ones((2, 3))])  # of two, one only adds
    (state,) = optimizer.state
    assert_same_bits(off(backend, state["hessian"]), np.full((2, 3), 0.75 * 1.0 + 0.25 * -8.0))
    assert optimizer.steps == [1]
    codes = ss.Sophia([np.ones(3, np.float32)], state_dtype="int8", backend=backend)
    assert codes.state[0]["hessian"].dtype == np.int8


def test_groups_have_their_own_average_and_frozen_ones_none(backend):
    params = [np.ones(3), np.ones(3), np.ones(3)]
    groups = [
        {"params": params[0], "betas": (0.9, 0.5)},
        {"params": params[1], "betas": (0.9, 0.75)},
        {"params": params[2], "frozen": True},
    ]
    optimizer = ss.Sophia(groups, backend=backend)
    optimizer.update_hessian([np.ones(3)] * 3)
    assert [off(backend, s["hessian"])[0] for s in optimizer.state] == [0.5, 0.25, 0.0]


WRONG = {
    "another structure": (lambda e: e[:1], ValueError, "estimates has 1 entries"),
    "another shape": (lambda e: [e[0], e[1][:2]], ValueError, r"the estimate of params\[1\] has shape"),
    "another dtype": (
        lambda e: [e[0], e[1].astype(int)],
        TypeError,
        r"the estimate of params\[1\] has dtype int64.*; convert it: estimate\.astype",
    ),
    "some rows": (
        lambda e: [e[0], ss.IndexedSlices(e[1][:1], np.array([0]))], TypeError, "is of some rows"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), WRONG.values(), ids=WRONG)
def test_estimates_with_an_error_change_nothing(change, error, message, backend):
    optimizer = ss.Sophia([np.ones((2, 3)), np.ones((4, 1))], backend=backend)
    with pytest.raises(error, match=message):
        optimizer.update_hessian(change([np.ones((2, 3)), np.ones((4, 1))]))
    assert not any(np.any(off(backend, state["hessian"])) for state in optimizer.state)
    optimizer.update_hessian([np.ones((2, 3)), np.ones((4, 1))])  # control
    assert all(np.any(off(backend, state["hessian"])) for state in optimizer.state)


def test_a_rule_without_estimates_refuses_them(backend):
    params = {"bias": np.ones(3), "weight": np.ones((2, 3))}
    optimizer = ss.Optimizer("sophia", params, rules={"bias": "adamw"}, backend=backend)
    with pytest.raises(TypeError, match=r"\['bias'\] has the rule adamw, which takes no estimate"):
        optimizer.update_hessian({name: np.ones_like(p) for name, p in params.items()})
    assert not np.any(off(backend, optimizer.state[0].get("hessian", 0)))
    optimizer.update_hessian({"bias": None, "weight": np.ones((2, 3))})
    assert sum(np.any(off(backend, s["hessian"])) for s in optimizer.state if "hessian" in s) == 1


def test_a_hessian_rule_has_states_of_its_rule():
    sophia = registry["sophia"]
    for other in ("adam", "sgd"):
        with pytest.raises(TypeError, match="expected the first of"):
            dataclasses.replace(sophia, hessian_rule=registry[other])


def test_exported_steps_are_not_checked_with_estimates():
    with pytest.raises(ValueError, match="sophia_hessian, which is exported by itself"):
        ss.export("sophia", with_check=True)
    assert "sophia_hessian_update" in ss.export(registry["sophia"].hessian_rule)


@pytest.mark.parametrize("implementation", ["torch:forloop", "torch:foreach", "torch:fused"])
def test_torch_optimizers_take_estimates_before_the_first_step(implementation):
    torch = pytest.importorskip("torch")
    from samestep.torch import AdamW, Sophia

    values = [np.ones((2, 3), np.float32), np.ones(4, np.float32)]
    ours, params = [v.copy() for v in values], [torch.nn.Parameter(torch.tensor(v)) for v in values]
    optimizer = ss.Sophia(ours, backend="numpy", **HYPER)
    theirs = Sophia(params, backend=implementation, **HYPER)
    rng = np.random.default_rng(0)
    for k in range(4):
        grads, estimates = (
            [rng.standard_normal(v.shape).astype("f") for v in values] for _ in "ge"
        )
        if k % 2 == 0:
            optimizer.update_hessian(estimates)
            theirs.update_hessian(map(torch.tensor, estimates))
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad)
        optimizer.step(grads)
        theirs.step()
    for param, value in zip(params, ours, strict=True):
        assert_same_bits(param.detach().numpy(), value)
    for wrong, error in (([None], ValueError), ([np.ones((2, 3)), None], TypeError)):
        with pytest.raises(error, match="expected"):
            theirs.update_hessian(wrong)
    other = AdamW(params)
    with pytest.raises(TypeError, match="takes no estimate"):
        other.update_hessian([torch.ones(2, 3), None])
    assert not other.state
