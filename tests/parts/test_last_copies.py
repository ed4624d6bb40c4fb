"""The mean of the last copies of the parameters: against copies kept in plain NumPy, and what is
special about keeping several of which a step writes one."""

from __future__ import annotations

import functools
from collections import deque

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, off, on, refused, snapshot, step
from samestep.golden.compare import first_difference
from samestep.language.around import last_copies
from samestep.language.dtypes import numpy_dtype
from samestep.language.last_copies import without_copies, writing
from samestep.language.passes import program
from samestep.parts import averaged
from samestep.step import turn_launch
from variants import values

SHAPES = ((33, 40), (1_500,), (), (0, 3))
STEPS = 9


def arrays(seed: int, dtype: str, shapes=SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [values(rng, shape, numpy_dtype(dtype), 0.0) for shape in shapes]


def made(backend: str, dtype="float32", rule="adamw", shapes=SHAPES, **hyper) -> ss.Optimizer:
    params = on(backend, arrays(0, dtype, shapes))
    return ss.Optimizer(rule, params, backend=backend, **{"lr": 0.01, **hyper})


class Kept:
    """The copies of one parameter, kept by a program beside its steps: in the order of the places,
    of which each new copy takes the next one."""

    def __init__(self, count: int, every: int, start: int) -> None:
        self.last: deque[tuple[int, np.ndarray]] = deque(maxlen=count)
        self.count, self.every, self.start = count, every, start
        self.steps = self.taken = 0

    def after_step(self, param: np.ndarray) -> None:
        self.steps += 1
        counted = self.steps - self.start
        if counted > 0 and counted % self.every == 0:
            self.last.append((self.taken % self.count, np.array(param)))
            self.taken += 1

    def mean(self, param: np.ndarray) -> np.ndarray:
        if not self.last:
            return param
        in_order = [copy for _, copy in sorted(self.last, key=lambda one: one[0])]
        total = functools.reduce(np.add, in_order)
        return np.asarray(total / total.dtype.type(len(in_order)))


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_has_the_bits_of_copies_kept_beside_the_steps(seed, any_backend):
    """Some parameters have no gradient at some steps, so they take copies at others."""
    rng = np.random.default_rng(seed)
    count, every, start = (int(rng.integers(low, 5)) for low in (1, 1, 0))
    dtype = ("float32", "float64")[seed % 2]
    kind = dict(average=count, average_every=every, average_start=start)
    ours, plain = made(any_backend, dtype, **kind), made(any_backend, dtype)
    kept = [Kept(count, every, start) for _ in SHAPES]
    for number in range(2 * STEPS):
        grads = [g if rng.random() < 0.8 else None for g in arrays(number + 1, dtype)]
        for optimizer in (ours, plain):
            step(optimizer, grads)
        params = off(any_backend, leaves(plain))
        for each, grad, param in zip(kept, grads, params, strict=True):
            if grad is not None:
                each.after_step(param)
        found = off(any_backend, ours.averaged())
        for own, expected in zip(off(any_backend, leaves(ours)), params, strict=True):
            assert first_difference(own, expected) is None  # averaging changes no step
        for mean, each, param in zip(found, kept, params, strict=True):
            assert first_difference(mean, each.mean(param)) is None
    assert max(each.taken for each in kept) > 0


def test_copies_of_16_bits_are_of_what_a_step_computes_before_it_is_rounded(any_backend):
    optimizer = made(any_backend, "bfloat16", "sgd", lr=0.125, average=2)
    kept = [Kept(2, 1, 0) for _ in SHAPES]
    for number in range(5):
        grads = arrays(number + 1, "bfloat16")
        before = off(any_backend, leaves(optimizer))
        step(optimizer, grads)
        for each, param, grad in zip(kept, before, grads, strict=True):
            each.after_step(np.float32(param) - np.float32(0.125) * np.float32(grad))
    for mean, each in zip(off(any_backend, optimizer.averaged()), kept, strict=True):
        assert first_difference(mean, each.mean(mean)) is None


RULES = [
    ("adamw", "bfloat16", {}),
    ("adamw", "bfloat16", dict(master="split")),
    ("adamw", "float16", dict(compensated=True)),
    ("adamw", "bfloat16", dict(rounding="stochastic")),
    ("adamw", "float32", dict(state_dtype="bfloat16", rounding="stochastic")),
    ("lamb", "float32", dict(clip_norm=1.0)),
    ("prodigy", "float32", {}),
    ("adamw_schedulefree", "float32", {}),
    ("muon", "float32", {}),
    ("shampoo", "float32", {}),
    ("dion", "float32", {}),
]


def run(backend: str, rule: str, dtype: str, more: dict) -> dict[str, np.ndarray]:
    shapes = ((33, 40), (7, 50))
    kind = dict(average=3, average_every=2, average_start=1, **more)
    optimizer = made(backend, dtype, rule, shapes, **kind)
    for number in range(STEPS):
        grads = arrays(number + 1, dtype, shapes)
        step(optimizer, [grads[0], None if number == 4 else grads[1]])
    means = off(backend, optimizer.averaged())
    return snapshot(optimizer) | {f"mean {i}": mean for i, mean in enumerate(means)}


@pytest.mark.parametrize(("rule", "dtype", "more"), RULES[:7], ids=str)
def test_the_same_bits_on_every_backend(rule, dtype, more, any_other_backend):
    assert_same(run(any_other_backend, rule, dtype, more), run("numpy", rule, dtype, more))


@pytest.mark.parametrize(("rule", "dtype", "more"), RULES, ids=str)
def test_a_step_has_the_bits_of_the_whole_text(rule, dtype, more, monkeypatch):
    """Which is what is printed and exported, and writes all copies, but for one what they are."""
    found = run("numpy", rule, dtype, more)
    assert found["average_0 0"].any()
    monkeypatch.setattr(turn_launch, "last_copies", lambda around: ())
    assert_same(found, run("numpy", rule, dtype, more))


def test_rounded_copies_of_the_caller_have_the_bits_of_the_whole_text(monkeypatch):
    """Random bits are counted by the places of states, and copies that no step writes have none."""
    found = []
    for _ in range(2):
        half = [np.zeros(300, numpy_dtype("bfloat16"))]
        params = [np.linspace(0, 1, 300, dtype=np.float32)]
        optimizer = ss.SGD(params, lr=0.1, average=2, copy_to=half, rounding="stochastic")
        for _ in range(4):
            optimizer.step([np.ones(300, np.float32)])
        found.append(half[0])
        monkeypatch.setattr(turn_launch, "last_copies", lambda around: ())
    assert first_difference(*found) is None


def test_a_step_writes_one_copy_or_none_and_reads_none():
    rule = averaged(ss.rules.registry["adamw"], 5)
    assert rule.state[-5:] == last_copies(rule.around)
    assert [n for n in writing(rule).state if n.startswith("average")] == ["average_0"]
    assert not [n for n in without_copies(rule).state if n.startswith("average")]
    reads = {
        str(node.name)
        for each in program(writing(rule)).passes
        for node in each.nodes
        if node.op == "input"
    }
    assert "exp_avg" in reads
    assert "average_0" not in reads


def test_numbers_share_kernels():
    """Of 3 copies and of 5: what is compiled for one is there for the other."""
    few, many = (averaged(ss.rules.registry["adamw"], count) for count in (3, 5))
    assert writing(few).label == writing(many).label == "last_adamw_with_a_copy"
    assert without_copies(few).label == without_copies(many).label


def test_a_step_that_is_left_out_takes_no_copy(any_backend):
    optimizer = made(any_backend, average=3, skip_nonfinite=True)
    for number in range(2):
        step(optimizer, arrays(number + 1, "float32"))
    before = snapshot(optimizer)
    step(optimizer, [np.full(shape, np.nan, np.float32) for shape in SHAPES])
    assert_same(snapshot(optimizer), before)
    with refused(optimizer, ValueError, "shape"):
        optimizer.step(on(any_backend, arrays(1, "float32")[::-1]))
    expected = made(any_backend, average=3)
    for number in range(4):
        step(expected, arrays(number + 1, "float32"))
        if number > 1:
            step(optimizer, arrays(number + 1, "float32"))
    assert_same(snapshot(optimizer), snapshot(expected))


def test_groups_have_their_own_and_begin_anew_with_reset(any_backend):
    a, b, c = on(any_backend, arrays(0, "float32", ((5,), (5,), (5,))))
    groups = [{"params": [a]}, {"params": [b], "average": 2}, {"params": [c], "average": None}]
    optimizer = ss.SGD(groups, lr=0.1, average=3, average_every=2, backend=any_backend)
    for _ in range(2):
        kept = [Kept(3, 2, 0), Kept(2, 2, 0)]
        for number in range(7):
            step(optimizer, [[grad] for grad in arrays(number + 1, "float32", ((5,),) * 3)])
            for each, param in zip(kept, off(any_backend, [a, b]), strict=True):
                each.after_step(param)
        found = [mean for (mean,) in off(any_backend, optimizer.averaged())]
        for mean, each in zip(found, kept, strict=False):
            assert first_difference(mean, each.mean(mean)) is None
        assert first_difference(found[2], off(any_backend, c)) is None
        optimizer.reset()
    own = off(any_backend, leaves(optimizer))
    for found, expected in zip(off(any_backend, optimizer.averaged()), own, strict=True):
        assert first_difference(found[0], expected) is None


def test_hyperparameters_change_at_any_step(any_backend):
    optimizer = made(any_backend, average=3, average_every=4)
    for number in range(9):
        step(optimizer, arrays(number + 1, "float32"))
        if number == 4:
            optimizer.param_groups[0]["average_every"] = 1
        elif number == 6:  # begins anew
            optimizer.param_groups[0]["average_start"] = optimizer.steps_taken + 1
        entry = optimizer.state_dict()["state"][0]
        assert entry["averaged"] == [0, 0, 0, 1, 1, 2, 3, 0, 1][number]
    own, found = off(any_backend, leaves(optimizer)), off(any_backend, optimizer.averaged())
    for mean, param in zip(found, own, strict=True):
        assert first_difference(mean, param) is None
    with refused(optimizer, ValueError, "average was 3 when the optimizer was made and is struct"):
        optimizer.param_groups[0]["average"] = 2
        step(optimizer, arrays(1, "float32"))


def test_a_step_by_some_rows_of_others_beside_it(backend):
    """Launches of such steps are kept by their rules, and copies of two parameters may differ in
    turn."""
    found = []
    for sparse in (True, False):
        table, *dense = arrays(0, "float32", ((6, 4), (5,), (5,)))
        groups = [{"params": [table], "average": None}, {"params": dense}]
        optimizer = ss.SGD(groups, lr=0.1, average=2, backend=backend)
        for number in range(5):
            rows, g, h = arrays(number + 1, "float32", ((2, 4), (5,), (5,)))
            whole = np.zeros((6, 4), np.float32)
            whole[[1, 3]] = rows
            grad = ss.IndexedSlices(rows, np.array([1, 3])) if sparse else whole
            optimizer.step([[grad], [g, None if number == 1 else h]])
        found.append(snapshot(optimizer))
    assert_same(*found)


def test_another_number_of_copies_in_a_state_dict_says_what_to_do(any_backend):
    saved = made(any_backend, average=3)
    for number in range(4):
        step(saved, arrays(number + 1, "float32"))
    state = saved.state_dict()
    for count in (2, 5):
        optimizer = made(any_backend, average=count)
        expected = (
            f"has 3 last copies of the parameter; expected {count}: make .* with average=3, or"
        )
        with refused(optimizer, ValueError, expected):
            optimizer.load_state_dict(state)
    with refused(made(any_backend), ValueError, "average that keeps .*'average_0', 'average_1'"):
        _load(any_backend, state)
    for entry in state["state"].values():
        for k in range(3):
            del entry[f"average_{k}"]
    optimizer.load_state_dict(state)  # as the message says
    step(optimizer, arrays(7, "float32"))
    own, found = off(any_backend, leaves(optimizer)), off(any_backend, optimizer.averaged())
    for mean, param in zip(found, own, strict=True):
        assert first_difference(mean, param) is None


def test_a_rule_may_have_a_state_that_is_called_as_a_copy_would_be():
    def update(xp, s, param, grad, average_7):
        return param - s.lr * (average_7 + grad), average_7 + grad

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    rule = ss.Rule("own", scalars, update, defaults=dict(lr=0.1))
    optimizer = ss.Optimizer(rule, [np.ones(3)], average=2)
    optimizer.step([np.ones(3)])
    other = ss.Optimizer(rule, [leaves(optimizer)[0].copy()], average=2)
    other.load_state_dict(optimizer.state_dict())
    assert_same(snapshot(other), snapshot(optimizer))
    with pytest.raises(ValueError, match="average: rule 'own' has a 'average_7' of its own"):
        ss.Optimizer(rule, [np.ones(3)], average=8)


def _load(backend: str, state: dict) -> None:
    made(backend).load_state_dict(state)


@pytest.mark.parametrize("other", ["ema", "mean", 2])
def test_what_another_kind_of_average_counted_is_not_taken_over(other, backend):
    """Its states are taken out of the state dict, as the error says, but not its count."""
    saved = made(backend, average=other)
    for number in range(4):
        step(saved, arrays(number + 1, "float32"))
    state = saved.state_dict()
    kind = 3 if other != 2 else "mean"
    optimizer = made(backend, average=kind)
    with pytest.raises(ValueError, match=r"average that keeps .*take these out of the state dict"):
        optimizer.load_state_dict(state)
    for entry in state["state"].values():
        for name in [*entry]:
            if name.startswith(("average_", "average")) and name != "averaged":
                del entry[name]
        if other == 2:
            del entry["next_copy"], entry["since_copy"]
    optimizer.load_state_dict(state)
    assert [entry["averaged"] for entry in optimizer.state_dict()["state"].values()] == [0] * 4


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "5", 1.5, 1001, 2**31, 10**400])
def test_a_number_that_is_none_is_refused(count):
    expected = (
        "average is .*; expected 'ema' or 'mean', a whole number from 1 to 1000, for the mean"
    )
    with pytest.raises(ValueError, match=expected):
        ss.SGD([np.ones(3)], average=count)


def test_a_number_of_numpy_counts_and_steps_between_copies_are_whole():
    assert ss.SGD([np.ones(3)], average=np.int64(4)).param_groups[0]["average"] == 4
    with pytest.raises(TypeError, match="average_decay has no effect without average='ema': "):
        ss.SGD([np.ones(3)], average=4, average_decay=0.5)
    for every in (0, 1.5):
        with pytest.raises(ValueError, match=r"average_every must be in \[1, inf\) and whole"):
            ss.SGD([np.ones(3)], average=2, average_every=every)


def test_gradients_of_some_rows_are_refused():
    optimizer = ss.SGD(np.ones((4, 3)), average=2, lazy=True)
    with refused(optimizer, TypeError, "sparse, of some rows; the average is of all rows"):
        optimizer.step(ss.IndexedSlices(np.ones((1, 3)), np.array([1])))


def test_a_step_that_is_captured_is_refused(backend, monkeypatch):
    optimizer = made(backend, average=2)
    step(optimizer, arrays(1, "float32"))
    before = snapshot(optimizer)
    monkeypatch.setattr(optimizer.backend, "capturing", lambda: True)
    with pytest.raises(
        RuntimeError, match=r"cannot be captured: which of the copies.* average='ema'"
    ):
        step(optimizer, arrays(2, "float32"))
    monkeypatch.undo()
    assert_same(snapshot(optimizer), before)


def test_parameters_that_are_complex_or_not_contiguous(backend):
    rng = np.random.default_rng(0)
    start = [rng.standard_normal((6, 8)), rng.standard_normal(5) + 1j * rng.standard_normal(5)]
    params = [np.zeros((6, 16))[:, ::2], np.zeros(5, complex)]
    for param, values_of_it in zip(params, start, strict=True):
        param[...] = values_of_it
    optimizer = ss.SGD(params, lr=0.25, average=3, backend=backend)
    kept = [Kept(3, 1, 0) for _ in params]
    for _ in range(5):
        optimizer.step([0.5 * param for param in params])
        for each, param in zip(kept, params, strict=True):
            each.after_step(param)
    own, found = [param.copy() for param in params], optimizer.averaged()
    with optimizer.averages():
        for param, mean in zip(params, found, strict=True):
            assert first_difference(param, mean) is None
    assert first_difference(found[0], kept[0].mean(params[0])) is None
    for part in (np.real, np.imag):  # NumPy would divide by a complex number
        copies = Kept(3, 1, 0)
        copies.last.extend((place, part(copy)) for place, copy in kept[1].last)
        assert first_difference(part(found[1]), copies.mean(part(own[1]))) is None
    for param, expected in zip(params, own, strict=True):
        assert first_difference(param, expected) is None


def test_the_functional_form_keeps_them_in_its_state():
    rule = ss.rules.registry["sgd"]
    params = [np.ones(3)]
    optimizer = ss.SGD([np.ones(3)], lr=0.5, average=2)
    state = rule.init(params, lr=0.5, average=2)
    for number in range(3):
        grads = [np.full(3, number + 1.0)]
        params, state = rule.apply(params, grads, state)
        optimizer.step(grads)
    for k in range(2):
        expected = optimizer.state_dict()["state"][0][f"average_{k}"]
        assert first_difference(state["state"][0][f"average_{k}"], expected) is None
