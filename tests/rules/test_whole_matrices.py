"""Rules with square or thin states have the same bits on all backends in host memory, whatever else
is there."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import off, on
from matrices import SHAPES, normal, stepped
from samestep.golden.compare import assert_same_bits
from test_dion import OPTIONS as DION
from test_galore import OPTIONS as GALORE
from test_psgd_kron import OPTIONS as PSGD_KRON
from test_shampoo import OPTIONS as SHAMPOO
from test_soap import OPTIONS as SOAP

MORE = [*SHAPES, (9, 4)]
RULES = {
    "shampoo": (ss.Shampoo, {**SHAMPOO, "precondition_frequency": 2}),
    "shampoo_grafting": (
        ss.Shampoo,
        {**SHAMPOO, "precondition_frequency": 2, "grafting_beta2": 0.9},
    ),
    "soap": (ss.SOAP, SOAP),
    "psgd_kron": (ss.PSGDKron, PSGD_KRON),
    "dion": (ss.Dion, DION),
    "galore": (ss.GaLore, GALORE),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
def test_all_backends_in_host_memory_have_the_same_bits(rule, dtype, other_backend):
    expected = stepped(*RULES[rule], "numpy", MORE, dtype)
    for found, param in zip(
        stepped(*RULES[rule], other_backend, MORE, dtype), expected, strict=True
    ):
        assert_same_bits(found, param)


@pytest.mark.parametrize("rule", RULES)
def test_bits_do_not_depend_on_what_else_is_there(rule, any_backend):
    make, options = RULES[rule]
    together = stepped(make, options, any_backend, MORE)
    for i in (0, 1, 3, 5):
        params = on(any_backend, [normal(1, MORE)[i]])
        optimizer = make(params, backend=any_backend, **options)
        for k in range(6):
            optimizer.step(on(any_backend, [normal(10 + k, MORE)[i]]))
        assert_same_bits(off(any_backend, params)[0], together[i])
