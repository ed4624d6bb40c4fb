"""States that are stored in fewer bits: rounded once, to nearest even, wherever they are stored."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from variants import SPECIAL

CODECS = ("bfloat16", "float16")
SIZE = 70_001  # more than a chunk


def grads_of(steps: int, size: int = SIZE) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(5)
    return [[rng.standard_normal(size, np.float32)] for _ in range(steps)]


def made(backend: str, **hyper) -> ss.Optimizer:
    param = np.random.default_rng(4).standard_normal(SIZE, np.float32)
    return ss.AdamW(on(backend, [param]), lr=0.01, backend=backend, **hyper)


def stepped(backend: str, steps: int, **hyper) -> ss.Optimizer:
    optimizer = made(backend, **hyper)
    for grads in grads_of(steps):
        step(optimizer, grads)
    return optimizer


def kept() -> ss.Rule:
    """A rule whose state is the gradient."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, last):
        return param + s.lr * last, grad

    return ss.Rule("kept", scalars, update, defaults=dict(lr=0.5))


@pytest.mark.parametrize("codec", CODECS)
def test_a_state_is_rounded_once_where_it_is_stored(any_backend, codec):
    """The first step computes with unrounded states, so that parameters do not see the codec."""
    exact, rounded = (snapshot(stepped(any_backend, 1, state_dtype=d)) for d in (None, codec))
    assert first_difference(rounded["param 0"], exact["param 0"]) is None
    for name in ("exp_avg 0", "exp_avg_sq 0"):
        expected = exact[name].astype(numpy_dtype(codec))
        assert first_difference(rounded[name], expected) is None
        assert first_difference(rounded[name].astype(np.float32), exact[name]) is not None


@pytest.mark.parametrize("codec", CODECS)
def test_special_numbers_are_stored_and_loaded(any_backend, codec):
    ties = np.array(
        [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 65519.9, 65520.0, 2**-25]
    )
    with np.errstate(all="ignore"):
        grad = np.concatenate([SPECIAL, ties, -ties]).astype(np.float32)
        expected = grad.astype(numpy_dtype(codec))
    params = on(any_backend, [np.zeros_like(grad)])
    optimizer = ss.Optimizer(kept(), params, backend=any_backend, lr=1.0, state_dtype=codec)
    step(optimizer, [grad])
    (entry,) = off(any_backend, optimizer.state)
    assert first_difference(entry["last"], expected) is None
    step(optimizer, [grad])
    assert first_difference(off(any_backend, params)[0], 0 + expected.astype(np.float32)) is None


def test_each_group_has_codecs_of_its_own(any_backend):
    rng = np.random.default_rng(0)
    names = [None, "float16", {"exp_avg": "bfloat16"}]
    params = on(any_backend, [rng.standard_normal(300).astype(np.float32) for _ in names])
    groups = [{"params": [p], "state_dtype": d} for p, d in zip(params, names, strict=True)]
    optimizer = ss.AdamW(groups, backend=any_backend)
    step(optimizer, [[grad] for grad in rng.standard_normal((3, 300)).astype(np.float32)])
    found = [[a.dtype.name for a in entry.values()] for entry in off(any_backend, optimizer.state)]
    assert found == [["float32"] * 2, ["float16"] * 2, ["bfloat16", "float32"]]
    assert [group["state_dtype"] for group in optimizer.param_groups] == names


def test_state_smaller_than_the_parameter_stays_in_the_compute_dtype(any_backend):
    params = on(any_backend, [np.ones((3, 4), np.float32), np.ones(3, np.float32)])
    optimizer = ss.Adafactor(params, beta1=0.9, backend=any_backend, state_dtype="bfloat16")
    step(optimizer, [np.ones((3, 4), np.float32), np.ones(3, np.float32)])
    matrix, vector = off(any_backend, optimizer.state)
    assert {name: array.dtype.name for name, array in matrix.items()} == {
        "exp_avg": "bfloat16", "exp_avg_sq_row": "float32", "exp_avg_sq_col": "float32",
    }  # fmt: skip
    assert {array.dtype.name for array in vector.values()} == {"bfloat16"}


@pytest.mark.parametrize("codec", CODECS)
def test_an_initial_value_is_rounded_as_a_state_is(any_backend, codec):
    params = on(any_backend, [np.ones(3, np.float32)])
    optimizer = ss.Adagrad(
        params, backend=any_backend, state_dtype=codec, initial_accumulator_value=0.1
    )
    (entry,) = off(any_backend, optimizer.state)
    expected = np.full(3, 0.1, np.float32).astype(numpy_dtype(codec))
    assert first_difference(entry["sum"], expected) is None


def test_a_dict_is_read_again_only_when_it_has_changed(any_backend, monkeypatch):
    optimizer = made(any_backend, state_dtype={"exp_avg": "bfloat16"})
    first, *others = grads_of(4)
    step(optimizer, first)
    with monkeypatch.context() as patched:
        patched.delattr(ss.Rule, "hyperparameters")
        step(optimizer, others[0])
    optimizer.param_groups[0]["state_dtype"]["exp_avg"] = "float16"
    with pytest.raises(ValueError, match=r"state_dtype was .'exp_avg': 'bfloat16'"):
        step(optimizer, others[1])
    optimizer.param_groups[0]["state_dtype"]["exp_avg"] = "bfloat16"
    step(optimizer, others[2])


# ---- checkpoints


@pytest.mark.parametrize("codec", [*CODECS, {"exp_avg": "bfloat16"}])
def test_a_resumed_run_is_the_uninterrupted_one(any_backend, codec, tmp_path):
    whole = stepped(any_backend, 4, state_dtype=codec)
    first = stepped(any_backend, 2, state_dtype=codec)
    first.save(tmp_path / "run")
    other = made(any_backend, state_dtype=codec)
    other.backend.copy_into(other.param_groups[0]["params"][0], snapshot(first)["param 0"])
    other.load_state_dict(first.state_dict())
    params = on(any_backend, [np.zeros(SIZE, np.float32)])
    loaded = ss.AdamW.load(tmp_path / "run", params, backend=any_backend)
    assert loaded.param_groups[0]["state_dtype"] == codec
    for optimizer in (loaded, other):
        for grads in grads_of(4)[2:]:
            step(optimizer, grads)
        assert_same(snapshot(optimizer), snapshot(whole))


@pytest.mark.parametrize("codec", CODECS)
def test_states_of_another_dtype_are_loaded_rounded_once_and_come_back_exactly(any_backend, codec):
    exact = stepped(any_backend, 2)
    rounded, back = made(any_backend, state_dtype=codec), made(any_backend)
    rounded.load_state_dict(exact.state_dict())
    back.load_state_dict(rounded.state_dict())
    assert rounded.param_groups[0]["state_dtype"] == codec
    assert back.param_groups[0]["state_dtype"] is None
    for name in ("exp_avg 0", "exp_avg_sq 0"):
        expected = snapshot(exact)[name].astype(numpy_dtype(codec))
        assert first_difference(snapshot(rounded)[name], expected) is None
        assert first_difference(snapshot(back)[name], expected.astype(np.float32)) is None


def test_the_functional_form_keeps_codecs():
    grads, rule = grads_of(2), ss.rules.registry["adamw"]
    params = [np.random.default_rng(4).standard_normal(SIZE, np.float32)]
    state = rule.init(params, backend="numpy", lr=0.01, state_dtype="bfloat16")
    for each in grads:
        params, state = rule.apply(params, each, state, backend="numpy")
    assert state["state"][0]["exp_avg"].dtype.name == "bfloat16"
    expected = snapshot(stepped("numpy", 2, state_dtype="bfloat16"))
    assert first_difference(params[0], expected["param 0"]) is None


def test_a_rule_with_codecs_is_one_object_also_after_pickling():
    rule = ss.rules.registry["adamw"].variant().stored_as({"exp_avg": "float16"})
    assert rule.stored_as({"exp_avg": "float16"}) is rule
    assert pickle.loads(pickle.dumps(rule)) is rule
    assert rule.stored_as(None).storage == {}
    assert copy.deepcopy(rule).storage == {"exp_avg": "float16"}


# ---- errors


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("int2", ValueError, "state_dtype is 'int2'; expected one of bfloat16, float16, int8"),
        (
            16,
            TypeError,
            r"state_dtype is 16; expected one of bfloat16, .*, udynamic8, a dict",
        ),
        ({"exp_avg": "int2"}, ValueError, r"state_dtype\['exp_avg'\] is 'int2'"),
        ({"exp_avg": None}, TypeError, r"state_dtype\['exp_avg'\] is None"),
        ({"exp_avgs": "float16"}, ValueError, "names 'exp_avgs'; did you mean 'exp_avg'?"),
    ],
)
def test_what_is_no_codec_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        ss.AdamW([np.zeros(3, np.float32)], state_dtype=given)


def test_states_per_row_have_no_codec():
    matrix = [np.zeros((2, 2), np.float32)]
    with pytest.raises(ValueError, match=r"names 'exp_avg_sq_row'; .* fewer bits are exp_avg_sq"):
        ss.Adafactor(matrix, state_dtype={"exp_avg_sq_row": "float16"})


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_parameters_that_are_not_computed_in_float32_are_refused(any_backend, dtype):
    params = on(any_backend, [np.zeros(3, dtype)])
    with pytest.raises(TypeError, match=r"params\[0\] is .*state_dtype='bfloat16' is for real"):
        ss.AdamW(params, backend=any_backend, state_dtype="bfloat16")


def test_a_codec_cannot_change_after_the_first_step(any_backend):
    optimizer = stepped(any_backend, 1, state_dtype="bfloat16")
    before = snapshot(optimizer)
    optimizer.param_groups[0]["state_dtype"] = None
    with pytest.raises(ValueError, match="state_dtype was 'bfloat16' when the optimizer was made"):
        step(optimizer, grads_of(1)[0])
    assert_same(snapshot(optimizer), before)
