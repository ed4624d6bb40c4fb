"""Random structures of parameters: a gradient goes to the array that stands in the same place, or
to none.

The oracle knows nothing of structures: parameters and gradients are drawn together, and each array
is noted with what it must become. ``SAMESTEP_TEST=everything`` draws for ten minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import samestep as ss
from helpers import leaves
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from samestep.parameters.trees import gradient_leaves
from sampling import EVERYTHING

FAST = settings(
    max_examples=20_000 if EVERYTHING else 150,
    deadline=None,
    derandomize=not EVERYTHING,
    suppress_health_check=list(HealthCheck),
)
KEYS = st.sampled_from(["w", "b", "params", "0", 0, 1, ("a", 1)])


class Drawn:
    """Parameters, gradients for them, and what each array must be after a step of SGD, lr=1."""

    def __init__(self, params: Any, grads: Any, expected: list[tuple[Any, Any]]) -> None:
        self.params, self.grads, self.expected = params, grads, expected
        self.unmoved = [(param, param.copy(), values) for param, values in expected]

    def check(self) -> None:
        for param, values in self.expected:
            assert param.tolist() == values.tolist()


@st.composite
def leaf(draw: Any) -> Drawn:
    shape = draw(st.sampled_from([(), (1,), (2,), (1, 2)]))
    values = draw(st.integers(-9, 9)) + np.arange(float(np.prod(shape))).reshape(shape)
    param = np.array(values)
    if draw(st.integers(0, 4)) == 0:
        return Drawn(param, None, [(param, param.copy())])
    grad = np.full(shape, float(draw(st.integers(1, 9))))
    return Drawn(param, grad, [(param, param - grad)])


@st.composite
def branch(draw: Any, children: Any) -> Drawn:
    """A list, tuple or dict of others, none included. Kinds of lists, and the order in a dict of
    gradients, are others than the parameters'; a branch of Nones may be one None."""
    drawn = draw(st.lists(children, max_size=4))
    expected = [pair for each in drawn for pair in each.expected]
    if draw(st.booleans()):
        kinds = st.sampled_from([list, tuple])
        params: Any = draw(kinds)(each.params for each in drawn)
        grads: Any = draw(kinds)(each.grads for each in drawn)
    else:
        keys = draw(st.lists(KEYS, min_size=len(drawn), max_size=len(drawn), unique=True))
        params = {key: each.params for key, each in zip(keys, drawn, strict=True)}
        pairs = [(key, each.grads) for key, each in zip(keys, drawn, strict=True)]
        grads = dict(draw(st.permutations(pairs)))
    if all(each.grads is None for each in drawn) and draw(st.booleans()):
        grads = None
    return Drawn(params, grads, expected)


def is_groups(params: Any) -> bool:
    """Whether parameters of this form are groups of parameters instead."""
    return isinstance(params, list | tuple) and all(
        isinstance(each, dict) and "params" in each for each in params
    )


TREES = st.recursive(leaf(), branch, max_leaves=8)


def sgd(params: Any) -> ss.Optimizer:
    return ss.SGD(params, lr=1.0, backend="numpy")


@FAST
@given(TREES)
def test_each_gradient_goes_to_the_array_in_its_place(drawn):
    assume(drawn.expected and not is_groups(drawn.params))
    sgd(drawn.params).step(drawn.grads)
    drawn.check()


def test_control_matching_by_count_would_be_noticed(monkeypatch):
    def by_count(specs, flat, single, grads, name):
        if isinstance(grads, list) and len(grads) == len(leaves(optimizer)):
            return grads
        return gradient_leaves(specs, flat, single, grads, name)

    monkeypatch.setattr("samestep.parameters.groups.gradient_leaves", by_count)
    a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
    moves = [(a, a.copy()), (b, b.copy()), (c, c - 1)]
    drawn = Drawn([(), c, (a, b)], [None, np.ones(1), None], moves)
    optimizer = sgd(drawn.params)
    optimizer.step(drawn.grads)
    with pytest.raises(AssertionError):
        drawn.check()


@FAST
@given(st.lists(TREES, min_size=1, max_size=3), st.booleans())
def test_each_gradient_of_groups_goes_to_the_array_in_its_place(groups, as_iterator):
    assume(any(drawn.expected for drawn in groups))
    grads = [drawn.grads for drawn in groups]
    sgd([{"params": drawn.params} for drawn in groups]).step(iter(grads) if as_iterator else grads)
    for drawn in groups:
        drawn.check()


@FAST
@given(TREES, TREES)
def test_gradients_of_another_structure_are_refused_and_nothing_moves(drawn, other):
    assume(drawn.expected and not is_groups(drawn.params))
    assume(not fits(drawn.params, other.grads))
    before = [(param, param.copy()) for param, _ in drawn.expected]
    optimizer = sgd(drawn.params)
    with pytest.raises((TypeError, ValueError), match="grad"):
        optimizer.step(other.grads)
    Drawn(None, None, before).check()


@FAST
@given(TREES, st.data())
def test_other_arrays_in_the_places_of_some_are_updated_instead(drawn, data):
    assume(drawn.expected and not is_groups(drawn.params))
    optimizer = sgd(drawn.params)
    optimizer.step(drawn.grads)
    moved = {id(param): values - start for param, start, values in drawn.unmoved}
    now = {id(param): param for param, _ in drawn.expected}
    before = []
    for container, key in places(drawn.params):
        if data.draw(st.booleans()):
            old = container[key]
            container[key] = now[id(old)] = np.array(old + 100)
            before.append((old, old.copy()))
    expected = [(now[i], now[i] + moved[i]) for i in now]
    optimizer.step(drawn.grads)
    Drawn(None, None, before + expected).check()


def places(tree: Any) -> list[tuple[Any, Any]]:
    """The lists and dicts that hold arrays themselves, and the keys."""
    if isinstance(tree, np.ndarray):
        return []
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    found = [pair for _, child in items for pair in places(child)]
    if isinstance(tree, tuple):
        return found
    return found + [(tree, key) for key, child in items if isinstance(child, np.ndarray)]


def fits(params: Any, grads: Any) -> bool:
    """Whether these gradients may be given for these parameters."""
    if grads is None:
        return True
    if isinstance(params, np.ndarray):
        return isinstance(grads, np.ndarray) and grads.shape == params.shape
    if isinstance(params, dict):
        return (
            isinstance(grads, dict)
            and grads.keys() == params.keys()
            and all(fits(params[key], grads[key]) for key in params)
        )
    return (
        isinstance(grads, list | tuple)
        and len(grads) == len(params)
        and all(map(fits, params, grads))
    )


def test_layers_without_parameters_have_their_place(backend):
    """Layers of which some have no parameters: as many layers as arrays, or fewer."""
    first, bias, second, offset = (np.ones(n) for n in (2, 3, 4, 5))
    params = [{"w": first, "b": bias}, {}, {"w": second, "b": offset}, {}]
    optimizer = ss.SGD(params, lr=1.0, backend=backend)
    optimizer.step([{"w": np.ones(2), "b": None}, {}, None, {}])
    optimizer.step([None, None, {"w": None, "b": np.ones(5)}, {}])
    assert [a.sum() for a in (first, bias, second, offset)] == [0.0, 3.0, 4.0, 0.0]
    a, b, c = np.ones(1), np.ones(1), np.ones(1)
    ss.SGD([(), c, (a, b)], lr=1.0, backend=backend).step([None, np.ones(1), None])
    assert [*a, *b, *c] == [1.0, 1.0, 0.0]


def test_a_group_s_parameters_may_be_a_dict_with_params_themselves(backend):
    first, second = np.ones(2), np.ones(3)
    optimizer = ss.SGD([{"params": {"params": first}}, {"params": second}], lr=1.0, backend=backend)
    optimizer.step([{"params": np.ones(2)}, {"params": np.ones(3)}])
    assert [*first, *second] == [0.0] * 5


def test_a_generator_of_gradients_is_a_list(backend):
    params = [np.ones(2), np.ones(3)]
    optimizer = ss.SGD(params, lr=1.0, backend=backend)
    optimizer.step(np.ones(p.shape) for p in params)
    optimizer.step({0: np.ones(2), 1: np.ones(3)}.values())
    assert [p.tolist() for p in params] == [[-1.0] * 2, [-1.0] * 3]
    assert optimizer.steps == [2, 2]
