"""Gradients of other dtypes than their parameter's, and numbers: what loses nothing is accepted,
what rounds has to be asked for, the rest is refused with the call that helps."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, refused, snapshot
from samestep.language.dtypes import COMPUTE_DTYPE, numpy_dtype, taken_as

SHAPES = {"a": (3000,), "b": (3, 4), "c": ()}
OPTIONS = [{}, {"accumulation_steps": 2}, {"clip_global_norm": 1.0}]


def arrays(dtype, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        n: np.asarray(rng.standard_normal(s) * scale).astype(numpy_dtype(dtype))
        for n, s in SHAPES.items()
    }


def after_steps(dtype, gradients, backend, **options):
    """The snapshot of an optimizer after steps by these gradients."""
    params = on(backend, arrays(dtype, 0))
    optimizer = ss.AdamW(params, lr=0.1, backend=backend, **options)
    for each in gradients:
        optimizer.step(on(backend, each))
    return snapshot(optimizer)


def rounded(tree, dtype):
    return {name: array.astype(numpy_dtype(dtype)) for name, array in tree.items()}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("param", "grad"),
    [("float32", "float16"), ("float32", "bfloat16"), ("bfloat16", "float16"), ("float16", "bfloat16")],
)  # fmt: skip
def test_16_bits_in_the_place_of_float32_lose_nothing(param, grad, options, any_backend):
    """As the same numbers in float32; in some steps and for some parameters only."""
    narrow = [arrays(grad, seed) for seed in range(4)]
    wide = [rounded(each, "float32") for each in narrow]
    given = [narrow[0], wide[1], {**wide[2], "b": narrow[2]["b"]}, narrow[3]]
    expected = after_steps(param, wide, any_backend, **options)
    assert_same(after_steps(param, given, any_backend, **options), expected)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("param", "grad"),
    [("float32", "float64"), ("float64", "float32"), ("float64", "bfloat16"), ("float16", "float64"),
     ("complex64", "complex128"), ("complex128", "complex64")],
)  # fmt: skip
def test_what_rounds_is_rounded_once_if_it_was_asked_for(param, grad, options, any_backend):
    given = [arrays(grad, seed) for seed in range(4)]
    compute = COMPUTE_DTYPE.get(param, param)
    fitting = [rounded(each, compute) for each in given]
    expected = after_steps(param, fitting, any_backend, **options)
    assert_same(after_steps(param, given, any_backend, cast_gradients=True, **options), expected)
    with pytest.raises(
        TypeError, match=f"has dtype {grad}; expected .*convert every gradient: cast_gradients=True"
    ):
        after_steps(param, given, any_backend, **options)


def test_a_gradient_that_is_too_large_for_the_dtype_is_infinite(backend):
    params = [np.ones(3, np.float32)]
    optimizer = ss.SGD(params, cast_gradients=True, skip_nonfinite=True, backend=backend)
    optimizer.step([np.full(3, 1e300)])
    assert optimizer.skipped
    optimizer.cast_gradients = False
    with refused(optimizer, TypeError, "has dtype float64; expected float32"):
        optimizer.step([np.full(3, 1e300)])
    optimizer.cast_gradients = "yes"
    with refused(optimizer, TypeError, "cast_gradients must be True or False, not "):
        optimizer.step([np.ones(3, np.float32)])


def test_a_gradient_that_is_rounded_is_rounded_anew_at_each_step(backend):
    params, grad = [np.zeros(3, np.float32)], np.zeros(3)
    optimizer = ss.SGD(params, lr=1.0, cast_gradients=True, backend=backend)
    for value in (1.0, 2.0, 4.0, 8.0):
        grad[:] = value
        optimizer.step([grad])
    assert params[0].tolist() == [-15.0] * 3


def test_sparse_gradients_are_rounded_too(backend):
    table, expected = np.ones((5, 2), np.float32), np.ones((5, 2), np.float32)
    values = np.array([[0.1, 0.2], [0.3, 0.4]])
    for array, rows in ((table, values), (expected, values.astype(np.float32))):
        optimizer = ss.SGD(array, lr=1.0, cast_gradients=True, backend=backend)
        optimizer.step(ss.IndexedSlices(rows, np.array([3, 1])))
    assert table.tolist() == expected.tolist()


def test_cast_gradients_is_saved_and_loaded(tmp_path, backend):
    params = [np.ones(3, np.float32)]
    optimizer = ss.SGD(params, cast_gradients=True, backend=backend)
    optimizer.save(tmp_path / "file")
    assert ss.SGD.load(tmp_path / "file", params, backend=backend).cast_gradients is True
    other = ss.SGD([np.ones(3, np.float32)], backend=backend)
    other.load_state_dict(optimizer.state_dict())
    assert other.cast_gradients is True


@pytest.mark.parametrize(
    "name", ["int32", "int8", "bool", ">f4", "longdouble", "complex64", "object"]
)
def test_what_is_no_native_real_dtype_is_refused_whatever_is_asked_for(name, backend):
    optimizer = ss.SGD([np.ones(3, np.float32)], cast_gradients=True, backend=backend)
    advice = (
        "pass grad.real, if" if name == "complex64" else r"convert it: grad.astype\(np.float32\)$"
    )
    message = rf"has dtype \S+; expected float32, as the parameter is float32; {advice}"
    with refused(optimizer, TypeError, message):
        optimizer.step([np.ones(3, name)])


def test_the_message_for_a_tensor_has_pytorch_s_call(any_backend):
    torch = pytest.importorskip("torch")
    if not ss.get_backend(any_backend).accepts(torch.ones(1)):
        pytest.skip("not of tensors in host memory")
    optimizer = ss.SGD([torch.ones(3)], backend=any_backend)
    with pytest.raises(
        TypeError, match=r"convert it: grad.to\(torch.float32\); or let .*: cast_gradients=True"
    ):
        optimizer.step([torch.ones(3, dtype=torch.float64)])
    ours, theirs = torch.ones(3), torch.ones(3)
    grad = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    for tensor, given in ((ours, grad), (theirs, grad.float())):
        optimizer = ss.SGD([tensor], lr=0.5, cast_gradients=True, backend=any_backend)
        for _ in range(3):
            optimizer.step([given])
    assert torch.equal(ours, theirs)


def test_a_dtype_is_taken_as_itself_or_as_the_compute_dtype():
    names = [*COMPUTE_DTYPE, "complex64", "complex128", "int32", ">f4"]
    for param in [*COMPUTE_DTYPE, "complex64", "complex128"]:
        for grad in names:
            for cast in (False, True):
                found = taken_as(param, grad, cast)
                assert found in (None, grad, COMPUTE_DTYPE.get(param, param))
                assert found is not None or not (cast and numpy_dtype(param).kind == grad[0])


# ---- numbers


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_numbers_are_gradients_of_parameters_without_axes(dtype, any_backend):
    """As an array of the same value; 0-d arithmetic of NumPy makes such numbers."""
    param = on(any_backend, [np.array(2.0).astype(numpy_dtype(dtype))])
    expected = on(any_backend, [np.array(2.0).astype(numpy_dtype(dtype))])
    scalar = numpy_dtype(dtype).type(0.375)
    first = ss.Adam(param, backend=any_backend)
    second = ss.Adam(expected, backend=any_backend)
    for grad in (scalar, 0.375, 3, scalar, scalar):
        first.step([grad])
        second.step(on(any_backend, [np.asarray(grad).astype(numpy_dtype(dtype))]))
    assert_same(snapshot(first), snapshot(second))


def test_arithmetic_without_axes_gives_gradients(backend):
    for dtype in (np.float32, np.float64):
        a = np.array(2.0, dtype)
        optimizer = ss.Adam(a, lr=0.1, backend=backend)
        for _ in range(100):
            optimizer.step(2 * a)
        assert abs(a) < 0.5
    a = np.array(1 + 1j)
    optimizer = ss.SGD(a, lr=1.0, backend=backend)
    optimizer.step(1j)
    optimizer.step(2)
    optimizer.step(a * 0)
    assert a == -1


@pytest.mark.parametrize(
    ("grad", "message"),
    [(np.float64(1), "has dtype float64; expected float32"), (True, "is a bool; expected"),
     (np.int64(1), "has dtype int64"), (1j, "is a complex; expected"), ("1", "is a str; expected"),
     (np.complex64(1), "has dtype complex64")],
)  # fmt: skip
def test_numbers_of_other_kinds_are_refused(grad, message, backend):
    optimizer = ss.SGD([np.array(1.0, np.float32)], backend=backend)
    with refused(optimizer, TypeError, message):
        optimizer.step([grad])


@pytest.mark.parametrize("grad", [1.0, np.float32(1)])
def test_a_number_is_no_gradient_of_an_array_with_axes(grad, backend):
    for shape in ((1,), (3,), (1, 1)):
        optimizer = ss.SGD([np.ones(shape, np.float32)], backend=backend)
        with refused(optimizer, TypeError, r"expected a NumPy array \(numpy.asarray makes one\)"):
            optimizer.step([grad])
