"""Parameters up to infinity with finite gradients up to the largest: what is NaN or infinite after
some steps is so in torch.optim, too. ``0 * inf`` and ``inf - inf`` hide where a number was
forgotten."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import samestep as ss
import torch

LARGEST = float(np.finfo(np.float32).max)
PARAMS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-45,
    1e-39,
    1e30,
    -1e30,
    LARGEST,
    -LARGEST,
    np.inf,
    -np.inf,
    np.nan,
]
GRADS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-20, -1e-30, 1e10, 1e19, 1e25, LARGEST, -LARGEST]
PAIRS = np.array(list(itertools.product(PARAMS, GRADS)), np.float32)
CASES = [
    ("SGD", {}),
    ("SGD", dict(weight_decay=0.1, maximize=True)),
    ("SGD", dict(momentum=0.9, dampening=0.5)),
    ("SGD", dict(momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("Adam", dict(weight_decay=0.1)),
    ("Adam", dict(amsgrad=True, maximize=True)),
    ("AdamW", {}),
    ("AdamW", dict(weight_decay=0.0, amsgrad=True)),
    ("RMSprop", dict(weight_decay=0.1)),
    ("RMSprop", dict(momentum=0.9)),
    ("RMSprop", dict(centered=True)),
    ("RMSprop", dict(centered=True, momentum=0.9, weight_decay=0.1)),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("NAdam", dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("RAdam", {}),
    ("RAdam", dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("Rprop", {}),
    ("ASGD", {}),
    ("ASGD", dict(t0=0)),
]


def badness(array: np.ndarray) -> np.ndarray:
    """0 for a number, 1 for an infinity, 2 for NaN."""
    return np.isinf(array) + 2 * np.isnan(array)


def steps(name: str, hyper: dict, number: int = 4) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = PAIRS[:, 0].copy(), torch.tensor(PAIRS[:, 0])
    optimizer = getattr(ss, name)([ours], backend="numpy", **hyper)
    other = getattr(torch.optim, name)([theirs], foreach=False, **hyper)
    for _ in range(number):
        theirs.grad = torch.tensor(PAIRS[:, 1])
        optimizer.step([PAIRS[:, 1].copy()])
        other.step()
    return ours, theirs.numpy()


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=str)
def test_nothing_is_worse_than_in_torch(name, hyper):
    ours, theirs = steps(name, hyper)
    assert (badness(ours) <= badness(theirs)).all()
    infinite = np.isinf(PAIRS[:, 0])
    overflows = np.abs(PAIRS[:, 1]) > 1e25  # a step of which may be infinite, too
    stays = ours[infinite & ~overflows] == PAIRS[infinite & ~overflows, 0]
    assert stays.all()


@pytest.mark.parametrize(
    "settings",
    [dict(clip_value=1e30), dict(clip_norm=LARGEST), dict(maximize=True), dict(clip_norm=1.0)],
    ids=str,
)
def test_no_setting_makes_a_nan(settings, backend):
    """Each pair is a parameter of its own, so that a norm is that of one element."""
    given = PAIRS[~np.isnan(PAIRS[:, 0])]
    params = [np.array(pair[:1]) for pair in given]
    optimizer = ss.AdamW(params, backend=backend, **settings)
    for _ in range(2):
        optimizer.step([np.array(pair[1:]) for pair in given])
    assert not np.isnan(np.concatenate(params)).any()
    assert (np.isinf(np.concatenate(params)) == np.isinf(given[:, 0])).all()


@pytest.mark.parametrize(
    ("rule", "param", "grad", "after"),
    [
        ("lamb", 4e19, 1, -np.inf),
        ("lamb", 1, 4e19, 1 - 1e-3),
        ("lars", 4e19, 1, np.nan),
        ("lars", 1, 4e19, 1),
        ("novograd", 1, 4e19, 1),
        ("adafactor", 4e19, 1, np.nan),
        ("adafactor", 1, 4e19, np.nan),
        ("stableadamw", 1, 4e19, 1 - 1e-5),
        ("mars_adamw", 1, 4e19, 1),
        ("madgrad", 1, 4e19, 1),
        ("ftrl", 1, 4e19, np.nan),
        ("adam_mini", 1, 4e19, 1),
        ("came", 1, 4e19, np.nan),
        ("apollo_mini", 1, 4e19, 1),
        ("stableadamw", 1, np.inf, np.nan),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_that_overflow_do_what_the_rules_pages_say(rule, param, grad, after, dtype, backend):
    """A norm of 8e19 is infinite in float32, and not in float64."""
    params = np.full((2, 2), param, dtype)
    ss.Optimizer(rule, [params], backend=backend).step([np.full((2, 2), grad, dtype)])
    if dtype == "float32" or np.isinf(grad):
        assert np.array_equal(params, np.full((2, 2), after, dtype), equal_nan=True)
    else:
        assert np.isfinite(params).all()
        assert (params != param).all()


def test_a_gradient_whose_norm_overflows_is_clipped_by_the_norm_of_all_only(backend):
    for setting, after in ((dict(clip_norm=1.0), 1.0), (dict(clip_global_norm=1.0), 0.5)):
        params = np.ones(4, np.float32)
        optimizer = ss.SGD([params], lr=1.0, backend=backend, **setting)
        optimizer.step([np.full(4, 4e19, np.float32)])
        assert params.tolist() == [after] * 4


def test_control_a_decay_of_infinities_is_noticed(monkeypatch):
    decayed = ss.Rule(
        "decayed",
        lambda xp, step, carry, h: (dict(lr=h.lr), carry),
        lambda xp, s, param, grad: param - s.lr * (grad + 0 * param),
        defaults=dict(lr=0.1),
    )
    monkeypatch.setattr(
        ss, "SGD", lambda params, backend: ss.Optimizer(decayed, params, backend=backend)
    )
    with pytest.raises(AssertionError):
        test_nothing_is_worse_than_in_torch("SGD", {})
