"""Small tensors share blocks on the NumPy reference, which changes no bit; and memory is kept."""

import sys
from collections import deque

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, run_python, snapshot
from samestep.backends.numpy import elementwise
from samestep.backends.numpy.elementwise import BLOCK, SMALL

FEW, MANY = SMALL // 4, BLOCK // 4  # elements of float32

SIZES = [3, 0, 1, FEW - 1, FEW, MANY + 5, 700, 2, 9_000, 9_000]
DTYPES = ["float32", "float64", "float16", "complex64"]


def arrays(dtype, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(size).astype(dtype) for size in SIZES]


def optimizer(rule, params):
    """Return an optimizer with two learning rates; the groups take turns."""
    groups = [{"params": params[0::2], "lr": 0.1}, {"params": params[1::2], "lr": 0.01}]
    return ss.Optimizer(rule, groups, backend="numpy", clip_value=0.9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["adamw", "nadam", "rprop", "lamb"])
def test_tensors_together_have_the_bits_of_each_alone(rule, dtype, monkeypatch):
    optimizers = [optimizer(rule, arrays(dtype, 0)) for _ in range(2)]
    for step in range(3):
        grads = arrays(dtype, 1 + step)
        if step == 1:
            grads[0] = grads[6] = None  # afterwards their step counts are others
        given = [grads[0::2], grads[1::2]]
        optimizers[0].step(given)
        with monkeypatch.context() as patch:
            patch.setattr(elementwise, "SMALL", 0)
            optimizers[1].step(given)
    assert_same(*map(snapshot, optimizers))


def test_the_text_runs_once_a_block():
    calls = deque()  # a list is refused

    def update(xp, s, param, grad, before):
        calls.append(param)
        return param - s.lr * grad, s.lr  # a state that is one number

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    rule = ss.Rule("counted", scalars, update, defaults=dict(lr=0.5))
    params = [np.ones(1000, np.float32) for _ in range(100)]
    opt = ss.Optimizer(rule, params, backend="numpy")
    calls.clear()  # it was traced
    opt.step([np.ones(1000, np.float32)] * 100)
    assert len(calls) == -(-100_000 // MANY)
    assert all((p == 0.5).all() for p in params)
    assert all((state["before"] == 0.5).all() for state in opt.state)


FAULTS = """
import resource
import numpy as np, samestep as ss
p, g = np.ones(1_000_000), np.ones(1_000_000)
opt = ss.AdamW([p], backend="numpy")
for _ in range(3):
    opt.step([g])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
opt.step([g])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults of glibc")
def test_temporaries_take_memory_that_is_there():
    """A block's temporaries are those of the block before: 28,000 page faults otherwise."""
    assert int(run_python(FAULTS)) < 1000
