"""Tensors as parameters: on every backend of the host they get the bits of NumPy arrays."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest
import samestep as ss
import torch
from helpers import HOST, assert_same, refused, run_python, snapshot
from samestep.backends.torch_tensors import view as foreign
from samestep.backends.torch_tensors.view import as_numpy, as_tensor
from samestep.golden.compare import first_difference

SHAPES = [(), (1,), (3, 4), (70, 1025), (2, 3, 5), (0, 3), (40_000,)]
DTYPES = ["float32", "float64", "bfloat16", "float16", "complex64", "complex128"]


def arrays(dtype, seed):
    rng = np.random.default_rng(seed)
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    real = [rng.standard_normal(shape) for shape in SHAPES]
    imaginary = [1j * rng.standard_normal(shape) if kind.kind == "c" else 0 for shape in SHAPES]
    return [np.asarray(a + b).astype(kind) for a, b in zip(real, imaginary, strict=True)]


def optimize(params, grads, backend, rule="adamw", **hyper):
    optimizer = ss.Optimizer(rule, params, backend=backend, lr=0.1, **hyper)
    for given in grads:
        optimizer.step(given)
        optimizer.param_groups[0]["lr"] *= 0.5
    return optimizer


def bits_of(optimizer):
    params = [as_numpy(p) for group in optimizer.param_groups for p in group["params"]]
    states = [as_numpy(a) for state in optimizer.state for a in state.values()]
    return params + states


def assert_same_bits(ours, reference):
    for a, b in zip(bits_of(ours), bits_of(reference), strict=True):
        assert first_difference(a, b) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", HOST)
def test_tensors_get_the_bits_of_arrays(backend, dtype):
    steps = [arrays(dtype, seed) for seed in (1, 2, 3)]
    reference = optimize(arrays(dtype, 0), steps, "numpy", clip_norm=1.0)
    params = [as_tensor(a).requires_grad_() for a in arrays(dtype, 0)]
    ours = optimize(params, [[as_tensor(a) for a in s] for s in steps], backend, clip_norm=1.0)
    assert_same_bits(ours, reference)
    assert all(isinstance(a, torch.Tensor) for state in ours.state for a in state.values())


@pytest.mark.parametrize("backend", HOST)
def test_any_strides_and_kinds_of_gradients(backend):
    """Steps, transposes, expanded and lazily conjugated gradients, some of them missing."""
    rng = np.random.default_rng(0)
    whole = torch.from_numpy(rng.standard_normal((6, 8)))
    phase = torch.from_numpy(rng.standard_normal((4, 2)) + 1j)
    params = [whole[::2, 1:], whole[1::2].T, phase.T]
    grads = [torch.ones(1).double().expand(3, 7), torch.ones(8, 3).double(), phase.clone().T.conj()]
    plain = [[as_numpy(g).copy() for g in grads], [None, as_numpy(grads[1]).copy(), None]]
    reference = optimize([as_numpy(p).copy() for p in params], plain, "numpy")
    ours = optimize(params, [grads, [None, grads[1], None]], backend)
    assert_same_bits(ours, reference)


@pytest.mark.parametrize("backend", HOST)
def test_gradients_may_require_gradients_and_be_arrays(backend):
    params = [torch.ones(3, requires_grad=True), torch.ones(2)]
    grads = [torch.full((3,), 2.0, requires_grad=True), np.full(2, 2.0, np.float32)]
    reference = optimize([np.ones(3, np.float32), np.ones(2, np.float32)],
                         [[np.full(3, 2, np.float32), grads[1]]] * 3, "numpy")  # fmt: skip
    assert_same_bits(optimize(params, [grads] * 3, backend), reference)
    assert grads[0].grad is None


@pytest.mark.parametrize("backend", HOST)
def test_groups_with_rows_of_their_own_share_slices(backend):
    """Ten learning rates: scalars are then one per element of a slice, or one per tensor."""
    for rule in ("adamw", "lamb"):
        results = []
        for each in ("numpy", backend):
            params = arrays("float32", 0) + arrays("float32", 9)
            groups = [{"params": [p], "lr": 0.1 * k} for k, p in enumerate(params)]
            optimizer = ss.Optimizer(rule, groups, backend=each)
            for seed in (1, 2):
                optimizer.step([[g] for g in arrays("float32", seed) * 2])
            results.append(optimizer)
        assert_same_bits(results[1], results[0])


# ---- autograd


@pytest.mark.parametrize("backend", HOST)
def test_autograd_notices_that_a_parameter_has_changed(backend):
    param = torch.ones(3, requires_grad=True)
    optimizer = ss.SGD([param], backend=backend)
    loss = (param * param).sum()
    optimizer.step([torch.ones(3)])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert param.is_leaf
    assert param.grad_fn is None


@pytest.mark.parametrize("backend", HOST)
def test_an_accumulated_gradient_changes_no_parameter(backend):
    """A micro-batch between forward and backward must not look like an update."""
    param = torch.ones(3, requires_grad=True)
    optimizer = ss.SGD([param], backend=backend, accumulation_steps=2)
    loss = (param * param).sum()
    optimizer.step([torch.ones(3)])
    loss.backward()
    assert param._version == 0


@pytest.mark.parametrize("backend", HOST)
def test_in_inference_mode(backend):
    param = torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        optimizer = ss.AdamW([param], backend=backend)
        optimizer.step([torch.ones(3)])
    optimizer.step([torch.ones(3)])
    with torch.inference_mode():
        optimizer.step([torch.ones(3)])
    assert not any(torch.as_tensor(state).is_inference() for state in optimizer.state[0].values())
    expected = ss.AdamW([np.ones(3, np.float32)], backend="numpy")
    for _ in range(3):
        expected.step([np.ones(3, np.float32)])
    assert_same_bits(optimizer, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gradient_that_may_not_be_written(dtype):
    """As of an array of JAX; torch would warn of it, once a process."""
    run_python(f"""
import warnings, ml_dtypes, numpy as np, torch, samestep as ss
warnings.simplefilter("error")
grad = np.ones(3, "{dtype}")
grad.flags.writeable = False
for backend in {HOST}:
    param = np.ones(3, "{dtype}")
    ss.SGD([param], lr=0.5, backend=backend).step([grad])
    assert (param == 0.5).all()
""")


# ---- memory that moves


@pytest.mark.parametrize("backend", HOST)
def test_a_parameter_that_is_given_other_memory_is_followed(backend):
    param, other = torch.ones(3, requires_grad=True), torch.ones(2)
    optimizer = ss.SGD([param, other], lr=1.0, momentum=0.5, clip_global_norm=100.0,
                       backend=backend)  # fmt: skip
    grads = [torch.ones(3), torch.ones(2)]
    for _ in range(3):
        optimizer.step(grads)
    old = param.data
    before = old.clone()
    param.data = torch.full((3,), 10.0)
    with refused(optimizer, ValueError, "has shape"):
        optimizer.step([torch.ones(4), grads[1]])
    optimizer.step(grads)
    assert torch.equal(old, before)
    assert torch.equal(param.detach(), torch.full((3,), 10 - 1.875))
    grads[0].data = torch.full((3,), 2.0)
    optimizer.step(grads)
    assert torch.equal(param.detach(), torch.full((3,), 10 - 1.875 - 2.9375))


@pytest.mark.parametrize("backend", HOST)
def test_a_parameter_that_is_swapped_for_another_tensor_is_followed(backend):
    """The object is the same then, and everything behind it another's."""
    param, other = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = ss.SGD([param], lr=1.0, backend=backend)
    grads = [torch.ones(3)]
    for _ in range(3):
        optimizer.step(grads)
    torch.utils.swap_tensors(param, other)
    optimizer.step(grads)
    assert torch.equal(param, torch.full((3,), -1.0))
    assert torch.equal(other, torch.full((3,), -2.0))
    assert (param._version, other._version) == (1, 3)


@pytest.mark.parametrize("backend", HOST)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.ones(4), r"params\[0\] now has shape \(4,\) and dtype float32; it had \(3,\)"),
        (torch.ones(3).double(), r"params\[0\] now has shape \(3,\) and dtype float64"),
    ],
)
def test_a_parameter_that_has_become_another_one_is_refused(backend, other, message):
    param = torch.ones(3)
    optimizer = ss.SGD([param], lr=1.0, backend=backend)
    for _ in range(3):
        optimizer.step([torch.ones(3)])
    param.data = other
    with pytest.raises(ValueError, match=message):
        optimizer.step([torch.ones(3)])
    assert torch.equal(param, other)


def transposed(tensor):
    tensor.data = tensor.data.T


def reshaped(tensor):
    tensor.data = tensor.data.view(-1)


@pytest.mark.parametrize("backend", HOST)
def test_a_tensor_that_changes_over_the_same_memory_is_noticed(backend):
    """Its first element lies where it lay."""
    rng = np.random.default_rng(0)
    param = torch.from_numpy(rng.standard_normal((3, 3)))
    optimizer = ss.SGD([param], lr=1.0, backend=backend)
    grad = torch.from_numpy(rng.standard_normal((3, 3)))
    for changed in (None, param, grad):
        for _ in range(4):
            if changed is not None:
                transposed(changed)
            expected = param - grad
            optimizer.step([grad])
            assert torch.equal(param, expected)
    for changed in (grad, param):
        before = changed.data
        reshaped(changed)
        with pytest.raises(ValueError, match="has shape"):
            optimizer.step([grad])
        changed.data = before
    optimizer.step([grad])


# ---- checkpoints, copies, choice


def test_a_checkpoint_of_tensors_goes_on_with_arrays(tmp_path):
    params = [as_tensor(a) for a in arrays("bfloat16", 0)]
    steps = [arrays("bfloat16", seed) for seed in (1, 2)]
    ours = optimize(params, [[as_tensor(g) for g in s] for s in steps], "torch:foreach")
    ours.save(tmp_path / "file")
    other = ss.Optimizer.load(tmp_path / "file", arrays("bfloat16", 5), backend="numpy")
    assert_same_bits(other, ours)
    back = [as_tensor(a) for a in arrays("bfloat16", 6)]
    version = back[2]._version
    again = ss.Optimizer.load(tmp_path / "file", back, backend="torch")
    assert back[2]._version > version
    for optimizer in (other, again):
        optimizer.step(arrays("bfloat16", 7))
    assert_same_bits(other, again)


@pytest.mark.parametrize("backend", HOST)
def test_copies_and_the_functional_form(backend):
    params = [torch.ones(3, requires_grad=True)]
    optimizer = optimize(params, [[torch.ones(3)]], backend)
    for clone in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert clone.backend.name == backend
        assert_same(snapshot(clone), snapshot(optimizer))
    rule = ss.rules.registry["adamw"]
    state = rule.init(params, backend=backend)
    moved, _ = rule.apply(params, [torch.ones(3)], state, backend=backend)
    assert not torch.equal(moved[0], params[0])


def test_the_type_of_the_parameters_chooses_the_backend():
    assert ss.AdamW([torch.ones(3)]).backend.name == "torch"
    assert ss.AdamW([torch.nn.Parameter(torch.ones(3))]).backend.name == "torch"
    assert ss.AdamW([np.ones(3)]).backend.name == "numba"
    with ss.use_backend("torch:foreach"):
        assert ss.AdamW([np.ones(3)]).backend.name == "torch:foreach"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:fast", "no such implementation; .*there are torch:forloop, torch:foreach, torch:c"),
        ("numpy:foreach", "no such implementation; there are none to choose from"),
        ("auto:foreach", "no such backend"),
        ("torch:", "no such implementation"),
        ("tensor:foreach", "no such backend"),
    ],
)
def test_an_unknown_implementation_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        ss.get_backend(name)


def test_nothing_imports_torch_for_arrays():
    run_python(
        "import sys, numpy as np, samestep as ss\n"
        "for backend in (None, 'numpy', 'numba'):\n"
        "    ss.AdamW([np.ones(3)], backend=backend).step([np.ones(3)])\n"
        "ss.available_backends()\n"
        "assert 'torch' not in sys.modules"
    )


def test_without_numba_the_default_is_foreach(monkeypatch):
    assert ss.get_backend("torch").implementation == "fused"
    module = __import__("samestep.backends.numba", fromlist=["x"])
    missing = ss.choice.Availability("numba", False, "not installed")
    monkeypatch.setattr(module, "availability", lambda: missing)
    assert ss.get_backend("torch").implementation == "foreach"


def test_dtype_names_and_views():
    tensor = torch.tensor([1.5, -0.0, float("nan")], dtype=torch.bfloat16)
    array = as_numpy(tensor)
    assert array.dtype == ml_dtypes.bfloat16
    array[0] = 2
    assert tensor[0] == 2
    assert as_tensor(array).data_ptr() == tensor.data_ptr()
    assert foreign.dtype_name(tensor) == "bfloat16"
