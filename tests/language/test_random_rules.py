"""Random rules: every target gives the reference's bits, whatever a rule's text calls its values.

Printed Numba runs in Python's interpreter, printed C is compiled many rules at a time; compiled
backends take a few rules. ``SAMESTEP_TEST=everything`` runs more of them.
"""

from __future__ import annotations

import inspect
import os
import textwrap

import interpreted_numba
import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer, compile_together
from conftest import UNDER_TEST
from helpers import off, on, step
from random_rules import Text
from samestep.golden.compare import first_difference
from samestep.printing.expressions import Expressions
from sampling import EVERYTHING

FIRST = int(os.environ.get("SAMESTEP_TEST_SEED", "0"))
RULES, COMPILED = (2000, 60) if EVERYTHING else (120, 3)
BATCH = 40  # rules in one C file
SHAPES = [(5, 7), (5, 7), (1, 9), (66, 3), (4, 300), (6,), ()]


class Case:
    """A random rule, its inputs, and what the reference makes of them."""

    def __init__(self, seed: int) -> None:
        text = Text(seed)
        self.seed, self.rule, self.text = seed, text.rule(), text.text
        rng = np.random.default_rng(seed)
        self.dtype = ("float32", "float64")[seed // BATCH % 2]
        shape = SHAPES[seed % len(SHAPES)]
        # a C optimizer of a matrix rule takes matrices only
        shape = shape if len(shape) == 2 or not text.matrix else (6, 1)
        self.start, *self.grads = (
            np.asarray(rng.standard_normal(shape).astype(self.dtype)) for _ in range(3)
        )
        self.expected = self.run("numpy")

    def run(self, backend: str) -> dict[str, np.ndarray]:
        param = on(backend, self.start.copy())
        optimizer = ss.Optimizer(self.rule, [param], backend=backend)
        for grad in self.grads:
            step(optimizer, [grad])
        return {"param": off(backend, param), **off(backend, optimizer.state[0])}

    def run_c(self, library, folder) -> dict[str, np.ndarray]:
        param = self.start.copy()
        optimizer = COptimizer(self.rule, param, folder, library=library)
        for grad in self.grads:
            optimizer.step(grad)
        return {"param": param, **optimizer.state}

    def difference(self, found: dict[str, np.ndarray]) -> str | None:
        for name, expected in self.expected.items():
            if (difference := first_difference(found[name], expected)) is not None:
                return f"rule of seed {self.seed}, {name}: {difference}\n{self.text}"
        return None


def cases(count: int, first: int = FIRST) -> list[Case]:
    return [Case(seed) for seed in range(first, first + count)]


def test_the_random_rules_are_worth_running():
    """They reduce, keep state of all kinds, reuse names, and most of what they compute is
    finite."""
    some = cases(100, 0)
    kinds = {per for case in some for per in case.rule.per.values()}
    finite = [np.isfinite(case.expected["param"]).all() for case in some]
    changed = [not np.array_equal(case.expected["param"], case.start) for case in some]
    assert kinds == {"row", "column", "tensor"}
    assert sum(finite) > 60
    assert sum(changed) > 90
    assert sum("xp.sum" in c.text or "xp.norm" in c.text for c in some) > 30


@pytest.mark.parametrize("first", range(FIRST, FIRST + RULES, BATCH))
def test_printed_c(first, tmp_path):
    batch = cases(BATCH, first)
    (dtype,) = {case.dtype for case in batch}
    library = compile_together([case.rule for case in batch], dtype, tmp_path)
    found = [case.difference(case.run_c(library, tmp_path)) for case in batch]
    assert not any(found), "\n\n".join(filter(None, found))


@pytest.fixture
def interpreted(monkeypatch):
    numba = pytest.importorskip("samestep.backends.numba")
    monkeypatch.setattr(numba.source_cache, "load", interpreted_numba.load)
    monkeypatch.setattr(numba, "CompiledArrays", numba.HostArrays)


def differences(count: int, first: int, backend: str) -> list[str]:
    """Of each rule that differs what does, or what was raised."""
    found = []
    with np.errstate(all="ignore"):
        for case in cases(count, first):
            try:
                found.append(case.difference(case.run(backend)))
            except Exception as error:
                found.append(f"rule of seed {case.seed}: {error!r}\n{case.text}")
    return [difference for difference in found if difference]


def test_printed_numba(interpreted):
    assert not (found := differences(RULES, FIRST, "numba")), "\n\n".join(found)


@pytest.mark.parametrize(
    "backend", [b for b in UNDER_TEST if b in ("torch:foreach", "torch:forloop")]
)
def test_torch(backend):
    assert not (found := differences(RULES, FIRST, backend)), "\n\n".join(found)


@pytest.mark.whole
@pytest.mark.parametrize("backend", [b for b in UNDER_TEST if b in ("numba", "cupy")])
def test_compiled_backends(backend):
    assert not (found := differences(COMPILED, FIRST, backend)), "\n\n".join(found)


@pytest.mark.parametrize(
    ("printer", "method", "fix", "without"),
    [
        (Expressions, "assignments", " and key in inside", ""),
        (Expressions, "new_name", "while name in self.taken:", "while False:"),
    ],
    ids=["a value from outside the loop is overwritten", "a value has a name that is taken"],
)
def test_control_a_fix_taken_out_is_noticed(
    printer, method, fix, without, interpreted, monkeypatch
):
    text = textwrap.dedent(inspect.getsource(getattr(printer, method)))
    assert fix in text
    space = dict(inspect.getmodule(printer).__dict__)
    exec("from __future__ import annotations\n" + text.replace(fix, without), space)
    monkeypatch.setattr(printer, method, space[method])
    assert differences(120, 0, "numba")
