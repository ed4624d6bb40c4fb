"""State dicts that do not fit, and rules of one's own that are not rules."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import samestep as ss
from helpers import refused, snapshot

# ---- state dicts


def stepped(backend, rule="nadam"):
    params = [{"params": [np.ones(2), np.ones((2, 3), np.float32)]}, {"params": np.ones(4)}]
    optimizer = ss.Optimizer(rule, params, backend=backend)
    optimizer.step([[np.ones(2), np.ones((2, 3), np.float32)], np.ones(4)])
    return optimizer


def change(path, value):
    """A change of a state dict at nested keys."""

    def apply(snapshot):
        place = snapshot
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return apply


def remove(*path):
    def apply(snapshot):
        place = snapshot
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return apply


HAS = r"has \[.*\]; expected \['exp_avg', 'exp_avg_sq', 'mu_product', 'step'\]"
WRONG_SNAPSHOTS = {
    "other rule": (
        change(["rule"], "adam"), ValueError, "the state dict is of rule 'adam'; this is 'nadam'"
    ),
    "no groups": (remove("param_groups"), TypeError, "a state dict has 'state' and 'param_groups', not "),
    "no state": (remove("state"), TypeError, "a state dict has 'state' and 'param_groups', not "),
    "state is a list": (change(["state"], []), TypeError, "'state' maps a parameter's position"),
    "a group less": (
        remove("param_groups", 1), ValueError, "the state dict has 1 groups; this optimizer 2"
    ),
    "a parameter less": (
        change(["param_groups", 0, "params"], [0]), ValueError,
        "state dict, group 0: 1 parameters, expected 2",
    ),
    "group without params": (
        remove("param_groups", 0, "params"), TypeError, "group 0: must be a dict with 'params'"
    ),
    "group is None": (
        change(["param_groups", 1], None), TypeError, "group 1: must be a dict with 'params'"
    ),
    "an unknown hyperparameter": (
        change(["param_groups", 0, "nesterov"], True), TypeError,
        "state dict, group 0: nadam has no hyperparameter 'nesterov'",
    ),
    "a wrong hyperparameter": (
        change(["param_groups", 1, "lr"], math.nan), ValueError,
        "state dict, group 1: lr must be finite, not nan",
    ),
    "another structure": (
        change(["param_groups", 0, "decoupled_weight_decay"], True), ValueError,
        "state dict, group 0: decoupled_weight_decay was False when the optimizer was made",
    ),
    "more parameters": (
        change(["state", 3], {}), ValueError,
        r"the state dict has state for parameters \[3\]; this optimizer has 3",
    ),
    "shape": (
        change(["state", 2, "exp_avg"], np.ones(5)), ValueError,
        r"state dict, group\[1\]: exp_avg has shape \(5,\); expected \(4,\)",
    ),
    "complex": (
        change(["state", 1, "exp_avg"], np.ones((2, 3), complex)), TypeError,
        r"state dict, group\[0\]\[1\]: exp_avg has dtype complex128; expected float32",
    ),
    "text": (
        change(["state", 0, "exp_avg"], np.array(["a", "b"])), TypeError,
        "exp_avg has dtype <U1; expected float64",
    ),
    "objects": (
        change(["state", 0, "exp_avg"], np.array([None, 1])), TypeError,
        "exp_avg has dtype object; expected float64",
    ),
    "a missing array": (remove("state", 0, "exp_avg"), ValueError, rf"group\[0\]\[0\]: {HAS}"),
    "a missing carry": (remove("state", 0, "mu_product"), ValueError, HAS),
    "a missing step": (remove("state", 0, "step"), ValueError, HAS),
    "an extra array": (change(["state", 0, "max"], np.ones(2)), ValueError, HAS),
    "half a step": (
        change(["state", 0, "step"], 1.5), ValueError, "step is 1.5; expected a whole number"
    ),
    "a negative step": (change(["state", 0, "step"], -1), ValueError, "step is -1; expected a wh"),
    "no number of steps": (
        change(["state", 0, "step"], math.nan), ValueError, "step is nan; expected a whole number"
    ),
    "an infinite step": (change(["state", 0, "step"], math.inf), ValueError, "step is inf; expe"),
    "more steps than there can be": (
        change(["state", 0, "step"], 1e308), ValueError, r"step is 1e\+308; expected a whole number"
    ),
    "step is a boolean": (
        change(["state", 0, "step"], True), TypeError, "step is True; expected a number"
    ),
    "step is a number in text": (
        change(["state", 0, "step"], "1"), TypeError, "step is '1'; expected a number"
    ),
    "carry is a number in text": (
        change(["state", 0, "mu_product"], "0.5"), TypeError, "mu_product is '0.5'; expected a num"
    ),
    "a count is a boolean": (
        change(["steps_taken"], True), ValueError, "steps_taken is True; expected a whole number"
    ),
    "a count beyond all": (
        change(["skipped_steps"], 10**400), ValueError, "skipped_steps is 10*; expected a whole"
    ),
    "step is text": (change(["state", 0, "step"], "1?"), TypeError, "step is '1.'; expected a n"),
    "carry is None": (
        change(["state", 0, "mu_product"], None), TypeError, "mu_product is None; expected a number"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SNAPSHOTS)
def test_a_state_dict_that_does_not_fit_is_refused(name, backend):
    spoil, error, message = WRONG_SNAPSHOTS[name]
    optimizer = stepped(backend)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 0.5
    saved["state"][0]["exp_avg"] = np.full(2, 7.0)
    spoil(saved)
    lr = optimizer.param_groups[0]["lr"]
    with refused(optimizer, error, message):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == lr


def test_control_without_the_fault_the_state_dict_is_loaded(backend):
    optimizer = stepped(backend)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 0.5
    saved["state"][0]["exp_avg"] = np.full(2, 7.0)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.state[0]["exp_avg"].tolist() == [7.0, 7.0]


def test_what_is_not_a_state_dict_is_refused(backend):
    optimizer = stepped(backend)
    for wrong in (None, [], "state", {}):
        with refused(optimizer, TypeError, "a state dict has 'state' and 'param_groups', not "):
            optimizer.load_state_dict(wrong)


# ---- rules of one's own


def lr_only(xp, step, carry, h):
    return dict(lr=h.lr), carry


def momentum(xp, s, param, grad, buffer):
    return param - s.lr * grad, buffer + grad


def rule(update=momentum, scalars=lr_only, **more):
    return ss.Rule("own", scalars, update, defaults=dict(lr=0.1), **more)


def test_a_rule_of_one_s_own_runs(backend):
    param = np.ones(3)
    ss.Optimizer(rule(), param, backend=backend).step(np.ones(3))
    assert param.tolist() == [0.9] * 3


def refuses(wrong, error, message, backend):
    """Whoever makes an optimizer, or uses the functional form, is told at once."""
    params = [np.ones(3, np.float32), np.ones(40_000)]
    for attempt in (lambda: ss.Optimizer(wrong, params, backend=backend),) * 2 + (
        lambda: wrong.init(params, backend=backend),
    ):
        with pytest.raises(error, match=message):
            attempt()


@pytest.mark.parametrize("count", [1, 3])
def test_an_update_that_returns_the_wrong_number_of_values_is_refused(count, backend):
    def update(xp, s, param, grad, buffer):
        return (param, buffer, grad)[:count] if count > 1 else param

    message = f"rule 'own': update must return param, buffer; it returned {count} values"
    refuses(rule(update), TypeError, message, backend)


def test_numbers_of_numpy_are_refused(backend):
    """Printed rules have one dtype only; a float64 NumPy scalar would widen float32."""

    def update(xp, s, param, grad, buffer):
        return param - s.lr * grad, buffer + np.float64(0.1) * grad

    message = (
        r"rule 'own': numpy.multiply is not for rules, nor are numbers of NumPy's: write float"
    )
    refuses(rule(update), TypeError, message, backend)


def test_an_update_with_control_flow_on_values_is_refused_with_advice(backend):
    def update(xp, s, param, grad, buffer):
        if grad > 0:
            buffer = buffer + grad
        return param - s.lr * buffer, buffer

    advice = (
        r"no truth value: a rule has no control flow on values; use xp.where\(condition, a, b\)"
    )
    with pytest.raises(TypeError, match=advice):
        ss.emit(rule(update), "c")
    refuses(rule(update), TypeError, advice, backend)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda xp, s, p, g: p if bool(g) else g, "no truth value"),
        (lambda xp, s, p, g: p - max(p, g), "no truth value"),
        (lambda xp, s, p, g: p if p < g < p else g, "no truth value"),
        (lambda xp, s, p, g: p - next(iter(g)), "cannot be unpacked or iterated over"),
        (lambda xp, s, p, g: p - np.sqrt(g), "numpy.sqrt is not for rules"),
        (lambda xp, s, p, g: p - (p > 0) * g, "comparisons are for the condition of xp.where"),
        (lambda xp, s, p, g: xp.where(g, p, g), "comparisons are for the condition of xp.where"),
        (lambda xp, s, p, g: p + "1", "a rule computes with numbers and its arguments only"),
        (lambda xp, s, p, g: p - np.ones(3) * g, "numpy.multiply is not for rules"),
        (lambda xp, s, p, g: p - g * np.float64(2), "a rule computes with numbers and its argum"),
        (lambda xp, s, p, g: xp.sum(s.lr), "cannot sum per tensor a value that exists per scalar"),
    ],
)
def test_what_cannot_be_printed_is_refused_by_the_tracer(text, message):
    def update(xp, s, param, grad):
        return text(xp, s, param, grad)

    with pytest.raises(TypeError, match=message):
        ss.emit(rule(update), "c")


def test_a_scalar_that_does_not_exist_is_named():
    def update(xp, s, param, grad):
        return param - s.step_size * grad

    with pytest.raises(TypeError, match=r"'own': update uses s\.step_size, which scalars does"):
        ss.emit(rule(update), "c")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda h, c: dict(lr=h.lr), "scalars must return a dict and the carry, not {'lr'"),
        (lambda h, c: (h.lr, c), "scalars must return a dict and the carry, not "),
        (lambda h, c: (dict(lr=h.lr), None), "scalars returned the carry None.*; the rule decl"),
        (
            lambda h, c: (dict(lr=h.lr), {}),
            r"scalars returned the carry \[\].*; the rule declares \[",
        ),
        (
            lambda h, c: (dict(lr=h.lr), dict(total=1.0, count=1.0)),
            r"scalars returned the carry \['count', 'total'\].*; the rule declares \['total'\]",
        ),
    ],
)
def test_scalars_that_return_something_else_are_refused(result, message, backend):
    wrong = rule(scalars=lambda xp, step, carry, h: result(h, carry), carry=dict(total=0.0))
    refuses(wrong, TypeError, f"rule 'own': {message}", backend)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_carry_is_carried_whether_it_is_changed_in_place_or_returned_anew(in_place, backend):
    def scalars(xp, step, carry, h):
        if not in_place:
            carry = SimpleNamespace(total=carry.total)
        carry.total = carry.total + h.lr
        return dict(lr=carry.total), carry

    optimizer = ss.Optimizer(
        rule(scalars=scalars, carry=dict(total=0.0)), [np.zeros(1)], lr=0.5, backend=backend
    )
    for _ in range(3):
        optimizer.step([np.ones(1)])
    assert snapshot(optimizer)["total 0"] == 1.5
    assert snapshot(optimizer)["param 0"].tolist() == [-3.0]


def test_a_rule_is_checked_when_it_is_made():
    def no_grad(xp, s, param):
        return param

    with pytest.raises(TypeError, match=r"rule 'own': update must take \(xp, s, param, grad, \*st"):
        rule(no_grad)
    with pytest.raises(TypeError, match=r"rule 'own': initial names unknown state \['bufer'\]"):
        rule(initial=dict(bufer=1.0))
    with pytest.raises(TypeError, match=r"rule 'own': per names unknown state \['bufer'\]"):
        rule(per=dict(bufer="row"))
    with pytest.raises(
        ValueError, match="a rule's name must be an identifier in ASCII, not 'my rule'"
    ):
        ss.Rule("my rule", lr_only, momentum, defaults=dict(lr=0.1))
