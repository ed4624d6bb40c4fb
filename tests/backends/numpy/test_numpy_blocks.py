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


def in_turns(arrays):
    return [arrays[0::2], arrays[1::2]]


def in_halves(arrays):
    return [arrays[:5], arrays[5:]]


def optimizer(rule, params, grouped, **hyper):
    """Return an optimizer of two groups with two learning rates."""
    groups = [{"params": p, "lr": lr} for p, lr in zip(grouped(params), (0.1, 0.01), strict=True)]
    return ss.Optimizer(rule, groups, backend="numpy", clip_value=0.9, **hyper)


@pytest.mark.parametrize("grouped", [in_turns, in_halves])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["adamw", "nadam", "rprop", "lamb"])
def test_tensors_together_have_the_bits_of_each_alone(rule, dtype, grouped, monkeypatch):
    optimizers = [optimizer(rule, arrays(dtype, 0), grouped) for _ in range(2)]
    for step in range(3):
        grads = arrays(dtype, 1 + step)
        if step == 1:
            grads[0] = grads[6] = None  # afterwards their step counts are others
        given = grouped(grads)
        optimizers[0].step(given)
        with monkeypatch.context() as patch:
            patch.setattr(elementwise, "SMALL", 0)
            optimizers[1].step(given)
    assert_same(*map(snapshot, optimizers))


def ones(count, dtype=np.float32):
    return [np.ones(1000, dtype) for _ in range(count)]


def sgd(params, **hyper):
    return ss.SGD(params, lr=0.5, momentum=0.5, backend="numpy", **hyper)


def joined(opt):
    """Return for each block whether its parameters, and their states, are updated where they
    lie."""
    launch = next(iter(opt._run.stepping._work.updates))._launch
    return [[array is not None for array in block.joined] for block in launch.together]


@pytest.mark.parametrize(
    ("dtype", "hyper"),
    [("float32", {}), ("float32", {"state_dtype": "bfloat16"}), ("complex64", {})],
)
def test_states_of_small_tensors_are_updated_where_they_lie(dtype, hyper):
    opt = sgd(ones(200, dtype), **hyper)
    held = [state["momentum_buffer"] for state in opt.state]
    opt.load_state_dict(opt.state_dict())  # writes into the same memory
    for _ in range(2):
        opt.step(ones(200, dtype))
        assert joined(opt) == [[False, True]] * len(joined(opt))
    assert all(
        mine is state["momentum_buffer"] for mine, state in zip(held, opt.state, strict=True)
    )
    assert all((buffer == 1.5).all() for buffer in held)


def test_parameters_that_are_one_vector_are_updated_where_they_lie():
    whole = np.ones((100, 1000), np.float32)
    opt = sgd(list(whole))
    opt.step(ones(100))
    assert joined(opt) == [[True, True]] * len(joined(opt))
    assert (whole == 0.5).all()


def test_states_between_which_one_has_no_gradient_are_gathered():
    opt = sgd(ones(9))
    opt.step([None if k == 4 else grad for k, grad in enumerate(ones(9))])
    assert joined(opt) == [[False, False]]
    buffers = [state["momentum_buffer"].max() for state in opt.state]
    assert buffers == [1, 1, 1, 1, 0, 1, 1, 1, 1]


WHOLE = np.arange(24, dtype=np.float32)
APART = {
    "a gap": [WHOLE[:4], WHOLE[5:8]],
    "another order": [WHOLE[4:8], WHOLE[:4]],
    "other arrays": [WHOLE[:4].copy(), WHOLE[4:8].copy()],
}


@pytest.mark.parametrize("pieces", [[WHOLE[2:5], WHOLE[5:6], WHOLE[6:]], [WHOLE[3:5]]])
def test_what_lies_side_by_side_is_seen_as_one_vector(pieces):
    seen = elementwise.side_by_side(pieces)
    assert np.shares_memory(seen, WHOLE)
    assert seen.tolist() == np.concatenate(pieces).tolist()


@pytest.mark.parametrize("pieces", APART.values(), ids=APART)
def test_what_lies_apart_is_not(pieces):
    assert elementwise.side_by_side(pieces) is None


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
