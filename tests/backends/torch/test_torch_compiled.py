"""The compiled implementation: the bits of the golden files for every rule, in float64 of a third
of them unless ``SAMESTEP_TEST=everything``, and no graph is compiled twice."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
import torch
import torch._dynamo
from golden_files import LABELS, NAMES, load
from helpers import assert_same, snapshot
from samestep.backends.torch import operations, work
from samestep.golden.composed import RULES
from samestep.golden.verify import verify_one
from samestep.language import kept
from sampling import EVERYTHING
from variants import DTYPES, values

pytestmark = pytest.mark.whole

BACKEND = "torch:compiled"


@pytest.fixture(autouse=True)
def _no_graph_is_compiled_twice():
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


# graphs of float64 differ in that alone from those of float32: a whole run has those of every third
# label, and of labels that have no others
FLOAT64 = {label for label in LABELS if EVERYTHING or f"{label}.float32" not in NAMES}
FLOAT64 |= {*LABELS[::3]}
FILES = [n for n in NAMES if not n.endswith(".float64") or n.removesuffix(".float64") in FLOAT64]


@pytest.mark.parametrize("label", LABELS)
def test_backend_has_the_bits_of_the_files(label):
    """All dtypes of a rule: those of one compute dtype share their graphs."""
    counted = dict.fromkeys(DTYPES, 0)
    for dtype in [dtype for dtype in DTYPES if f"{label}.{dtype}" in FILES]:
        golden = load(f"{label}.{dtype}")
        before = graphs()
        result = verify_one(golden, RULES[golden.header.base], BACKEND)
        assert result.same, result.differences[0]
        counted[dtype] = graphs() - before
    assert counted["bfloat16"] == counted["float16"] == 0


@pytest.mark.parametrize("rule", ["adamw", "lamb", "adafactor"])
def test_nothing_is_compiled_again_for_other_numbers_and_tensors(rule):
    """Hyperparameters, steps, sizes, another optimizer, views and slices of many tensors."""

    def run(shapes, **hyper):
        results = []
        for backend in ("numpy", BACKEND):
            rng = np.random.default_rng(0)
            params = [values(rng, shape, np.float32, 0.0) for shape in shapes]
            optimizer = ss.Optimizer(rule, params, backend=backend, **hyper)
            for k in range(4):
                optimizer.step([values(rng, shape, np.float32, 0.0) for shape in shapes])
                optimizer.param_groups[0]["lr"] = 0.01 * k
            results.append(snapshot(optimizer))
        assert_same(results[1], results[0])

    # what the compiler specializes on: one tensor or several of a shape, vectors or matrices
    run([(40, 30), (70, 11), (70, 11), (500,), (500,), (90,)], lr=0.1)
    before = graphs()
    run([(7, 300), (300, 9), (300, 9), (70_000,), (60,), (60,), (300_000,)], lr=0.3)
    assert graphs() == before


def test_control_a_constant_in_place_of_an_input_would_be_noticed(monkeypatch):
    """A learning rate baked into the graph: the second step differs from the reference."""
    honest = operations._graph

    def baked(inputs, roots, storage):
        graph, constants = honest(inputs, roots, storage)
        (k,) = [k for k, leaf in enumerate(inputs) if leaf.name == "step_size"]
        with graph.inserting_after(list(graph.nodes)[len(inputs) + len(constants) - 1]):
            number = graph.call_function(torch.tensor, (0.125,))
        list(graph.nodes)[k].replace_all_uses_with(number)
        return graph, constants

    monkeypatch.setattr(operations, "_graph", baked)
    golden = load("adamw.float32")
    monkeypatch.setattr(kept, "RESULTS", "faulty_results")
    assert not verify_one(golden, ss.rules.registry["adamw"], BACKEND).same


def test_the_graph_has_the_operations_of_the_rule():
    found = operations.operations(ss.rules.registry["adamw"], "pass", 0, True, torch.float32)
    names = [n.target.__name__ for n in found.graph.nodes if n.op == "call_function"]
    assert names.count("exact_sqrt") == 1
    assert set(names) == {"mul", "add", "sub", "div", "exact_sqrt", "finite_or_zero"}
    assert (found.sums, found.written) == ((), (0, 1, 2))


def test_control_torch_s_own_square_root_is_not_exact():
    """Which is why `exact_sqrt` exists; compiled code does without."""
    x = torch.rand(1_000_003)
    if torch.equal(torch.sqrt(x), operations.exact_sqrt(x)):
        pytest.skip("this build of torch has an exact square root")
    compiled = torch.compile(lambda x: torch.sqrt(x))
    assert torch.equal(compiled(x), operations.exact_sqrt(x))
    assert x.numel() > work.SLICE
