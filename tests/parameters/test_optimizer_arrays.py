"""Arrays of every kind as parameters and gradients: their layout, type and lifetime do not
matter, the bits are those of plain contiguous arrays."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like
from samestep.backends.host.arrays import ARRAYS
from samestep.backends.memory import directly_usable
from samestep.backends.tensor import AdoptedTensor
from samestep.golden.compare import same_bits
from samestep.language.dtypes import numpy_dtype
from samestep.language.stages import stages

RULES = ["adamw", "lamb", "rprop"]


def run(rule, param, gradients, backend, **options):
    """The parameter after steps with these gradients, and its state."""
    optimizer = ss.Optimizer(rule, param, backend=backend, **options)
    for gradient in gradients:
        optimizer.step(gradient)
    return np.array(param), optimizer.state[0]


# ---- layout


def transposed(a):
    return np.array(a.T, order="C").T


def every_second(a):
    b = np.full((2 * len(a), *a.shape[1:]), 77.0, a.dtype)
    b[::2] = a
    return b[::2]


def reversed_(a):
    return np.array(a[::-1, ::-1], order="C")[::-1, ::-1]


def column_of_more(a):
    b = np.full((*a.shape, 3), 77.0, a.dtype)
    b[..., 1] = a
    return b[..., 1]


def field(a):
    b = np.zeros(a.shape, [("pad", "i1"), ("value", a.dtype)])
    b["value"] = a
    return b["value"]  # strided and not aligned


def unaligned(a):
    b = np.frombuffer(bytearray(b"\1" + a.tobytes()), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    assert b.flags.c_contiguous
    assert a.itemsize == 1 or not b.flags.aligned
    return b


LAYOUTS = [np.asfortranarray, transposed, every_second, reversed_, column_of_more, field, unaligned]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_layout_does_not_matter(layout, rule, dtype, backend):
    rng = np.random.default_rng(1)
    dtype = numpy_dtype(dtype)
    base, *gradients = (rng.standard_normal((40, 9)).astype(dtype) for _ in range(4))
    plain = base.copy()
    expected, expected_state = run(rule, plain, gradients, backend)
    assert not same_bits(expected, base)
    for laid_out_param, laid_out_grads in [(True, False), (False, True), (True, True)]:
        param = layout(base.copy()) if laid_out_param else base.copy()
        around = None if param.base is None else np.array(param.base).tobytes()
        grads = [layout(g) for g in gradients] if laid_out_grads else gradients
        result, state = run(rule, param, grads, backend)
        assert_same({"param": result, **state}, {"param": expected, **expected_state})
        if around is not None and layout in (every_second, column_of_more):
            param[...] = base
            assert np.array(param.base).tobytes() == around, "the rest of the memory has changed"


def test_compiled_code_never_runs_over_memory_that_is_not_aligned():
    """On x86-64 it would not be noticed."""
    for dtype in ("float16", "float32", "float64", "complex64", "complex128"):
        array = np.ones((3, 2), dtype)
        assert directly_usable(array)
        assert not directly_usable(unaligned(array))
        assert AdoptedTensor("array", unaligned(array), ARRAYS).staged


def test_a_strided_gradient_that_changes_in_place_is_copied_again_each_step(backend):
    storage = np.zeros((3, 8))
    optimizer = ss.SGD([np.zeros(3)], lr=1.0, backend=backend)
    gradient = storage[:, 0]
    for value in (1.0, 2.0, 4.0):
        storage[:, 0] = value
        optimizer.step([gradient])
    assert optimizer.param_groups[0]["params"][0].tolist() == [-7.0] * 3


# ---- types


@pytest.mark.parametrize("rule", ss.rules.registry)
def test_a_complex_parameter_is_two_reals(rule, backend):
    """A state of one number per tensor is a real one."""
    of_matrices = stages(ss.rules.registry[rule]).calls
    if of_matrices or {"row", "column"} & set(ss.rules.registry[rule].per.values()):
        with pytest.raises(TypeError, match=f"params is complex; {rule} needs real parameters"):
            ss.Optimizer(rule, np.ones((5, 3), np.complex64), backend=backend)
        return
    rng = np.random.default_rng(2)
    for real, complex_ in [(np.float32, np.complex64), (np.float64, np.complex128)]:
        reals, *gradients = (rng.standard_normal((5, 6)).astype(real) for _ in range(4))
        numbers = reals.copy().view(complex_)
        expected, expected_state = run(rule, reals, gradients, backend)
        result, state = run(rule, numbers, [g.view(complex_) for g in gradients], backend)
        assert same_bits(result.view(real), expected)
        assert state.keys() == expected_state.keys()
        for name, values in state.items():
            per_tensor = ss.rules.registry[rule].per.get(name) == "tensor"
            assert values.dtype == (real if per_tensor else complex_)
            assert values.shape == (() if per_tensor else numbers.shape)
            assert same_bits(values.view(real), expected_state[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_16_bit_parameters_may_be_float32(dtype, backend):
    """A gradient that 16 bits can hold gives the same bits in either type; one that they cannot
    hold counts in full."""
    narrow = numpy_dtype(dtype)
    rng = np.random.default_rng(3)
    base = rng.standard_normal(500).astype(narrow)
    gradients = [rng.standard_normal(500).astype(narrow) for _ in range(3)]
    expected, expected_state = run("adamw", base.copy(), gradients, backend)
    wide = [g.astype(np.float32) for g in gradients]
    result, state = run("adamw", base.copy(), wide, backend)
    assert_same({"param": result, **state}, {"param": expected, **expected_state})
    mixed = [gradients[0], wide[1], gradients[2]]  # another launch on the way
    result, state = run("adamw", base.copy(), mixed, backend)
    assert_same({"param": result, **state}, {"param": expected, **expected_state})
    finer = [g + np.float32(2.0**-20) for g in wide]
    _, state = run("adamw", base.copy(), finer, backend)
    assert not same_bits(state["exp_avg"], expected_state["exp_avg"])
    assert state["exp_avg"].dtype == np.float32


def test_subclasses_of_arrays_are_arrays(backend):
    class Tagged(np.ndarray):
        pass

    plain, tagged = np.ones((2, 3)), np.ones((2, 3)).view(Tagged)
    expected, _ = run("adamw", plain, [np.ones((2, 3))], backend)
    result, _ = run("adamw", tagged, [np.ones((2, 3)).view(Tagged)], backend)
    assert same_bits(result, expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    "options", [{"state_dtype": "int8"}, {"state_dtype": "bfloat16", "rounding": "stochastic"}, {}]
)
def test_a_matrix_of_numpy_is_an_array(options, backend):
    """It keeps two axes whatever it is reshaped to, and has another product."""
    grad = random_like([np.ones((20, 30), np.float32)], 0)[0]
    expected, state = run("adamw", np.ones_like(grad), [grad] * 2, backend, **options)
    result, own = run(
        "adamw", np.matrix(np.ones_like(grad)), [np.matrix(grad)] * 2, backend, **options
    )
    assert_same({"param": result, **own}, {"param": expected, **state})


def test_a_memory_map_is_updated_on_disk(backend, tmp_path):
    start = random_like([np.ones((50, 30), np.float32)], 0)[0]
    gradients = random_like([start] * 3, 1)
    expected, _ = run("adamw", start.copy(), gradients, backend)
    file = tmp_path / "weights"
    start.tofile(file)
    mapped = np.memmap(file, np.float32, "r+", shape=(50, 30))
    stored = np.memmap(tmp_path / "gradients", np.float32, "w+", shape=(3, 50, 30))
    stored[:] = gradients
    run("adamw", mapped, stored, backend)
    mapped.flush()
    assert same_bits(np.fromfile(file, np.float32).reshape(50, 30), expected)
    with pytest.raises(ValueError, match="params is read-only"):
        ss.SGD(np.memmap(file, np.float32, "r"), backend=backend)
