"""Muon against torch's, against what it approximates, and where it is no matrix."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
from golden_files import load
from helpers import assert_same, off, on, snapshot
from samestep.golden.compare import assert_same_bits, first_beyond, first_difference
from samestep.golden.verify import verify_one
from samestep.language.stages import stages

torch = pytest.importorskip("torch", minversion="2.9")
SHAPES = [(1, 7), (7, 1), (30, 12), (12, 30), (16, 16), (1, 1), (16, 16)]
PLAIN = dict(weight_decay=0.0, lr=1.0, momentum=0.0, nesterov=False)


def normal(seed, shapes=SHAPES, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def torch_steps(options, dtype, steps=5):
    params = [torch.nn.Parameter(torch.from_numpy(p)) for p in normal(1, dtype=dtype)]
    optimizer = torch.optim.Muon(params, **options)
    for k in range(steps):
        for param, grad in zip(params, normal(10 + k, dtype=dtype), strict=True):
            param.grad = torch.from_numpy(grad)
        optimizer.step()
    return [param.detach().numpy() for param in params]


def our_steps(backend, options, dtype, steps=5):
    params = on(backend, normal(1, dtype=dtype))
    optimizer = ss.Muon(params, backend=backend, **options)
    for k in range(steps):
        optimizer.step(on(backend, normal(10 + k, dtype=dtype)))
    return off(backend, params)


def ours_of(options):
    options = dict(options)
    adjust = options.pop("adjust_lr_fn", None)
    return {**options, "match_rms_adamw": adjust == "match_rms_adamw"}


OPTIONS = [
    dict(lr=0.02),
    dict(lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.3),
    dict(lr=0.02, adjust_lr_fn="match_rms_adamw", ns_steps=3, ns_coefficients=(2.0, -1.5, 0.5)),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_torch_s_in_float64(any_backend, options, monkeypatch):
    """torch iterates in bfloat16 whatever it is given; told not to, it takes the same steps."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    theirs = torch_steps(options, np.float64)
    for found, expected in zip(
        our_steps(any_backend, ours_of(options), np.float64), theirs, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_torch_s_own_steps_are_some_percent_off():
    """What the deviation costs: the difference of all steps, as a share of their length."""
    start = normal(1, dtype=np.float32)
    theirs, mine = torch_steps(OPTIONS[0], np.float32), our_steps("numpy", OPTIONS[0], np.float32)
    off_by = [
        np.linalg.norm(a - b) / np.linalg.norm(b - s)
        for a, b, s in zip(theirs, mine, start, strict=True)
        if min(s.shape) > 1
    ]
    assert 1e-4 < max(off_by) < 0.05


# ---- other coefficients, other products


def polar_express(x, steps):
    """Algorithm 1 of arXiv:2505.16932 in float64, the matrix not of norm 1 yet."""
    triples = [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
        (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    ]
    safe = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in triples] + [(1.875, -1.25, 0.375)]
    x = x / (np.linalg.norm(x) * 1.01)
    for k in range(steps):
        a, b, c = safe[min(k, 7)]
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("steps", [3, 10])
@pytest.mark.parametrize("name", ["Muon", "NorMuon"])
def test_polar_express_is_the_paper_s(name, steps, any_backend):
    (grad,) = normal(0, [(12, 30)])
    param = on(any_backend, np.zeros((12, 30)))
    options = dict(PLAIN, ns_coefficients="polar_express", ns_steps=steps)
    getattr(ss, name)(param, backend=any_backend, **options).step(on(any_backend, grad))
    expected = polar_express(grad, steps)
    if name == "NorMuon":  # of which the first step has rows of one length
        length = np.linalg.norm(expected)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        expected *= length / np.linalg.norm(expected)
    np.testing.assert_allclose(-off(any_backend, param), expected, rtol=0, atol=1e-9)


def share_off(found, expected, start):
    return max(
        np.linalg.norm(a - b) / np.linalg.norm(b - s)
        for a, b, s in zip(found, expected, start, strict=True)
        if min(s.shape) > 1
    )


@pytest.mark.parametrize("implementation", ["fused", "forloop", "foreach"])
def test_products_of_bfloat16_are_as_far_off_as_torch_s(implementation):
    """Both iterate in bfloat16, so either is some percent off, not 1e-6 as float32 is."""
    backend, start = f"torch:{implementation}", normal(1, dtype=np.float32)
    exact = our_steps("numpy", OPTIONS[0], np.float64)
    narrow = our_steps(backend, dict(OPTIONS[0], ns_dtype="bfloat16"), np.float32)
    theirs = torch_steps(OPTIONS[0], np.float32)
    assert 1e-3 < share_off(narrow, exact, start) < 2 * share_off(theirs, exact, start) < 0.1
    wide = our_steps(backend, OPTIONS[0], np.float32)
    assert share_off(wide, exact, start) < 1e-5


@pytest.mark.parametrize("other", ["numpy", "numba"])
def test_a_backend_without_products_of_bfloat16_refuses_them(other):
    ss.Muon(normal(1), backend="torch:foreach", ns_dtype="bfloat16")
    with pytest.raises(
        ValueError, match=f"in bfloat16, and backend '{other}' has no such products"
    ):
        ss.Muon(normal(1), backend=other, ns_dtype="bfloat16")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ns_coefficients", "jordan", "'jordan'; expected 'polar_express' or numbers"),
        ("ns_dtype", "float16", "'float16'; expected None or 'bfloat16'"),
        ("ns_dtype", True, "True; expected None or 'bfloat16'"),
    ],
)
def test_names_are_checked(name, value, expected):
    with pytest.raises(ValueError, match=f"{name} is {expected}"):
        ss.Muon(normal(1), **{name: value})


def test_the_coefficients_of_a_group_are_numbers_or_a_name_for_good():
    numbers = dict(params=normal(1, [(3, 4)]), ns_coefficients=(2.0, -1.5, 0.5))
    named = dict(params=normal(2, [(3, 4)]), ns_coefficients="polar_express")
    optimizer = ss.Muon([numbers, named])
    optimizer.step([normal(3, [(3, 4)]), normal(4, [(3, 4)])])
    before = snapshot(optimizer)
    other = ss.Muon([{**numbers, "ns_coefficients": (3.0, -3.2, 1.2)}, named])
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["ns_coefficients"] == (2.0, -1.5, 0.5)
    assert_same(snapshot(other), before)
    optimizer.param_groups[1]["ns_coefficients"] = (2.0, -1.5, 0.5)
    with pytest.raises(ValueError, match=r"ns_coefficients was 'polar_express' when .* structural"):
        optimizer.step([normal(3, [(3, 4)]), normal(4, [(3, 4)])])


# ---- what a step is


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (4, 3, 5)])
def test_a_step_is_near_the_orthogonal_factor(any_backend, shape):
    """Singular values of a step are 0.65 to 1.25 where the gradient's are not tiny, times the
    scale."""
    (grad,) = normal(0, [shape])
    param = on(any_backend, np.zeros(shape))
    ss.Muon(param, backend=any_backend, **PLAIN).step(on(any_backend, grad))
    matrix = off(any_backend, param).reshape(shape[0], -1)
    u, before, vt = np.linalg.svd(grad.reshape(matrix.shape), full_matrices=False)
    assert (before > 0.01 * np.linalg.norm(before)).all()
    values = -np.diag(u.T @ matrix @ vt.T) / max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
    assert ((values > 0.65) & (values < 1.25)).all()


def test_a_sum_of_gradients_has_the_direction_of_their_mean(any_backend):
    mean = our_steps(any_backend, dict(lr=0.02, eps=0.0), np.float64)
    total = our_steps(any_backend, dict(lr=0.02, eps=0.0, summed_momentum=True), np.float64)
    for a, b in zip(mean, total, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["cautious", "cautious_decay"])
def test_a_part_goes_with_it(part, any_backend):
    """Muon's own step, or what the part leaves of it or of its decay."""
    rule = ss.rules.registry["muon"]
    (start,), (grad,) = normal(1, [(12, 30)]), normal(2, [(12, 30)])
    plain, composed = on(any_backend, start.copy()), on(any_backend, start.copy())
    decay = dict(lr=0.02, weight_decay=0.3 * (part == "cautious_decay"))
    ss.Optimizer(rule, plain, backend=any_backend, lr=0.02, weight_decay=0.0).step(
        on(any_backend, grad)
    )
    optimizer = ss.Optimizer(getattr(ss.parts, part)(rule), composed, backend=any_backend, **decay)
    optimizer.step(on(any_backend, grad))
    step = start - off(any_backend, plain)
    if part == "cautious":
        agrees = step * grad > 0
        assert 0 < agrees.mean() < 1
        expected = start - step * agrees / agrees.mean()
    else:
        expected = start - step - 0.02 * 0.3 * start * (step * start > 0)
    np.testing.assert_allclose(off(any_backend, composed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_dtype_steps(any_backend, dtype):
    from samestep.language.dtypes import numpy_dtype

    arrays = [array.astype(numpy_dtype(dtype)) for array in normal(1)]
    params, wide = (
        on(any_backend, [a.copy() for a in arrays]),
        [a.astype(np.float64) for a in arrays],
    )
    grads = [array.astype(numpy_dtype(dtype)) for array in normal(2)]
    ss.Muon(params, lr=0.05, backend=any_backend).step(on(any_backend, grads))
    ss.Muon(wide, lr=0.05, backend="numpy").step([grad.astype(np.float64) for grad in grads])
    for found, expected in zip(off(any_backend, params), wide, strict=True):
        assert found.dtype == numpy_dtype(dtype)
        assert first_beyond(found, expected.astype(found.dtype), 2) is None


def test_a_run_goes_on_from_its_state(backend):
    whole = ss.Muon(normal(1), backend=backend)
    half = ss.Muon(normal(1), backend=backend)
    for k in range(4):
        whole.step(normal(10 + k))
    for k in range(2):
        half.step(normal(10 + k))
    other = ss.Muon([p.copy() for p in half.param_groups[0]["params"]], backend=backend)
    other.load_state_dict(half.state_dict())
    for k in range(2, 4):
        other.step(normal(10 + k))
    assert_same(snapshot(other), snapshot(whole))


def test_a_part_of_a_parameter_is_refused():
    """FullyShardedDataParallel marks parameters that are parts; products need the whole."""
    from samestep.torch import Muon

    param = torch.nn.Parameter(torch.ones(4, 4))
    param._fsdp_flattened = True
    with pytest.raises(ValueError, match="is flattened by FullyShardedDataParallel"):
        Muon([param])


# ---- golden files with a tolerance


OF_MATRICES = [name for name, rule in ss.rules.registry.items() if stages(rule).calls]


@pytest.mark.parametrize("rule", OF_MATRICES)
def test_control_a_wrong_product_is_noticed(rule, monkeypatch):
    from samestep.backends.host.backend import HostBackend

    def rounded(self, function, *args):
        def matmul(a, b, out):
            out[...] = np.matmul(a.astype(np.float32), b.astype(np.float32))

        with np.errstate(all="ignore"):
            function(matmul, *args)

    monkeypatch.setattr(HostBackend, "on_matrices", rounded)
    golden = load(f"{rule}.float64")
    result = verify_one(golden, ss.rules.registry[rule], "numpy")
    assert any(line.startswith("param.") for line in result.differences)
    states = {line.split(":")[0].split(".")[-1] for line in result.differences if line[0] == "s"}
    of_products = {*(golden.header.state_tolerance or {})}
    if rule == "galore":  # whose basis is a decomposition of the gradient itself
        of_products -= {"basis"}
    assert states == of_products


@pytest.mark.parametrize("rule", OF_MATRICES)
def test_another_order_of_the_products_is_within_the_tolerance(rule, monkeypatch):
    from samestep.backends.host.backend import HostBackend

    def other_order(self, function, *args):
        def matmul(a, b, out):
            out[...] = np.einsum("nij,njk->nik", a[:, :, ::-1], b[:, ::-1])

        with np.errstate(all="ignore"):
            function(matmul, *args)

    monkeypatch.setattr(HostBackend, "on_matrices", other_order)
    for dtype in ("float32", "float64", "bfloat16", "float16"):
        golden = load(f"{rule}.{dtype}")
        result = verify_one(golden, ss.rules.registry[rule], "numpy")
        assert result.same, result.differences[0]
        assert result.tolerance == golden.header.tolerance


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1.0, np.inf], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([1.0, np.inf], [1.0, -np.inf]),
        ([1.0, 2.0 + 1e-5], [1.0, 2.0]),
    ],
)
def test_control_what_is_beyond_a_tolerance(found, expected):
    found, expected = np.float32(found), np.float32(expected)
    assert first_beyond(found, expected, 8) is not None
    assert first_beyond(expected, expected, 0) is None


def test_an_ulp_of_a_tolerance_is_that_of_the_largest():
    expected = np.float32([4.0, 1e-9, np.inf, np.nan])
    near = expected + np.float32([0, 4e-7, 0, 0])  # an ulp of 4.0 is 4.8e-7
    assert first_difference(near, expected) is not None
    assert first_beyond(near, expected, 1) is None
    assert "1.7 ulps of the largest" in first_beyond(
        near + np.float32([0, 4e-7, 0, 0]), expected, 1
    )
    assert_same_bits(expected, expected)
