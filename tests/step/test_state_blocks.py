"""States of 8 and 4 bits in blocks with a scale: the same bits everywhere, and nothing silently
wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.blockwise import BLOCKWISE
from samestep.language.dtypes import numpy_dtype
from sampling import half
from variants import SPECIAL, fitting

SIZES = (0, 1, 31, 32, 33, 127, 128, 129, 255, 256, 257, 65_537)
BOTH = {"exp_avg": "int8", "exp_avg_sq": "uint8"}
DYNAMIC = {"exp_avg": "dynamic8", "exp_avg_sq": "udynamic8"}
FOUR = {"exp_avg": "int4", "exp_avg_sq": "uint4"}
OF_ROOTS, OF_MAPS = (
    [each for each in BLOCKWISE.values() if (each.most is None) == mapped]
    for mapped in (False, True)
)
SPECIAL_BLOCKS = (
    np.zeros(128),
    np.full(128, -0.0),
    np.r_[1e30, np.linspace(-1, 1, 127)],
    np.full(128, 1e-40),
    np.r_[2.0**-126, np.full(127, 1e-40)],
    np.r_[np.float32(3.4028235e38), np.linspace(-1e38, 1e38, 127)],
    np.r_[np.linspace(0, 2, 127), np.inf],
    np.r_[np.nan, np.linspace(0, 2, 127)],
    np.linspace(-3, 3, 128),
    np.linspace(0, 3, 128),
    SPECIAL,
)


def kept() -> ss.Rule:
    """A rule whose state is the gradient."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, last):
        return param + s.lr * last, grad

    return ss.Rule("kept", scalars, update, defaults=dict(lr=0.5))


def each_code(codec, codes, count):
    """The codes of so many elements, each a number of its own; two in a byte, the first one
    above."""
    if codec.bits == 8:
        return codes
    halves = np.stack([codes >> 4, codes & 15], axis=1).reshape(-1).astype(np.int8)
    assert not halves[count:].any()  # the half that is left of an odd number
    halves = halves[:count]
    return np.where(halves > 7, halves - 16, halves) if codec.signed else halves


def centred() -> ss.Rule:
    """A rule that sums a state with a codec, and keeps another one without."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr, beta=h.beta, rest=1 - h.beta), carry

    def update(xp, s, param, grad, mean, last):
        mean = s.beta * mean + s.rest * grad
        return param - s.lr * (mean - xp.mean(mean)) + last, mean, grad * s.rest

    return ss.Rule("centred", scalars, update, defaults=dict(lr=0.5, beta=0.9))


def run(rule, backend: str, steps: int = 3, sizes=SIZES, **hyper):
    rng = np.random.default_rng(3)
    params = fitting(rule, [rng.standard_normal(n, np.float32) for n in sizes])
    optimizer = ss.Optimizer(rule, on(backend, params), backend=backend, **hyper)
    for _ in range(steps):
        grads = [rng.standard_normal(n, np.float32) * rng.random() for n in sizes]
        step(optimizer, fitting(rule, grads))
    return snapshot(optimizer)


@pytest.mark.parametrize("codec", OF_ROOTS, ids=lambda each: each.name)
def test_a_code_is_the_nearest_root_and_the_largest_element_is_exact(codec):
    rng = np.random.default_rng(1)
    for size in SIZES:
        values = rng.standard_normal(size).astype(np.float32) * 10 ** rng.uniform(-30, 30)
        values = values if codec.mask == 0x7FFFFFFF else abs(values)
        values = values.astype(np.float32)
        codes, scales = codec.store(values)
        assert len(scales) == -(-size // codec.size)
        for k, scale in enumerate(scales):
            where = slice(k * codec.size, (k + 1) * codec.size)
            part = values[where].astype(np.float64)
            assert scale == abs(part).max()
            roots = codec.most * np.sqrt(abs(part) / scale) * np.sign(part)
            roots = roots if codec.signed else np.maximum(roots, part > 0)
            assert abs(roots - each_code(codec, codes, size)[where]).max() < 0.5001
        loaded = codec.load(codes, scales, size)
        largest = [abs(loaded[k * codec.size :][: codec.size]).max() for k in range(len(scales))]
        assert first_difference(np.array(largest, np.float32), scales) is None
        for ours, expected in zip(codec.store(loaded), (codes, scales), strict=True):
            assert first_difference(ours, expected) is None  # what was loaded is stored as it was


@pytest.mark.parametrize(("codec", "other"), [("uint8", "int8"), ("uint4", "int4")])
def test_without_a_sign_nothing_above_0_becomes_0(any_backend, codec, other):
    """However much larger its neighbours are: the quotient may be below all float32 numbers,
    too."""
    rng = np.random.default_rng(1)
    values = (10 ** rng.uniform(-45, 38, (40, 128))).astype(np.float32)
    values[:, ::7] = 0
    values[:, 1::7] = -0.0
    values[0], values[1] = 0, np.r_[np.inf, np.ones(127)]
    params = on(any_backend, [np.zeros(values.size, np.float32)])
    optimizer = ss.Optimizer(kept(), params, backend=any_backend, state_dtype=codec)
    step(optimizer, [values.reshape(-1)])
    found, codec = snapshot(optimizer), BLOCKWISE[codec]
    scales = found["last_scale 0"]
    codes = each_code(codec, found["last 0"], values.size).reshape(values.shape)
    assert (codes[2:] > 0).tolist() == (values[2:] > 0).tolist()
    loaded = codec.load(found["last 0"], scales, values.size).reshape(values.shape)
    assert (loaded[2:] > 0).tolist() == (values[2:] > 0).tolist()
    assert not codes[:2].any()
    signed, _ = BLOCKWISE[other].store(values.reshape(-1))  # the control: a codec with a sign
    signed = each_code(BLOCKWISE[other], signed, values.size)
    assert (signed.reshape(values.shape)[2:] == 0).sum() > (values[2:] == 0).sum()


@pytest.mark.parametrize("codecs", [BOTH, FOUR], ids=["8", "4"])
def test_gradients_of_very_different_size_in_a_block_train(any_backend, codecs):
    """A square that became 0 beside a mean that did not would move a parameter by that divided by
    eps."""
    stiffness = np.logspace(-4, 0, 128, dtype=np.float32)
    params = on(any_backend, [np.ones(128, np.float32)])
    optimizer = ss.AdamW(params, lr=0.01, weight_decay=0.0, backend=any_backend, state_dtype=codecs)
    for _ in range(60):
        step(optimizer, [stiffness * snapshot(optimizer)["param 0"]])
        assert abs(snapshot(optimizer)["param 0"]).max() <= 1.5


@pytest.mark.parametrize("codec", OF_MAPS, ids=lambda each: each.name)
def test_a_code_is_the_number_of_the_nearest_value_of_the_map(codec):
    """Of two that are equally near the upper one; and what was loaded has its codes again."""
    assert len(np.unique(codec.map)) == 256
    assert codec.map[[codec.zero, -1]].tolist() == [0, 1]
    middles = (codec.map[1:] + codec.map[:-1]) / np.float32(2)
    rng = np.random.default_rng(1)
    parts = rng.choice([-1.0, 1.0], 5000) * 10 ** rng.uniform(-8, 0, 5000)
    parts = np.r_[codec.map, middles, parts if codec.signed else abs(parts)].astype(np.float32)
    blocks = np.insert(parts, np.arange(0, len(parts), codec.size - 1), 1)  # each has a 1
    codes, scales = codec.store(blocks)
    assert (scales == 1).all()
    ways = abs(codec.map.astype(np.float64) - blocks[:, None])
    nearest = 255 - ways[:, ::-1].argmin(axis=1)
    near = np.sort(ways)[:, :2]
    ties = abs(near[:, 1] - near[:, 0]) < 1e-7 * abs(blocks)  # the middle is rounded
    assert (codes == nearest)[~ties].all()
    assert ties.sum() < 300
    loaded = codec.load(codes, scales * np.float32(0.3), len(codes))
    assert first_difference(codec.store(loaded)[0], codes) is None


@pytest.mark.parametrize(
    ("rule", "codecs"),
    [("adamw", BOTH), ("lamb", {"exp_avg_sq": "uint8"}), ("lamb", "int8"),
     (centred(), {"last": "int8", "mean": "bfloat16"}), ("adamw", DYNAMIC), ("lamb", "dynamic8"),
     ("adamw", {"exp_avg": "int8", "exp_avg_sq": "udynamic8"}),
     ("lamb", {"exp_avg": "dynamic8", "exp_avg_sq": "uint8"}), ("adamw", FOUR), ("lamb", "int4"),
     (centred(), {"last": "int4", "mean": "int8"}), ("adamw", {"exp_avg": "int4"}),
     ("adamw", {"exp_avg": "dynamic8", "exp_avg_sq": "uint4"}),
     ("lamb", {"exp_avg": "int4", "exp_avg_sq": "udynamic8"})],
    ids=["adamw-both", "lamb-one", "lamb-int8", "own-mixed", "adamw-maps", "lamb-map",
         "adamw-two-sizes", "lamb-two-sizes", "adamw-4", "lamb-int4", "own-4-and-8", "adamw-one-4",
         "adamw-4-of-two-sizes", "lamb-4-of-two-sizes"],
)  # fmt: skip
def test_all_backends_give_the_same_bits(any_backend, rule, codecs):
    expected = run(rule, "numpy", state_dtype=codecs)
    assert_same(run(rule, any_backend, state_dtype=codecs), expected)


@pytest.mark.parametrize(
    "stored",
    half([f"{name}.{codec}" for name in sorted(ss.rules.registry) for codec in ("int8", "int4")]),
)
def test_every_rule_stores_its_states_in_blocks(stored):
    """On vectors, and on matrices of one column of rules that take no others. A rule without states
    has none to store, nor has one whose states are smaller than the parameter, or values of it."""
    name, codec = stored.split(".")
    hyper = dict(momentum=0.9) if name in ("sgd", "rmsprop") else {}
    expected = run(name, "numpy", sizes=(300, 129), state_dtype=codec, **hyper)
    states = [key for key in expected if key.endswith("_scale 0")]
    assert states or name in ("signsgd", "galore", "asgd", "sgd_schedulefree")
    pytest.importorskip("numba")
    assert_same(run(name, "numba", sizes=(300, 129), state_dtype=codec, **hyper), expected)


@pytest.mark.parametrize("codecs", [BOTH, FOUR], ids=["8", "4"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parameters_of_16_bits(any_backend, dtype, codecs):
    def made(backend):
        rng = np.random.default_rng(3)
        params = [rng.standard_normal(300).astype(numpy_dtype(dtype))]
        optimizer = ss.AdamW(on(backend, params), backend=backend, state_dtype=codecs)
        step(optimizer, [rng.standard_normal(300).astype(numpy_dtype(dtype))])
        return snapshot(optimizer)

    assert_same(made(any_backend), made("numpy"))


@pytest.mark.parametrize("codec", BLOCKWISE)
def test_special_blocks(any_backend, codec):
    with np.errstate(all="ignore"):
        grads = [block.astype(np.float32) for block in SPECIAL_BLOCKS]
        grads.append(np.concatenate([block[:128] for block in grads[:-1]]))
    found = []
    for backend in ("numpy", any_backend):
        params = on(backend, [np.zeros_like(grad) for grad in grads])
        optimizer = ss.Optimizer(kept(), params, backend=backend, lr=1.0, state_dtype=codec)
        step(optimizer, grads)
        step(optimizer, grads)
        found.append(snapshot(optimizer))
    assert_same(found[1], found[0])
    loaded = [found[0][f"param {i}"] for i in range(len(grads))]
    for i in (0, 1, 3):  # zeros, and what is below the normal numbers
        assert not loaded[i].any()
    assert loaded[4][0] == np.float32(2.0**-126)
    signed = BLOCKWISE[codec].signed
    for i in (6, 7, *([] if signed else [2, 5, 8])):
        assert np.isnan(loaded[i]).all()
        assert np.isnan(found[0][f"last_scale {i}"]).all()
        codes = each_code(BLOCKWISE[codec], found[0][f"last {i}"], len(grads[i]))
        assert (codes == BLOCKWISE[codec].zero).all()
    assert np.isfinite(loaded[9]).all()
    if signed:  # a map's lowest value is above -1
        assert loaded[8][[0, -1]].tolist() == [
            3 * BLOCKWISE[codec].map[0] if BLOCKWISE[codec].most is None else -3,
            3,
        ]
        assert loaded[2][0] == np.float32(1e30)


@pytest.mark.parametrize("codecs", [BOTH, FOUR], ids=["8", "4"])
def test_threads_change_no_bit(monkeypatch, codecs):
    pytest.importorskip("numba")
    sizes = (300_001, 65_536, 5)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("SAMESTEP_THREADS", threads)
        found.append(run("adamw", "numba", sizes=sizes, state_dtype=codecs))
    assert_same(*found)


@pytest.mark.parametrize("codec", ["uint8", "udynamic8", "uint4"])
def test_initial_values_are_stored_in_blocks_and_come_back_at_a_reset(any_backend, codec):
    params = on(any_backend, [np.ones((3, 50), np.float32), np.ones((), np.float32)])
    optimizer = ss.Adagrad(
        params, backend=any_backend, state_dtype=codec, initial_accumulator_value=0.1
    )
    before = snapshot(optimizer)
    assert (before["sum 0"] == 255).all()
    blocks = BLOCKWISE[codec].count(150)
    assert first_difference(before["sum_scale 0"], np.full(blocks, 0.1, np.float32)) is None
    step(optimizer, [np.ones((3, 50), np.float32), np.ones((), np.float32)])
    optimizer.reset()
    for name in ("sum 0", "sum_scale 0", "sum 1", "sum_scale 1"):
        assert first_difference(snapshot(optimizer)[name], before[name]) is None


def test_a_state_of_zeros_begins_with_the_code_of_zero(any_backend):
    """Of the dynamic map with signs that is 127; code 0 of a scale of 0 would be -0."""
    params = on(any_backend, [np.ones(300, np.float32)])
    optimizer = ss.AdamW(params, backend=any_backend, state_dtype="dynamic8")
    before = snapshot(optimizer)
    assert (before["exp_avg 0"] == 127).all()
    assert not before["exp_avg_scale 0"].any()
    step(optimizer, [np.ones(300, np.float32)])
    optimizer.reset()
    assert (snapshot(optimizer)["exp_avg 0"] == 127).all()


@pytest.mark.parametrize("codec", ["int8", "int4"])
@pytest.mark.parametrize("rule", ["adamw", "lamb"])
def test_blocks_go_with_rounding_by_random_bits(any_backend, rule, codec):
    """Of what is stored in 16 bits beside them: parameters, and another state."""
    found = []
    for backend in ("numpy", any_backend):
        rng = np.random.default_rng(3)
        dtype = numpy_dtype("bfloat16")
        params = on(backend, [rng.standard_normal(n).astype(dtype) for n in (300, 7, 66_000)])
        codecs = {"exp_avg": codec, "exp_avg_sq": "bfloat16"}
        options = dict(state_dtype=codecs, rounding="stochastic", seed=5)
        optimizer = ss.Optimizer(rule, params, backend=backend, **options)
        step(optimizer, [rng.standard_normal(n).astype(dtype) for n in (300, 7, 66_000)])
        found.append(snapshot(optimizer))
    assert_same(found[1], found[0])


# ---- checkpoints


def made(backend: str, **hyper) -> ss.Optimizer:
    param = np.random.default_rng(4).standard_normal(1000).astype(np.float32)
    return ss.AdamW(on(backend, [param]), lr=0.01, backend=backend, **hyper)


def stepped(backend: str, steps: range, optimizer: ss.Optimizer) -> ss.Optimizer:
    for k in steps:
        step(optimizer, [np.random.default_rng(k).standard_normal(1000).astype(np.float32)])
    return optimizer


@pytest.mark.parametrize("codecs", [BOTH, DYNAMIC, FOUR], ids=["roots", "maps", "4"])
def test_a_resumed_run_is_the_uninterrupted_one(any_backend, tmp_path, codecs):
    whole = stepped(any_backend, range(4), made(any_backend, state_dtype=codecs))
    first = stepped(any_backend, range(2), made(any_backend, state_dtype=codecs))
    first.save(tmp_path / "run")
    other = made(any_backend, state_dtype=codecs)
    other.backend.copy_into(other.param_groups[0]["params"][0], snapshot(first)["param 0"])
    other.load_state_dict(first.state_dict())
    params = on(any_backend, [np.zeros(1000, np.float32)])
    loaded = ss.AdamW.load(tmp_path / "run", params, backend=any_backend)
    assert loaded.param_groups[0]["state_dtype"] == codecs
    for optimizer in (loaded, other):
        assert_same(snapshot(stepped(any_backend, range(2, 4), optimizer)), snapshot(whole))


@pytest.mark.parametrize("saved", [None, "bfloat16", "int8", BOTH, DYNAMIC, FOUR], ids=str)
@pytest.mark.parametrize("codecs", [None, "int8", BOTH, DYNAMIC, FOUR], ids=str)
def test_a_state_dict_of_other_codecs_is_loaded_exactly_and_stored_once(any_backend, saved, codecs):
    source = stepped(any_backend, range(2), made(any_backend, state_dtype=saved))
    target, exact = made(any_backend, state_dtype=codecs), made(any_backend)
    for optimizer in (target, exact):
        optimizer.load_state_dict(source.state_dict())
    assert target.param_groups[0]["state_dtype"] == codecs
    found, values = snapshot(target), snapshot(exact)
    for name in ("exp_avg", "exp_avg_sq"):
        expected = [values[f"{name} 0"]]
        if codecs is not None and codecs == saved:  # codes and scales as they are
            expected = [snapshot(source)[f"{each} 0"] for each in (name, f"{name}_scale")]
        elif codecs is not None:
            codec = BLOCKWISE[(BOTH if codecs == "int8" else codecs)[name]]
            expected = codec.store(values[f"{name} 0"])
        for each, wanted in zip((name, f"{name}_scale"), expected, strict=False):
            assert first_difference(found[f"{each} 0"], wanted) is None


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("exp_avg_scale", np.zeros(3, np.float32), "exp_avg_scale has shape|scales of shape"),
        ("exp_avg", np.zeros(1000, np.float32), "has dtype float32|codes of float32|has shape"),
    ],
)
@pytest.mark.parametrize("codecs", [None, BOTH, FOUR], ids=str)
def test_arrays_that_are_no_blocks_are_refused(name, array, message, codecs):
    saved = made("numpy", state_dtype=codecs or BOTH).state_dict()
    saved["state"][0]["step"] = 1
    saved["state"][0][name] = array
    with pytest.raises((TypeError, ValueError), match=message):
        made("numpy", state_dtype=codecs).load_state_dict(saved)


# ---- states that are never negative


@pytest.mark.parametrize(
    ("codec", "expected"), [("int8", BOTH), ("dynamic8", DYNAMIC), ("int4", FOUR)]
)
def test_one_codec_for_all_has_no_sign_where_a_state_is_never_negative(
    any_backend, codec, expected
):
    one, each = (run("adamw", any_backend, state_dtype=asked) for asked in (codec, expected))
    assert_same(one, each)
    assert ss.rules.registry["adamw"].stored_as(codec).storage == expected


@pytest.mark.parametrize("codec", ["int8", "dynamic8", "int4"])
def test_a_codec_with_a_sign_is_refused_by_name_for_squares(any_backend, codec):
    with pytest.raises(ValueError, match=f"'exp_avg_sq'.* is '{codec}', .*; expected 'u{codec}'"):
        made(any_backend, state_dtype={"exp_avg_sq": codec})
    made(any_backend, state_dtype={"exp_avg": codec})


# ---- errors


@pytest.mark.parametrize(
    ("dtype", "why"),
    [("float64", "are computed in float64"), ("complex64", "its states are complex")],
)
def test_parameters_that_are_not_real_and_computed_in_float32_are_refused(any_backend, dtype, why):
    params = on(any_backend, [np.zeros(3, dtype)])
    with pytest.raises(TypeError, match=rf"\[0\] is .*state_dtype='int8' is for real .*: .*{why}"):
        ss.AdamW(params, backend=any_backend, state_dtype="int8")


def test_a_state_may_not_have_the_name_of_scales():
    def update(xp, s, param, grad, mean, mean_scale):
        return param, mean + grad, mean_scale

    rule = ss.Rule("clash", lambda xp, step, carry, h: ({}, carry), update)
    with pytest.raises(ValueError, match="'mean_scale', which is what the scales of 'mean' are"):
        ss.Optimizer(rule, [np.ones(3, np.float32)], state_dtype={"mean": "int8"})


@pytest.mark.parametrize(("codecs", "per_byte"), [(BOTH, 1), (FOUR, 2)], ids=["8", "4"])
def test_the_bytes_of_a_state(codecs, per_byte):
    optimizer = ss.AdamW([np.ones(n, np.float32) for n in SIZES], state_dtype=codecs)
    found = sum(array.nbytes for entry in optimizer.state for array in entry.values())
    assert found == sum(2 * (math.ceil(n / per_byte) + 4 * math.ceil(n / 128)) for n in SIZES)


@pytest.mark.parametrize("codec", ["int4", "int8"])
def test_states_of_another_shape_are_refused_before_they_are_stored(codec):
    wide, tall = np.ones((3, 50), np.float32), np.ones((50, 3), np.float32)
    saved = ss.AdamW(wide)
    saved.step(np.ones_like(wide))
    with pytest.raises(ValueError, match="shape"):
        ss.AdamW(tall, state_dtype=codec).load_state_dict(saved.state_dict())


def test_codes_of_4_bits_do_not_tell_shapes_apart_but_a_file_does(tmp_path):
    """As `load_state_dict` and the page on fewer bits say."""
    wide, tall = np.ones((3, 50), np.float32), np.ones((50, 3), np.float32)
    saved = ss.AdamW(wide, state_dtype="int4")
    saved.step(np.ones_like(wide))
    saved.save(tmp_path / "run.safetensors")
    ss.AdamW(tall, state_dtype="int4").load_state_dict(saved.state_dict())
    with pytest.raises(ValueError, match=r"has shape \(50, 3\).*saved were \(3, 50\)"):
        ss.AdamW.load(tmp_path / "run.safetensors", tall)


def test_a_frozen_parameter_may_have_gradients_of_rows_of_any_length():
    frozen, free = np.ones((10, 100), np.float32), np.ones((10, 128), np.float32)
    groups = [{"params": frozen, "frozen": True}, {"params": free}]
    optimizer = ss.SGD(groups, momentum=0.9, state_dtype="int8", lazy=True)
    rows = [ss.IndexedSlices(np.ones((1, n), np.float32), [2]) for n in (100, 128)]
    optimizer.step(rows)
    assert (frozen == 1).all()
    assert (free[2] < 1).all()
