"""An infinite parameter stays what it is, such as a logit that is masked by -inf, and hurts no
other element: with weight decay and without, in every variant of every rule."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot, step
from variants import options_of, variants

RULES = {rule.label: rule for rule in variants()}
INFINITE = np.zeros((3, 5), bool)
INFINITE[0, 1], INFINITE[2, 3] = True, True


def parameters(dtype: str, masked: float) -> np.ndarray:
    """Ordinary numbers, but ``masked`` and its negative at the places that are `INFINITE`."""
    params = np.linspace(-2, 2, 15).reshape(3, 5).astype(dtype)
    params[0, 1], params[2, 3] = -masked, masked
    return params


def optimizer(rule: ss.Rule, decay: float, params: np.ndarray, backend: str) -> ss.Optimizer:
    hyper = options_of(rule)
    if "weight_decay" in rule.defaults:
        hyper["weight_decay"] = decay
    return ss.Optimizer(rule, [on(backend, params)], backend=backend, **hyper)


@pytest.mark.parametrize("label", RULES)
def test_an_infinite_parameter_stays_and_hurts_no_other(label, any_backend):
    """Norms and means are those of the finite elements: as if 0 stood at the places of others. So
    is the state, where gradients are finite, and what a NaN had touched can be repaired."""
    grad = np.linspace(1, -1, 15).reshape(3, 5).astype(np.float32)
    for decay, masked in [(0.0, np.inf), (0.1, np.inf), (0.1, np.nan)]:
        ours = optimizer(RULES[label], decay, parameters("float32", masked), any_backend)
        zero = optimizer(RULES[label], decay, parameters("float32", 0.0), any_backend)
        step(ours, [grad])
        step(zero, [grad])
        found, expected = snapshot(ours), snapshot(zero)
        # ax is the average of the parameter, z one that goes ahead of it, p0 where it began
        for name in {"param 0", "ax 0", "z 0", "p0 0"} & found.keys():
            places = found[name][INFINITE].tolist()
            assert np.isnan(places).all() if np.isnan(masked) else places == [-np.inf, np.inf]
            found[name], expected[name] = (each[name][~INFINITE] for each in (found, expected))
        assert_same(found, expected)


def test_the_average_of_asgd_becomes_infinite_with_its_parameter(any_backend):
    """After ``t0`` the average moves by a part of its distance, which is inf - inf for an
    infinity."""
    params = on(any_backend, parameters("float32", np.inf))
    asgd = ss.ASGD([params], t0=0, backend=any_backend)
    for _ in range(4):
        step(asgd, [np.ones((3, 5), np.float32)])
    average = off(any_backend, asgd.state[0])["ax"]
    assert (average[0, 1], average[2, 3]) == (-np.inf, np.inf)
    assert np.isfinite(average[~INFINITE]).all()


@pytest.mark.parametrize("codec", ["int8", "int4", "dynamic8"])
@pytest.mark.parametrize("label", [*RULES, "lookahead_adamw"])
def test_an_infinite_parameter_spoils_no_block_of_its_states(label, codec):
    """All numbers of a block share a scale, so what is infinite may not be stored with others."""
    params = parameters("float32", np.inf)
    rule = RULES.get(label) or ss.parts.lookahead(RULES["adamw"])
    ours = ss.Optimizer(rule, [params], backend="numpy", state_dtype=codec, **options_of(rule))
    for _ in range(8):
        step(ours, [np.linspace(1, -1, 15).reshape(3, 5).astype(np.float32)])
    assert params[INFINITE].tolist() == [-np.inf, np.inf]
    assert np.isfinite(params[~INFINITE]).all()
    scales = [array for name, array in ours.state[0].items() if name.endswith("_scale")]
    assert all(np.isfinite(array).all() for array in scales)
