"""The implementations of the torch backend: slices and blocks, sums in the fixed order, memory,
exact operations, and parameters on a device as far as that can be checked without one."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
import torch
from helpers import assert_same, run_python, snapshot
from lane_sums import in_all_lanes, over_tensor
from samestep.backends.torch import operations, sums, work
from samestep.golden.compare import first_difference
from samestep.language.passes import program
from samestep.language.summation import CHUNK, LANES, ROW_LANES, STRIP_ROWS
from samestep.tools.bench.peak import resident_peak
from variants import options_of, values, variants

EAGER = ["torch:forloop", "torch:foreach"]


# ---- operations


def numbers_everywhere():
    """A rule with numbers on every side of every operation, and zeros of both signs."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr, b=h.b), carry

    def update(xp, s, param, grad, m):
        m = 3 / (m + 2) - (0.1 + grad) / 7 + 0.0 - (1 - s.b) * grad / s.b + 2 / grad
        m = -m + abs(grad) * 0.3 + xp.maximum(m, 0) + xp.minimum(1, grad)
        m = m + xp.where(grad > 0, 0.1, 1 / 3) * xp.sign(m) + xp.minimum(grad, 1e39)
        return param - s.lr * (m / (xp.sqrt(xp.abs(m)) + 0.7)), 0 + m

    return ss.Rule("numbers", scalars, update, defaults=dict(lr=0.1, b=0.3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", [*EAGER, "torch:compiled"])
def test_numbers_in_the_text_are_of_the_compute_dtype(backend, dtype):
    results = []
    for each in ("numpy", backend):
        rng = np.random.default_rng(0)
        params = [values(rng, shape, dtype, 0.1) for shape in ((), 7, 1000, 40_000, (3, 4))]
        optimizer = ss.Optimizer(numbers_everywhere(), params, backend=each)
        for _ in range(2):
            optimizer.step([values(rng, p.shape, dtype, 0.1) for p in params])
        results.append(snapshot(optimizer))
    assert_same(results[1], results[0])


def test_control_plain_torch_divides_a_number_otherwise():
    """Which is why numbers of the text become tensors."""
    x = torch.rand(10_000)
    assert not torch.equal(3 / x, torch.full((), 3.0) / x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_root_is_correctly_rounded(dtype):
    x = torch.rand(1_000_003, dtype=dtype) * 10
    x[:6] = torch.tensor([0.0, -0.0, 5e-324, float("inf"), float("nan"), -1.0], dtype=dtype)
    with np.errstate(invalid="ignore"):
        found, expected = operations.exact_sqrt(x), np.sqrt(x.numpy())
    assert first_difference(found.numpy(), expected) is None


# ---- sums


@pytest.mark.parametrize("n", [1, 2, 255, LANES, LANES + 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77])
def test_sums_over_tensors_have_the_written_order(n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, n)).astype(np.float32)
    found = sums.total(torch.from_numpy(x))
    assert first_difference(found.numpy(), np.array([over_tensor(row) for row in x])) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 255), (STRIP_ROWS + 1, 2 * ROW_LANES + 3)])
def test_sums_along_rows_have_the_written_order(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = sums.sum_lanes(torch.from_numpy(x), ROW_LANES)
    expected = np.array([in_all_lanes(row, ROW_LANES) for row in x])
    assert first_difference(found.numpy(), expected) is None


def test_control_torch_sums_in_another_order():
    x = np.random.default_rng(0).standard_normal(3 * CHUNK).astype(np.float32)
    assert first_difference(torch.from_numpy(x).sum().numpy(), over_tensor(x)) is not None


# ---- slices and blocks

SHAPES = [
    (5,),
    (70, 30),
    (),
    (130, 30),
    (3, 1000),
    (70, 30),
    (2000,),
    (5,),
    (1, 7),
    (0, 3),
    (300, 2),
]


def stepped(rule, backend, **hyper):
    rng = np.random.default_rng(0)
    params = [values(rng, shape, np.float32, 0.01) for shape in SHAPES]
    groups = [{"params": params[:6], "lr": 0.1}, {"params": params[6:], "lr": 0.01}]
    optimizer = ss.Optimizer(rule, groups, backend=backend, **options_of(rule), **hyper)
    for _ in range(2):
        grads = [values(rng, shape, np.float32, 0.01) for shape in SHAPES]
        optimizer.step([grads[:6], grads[6:]])
    return snapshot(optimizer)


@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
@pytest.mark.parametrize("backend", EAGER)
def test_any_slices_give_the_same_bits(rule, backend, monkeypatch):
    expected = stepped(rule, "numpy", clip_norm=3.0)
    for size in (4096, 1 << 17):
        monkeypatch.setattr(work, "SLICE", size)
        monkeypatch.setattr(work, "DIRECT", 100 if size < 5000 else 1 << 15)
        assert_same(stepped(rule, backend, clip_norm=3.0), expected)


def sums_vectors(rule):
    """Whether it sums a tensor that is not seen as a matrix: that needs slices of whole chunks."""
    pers = {*(node.per for node in program(rule).asked if node.op == "sum"), *rule.per.values()}
    return "tensor" in pers and not pers & {"row", "column"}


@pytest.mark.parametrize(
    "rule", [r for r in variants() if not sums_vectors(r)], ids=lambda rule: rule.label
)
@pytest.mark.parametrize("backend", EAGER)
def test_so_do_slices_smaller_than_a_strip_or_than_two_tensors(rule, backend, monkeypatch):
    monkeypatch.setattr(work, "SLICE", 256)
    monkeypatch.setattr(work, "DIRECT", 100)
    assert_same(stepped(rule, backend), stepped(rule, "numpy"))


def test_work_covers_every_element_once():
    sizes = [5, 40_000, 0, 1, 300_000, 32_768, 7, 131_072, 131_073]
    for gathered in (False, True):
        pieces = [
            p
            for each in work.flat_work(
                sizes, range(9), gathered, work.SLICE, (work.SLICE, work.DIRECT)
            )
            for p in each.pieces
        ]
        seen = {i: [] for i in range(9)}
        for piece in pieces:
            seen[piece.tensor] += range(piece.start, piece.stop)
            assert piece.whole == (piece.stop - piece.start == sizes[piece.tensor])
        assert all(seen[i] == list(range(size)) for i, size in enumerate(sizes))


def test_small_tensors_share_slices():
    def runs(backend):
        optimizer = ss.AdamW([torch.ones(1000) for _ in range(1000)], backend=backend)
        optimizer.step([torch.ones(1000)] * 1000)
        (bucket,) = optimizer._run.stepping._work.updates
        return len(bucket._launch.batches)

    assert runs("torch:forloop") == 1000
    assert runs("torch:foreach") == -(-1000 // (work.SLICE // 1000))


def test_extra_memory_does_not_grow_with_the_model():
    megabytes = []
    for tensors in (20, 100):
        params = [torch.ones(100_000) for _ in range(tensors)]
        grads = [torch.ones(100_000) for _ in range(tensors)]
        optimizer = ss.AdamW(params, backend="torch:foreach")
        for _ in range(3):
            optimizer.step(grads)
        peak = resident_peak(lambda step=optimizer.step, grads=grads: step(grads))
        if peak is None:
            pytest.skip("only Linux tells")
        megabytes.append(peak / 1e6)
    assert max(megabytes) < 64
    assert megabytes[1] < megabytes[0] + 8  # 40 MB more of parameters, gradients and state each


# ---- a device

needs_a_device_of_python = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="in this PyTorch Python cannot make up a device",
)
DEVICE = """
import torch, samestep as ss
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils import backend_registration
import samestep.backends.torch.arrays as arrays
import samestep.backends.torch.on_device as on_device
from samestep.backends.torch_tensors import tracing, view
from samestep.backends.torch_tensors.reader import ByTorch

# a device that exists nowhere: tensors with shapes, dtypes and a place, but without elements
backend_registration._setup_privateuseone_for_python_backend("nowhere")
arrays.DEVICES = on_device.DEVICES = ("nowhere",)
# addresses that nothing is at, far enough apart
torch.Tensor.data_ptr = lambda t: (
    t.untyped_storage()._cdata * 2**14 + t.storage_offset() * t.element_size())
on_device.TorchOnDevice.reader = lambda self, tensors: ByTorch()
# fake tensors stand for real ones here
view.is_fake = lambda tensor: False
tracing._traced_by = lambda: ""


def make(shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype, device="nowhere")


class Watched(TorchDispatchMode):
    seen = set()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        places = [t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        numbers = [a for a in args if isinstance(a, (int, float))]
        self.seen.add((op.overloadpacket.__name__, tuple(sorted(set(places))), bool(numbers)))
        return op(*args, **(kwargs or {}))
"""


@pytest.mark.whole
@needs_a_device_of_python
def test_on_a_device_everything_stays_there():
    """Shape and device logic with tensors that have no elements. No operation mixes places: a
    number or a host scalar as divisor would be multiplied by as its reciprocal."""
    script = """
from samestep.language.stages import stages
# a sum over all parameters is read by the host, which needs elements
of_any_shape = [name for name, rule in ss.rules.registry.items()
                if not stages(rule).calls and not any(rule.shared.values())]
for name in ("torch", "torch:forloop", "torch:foreach"):
    for rule in of_any_shape:
        with FakeTensorMode(allow_non_fake_inputs=True):
            params = [make((3, 4)).requires_grad_(), make(70000, torch.bfloat16), make((66, 1025)),
                      make((3, 4)).T, make(100), make(3, torch.float64), make(()), make((0, 3))]
            grads = [make(p.shape, p.dtype) for p in params]
            if rule != "adafactor":
                params.append(make(3, torch.complex64))
                grads.append(make(3, torch.complex64).conj())
            versions = [p._version for p in params]
            opt = ss.Optimizer(rule, params, backend=name, clip_norm=1.0)
            with Watched():
                opt.step(grads)
                opt.step([None, *grads[1:]])
            assert all(a.device.type == "nowhere" for s in opt.state for a in s.values())
            assert all(p._version > v for p, v in zip(params, versions))
            assert all(s.shape == params[1].shape and s.dtype == torch.float32
                       for n, s in opt.state[1].items() if n not in ss.rules.registry[rule].per)
assert opt.backend.implementation == "foreach"
assert not [seen for seen in Watched.seen if len(seen[1]) > 1], Watched.seen
arithmetic = {"div", "sqrt", "mul", "add", "sub", "cat", "_foreach_copy_"}
assert arithmetic <= {seen[0] for seen in Watched.seen}
assert not [seen for seen in Watched.seen if seen[0] == "div" and seen[2]]
host = {seen[0] for seen in Watched.seen if "cpu" in seen[1]}
assert not host & arithmetic, host
"""
    run_python(DEVICE + script)


@needs_a_device_of_python
def test_errors_on_a_device():
    script = """
import numpy as np
def refused(error, words, call):
    try:
        call()
    except error as e:
        assert words in str(e), e
    else:
        raise AssertionError(words)

with FakeTensorMode(allow_non_fake_inputs=True):
    p, half = make((3, 4)), make(5, torch.bfloat16)
    opt = ss.AdamW([p, half])
    good = [make((3, 4)), make(5)]
    opt.step(good)
    for wrong, error, words in [
        (make((4, 3)), ValueError, "params[0] has shape (4, 3); the parameter has (3, 4)"),
        (make((3, 4), torch.float64), TypeError, "has dtype float64; expected float32"),
        (torch.zeros(3, 4), TypeError, "on cpu; the parameter is on nowhere:0"),
        (np.zeros((3, 4)), TypeError, "is a numpy.ndarray; expected a tensor on nowhere:0"),
        (p, ValueError, "the gradient of params[0] shares memory with params[0]"),
        (opt.state[0]["exp_avg"], ValueError, "shares memory with params[0] or its state"),
    ]:
        refused(error, words, lambda: opt.step([wrong, good[1]]))
    refused(ValueError, "params[1] is on cpu, the first parameter on nowhere:0",
            lambda: ss.AdamW([p, np.zeros(3)]))
    refused(ValueError, "share memory", lambda: ss.AdamW([p, p[1:]]))
    refused(ValueError, "overlaps itself", lambda: ss.AdamW([make(1).expand(3)]))
    for name in ("numpy", "numba"):
        refused(TypeError, "expected one in host memory", lambda: ss.AdamW([p], backend=name))
    moved = make((3, 4))
    p.data = make((3, 4))
    opt.step(good)
    p.data = make((5, 4))
    refused(ValueError, "now has shape (5, 4)", lambda: opt.step(good))
"""
    run_python(DEVICE + script)


def test_settings_of_the_compiler_are_known_to_it():
    """Those that make code for a GPU exact; the compiler refuses names that it does not have."""
    from samestep.backends.torch.compiled import EXACT, unknown_settings
    from torch._inductor import config

    known = config.get_config_copy()
    assert unknown_settings() == sorted(EXACT.keys() - known.keys())
    assert (unknown_settings() == []) == (torch.__version__ >= (2, 11))
    # none of them is the default
    assert all(value != known[name] for name, value in EXACT.items() if name in known)
    with pytest.raises(RuntimeError, match="optimization option"):
        torch.compile(lambda x: x, options={"no_such_option": True})


@pytest.mark.whole
def test_a_compiler_without_these_settings_serves_host_memory_alone():
    """As before torch 2.11."""
    script = """
import torch, samestep as ss
from torch._inductor import config
from samestep.backends.torch.device_choice import device_backend
known = {k: v for k, v in config.get_config_copy().items() if not k.startswith("eager_numerics")}
type(config).get_config_copy = lambda self: dict(known)
given, compile = [], torch.compile
torch.compile = lambda *graph, options, **more: (
    given.append(options) or compile(*graph, options=options, **more)
)
p = torch.ones(3)
ss.AdamW([p], backend="torch:compiled").step([torch.ones(3)])
assert (p < 1).all()
assert given == [{"emulate_precision_casts": True}], given
try:
    device_backend("compiled", torch.device("cuda:0"))
except RuntimeError as error:
    assert "cannot run on cuda:0" in str(error) and "torch 2.11 or newer" in str(error), error
    assert "eager_numerics.disable_ftz, eager_numerics.division_rounding" in str(error), error
else:
    raise AssertionError
device_backend("foreach", torch.device("cuda:0"))
"""
    run_python(script)
