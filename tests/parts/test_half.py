"""Parameters of 16 bits with float32 masters, and with what rounding loses kept."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, off, on, snapshot, step
from samestep import parts
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from samestep.language.stages import stages
from variants import values

KEYWORDS = [dict(master="float32"), dict(master="split"), dict(compensated=True)]
SHAPES = ((33, 40), (1_500,), (), (0, 3))
RULES = ss.rules.registry
STEPS = 6


def arrays(dtype: str, seed: int, special: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if special:
        return [values(rng, shape, numpy_dtype(dtype), special) for shape in SHAPES]
    return [np.asarray(rng.standard_normal(shape)).astype(numpy_dtype(dtype)) for shape in SHAPES]


def made(backend: str, dtype: str = "bfloat16", rule: str = "adamw", **hyper) -> ss.Optimizer:
    params = on(backend, arrays(dtype, 0))
    return ss.Optimizer(rule, params, backend=backend, **{"lr": 1e-3, **hyper})


def take(optimizer: ss.Optimizer, steps: range, dtype: str = "bfloat16") -> ss.Optimizer:
    for number in steps:
        step(optimizer, arrays(dtype, number + 1))
    return optimizer


def joined(param: np.ndarray, remainder: np.ndarray) -> np.ndarray:
    bits = param.view(np.uint16).astype(np.uint32) << 16
    return (bits + remainder.astype(np.int32).view(np.uint32)).view(np.float32)


@pytest.mark.parametrize("rule", ["adafactor", "rprop", "lamb"])
def test_a_parameter_and_its_remainder_are_the_float32_master(rule, any_backend):
    """After every step. The parameter is the nearest one, too, but where two are as near."""
    ours = made(any_backend, rule=rule, master="split")
    reference = made("numpy", rule=rule, master="float32")
    seen = 0
    for number in range(STEPS):
        take(ours, range(number, number + 1))
        take(reference, range(number, number + 1))
        params = off(any_backend, ours.param_groups[0]["params"])
        nearest = reference.param_groups[0]["params"]
        found = zip(params, nearest, off(any_backend, ours.state), reference.state, strict=True)
        for param, even, own, entry in found:
            master = entry["master"]
            assert own.keys() == entry.keys() - {"master"} | {"remainder"}
            assert own["remainder"].dtype == np.int16
            assert first_difference(joined(param, own["remainder"]), master) is None
            tie = master.view(np.uint32) & 0xFFFF == 0x8000
            assert ((param == even) | tie).all()
            wide = [each.astype(np.float64) for each in (param, even, master)]
            assert (abs(wide[0] - wide[2]) == abs(wide[1] - wide[2])).all()
            seen += np.count_nonzero(own["remainder"])
    assert seen > 1_000


@pytest.mark.parametrize("name", [name for name in RULES if not stages(RULES[name]).calls])
def test_a_split_master_of_every_rule(name):
    """Of infinities and the largest numbers, too. A zero has no sign at first: the float32 master,
    which begins as 0, takes it from none."""
    start = [np.asarray(x + x.dtype.type(0)) for x in arrays("bfloat16", 0, 0.05)]
    both = [
        ss.Optimizer(name, [x.copy() for x in start], backend="numpy", lr=1e-2, master=master)
        for master in ("float32", "split")
    ]
    for number in range(3):
        for each in both:
            each.step(arrays("bfloat16", number + 1, 0.02))
    for param, split, exact in zip(
        both[1].param_groups[0]["params"], both[1].state, both[0].state, strict=True
    ):
        assert first_difference(joined(param, split["remainder"]), exact["master"]) is None
        for state in exact.keys() - {"master"}:
            assert first_difference(split[state], exact[state]) is None


@pytest.mark.parametrize(("rule", "dtype"), [("adafactor", "bfloat16"), ("rprop", "float16")])
def test_a_master_has_the_bits_of_a_float32_parameter(rule, dtype, any_backend):
    """The oracle is an optimizer of float32 parameters that is given the same gradients."""
    ours = take(made(any_backend, dtype, rule, master="float32"), range(STEPS), dtype)
    exact = [array.astype(np.float32) for array in arrays(dtype, 0)]
    theirs = ss.Optimizer(rule, exact, backend="numpy", lr=1e-3)
    for number in range(STEPS):
        theirs.step([grad.astype(np.float32) for grad in arrays(dtype, number + 1)])
    params = off(any_backend, ours.param_groups[0]["params"])
    for param, entry, expected in zip(params, off(any_backend, ours.state), exact, strict=True):
        assert first_difference(entry["master"], expected) is None
        assert first_difference(param, expected.astype(param.dtype)) is None


@pytest.mark.parametrize(("rule", "dtype"), [("sgd", "bfloat16"), ("adamw", "float16")])
def test_what_is_lost_comes_back(rule, dtype, any_backend):
    """Parameter and remainder together are nearly what float32 gives; alone, the parameter
    stays."""
    steps = range(40)
    exact = [np.ones(500, np.float32)]
    kept, plain = (on(any_backend, [x.astype(numpy_dtype(dtype)) for x in exact]) for _ in range(2))
    small = dict(lr=1e-5 if dtype == "float16" else 1e-4)
    grads = [np.linspace(0.5, 1, 500).astype(np.float32)]
    for params, backend, more in (
        (exact, "numpy", {}),
        (plain, any_backend, dict(warn_lost_updates=False)),
        (kept, any_backend, dict(compensated=True)),
    ):
        optimizer = ss.Optimizer(rule, params, backend=backend, **small, **more)
        for _ in steps:
            step(optimizer, grads)
    lost = off(any_backend, optimizer.state)[0]["lost"]
    assert lost.dtype == numpy_dtype("bfloat16")
    whole = off(any_backend, kept)[0].astype(np.float64) + lost.astype(np.float64)
    moved = np.abs(exact[0] - 1).max()
    assert np.abs(whole - exact[0]).max() < 0.1 * moved
    assert (off(any_backend, plain)[0] == 1).all()  # the control


@pytest.mark.parametrize("keyword", KEYWORDS, ids=str)
@pytest.mark.parametrize("rule", ["lamb", "asgd"])
def test_the_same_bits_on_every_backend(rule, keyword, any_other_backend):
    dtype = "float16" if rule == "asgd" and keyword != dict(master="split") else "bfloat16"
    found = []
    for backend in ("numpy", any_other_backend):
        params = on(backend, arrays(dtype, 0, 0.05))
        optimizer = ss.Optimizer(rule, params, backend=backend, lr=1e-2, clip_norm=3.0, **keyword)
        for number in range(4):
            step(optimizer, arrays(dtype, number + 1, 0.05))
        found.append(snapshot(optimizer))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("keyword", KEYWORDS, ids=str)
def test_a_value_that_was_written_into_a_parameter_counts(keyword, any_backend):
    """As for a parameter of an optimizer that was just made; the control is what was kept. What
    is lost, or the lower half, may stay if the new value can have it, so here that is zero."""
    ours = take(made(any_backend, rule="sgd", **keyword), range(STEPS))
    new = [array * (keyword.get("master") == "float32") for array in arrays("bfloat16", 99)]
    kept = off(any_backend, ours.state)
    assert all(any(array.any() for array in entry.values()) for entry in kept[:3])
    for param, value in zip(ours.param_groups[0]["params"], on(any_backend, new), strict=True):
        param[...] = value
    fresh = ss.Optimizer("sgd", on(any_backend, new), backend=any_backend, lr=1e-3, **keyword)
    for each in (ours, fresh):
        step(each, arrays("bfloat16", 50))
    expected = {name: value for name, value in snapshot(fresh).items() if "step" not in name}
    assert_same({name: snapshot(ours)[name] for name in expected}, expected)


@pytest.mark.parametrize("keyword", KEYWORDS, ids=str)
def test_a_resumed_run_is_the_uninterrupted_one(keyword, any_backend, tmp_path):
    whole = take(made(any_backend, **keyword), range(STEPS))
    first = take(made(any_backend, **keyword), range(3))
    first.save(tmp_path / "run.safetensors")
    empty = on(any_backend, arrays("bfloat16", 7))
    loaded = ss.Optimizer.load(tmp_path / "run.safetensors", empty, backend=any_backend)
    restored = made(any_backend, **keyword)
    for param, value in zip(
        restored.param_groups[0]["params"], first.param_groups[0]["params"], strict=True
    ):
        param[...] = value
    restored.load_state_dict(first.state_dict())
    pickled = pickle.loads(pickle.dumps(first))
    for each in (loaded, restored, pickled):
        assert_same(snapshot(take(each, range(3, STEPS))), snapshot(whole))


@pytest.mark.parametrize("keyword", KEYWORDS, ids=str)
def test_a_run_without_goes_on_with(keyword):
    """A state dict of the plain rule: what is kept besides begins with the next step."""
    plain = take(made("numpy"), range(3))
    ours = made("numpy", **keyword)
    for param, value in zip(
        ours.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True
    ):
        param[...] = value
    ours.load_state_dict(plain.state_dict())
    assert ours.param_groups[0]["master"] == keyword.get("master")
    assert ours.steps == [3, 3, 3, 3]
    take(ours, range(3, 4))
    (kept,) = ours.state[0].keys() - plain.state[0].keys()
    assert ours.state[0][kept].any()
    with pytest.raises(
        ValueError, match=f"has .*'{kept}'"
    ):  # the other way something would be lost
        plain.load_state_dict(ours.state_dict())


def test_a_group_has_parts_of_its_own(any_backend):
    half, single = np.ones(40, numpy_dtype("bfloat16")), np.ones(30, np.float32)
    groups = [
        {"params": on(any_backend, [half]), "master": "float32"},
        {"params": on(any_backend, [single])},
    ]
    optimizer = ss.AdamW(groups, lr=1e-3, state_dtype="bfloat16", backend=any_backend)
    step(optimizer, [[np.ones_like(half)], [np.ones_like(single)]])
    found = [
        {name: array.dtype.name for name, array in entry.items()}
        for entry in off(any_backend, optimizer.state)
    ]
    states = dict(exp_avg="bfloat16", exp_avg_sq="bfloat16")
    assert found == [{**states, "master": "float32"}, states]
    again = pickle.loads(pickle.dumps(optimizer))
    assert [group["master"] for group in again.param_groups] == ["float32", None]
    optimizer.param_groups[1]["master"] = "float32"
    with pytest.raises(ValueError, match=r"group 1: master was None .*structural"):
        step(optimizer, [[np.ones_like(half)], [np.ones_like(single)]])


@pytest.mark.parametrize("keyword", KEYWORDS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_parameters_that_lose_nothing_are_refused(dtype, keyword, any_backend):
    name = next(iter(keyword))
    with pytest.raises(TypeError, match=rf"params\[0\] is .*; {name}=.* bfloat16 or float16"):
        ss.AdamW(on(any_backend, [np.ones(3, dtype)]), backend=any_backend, **keyword)


def test_what_does_not_go_together_says_why():
    half = np.ones(3, numpy_dtype("bfloat16"))
    with pytest.raises(ValueError, match="compensated goes with no master"):
        ss.AdamW([half], master="float32", compensated=True)
    with pytest.raises(ValueError, match="compensated keeps what rounding to nearest loses"):
        ss.AdamW([half], compensated=True, rounding="stochastic")
    with pytest.raises(
        ValueError, match="master is 'float64'; expected 'float32' or 'split', or None"
    ):
        ss.AdamW([half], master="float64")
    with pytest.raises(
        TypeError, match=r"params\[0\] is of float16; master='split' is .*='float32'"
    ):
        ss.AdamW([half.astype(np.float16)], master="split")
    with pytest.raises(ValueError, match="has it already"):
        parts.float32_master(parts.float32_master(RULES["sgd"]))
    with pytest.raises(ValueError, match="cannot be taken away"):
        ss.Optimizer(parts.float32_master(RULES["sgd"]), [half], master=None)
    with pytest.raises(ValueError, match="state_dtype names 'master'"):
        ss.AdamW([half], master="float32", state_dtype={"master": "bfloat16"})

    def update(xp, s, param, grad, master):
        return param - s.lr * grad, master

    own = ss.Rule("own", RULES["sgd"].scalars, update, defaults=RULES["sgd"].defaults)
    with pytest.raises(ValueError, match="master: rule 'own' has a 'master' of its own"):
        ss.Optimizer(own, [half], master="float32")


def test_a_keyword_is_the_part():
    half = [np.ones(3, numpy_dtype("bfloat16"))]
    by_keyword = ss.Optimizer("adamw", half, master="float32", amsgrad=True)
    rule = parts.float32_master(RULES["adamw"].variant(amsgrad=True))
    assert by_keyword.state[0].keys() == {*rule.state}
    assert rule.label == "master_adamw_amsgrad"
    by_part = ss.Optimizer(parts.float32_master(RULES["adamw"]), half, amsgrad=True)
    assert by_part.param_groups[0]["master"] == "float32"
    assert ss.emit("adamw", "c", "bfloat16", master="float32", amsgrad=True) == ss.emit(
        rule, "c", "bfloat16"
    )
    with pytest.raises(TypeError, match="dtype='float32'; master"):
        ss.emit("adamw", "c", master="float32")


def test_parts_around_others(any_backend):
    """A master around slow weights: they are those of float32, too."""
    rule = parts.float32_master(parts.lookahead(RULES["sgd"]))
    ours = take(made(any_backend, rule=rule, sync_period=2), range(STEPS))
    exact = [array.astype(np.float32) for array in arrays("bfloat16", 0)]
    theirs = ss.Optimizer(
        parts.lookahead(RULES["sgd"]), exact, backend="numpy", lr=1e-3, sync_period=2
    )
    for number in range(STEPS):
        theirs.step([grad.astype(np.float32) for grad in arrays("bfloat16", number + 1)])
    for entry, expected in zip(off(any_backend, ours.state), theirs.state, strict=True):
        assert first_difference(entry["slow"], expected["slow"]) is None


@pytest.mark.parametrize("average", ["ema", "mean", 3])
def test_the_average_of_a_split_master_is_that_of_the_float32_one(average, any_backend):
    rng = np.random.default_rng(0)
    start, *grads = (rng.standard_normal(300).astype(numpy_dtype("bfloat16")) for _ in range(5))
    found = []
    for master in ("float32", "split"):
        params = on(any_backend, [start.copy()])
        optimizer = ss.AdamW(params, lr=1e-3, master=master, average=average, backend=any_backend)
        for grad in grads:
            step(optimizer, [grad])
        found.append(off(any_backend, optimizer.averaged())[0])
    assert first_difference(*found) is None


@pytest.mark.parametrize("average", ["ema", 2])
@pytest.mark.parametrize("name", ["muon", "normuon", "shampoo"])
def test_a_split_master_of_rules_of_matrices(name, average):
    rng = np.random.default_rng(0)
    start, *grads = (rng.standard_normal((6, 5)).astype(numpy_dtype("bfloat16")) for _ in range(4))
    found = []
    for master in ("float32", "split"):
        param = start.copy()
        optimizer = ss.Optimizer(name, [param], master=master, average=average)
        for grad in grads:
            optimizer.step([grad])
        found.append(optimizer.averaged()[0])
    assert first_difference(*found) is None
