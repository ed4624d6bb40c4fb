"""Arrays that cannot be used: the message names the parameter, what came and what was expected,
and nothing is changed. Strange arrays that can be used work."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, refused, snapshot


def optimizer_on(backend):
    """An optimizer with a state, one step in."""
    rng = np.random.default_rng(0)
    params = {
        "weight": rng.standard_normal((3, 4)).astype(np.float32),
        "layers": [{"bias": rng.standard_normal(5)}, rng.standard_normal(2)],
        "half": rng.standard_normal(3).astype(np.float16),
        "phase": rng.standard_normal(2).astype(np.complex64),
    }
    optimizer = ss.AdamW(params, lr=0.1, backend=backend)
    optimizer.step(good_gradients())
    return optimizer


def good_gradients(**changed):
    return {
        "weight": np.ones((3, 4), np.float32),
        "layers": [{"bias": np.ones(5)}, np.ones(2)],
        "half": np.ones(3, np.float16),
        "phase": np.ones(2, np.complex64),
        **changed,
    }


def weight(gradient):
    return good_gradients(weight=gradient)


WRONG_GRADIENTS = {
    "shape": (
        weight(np.ones((4, 3), np.float32)), ValueError,
        r"the gradient of params\['weight'\] has shape \(4, 3\); the parameter has \(3, 4\)",
    ),
    "one dimension less": (weight(np.ones(12, np.float32)), ValueError, r"shape \(12,\)"),
    "dtype": (
        weight(np.ones((3, 4))), TypeError,
        r"the gradient of params\['weight'\] has dtype float64; expected float32, as the "
        r"parameter is float32",
    ),
    "narrower dtype": (
        good_gradients(layers=[{"bias": np.ones(5, np.float32)}, np.ones(2)]), TypeError,
        r"the gradient of params\['layers'\]\[0\]\['bias'\] has dtype float32; expected float64",
    ),
    "dtype for 16 bits": (
        good_gradients(half=np.ones(3)), TypeError,
        r"params\['half'\] has dtype float64; expected float16 or float32",
    ),
    "real for complex": (
        good_gradients(phase=np.ones(2, np.float32)), TypeError,
        r"params\['phase'\] has dtype float32; expected complex64",
    ),
    "integers": (weight(np.ones((3, 4), np.int32)), TypeError, "dtype int32; expected float32"),
    "booleans": (weight(np.ones((3, 4), bool)), TypeError, "dtype bool; expected float32"),
    "objects": (weight(np.ones((3, 4), object)), TypeError, "dtype object; expected float32"),
    "strings": (weight(np.full((3, 4), "1")), TypeError, "dtype <U1; expected float32"),
    "byte order": (weight(np.ones((3, 4), ">f4")), TypeError, "dtype >f4; expected float32"),
    "a float": (
        weight(1.0), TypeError,
        r"the gradient of params\['weight'\] is a float; expected a NumPy array .numpy.asarray makes one. or None",
    ),
    "a list": (weight([1.0] * 12), TypeError, "is a list; expected a NumPy array"),
    "a missing key": (
        {k: v for k, v in good_gradients().items() if k != "half"}, ValueError,
        r"grads does not match the parameters: missing \['half'\]$",
    ),
    "an unknown key": (
        good_gradients(wieght=1), ValueError, r"parameters: unknown \['wieght'\]$"
    ),
    "list too long": (
        good_gradients(layers=[{"bias": np.ones(5)}, np.ones(2), np.ones(2)]), ValueError,
        r"grads\['layers'\] has 3 entries; the parameters have 2",
    ),
    "a nested key": (
        good_gradients(layers=[{"scale": np.ones(5)}, np.ones(2)]), ValueError,
        r"grads\['layers'\]\[0\] does not match the parameters: missing \['bias'\]",
    ),
    "loss and gradients": (
        (0.5, good_gradients()), TypeError,
        "grads is a tuple of a float and a dict; if a function returns .* unpack them: loss, grads = f",
    ),
    "list for a dict": (
        [np.ones(1)] * 4, TypeError, "grads must be a dict like the parameters, not list"
    ),
    "array for a list": (
        good_gradients(layers=np.ones(2)), TypeError,
        r"grads\['layers'\] must be a list like the parameters, not ndarray",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_wrong_gradients_are_refused_and_the_next_step_is_as_if_they_had_not_come(name, backend):
    gradients, error, message = WRONG_GRADIENTS[name]
    optimizer, untroubled = optimizer_on(backend), optimizer_on(backend)
    with refused(optimizer, error, message):
        optimizer.step(gradients)
    for each in (optimizer, untroubled):
        each.step(good_gradients())
    assert_same(snapshot(optimizer), snapshot(untroubled))


def test_control_a_change_after_an_error_would_be_noticed(backend):
    optimizer = optimizer_on(backend)

    def step_and_fail():
        optimizer.step(good_gradients())
        raise ValueError("moved")

    with pytest.raises(AssertionError), refused(optimizer, ValueError, "moved"):
        step_and_fail()


def test_the_loss_and_the_gradients_in_one_tuple_are_told_to_be_unpacked(backend):
    for params in (np.ones(3), [np.ones(3)]):
        optimizer = ss.SGD(params, backend=backend)
        with refused(optimizer, TypeError, "grads is a tuple of a float64 and a .*unpack them"):
            optimizer.step((np.float64(0.5), [np.ones(3)]))
    optimizer = ss.SGD(np.ones(3), backend=backend)
    with refused(
        optimizer, TypeError, "a list of arrays, but params is one array.* without a list"
    ):
        optimizer.step([np.ones(3)])
    optimizer = ss.SGD([np.array(1.0), np.array(2.0)], lr=1.0, backend=backend)
    optimizer.step((0.5, 1.0))  # two numbers are the gradients of two parameters without axes
    assert optimizer.param_groups[0]["params"] == [0.5, 1.0]


def test_a_group_without_a_list_around_it_is_told_to_be_one():
    message = (
        r"a dict with 'params' and '{}', which is no array; .* list: \[{{'params': \.\.\., '{}': "
    )
    for name, value in {"lr": 0.1, "betas": (0.9, 0.99), "name": "body"}.items():
        with pytest.raises(TypeError, match=message.format(name, name)):
            ss.Adam({"params": np.ones(3), name: value})
    ss.Adam({"params": np.ones(3), "lr": np.ones(3)})  # two parameters


def test_a_masked_gradient_is_refused_as_a_masked_parameter_is(backend):
    masked = np.ma.masked_array(np.ones(3), [True, False, False])
    optimizer = ss.SGD([np.ones(3)], backend=backend)
    with refused(optimizer, TypeError, r"the gradient of params\[0\] is a masked array; its mask"):
        optimizer.step([masked])
    with pytest.raises(
        TypeError, match=r"params\[0\] is a masked array; its mask would be ignored"
    ):
        ss.SGD([masked], backend=backend)


def test_an_array_of_jax_is_refused_with_what_to_do():
    jax = pytest.importorskip("jax")
    message = r"ArrayImpl, which nothing can change; .* \(numpy.array makes one, a copy\)"
    with pytest.raises(TypeError, match=message):
        ss.SGD(jax.numpy.ones(3))
    optimizer = ss.SGD(np.ones(3))
    with refused(optimizer, TypeError, r"ArrayImpl; expected a NumPy array \(numpy.asarray makes"):
        optimizer.step(jax.numpy.ones(3))


def test_a_list_of_another_length_is_refused(backend):
    params = [np.ones(2), np.ones(3)]
    optimizer = ss.SGD(params, backend=backend)
    with refused(optimizer, ValueError, "grads has 3 entries; the parameters have 2"):
        optimizer.step([np.ones(2), np.ones(3), np.ones(3)])
    with refused(optimizer, TypeError, "grads must be a list like the parameters, not ndarray"):
        optimizer.step(np.ones(2))


def test_gradients_of_groups_come_as_one_entry_per_group(backend):
    groups = [{"params": np.ones(2)}, {"params": [np.ones(3)]}]
    optimizer = ss.SGD(groups, backend=backend)
    with refused(optimizer, ValueError, "grads must be a list with one entry per group: 2, not "):
        optimizer.step([np.ones(2)])
    with refused(optimizer, ValueError, r"grads\[1\] has 2 entries; the parameters have 1"):
        optimizer.step([np.ones(2), [np.ones(3), np.ones(3)]])
    with refused(optimizer, ValueError, r"the gradient of group\[1\]\[0\] has shape \(2,\)"):
        optimizer.step([np.ones(2), [np.ones(2)]])


def test_a_gradient_that_is_a_parameter_is_refused_whatever_its_strides(backend):
    for param in (np.ones((3, 4)), np.asfortranarray(np.ones((3, 4))), np.ones((6, 4))[::2]):
        optimizer = ss.SGD([param, np.ones(2)], backend=backend)
        with refused(optimizer, ValueError, r"the gradient of params\[0\] shares memory with pa"):
            optimizer.step([param, np.ones(2)])


def test_a_gradient_inside_another_parameter_or_in_state_is_refused(backend):
    params = [np.ones(4), np.ones(9)]
    optimizer = ss.Adam(params, backend=backend)
    with refused(optimizer, ValueError, r"gradient of params\[0\] shares memory with params\[1\]"):
        optimizer.step([params[1][3:7], np.ones(9)])
    with refused(optimizer, ValueError, r"gradient of params\[0\] shares memory with params\[1\]"):
        optimizer.step([params[1][::-2][:4], np.ones(9)])
    with refused(optimizer, ValueError, r"shares memory with params\[1\] or its state"):
        optimizer.step([optimizer.state[1]["exp_avg"][:4], np.ones(9)])


def test_a_gradient_in_a_parameter_is_found_behind_another_one_that_nests_in_it(backend):
    base = np.ones(1000)
    params = [base[::2], base[1:41:2]]
    optimizer = ss.SGD(params, backend=backend)
    with refused(optimizer, ValueError, r"the gradient of params\[0\] shares memory with params"):
        optimizer.step([base[100:600], np.ones(20)])


def test_a_gradient_in_the_gaps_of_a_parameter_is_fine(backend):
    base = np.ones(10)
    optimizer = ss.SGD([base[::2]], lr=0.5, backend=backend)
    optimizer.step([base[1::2]])
    assert base.tolist() == [0.5, 1.0] * 5


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (1.0, TypeError, r"params\['w'\] is a float; .* NumPy arrays in place"),
        ([1.0, 2.0], TypeError, r"params\['w'\]\[0\] is a float"),
        ("text", TypeError, "is a str"),
        (None, TypeError, "is a NoneType"),
        (np.float64(1.0), TypeError, "is a numpy.float64"),
        (np.ones(3, np.int64), TypeError, r"params\['w'\] has dtype int64; expected one of float"),
        (np.ones(3, bool), TypeError, "has dtype bool; expected one of float"),
        (np.ones(3, object), TypeError, "has dtype object; expected one of float"),
        (np.array(["a"]), TypeError, "has dtype <U1; expected one of float"),
        (np.ones(3, "M8[s]"), TypeError, "has dtype datetime64.*; expected one of float"),
        (np.ones(3, np.longdouble), TypeError, "has dtype .*; expected one of float"),
        (np.ones(3, [("x", "f4")]), TypeError, "has dtype .*; expected one of float"),
        (np.ones(3, ">f8"), TypeError, r"params\['w'\] has dtype >f8, .* byte order"),
        (np.ones(3, ">c8"), TypeError, r"params\['w'\] has dtype >c8, .* byte order"),
        (np.broadcast_to(np.ones(1), 3), ValueError, r"params\['w'\] is read-only; a parameter is"),
    ],
    ids=lambda x: None if isinstance(x, type | str) else type(x).__name__ + str(getattr(x, "dtype", "")),
)  # fmt: skip
def test_a_parameter_that_cannot_be_updated_is_refused(array, error, message, backend):
    params = {"good": np.ones(2), "w": array}
    with pytest.raises(error, match=message):
        ss.SGD(params, backend=backend)
    optimizer = ss.SGD(np.ones(2), backend=backend)
    with refused(optimizer, error, message.replace("params", r"group\[1\]")):
        optimizer.add_param_group({"params": {"w": array}})
    assert len(optimizer.param_groups) == len(optimizer.steps) == 1


@pytest.mark.parametrize("params", [[], {}, (), [[], {"a": ()}]], ids=str)
def test_no_parameters_are_an_error(params, backend):
    with pytest.raises(ValueError, match="params is empty: there is nothing to optimize"):
        ss.SGD(params, backend=backend)


def test_the_same_memory_twice_among_the_parameters_is_refused(backend):
    base = np.ones(10)
    message = r"params\[0\] and params\[1\] share memory; pass a shared parameter once"
    for pair in ([base, base], [base[:6], base[5:]], [base, base.reshape(2, 5)], [base[::2], base]):
        with pytest.raises(ValueError, match=message):
            ss.SGD(pair, backend=backend)
    optimizer = ss.SGD([base[:5]], backend=backend)
    with refused(optimizer, ValueError, r"params\[0\] and group\[1\] share memory"):
        optimizer.add_param_group({"params": base[4:]})
    optimizer.add_param_group({"params": base[5:]})


def test_interleaved_views_are_different_parameters(backend):
    base = np.arange(10.0)
    optimizer = ss.SGD([base[::2], base[1::2]], lr=1.0, backend=backend)
    optimizer.step([np.full(5, 1.0), np.full(5, 2.0)])
    assert base.tolist() == (np.arange(10.0) - np.tile([1.0, 2.0], 5)).tolist()


@pytest.mark.parametrize(
    ("shape", "strides"), [((5, 3), (8, 8)), ((3, 4), (0, 8)), ((2, 2, 2), (8, 16, 24)), ((3,), (4,))]
)  # fmt: skip
def test_a_parameter_that_overlaps_itself_is_refused(shape, strides, backend):
    array = np.lib.stride_tricks.as_strided(np.ones(20), shape, strides)
    with pytest.raises(ValueError, match="params overlaps itself: one element stands for several"):
        ss.SGD(array, backend=backend)


def test_strange_strides_without_overlap_are_fine(backend):
    base = np.zeros(20)
    view = np.lib.stride_tricks.as_strided(base, (3, 2), (16, 24))  # axes that do not nest
    ss.SGD(view, lr=1.0, backend=backend).step(-np.arange(6.0).reshape(3, 2))
    assert view.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_arrays_without_dimensions_and_without_elements_work(backend):
    for rule in ("sgd", "adamw", "lamb"):
        params = [np.array(1.0), np.zeros(0), np.zeros((3, 0, 2)), np.ones((1, 1))]
        optimizer = ss.Optimizer(rule, params, lr=0.1, backend=backend)
        for seed in range(2):
            optimizer.step(random_like(params, seed))
        assert optimizer.steps == [2, 2, 2, 2]
        assert params[0] != 1.0
        assert params[3] != 1.0
        alone = ss.Optimizer(rule, [np.zeros(0)], backend=backend)
        alone.step([np.zeros(0)])
        assert alone.steps == [1]
