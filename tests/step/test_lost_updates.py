"""The warning where rounding loses the updates of 16-bit parameters."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import samestep as ss
from helpers import on, step
from samestep.language.dtypes import numpy_dtype
from samestep.step.lost_updates import LOOKED_AT


def run(backend: str, steps: int, dtype: str = "bfloat16", **hyper) -> ss.Optimizer:
    """``a`` moves at every step, since it is small, and ``b`` does not."""
    storage = numpy_dtype(dtype)
    start = {"a": np.full(3, 1e-3), "b": np.ones(600)}
    params = on(backend, {name: array.astype(storage) for name, array in start.items()})
    grads = {"a": np.zeros(3, storage), "b": np.ones(600, storage)}
    optimizer = ss.SGD(params, backend=backend, **{"lr": 1e-3, **hyper})
    for _ in range(steps):
        step(optimizer, grads)
    return optimizer


def test_it_warns_once_before_anything_of_a_step_is_changed(backend):
    optimizer = run(backend, LOOKED_AT)
    grads = on(backend, {"a": np.zeros(3, np.float32), "b": np.ones(600, np.float32)})
    with pytest.warns(UserWarning, match="rounding loses most updates") as told:
        optimizer.step(grads)
    assert told[0].filename == __file__
    assert optimizer.steps_taken == LOOKED_AT + 1
    for _ in range(2 * LOOKED_AT):
        optimizer.step(grads)


def test_an_error_made_of_the_warning_changes_nothing():
    optimizer = run("numpy", LOOKED_AT)
    before = optimizer.state_dict()
    grads = {"a": np.ones(3, np.float32), "b": np.ones(600, np.float32)}
    with pytest.raises(UserWarning, match=r"of 256 elements .* params\['b'\]"):  # as here
        optimizer.step(grads)
    assert (optimizer.param_groups[0]["params"]["a"] == numpy_dtype("bfloat16").type(1e-3)).all()
    assert optimizer.state_dict() == before
    optimizer.step(grads)  # it has been told


@pytest.mark.parametrize(
    "hyper",
    [
        dict(master="float32"),
        dict(compensated=True),
        dict(rounding="stochastic"),
        dict(warn_lost_updates=False),
        dict(lr=0.01),  # large enough
        dict(lr=0.0),  # none is wanted
        dict(dtype="float32"),
    ],
    ids=str,
)
def test_nothing_is_told_where_nothing_is_lost(hyper):
    run("numpy", 2 * LOOKED_AT, **hyper)


def test_nothing_is_told_where_it_is_switched_off_later():
    optimizer = run("numpy", 1)
    optimizer.warn_lost_updates = False
    for _ in range(2 * LOOKED_AT):
        optimizer.step({"a": None, "b": np.ones(600, np.float32)})


def test_the_classes_for_pytorch_warn_too():
    torch = pytest.importorskip("torch")
    st = pytest.importorskip("samestep.torch")
    for loud in (True, False):
        param = torch.nn.Parameter(torch.ones(5, dtype=torch.bfloat16))
        optimizer = st.AdamW([param], lr=1e-4, warn_lost_updates=loud)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(LOOKED_AT + 1):
                param.grad = torch.ones_like(param)
                optimizer.step()
        assert [each.filename for each in told] == [__file__] * loud
