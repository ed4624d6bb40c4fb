"""The riskiest part of the design, as a test: scalars with a carry, a threshold, reductions over
tensors, rows and columns. Written once, run by NumPy and printed as Numba and as C, with
hyperparameters changed on the way, a skipped step and a resume: the bits are equal."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from samestep.golden.compare import same_bits
from samestep.language.passes import program
from variants import variants

CASES = [
    ("sgd", dict(lr=0.1, momentum=0.9, dampening=0.3), dict(momentum=0.5)),
    ("nadam", dict(lr=0.1), dict(betas=(0.8, 0.95))),
    ("radam", dict(lr=0.1, betas=(0.9, 0.99)), dict(betas=(0.8, 0.95))),
    ("asgd", dict(lr=0.1, lambd=0.1, t0=2.0), dict(alpha=0.5)),
    ("lamb", dict(lr=0.1), dict(betas=(0.8, 0.95))),
    ("lars", dict(weight_decay=0.1), dict(momentum=0.5)),
    ("novograd", dict(lr=0.1), dict(betas=(0.8, 0.95))),
    ("adafactor", dict(lr=0.5, beta1=0.5), dict(eps=(1e-3, 2.0), relative_step=False)),
]
# one element, one line, more than a strip of rows, more than a chunk of elements, more axes, fewer
SHAPES = [(1, 1), (1, 700), (150, 3), (70, 1000), (65, 2, 5, 30), (90, 1), (40,), ()]


def gradient(step, shape, dtype):
    rng = np.random.default_rng(step)
    return np.asarray(rng.standard_normal(shape), dtype)


def run_ours(rule, hyper, change, dtype, backend):
    """Steps 1 to 9 with a change before step 5, no gradient for the first tensor at step 3, and
    a new optimizer from a snapshot before step 7."""
    params = [gradient(100, shape, dtype) for shape in SHAPES]
    optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
    for step in range(1, 10):
        if step == 5:
            optimizer.param_groups[0].update(change)
        if step == 7:
            snapshot = optimizer.state_dict()
            optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
            optimizer.load_state_dict(snapshot)
        grads = [gradient(step, shape, dtype) for shape in SHAPES]
        if step == 3:
            grads[0] = None
        optimizer.step(grads)
    return params, optimizer.state


def run_c(rule, hyper, change, dtype, folder):
    params = [gradient(100, shape, dtype) for shape in SHAPES]
    optimizers = [COptimizer(rule, param, folder, **hyper) for param in params]
    for step in range(1, 10):
        for i, (optimizer, shape) in enumerate(zip(optimizers, SHAPES, strict=True)):
            if step == 5:
                optimizer.hyper.update(change)
            if step != 3 or i != 0:
                optimizer.step(gradient(step, shape, dtype))
    return params, [optimizer.state for optimizer in optimizers]


def assert_same(ours, theirs):
    for param, other in zip(ours[0], theirs[0], strict=True):
        assert same_bits(param, other)
    for state, other in zip(ours[1], theirs[1], strict=True):
        assert state.keys() == other.keys()
        for name, values in state.items():
            assert same_bits(values, other[name]), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rule", "hyper", "change"), CASES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_numpy_numba_and_c_agree(rule, hyper, change, dtype, backend, libraries):
    reference = run_ours(rule, hyper, change, dtype, "numpy")
    assert np.isfinite(reference[0][3]).all()
    assert_same(run_ours(rule, hyper, change, dtype, backend), reference)
    assert_same(run_c(rule, hyper, change, dtype, libraries), reference)


def test_a_missed_change_would_be_noticed(libraries):
    rule, hyper, change = CASES[1]
    reference = run_ours(rule, hyper, change, "float32", "numpy")
    unchanged = run_ours(rule, hyper, {}, "float32", "numpy")
    with pytest.raises(AssertionError):
        assert_same(unchanged, reference)


LEAST = {
    "adamw": (4, 3),  # 28 bytes a float32 parameter
    "lamb": (7, 3),  # 40: two passes; the second reads the new moments instead of the gradient
    "lars_no_momentum": (4, 1),
    "lars": (5, 2),
    "lars_nesterov": (5, 2),
    "novograd": (4, 2),  # 24: the first of two passes reads the gradient only
    "adafactor": (5, 1),  # 24: three passes; the second reads the gradient only
    "adafactor_beta1": (6, 2),
    "adafactor_no_scale_parameter": (4, 1),
    "adafactor_no_scale_parameter_beta1": (5, 2),
    "adafactor_no_factored": (6, 2),  # two passes
    "adafactor_no_factored_no_scale_parameter": (5, 2),
}


@pytest.mark.parametrize("label", LEAST)
def test_passes_move_as_few_bytes_as_the_algorithm_allows(label):
    """Arrays of the parameter's size read and written over all passes."""
    (rule,) = (rule for rule in variants() if rule.label == label)
    assert program(rule).traffic == LEAST[label]
