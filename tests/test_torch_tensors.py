"""Tensors as parameters: on every backend of the host they get the bits of NumPy arrays."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest
import samestep as ss
import torch
from helpers import assert_same, refused, run_python, snapshot
from samestep.backends import foreign, tensor_gradients, tensor_structs
from samestep.backends.foreign import as_numpy, as_tensor
from samestep.golden.compare import first_difference

HOST = ["numpy", "numba", "torch", "torch:forloop", "torch:foreach"]
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
    expected = ss.AdamW([np.ones(3, np.float32)], backend="numpy")
    for _ in range(3):
        expected.step([np.ones(3, np.float32)])
    assert_same_bits(optimizer, expected)


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


def test_addresses_read_from_structs_are_those_that_torch_tells(monkeypatch):
    numba = ss.get_backend("numba")
    base = torch.arange(1000.0)
    tensors = [base[7:], base.view(20, 50)[3:].T, torch.nn.Parameter(base[1:2]),
               torch.ones(3).bfloat16()[1:], torch.ones(3, dtype=torch.complex128)[2:]]  # fmt: skip
    sizes = np.array([t.element_size() for t in tensors])
    read = numba.gradients([numba.adopt("p", tensors[0])])._reader
    found = read(tensor_gradients.ids_of(tensors), sizes)
    assert (found == tensor_gradients.data_ptrs(tensors)).all()
    monkeypatch.setattr(tensor_structs, "offsets", lambda: None)
    read = numba.gradients([numba.adopt("p", tensors[0])])._reader
    assert read is None
    test_a_parameter_that_is_given_other_memory_is_followed("numba")


def test_control_a_struct_without_the_value_is_not_taken_for_one():
    tensors = [torch.ones(3)[1:], torch.ones(5)[2:]]
    cells = [t._cdata for t in tensors]
    storages = [t.untyped_storage()._cdata for t in tensors]
    assert tensor_structs._where(cells, storages, 20) is not None
    assert tensor_structs._where(cells, storages[::-1], 20) is None


# ---- errors


def wrapped():
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

        def __init__(self, inner):
            self.inner = inner

        def __tensor_flatten__(self):
            return ["inner"], None

        @staticmethod
        def __tensor_unflatten__(inner, meta, size, stride):
            return Wrapper(inner["inner"])

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            raise NotImplementedError

    return Wrapper(torch.ones(3))


def in_inference_mode():
    with torch.inference_mode():
        return torch.ones(3)


UNUSABLE = {
    "compressed": (
        lambda: torch.ones(3, 3).to_sparse_csr(), "is a sparse_csr tensor; expected a strided"
    ),
    "meta": (lambda: torch.ones(3, device="meta"), "is on the meta device and has no elements"),
    "integers": (lambda: torch.ones(3, dtype=torch.int64), "has dtype int64; expected one of"),
    "8 bits": (lambda: torch.ones(3).to(torch.float8_e4m3fn), "has dtype float8_e4m3fn; expected"),
    "half complex": (lambda: torch.ones(3, dtype=torch.complex32), "has dtype complex32; expec"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "is quantized"
    ),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(3)]), "is a nested tensor"),
    "wrapper": (wrapped, "is a .*Wrapper on cpu, which wraps other tensors; pass what it"),
}  # fmt: skip
PARAMETERS = {
    "sparse": (lambda: torch.ones(3).to_sparse(), "is a sparse_coo tensor; expected a strided"),
    "computed": (lambda: torch.ones(3, requires_grad=True) * 2, "is not a leaf"),
    "conjugate": (
        lambda: torch.ones(3, dtype=torch.complex64).conj(), "is a lazy conjugate or negative"
    ),
    "inference": (in_inference_mode, "was made in inference mode"),
    "expanded": (lambda: torch.ones(1).expand(3), "overlaps itself"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*(nested tensors|quantiz|ComplexHalf|CSR).*")
@pytest.mark.parametrize("kind", [*UNUSABLE, *PARAMETERS])
@pytest.mark.parametrize("backend", HOST)
def test_unusable_parameters_are_named(backend, kind):
    make, message = (UNUSABLE | PARAMETERS)[kind]
    with pytest.raises((TypeError, ValueError), match=rf"params\['w'\] {message}"):
        ss.AdamW({"v": torch.ones(3), "w": make()}, backend=backend)


@pytest.mark.filterwarnings("ignore:.*(nested tensors|quantiz|ComplexHalf|CSR).*")
@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("backend", HOST)
def test_unusable_gradients_are_named_and_change_nothing(backend, kind):
    optimizer = ss.AdamW([torch.ones(3), torch.ones(3)], backend=backend)
    optimizer.step([torch.ones(3)] * 2)
    make, message = UNUSABLE[kind]
    with refused(optimizer, TypeError, rf"the gradient of params\[1\] {message}"):
        optimizer.step([torch.ones(3), make()])


@pytest.mark.parametrize("backend", HOST)
def test_wrong_gradients_are_named_and_change_nothing(backend):
    half = torch.ones(3, dtype=torch.bfloat16)
    optimizer = ss.AdamW([torch.ones(3), half], backend=backend)
    good = [torch.ones(3), torch.ones(3)]
    optimizer.step(good)
    for wrong, error, message in [
        (torch.ones(4), ValueError, r"params\[0\] has shape \(4,\); the parameter has \(3,\)"),
        (torch.ones(3).double(), TypeError, "has dtype float64; expected float32, as the param"),
        ([1.0] * 3, TypeError, "is a builtins.list; expected"),
        (half[:3].float().expand(3), None, ""),
        (optimizer.param_groups[0]["params"][0], ValueError, "shares memory with"),
        (optimizer.state[0]["exp_avg"], ValueError, "shares memory with"),
    ]:
        if error is not None:
            with refused(optimizer, error, message):
                optimizer.step([wrong, good[1]])
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
        ss.AdamW([half, half[1:]], backend=backend)


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
    rule = ss.rules["adamw"]
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
        ("torch:fast", "no such implementation; there are torch:forloop, torch:foreach, torch:c"),
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
    missing = ss.backend.Availability("numba", False, "not installed")
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
