"""A call with a keyword that nothing takes says which one was probably meant."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import samestep as ss
from samestep.language.keywords import known_keywords


def optimizer() -> ss.Adam:
    return ss.Adam(np.ones(3), backend="numpy")


CALLS = {
    "step takes no argument 'gradients'; did you mean 'grads'": lambda: optimizer().step(
        gradients=1
    ),
    "update_hessian takes no argument 'hessian'; did you mean 'estimates'": (
        lambda: ss.Sophia(np.ones(3)).update_hessian(hessian=np.ones(3))
    ),
    "LBFGS takes no argument 'gtol'; did you mean 'tolerance_grad'": (
        lambda: ss.LBFGS(np.ones(3), gtol=1e-3)
    ),
    "LBFGS takes no argument 'maxcor'; did you mean 'history'": (
        lambda: ss.LBFGS(np.ones(3), maxcor=5)
    ),
    "load takes no argument 'lr'; .*are those of the file.*param_groups": (
        lambda: ss.Adam.load("run", np.ones(3), lr=0.1)
    ),
    "Rule takes no argument 'default'; did you mean 'defaults'": lambda: ss.Rule("x", default={}),
    "Interval takes no argument 'hi_open'; did you mean 'high_open'": (
        lambda: ss.Interval(0, 1, hi_open=True)
    ),
    "LossScaler takes no argument 'init_scale'; did you mean 'scale'": (
        lambda: ss.LossScaler(init_scale=2.0)
    ),
}


@pytest.mark.parametrize("message", CALLS)
def test_the_keyword_that_was_meant_is_named(message):
    with pytest.raises(TypeError, match=message):
        CALLS[message]()


def test_control_known_keywords_and_the_signature_stay():
    @known_keywords(advice="; ask")
    def total(first, *, second=2):
        return first + second

    assert total(first=1, second=3) == 4
    assert str(inspect.signature(total)) == "(first, *, second=2)"
    with pytest.raises(
        TypeError, match="total takes no argument 'third'; it takes first, second; ask"
    ):
        total(1, third=3)
