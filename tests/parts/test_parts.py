"""Parts that rules are composed with: against formulas in plain NumPy, and the same on every
backend."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import samestep as ss
from helpers import leaves, off, on, step
from samestep import parts
from samestep.golden.compare import first_difference
from variants import values

STEPS = 9
SHAPES = ((4, 5), (3, 2, 2), (7,), ())
RULES = ss.rules.registry
LR, BETA1, BETA2, EPS = 0.1, 0.9, 0.99, 1e-3
ADAM = dict(lr=LR, betas=(BETA1, BETA2), eps=EPS)
Part = Callable[[ss.Rule], ss.Rule]
# those that keep something beside the step have tests of their own beside this file
BESIDE = {"averaged", "compensated", "float32_master", "split_master"}
PARTS: dict[str, Part] = {n: getattr(parts, n) for n in parts.__all__ if n not in BESIDE}


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]


class Adam:
    """Adam's step of one array, from the paper."""

    def __init__(self) -> None:
        self.m = self.v = 0.0
        self.t = 0

    def __call__(self, g: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m = BETA1 * self.m + (1 - BETA1) * g
        self.v = BETA2 * self.v + (1 - BETA2) * g**2
        m_hat, v_hat = self.m / (1 - BETA1**self.t), self.v / (1 - BETA2**self.t)
        return LR * m_hat / (np.sqrt(v_hat) + EPS)


def rows(x: np.ndarray) -> tuple[int, ...] | None:
    """The axes of a unit: all but the first, or all of a vector's."""
    return tuple(range(1, x.ndim)) if x.ndim > 1 else None


def cautious(p, g, adam):
    u = adam(g)
    agrees = (u * g > 0).astype(float)
    return p - u * agrees / max(agrees.mean(), 1e-3)


def centralized(p, g, adam):
    return p - adam(g - g.mean(axis=rows(g), keepdims=True) if g.ndim > 1 else g)


def adaptively_clipped(p, g, adam):
    def norm(x):
        return np.sqrt((x**2).sum(axis=rows(x), keepdims=x.ndim > 1))

    limit = 0.2 * np.maximum(norm(p), 1e-3)
    return p - adam(g * np.minimum(1, limit / norm(g)))


def rms_clipped(p, g, adam):
    u = adam(g)
    return p - u / max(1, np.sqrt((u**2).mean()) / (LR * 0.3))


def signed(p, g, adam):
    return p - LR * np.sign(adam(g))


def trust_ratio(p, g, adam):
    u = adam(g)
    return p - LR * np.sqrt((p**2).sum()) / np.sqrt((u**2).sum()) * u


def decoupled(p, g, adam):
    return p - adam(g) - LR * 0.1 * p


def independent(p, g, adam):
    return p - adam(g) - 0.1 * p


def cautious_decay(p, g, adam):
    u = adam(g)
    return p - u - LR * 0.1 * p * (u * p > 0)


class Lookahead:
    """Every third step goes 0.4 of the way that three steps have made."""

    def __init__(self) -> None:
        self.start: Any = None

    def __call__(self, p, g, adam):
        if self.start is None:
            self.start = p
        p = p - adam(g)
        if adam.t % 3 == 0:
            p = self.start = self.start + 0.4 * (p - self.start)
        return p


FORMULAS: dict[str, tuple[Part, dict[str, Any], Callable[[], Any]]] = {
    "cautious": (parts.cautious, {}, lambda: cautious),
    "centralized": (parts.centralized, {}, lambda: centralized),
    "adaptively_clipped": (
        parts.adaptively_clipped, dict(clip_ratio=0.2), lambda: adaptively_clipped,
    ),
    "rms_clipped": (parts.rms_clipped, dict(rms_limit=0.3), lambda: rms_clipped),
    "signed": (parts.signed, {}, lambda: signed),
    "trust_ratio": (parts.trust_ratio, {}, lambda: trust_ratio),
    "decoupled_decay": (parts.decoupled_decay, dict(weight_decay=0.1), lambda: decoupled),
    "independent_decay": (parts.independent_decay, dict(weight_decay=0.1), lambda: independent),
    "cautious_decay": (
        lambda rule: parts.cautious_decay(parts.decoupled_decay(rule)),
        dict(weight_decay=0.1),
        lambda: cautious_decay,
    ),
    "lookahead": (parts.lookahead, dict(sync_period=3, slow_step=0.4), Lookahead),
}  # fmt: skip


def test_every_part_has_a_formula():
    assert set(FORMULAS) == set(PARTS)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_part_does_what_its_formula_says(name):
    compose, hyper, formula = FORMULAS[name]
    params = arrays(0)
    expected = [param.copy() for param in params]
    steps = [(formula(), Adam()) for _ in params]
    optimizer = ss.Optimizer(compose(RULES["adam"]), params, backend="numpy", **ADAM, **hyper)
    plain = [param.copy() for param in params]
    without = ss.Optimizer("adam", plain, backend="numpy", **ADAM)
    for number in range(STEPS):
        grads = arrays(number + 1)
        expected = [
            np.asarray(one(p, g, adam))
            for p, g, (one, adam) in zip(expected, grads, steps, strict=True)
        ]
        optimizer.step(grads)
        without.step(grads)
    for ours, theirs in zip(params, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    # the control: without the part it is another result
    assert not np.allclose(params[0], plain[0], rtol=1e-3)


def composed(name: str, rule: ss.Rule) -> ss.Rule:
    compose = FORMULAS[name][0]
    return compose(rule)


@pytest.mark.parametrize("base", ["adamw_amsgrad", "sgd_momentum", "lion"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_same_bits_on_every_backend(name, base, any_other_backend):
    family, _, option = base.partition("_")
    rule = composed(name, RULES[family].variant(**({option: True} if option else {})))
    rng = np.random.default_rng(5)
    arrays = [values(rng, shape, np.float32, 0.05) for shape in ((33, 40), (1_500,), (), (0, 3))]
    steps = [[values(rng, x.shape, np.float32, 0.05) for x in arrays] for _ in range(4)]
    momentum = dict(momentum=0.9) if option == "momentum" else {}
    period = dict(sync_period=2) if name == "lookahead" else {}
    results = {}
    for backend in ("numpy", any_other_backend):
        params = on(backend, [x.copy() for x in arrays])
        optimizer = ss.Optimizer(
            rule, params, backend=backend, lr=0.01, weight_decay=0.1, **momentum, **period
        )
        for grads in steps:
            step(optimizer, grads)
        results[backend] = off(backend, params), off(backend, optimizer.state)
    (params, state), (others, other_state) = results.values()
    for i, (ours, theirs) in enumerate(zip(params, others, strict=True)):
        assert first_difference(theirs, ours) is None, f"parameter {i}"
        for key, array in state[i].items():
            assert first_difference(other_state[i][key], array) is None, f"{key} {i}"


def test_parts_of_parts_are_one_kernel():
    rule = parts.cautious_decay(parts.centralized(RULES["lion"]))
    assert rule.name == "cautious_decay_centralized_lion"
    for target in ("c", "cuda", "numba"):
        assert "finite_or_zero(param)" in ss.emit(rule, target)
    written_out = ss.emit(_written_out(), "c")
    composed = ss.emit(parts.centralized(parts.decoupled_decay(RULES["sgd"])), "c")
    assert arithmetic(composed) == arithmetic(written_out)


def _written_out() -> ss.Rule:
    """SGD with centralized gradients and decoupled decay, as one would write it out."""

    def scalars(xp, step, carry, h):
        row = dict(lr=h.lr, weight_decay=h.weight_decay, decay_beside=h.lr * h.weight_decay)
        return row, carry

    def update(xp, s, param, grad):
        grad = xp.where(xp.size(grad, per="row") > 1, grad - xp.mean(grad, per="row"), grad)
        delta = s.lr * grad
        return param - (delta + s.decay_beside * xp.finite_or_zero(param))

    defaults = RULES["sgd"].defaults
    return ss.Rule("written_out", scalars, update, defaults=defaults)


def arithmetic(text: str) -> list[str]:
    """The statements of the kernel, without the rule's name."""
    name = re.findall(r"(\w+)_update\(", text)[0]
    lines = text.replace(name, "NAME").splitlines()
    return [line.strip() for line in lines if line.rstrip().endswith(";")]


def test_the_same_rule_each_time_with_its_options():
    rule = parts.cautious(RULES["adamw"])
    assert parts.cautious(RULES["adamw"]) is rule
    assert rule.variant(amsgrad=True).label == "cautious_adamw_amsgrad"
    assert rule.variant(amsgrad=True).state == ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    assert parts.cautious(RULES["adamw"].variant(amsgrad=True)).label == "cautious_adamw_amsgrad"


def test_an_optimizer_of_a_composed_rule_is_pickled_saved_and_resumed(tmp_path):
    rule = parts.lookahead(parts.cautious(RULES["adamw"]))
    params = arrays(0)
    optimizer = ss.Optimizer(rule, params, backend="numpy", amsgrad=True, sync_period=2)
    optimizer.step(arrays(1))
    optimizer.save(tmp_path / "run.safetensors")
    copies = [param.copy() for param in params]
    again = pickle.loads(pickle.dumps(optimizer))
    loaded = ss.Optimizer.load(tmp_path / "run.safetensors", copies, rule=rule)
    for seed in (2, 3):
        for each in (optimizer, again, loaded):
            each.step(arrays(seed))
    for ours, theirs, third in zip(params, leaves(again), copies, strict=True):
        assert first_difference(theirs, ours) is None
        assert first_difference(third, ours) is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: parts.cautious("adamw"), TypeError, "takes a Rule, not 'adamw'"),
        (lambda: parts.cautious(RULES["asgd"]), TypeError, "written as an update"),
        (lambda: parts.cautious_decay(RULES["sgd"]), ValueError, "decoupled_decay"),
        (lambda: parts.decoupled_decay(parts.centralized(RULES["sgd"])), ValueError, "first"),
        (lambda: parts.signed(parts.signed(RULES["sgd"])), ValueError, "named 'sign_size'"),
        (lambda: parts.lookahead(parts.lookahead(RULES["sgd"])), ValueError, "of its own"),
    ],
)
def test_what_cannot_be_composed_says_why(make, error, message):
    with pytest.raises(error, match=message):
        make()


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def delta(xp, s, param, grad):
    return s.lr * grad


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({}, "has neither update nor delta; give one"),
        (dict(update=delta, delta=delta), "has update and delta; give one"),
        (dict(update=delta, decay=delta), "decay goes with delta"),
    ],
)
def test_a_rule_has_an_update_or_a_delta(functions, message):
    with pytest.raises(TypeError, match=message):
        ss.Rule("own", scalars, defaults=dict(lr=1.0), **functions)
    rule = ss.Rule("own", scalars, delta=delta, defaults=dict(lr=1.0))
    assert parts.cautious(rule).state == ()
    assert pickle.loads(pickle.dumps(rule)).update is not None
