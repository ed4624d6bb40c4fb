"""Averages of the parameters: against formulas in float64, the same on every backend, swapped
in."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, off, on, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype
from variants import values

SHAPES = ((33, 40), (1_500,), (), (0, 3))
STEPS = 8
KINDS = [
    dict(average="ema", average_decay=0.75),
    dict(average="ema", average_decay=lambda step: 0.5 + 0.05 * step),
    dict(average="mean", average_start=3),
    dict(average=2, average_start=1, average_every=2),
]


def arrays(seed: int, dtype: str = "float64", special: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [values(rng, shape, numpy_dtype(dtype), special) for shape in SHAPES]


def made(backend: str, rule: str = "adamw", dtype: str = "float64", **hyper) -> ss.Optimizer:
    params = on(backend, arrays(0, dtype))
    return ss.Optimizer(rule, params, backend=backend, **{"lr": 0.01, **hyper})


def take(optimizer: ss.Optimizer, steps: range, dtype: str = "float64") -> ss.Optimizer:
    for number in steps:
        step(optimizer, arrays(number + 1, dtype))
    return optimizer


def expected_averages(trajectory: list[list[np.ndarray]], kind: dict) -> list[np.ndarray]:
    """By the definition: weights of all steps that count, which sum to one."""
    if isinstance(count := kind["average"], int):
        last = trajectory[kind["average_start"] :][
            kind["average_every"] - 1 :: kind["average_every"]
        ]
        return [sum(copies) / count for copies in zip(*last[-count:], strict=True)]
    weights = [0.0] * len(trajectory)
    for number in range(len(trajectory)):
        if number <= kind.get("average_start", 0):
            weights = [0.0] * number + [1.0]
            continue
        decay = kind.get("average_decay")
        if kind["average"] == "mean":
            decay = 1 - 1 / (number + 1 - kind["average_start"])
        elif callable(decay):
            decay = decay(number)
        weights = [decay * weight for weight in weights[:number]] + [1 - decay]
    assert abs(sum(weights) - 1) < 1e-12
    pairs = list(zip(weights, trajectory, strict=True))
    return [sum(w * params[i] for w, params in pairs) for i in range(len(SHAPES))]


@pytest.mark.parametrize("kind", KINDS, ids=("ema", "ema_scheduled", "mean", "last"))
def test_it_is_the_average_by_its_definition(kind, any_backend):
    optimizer, plain = made(any_backend, **kind), made(any_backend)
    trajectory = []
    for number in range(STEPS):
        take(optimizer, range(number, number + 1))
        take(plain, range(number, number + 1))
        trajectory.append(off(any_backend, leaves(optimizer)))
    for ours, theirs in zip(trajectory[-1], off(any_backend, leaves(plain)), strict=True):
        assert first_difference(ours, theirs) is None  # averaging changes no step
    found = off(any_backend, optimizer.averaged())
    for ours, expected in zip(found, expected_averages(trajectory, kind), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("rule", "dtype"), [("lamb", "bfloat16"), ("asgd", "float32")])
def test_the_same_bits_on_every_backend(rule, dtype, any_other_backend):
    more = dict(master="float32") if dtype == "bfloat16" else dict(clip_value=1.0)
    found = []
    for backend in ("numpy", any_other_backend):
        params = on(backend, arrays(0, dtype, 0.05))
        optimizer = ss.Optimizer(
            rule, params, backend=backend, lr=1e-2, average="ema", average_decay=0.8, **more
        )
        for number in range(4):
            step(optimizer, arrays(number + 1, dtype, 0.05))
        found.append(snapshot(optimizer))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("kind", [KINDS[0], *KINDS[2:]], ids=("ema", "mean", "last"))
def test_a_resumed_run_is_the_uninterrupted_one(kind, any_backend, tmp_path):
    whole = take(made(any_backend, **kind), range(STEPS))
    first = take(made(any_backend, **kind), range(4))
    first.save(tmp_path / "run.safetensors")
    empty = on(any_backend, arrays(7))
    loaded = ss.Optimizer.load(tmp_path / "run.safetensors", empty, backend=any_backend)
    for each in (loaded, pickle.loads(pickle.dumps(first))):
        assert_same(snapshot(take(each, range(4, STEPS))), snapshot(whole))


def test_it_can_be_switched_on_later(any_backend):
    plain = take(made(any_backend), range(3))
    optimizer = ss.AdamW(leaves(plain), lr=0.01, average="mean", backend=any_backend)
    optimizer.load_state_dict(plain.state_dict())
    first = off(any_backend, leaves(take(optimizer, range(3, 4))))
    second = off(any_backend, leaves(take(optimizer, range(4, 5))))
    for found, a, b in zip(off(any_backend, optimizer.averaged()), first, second, strict=True):
        np.testing.assert_allclose(found, (a + b) / 2, rtol=1e-12, atol=1e-15)


def evaluate_and_fail(optimizer: ss.Optimizer, expected: list[np.ndarray], path) -> None:
    """What must hold while averages are in the places, and then an exception."""
    backend = optimizer.backend.name
    with optimizer.averages():
        for found, average in zip(off(backend, leaves(optimizer)), expected, strict=True):
            assert first_difference(found, average) is None
        for forbidden in (
            lambda: take(optimizer, range(3, 4), "float32"),
            lambda: optimizer.save(path),
            lambda: pickle.dumps(optimizer),
            optimizer.averages().__enter__,
            optimizer.averaged,
        ):
            with pytest.raises(RuntimeError, match="places of the parameters: leave"):
                forbidden()
        raise KeyError


@pytest.mark.parametrize("average", ["ema", 2])
def test_averages_are_swapped_in_and_back_after_an_exception_too(average, any_backend, tmp_path):
    optimizer = take(made(any_backend, average=average, dtype="float32"), range(3), "float32")
    own, averaged = off(any_backend, leaves(optimizer)), off(any_backend, optimizer.averaged())
    assert first_difference(own[0], averaged[0]) is not None
    with pytest.raises(KeyError):
        evaluate_and_fail(optimizer, averaged, tmp_path / "x")
    for found, expected in zip(off(any_backend, leaves(optimizer)), own, strict=True):
        assert first_difference(found, expected) is None
    take(optimizer, range(3, 4), "float32")


@pytest.mark.parametrize("average", ["ema", 3])
def test_the_structure_is_that_of_the_parameters(average, any_backend):
    half = numpy_dtype("bfloat16")
    params = on(
        any_backend, {"a": [np.ones((2, 3), half), np.zeros((), half)], "b": np.ones(4, half)}
    )
    optimizer = ss.SGD(params, average=average, master="float32", backend=any_backend, lr=1e-4)
    assert off(any_backend, optimizer.averaged())["b"].tolist() == [1.0] * 4  # no step yet
    step(optimizer, {"a": [np.ones((2, 3), half), None], "b": np.ones(4, half)})
    found = off(any_backend, optimizer.averaged())
    assert {name: np.shape(array) for name, array in zip("xyz", (*found["a"], found["b"]), strict=True)} == {
        "x": (2, 3), "y": (), "z": (4,)
    }  # fmt: skip
    assert found["b"].dtype == np.float32
    assert found["b"].tolist() == [np.float32(1) - np.float32(1e-4)] * 4
    groups = [{"params": params["a"]}, {"params": params["b"], "average": None}]
    two = ss.SGD(groups, average="mean", backend=any_backend)
    assert [len(two.averaged()[0]), np.shape(off(any_backend, two.averaged()[1]))] == [2, (4,)]


def test_groups_by_the_names_of_parameters_are_given_back_as_they_were():
    params = {
        "norm": np.ones(3),
        "linear": {"weight": np.full((2, 3), 2.0), "bias": np.full(2, 3.0)},
    }
    optimizer = ss.Optimizer("adamw", params, rules={r"bias|norm": "sgd"}, average="ema")
    found = optimizer.averaged()
    assert found["norm"].tolist() == [1, 1, 1]
    assert found["linear"]["weight"].tolist() == [[2, 2, 2]] * 2
    assert found["linear"]["bias"].tolist() == [3, 3]


def test_what_cannot_be_averaged_says_why():
    weights = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"keeps no averages; make it with average='ema'"):
        ss.SGD(weights).averaged()
    with pytest.raises(ValueError, match=r"keeps no averages"), ss.SGD(weights).averages():
        pass
    with pytest.raises(
        ValueError, match="average is 'median'; expected 'ema' or 'mean', a whole number"
    ):
        ss.SGD(weights, average="median")
    with pytest.raises(ValueError, match=r"average_decay must be in \[0, 1\)"):
        ss.SGD(weights, average="ema", average_decay=1.0)
    optimizer = ss.SGD(weights, average="ema", lazy=True)
    with pytest.raises(TypeError, match=r"sparse, of some rows; the average is of all rows"):
        optimizer.step(ss.IndexedSlices(np.ones((1, 3)), np.array([1])))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("average_decay", "average"),
        ("average_start", "average"),
        ("average_every", "average"),
        ("seed", "rounding"),
    ],
)
def test_what_nothing_reads_is_refused(name, part):
    """Its default may be given, as that of a group that is copied; and where one group reads it."""
    weights, other = [np.ones(3, np.float32)], [np.ones(2, np.float32)]
    asked = {"average": "ema", "rounding": "stochastic"}[part]
    value, default = {"average_decay": (0.5, 0.999), "average_every": (3, 1)}.get(name, (3, 0))
    if name == "average_decay":
        for rule in ("adamw", ss.parts.averaged(ss.rules.find_rule("adamw"), "mean")):
            with pytest.raises(
                TypeError, match=r"^average_decay has no effect without average='ema':"
            ):
                ss.Optimizer(rule, [np.ones(3)], average_decay=0.5, average="mean")
    if name == "average_every":
        with pytest.raises(
            TypeError, match=r"^average_every has no effect without average=a whole"
        ):
            ss.AdamW([np.ones(3)], average_every=3, average="mean")
        asked = 4
    number = "a whole number" if asked == 4 else f"'{asked}'"
    expected = rf"{name} has no effect without {part}=.*{number}.*: give that, too, or leave it out"
    with pytest.raises(TypeError, match=f"^{expected}"):
        ss.AdamW(weights, **{name: value})
    with pytest.raises(TypeError, match=f"^group 1: {expected}"):
        ss.AdamW([{"params": weights}, {"params": other, name: value}])
    optimizer = ss.AdamW(weights, **{name: default})
    with pytest.raises(TypeError, match=f"^group 1: {expected}"):
        optimizer.add_param_group({"params": other, name: value})
    optimizer.add_param_group({**optimizer.param_groups[0], "params": other})
    groups = [{"params": weights}, {"params": other, part: asked}]
    ss.AdamW(groups, **{name: value})
    ss.AdamW(weights, **{name: value, part: asked})


@pytest.mark.parametrize("average", ["ema", 2])
def test_an_infinite_parameter_has_itself_as_its_average(average, any_backend):
    weights = on(any_backend, np.array([-np.inf, 1.0, np.inf]))
    optimizer = ss.SGD(weights, lr=0.1, average=average, backend=any_backend)
    for _ in range(3):
        step(optimizer, np.array([0.0, 1.0, 0.0]))
    assert off(any_backend, optimizer.averaged()).tolist()[::2] == [-np.inf, np.inf]


def test_it_is_the_parameter_until_a_step_counts(any_backend):
    plain = take(made(any_backend), range(3))
    optimizer = ss.AdamW(leaves(plain), average="ema", average_start=4, backend=any_backend)
    optimizer.load_state_dict(plain.state_dict())  # which has no averages
    for number in range(3, 5):
        own = off(any_backend, leaves(optimizer))
        for found, expected in zip(off(any_backend, optimizer.averaged()), own, strict=True):
            assert first_difference(found, expected) is None
        with optimizer.averages():
            pass
        take(optimizer, range(number, number + 1))


def test_an_interrupt_while_averages_are_swapped_in_puts_all_back(any_backend, monkeypatch):
    optimizer = take(made(any_backend, average="mean"), range(3))
    own, copy_into = off(any_backend, leaves(optimizer)), optimizer.backend.copy_into

    def interrupted(*args):
        copy_into(*args)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(optimizer.backend, "copy_into", interrupted)
    with pytest.raises(KeyboardInterrupt), optimizer.averages():
        pytest.fail("evaluated with averages")
    for found, expected in zip(off(any_backend, leaves(optimizer)), own, strict=True):
        assert first_difference(found, expected) is None
    take(optimizer, range(3, 4))


@pytest.mark.filterwarnings("error")
def test_what_is_too_large_for_the_parameter_is_infinite_while_it_is_in_its_place(any_backend):
    params = on(any_backend, [np.full(3, 60_000, np.float16)])
    optimizer = ss.SGD(params, lr=1.0, master="float32", average="mean", backend=any_backend)
    for _ in range(3):
        step(optimizer, [np.full(3, -4_000, np.float32)])
    with optimizer.averages():
        assert off(any_backend, params)[0].tolist() == [np.inf] * 3


def test_a_run_without_averages_says_what_to_do_with_those_of_a_state_dict(any_backend):
    optimizer = take(made(any_backend, average="mean"), range(2))
    plain = made(any_backend)
    with pytest.raises(ValueError, match=r"average that keeps \['average', 'averaged'\], or take"):
        plain.load_state_dict(optimizer.state_dict())
    assert plain.steps == [0] * len(SHAPES)


@pytest.mark.parametrize("average", ["mean", 2])
def test_another_array_that_comes_meanwhile_has_the_parameter_s_own_values_afterwards(
    average, any_backend
):
    params, plain = (
        {"w": on(any_backend, np.ones(5)), "b": on(any_backend, np.ones(3))} for _ in range(2)
    )
    grads = {"w": np.arange(5.0), "b": np.ones(3)}
    optimizers = [
        ss.SGD(tree, lr=0.1, average=average, backend=any_backend) for tree in (params, plain)
    ]
    for optimizer in optimizers * 3:
        step(optimizer, grads)
    with optimizers[0].averages():
        params["w"] = on(any_backend, off(any_backend, params["w"]).copy())
    for name, own in plain.items():
        assert first_difference(*(off(any_backend, x) for x in (params[name], own))) is None
    for optimizer in optimizers:
        step(optimizer, grads)
    assert_same(*map(snapshot, optimizers))
