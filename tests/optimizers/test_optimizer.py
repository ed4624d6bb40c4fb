"""Groups, step counts, hyperparameters and structures."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, random_like, snapshot
from variants import fitting

RULES = ["sgd", "adamw", "nadam", "asgd", "lamb"]
OPTIONS = {"sgd": dict(momentum=0.9), "asgd": dict(t0=2.0)}


def arrays(*shapes, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def equal(ours, expected):
    """Two lists of arrays have the same bits."""
    assert_same(dict(enumerate(ours)), dict(enumerate(expected)))


# ---- groups


@pytest.mark.parametrize("rule", RULES)
def test_a_population_in_one_optimizer_has_the_bits_of_separate_optimizers(rule, backend):
    """Each group with a learning rate, decay and direction of its own."""
    members = 12
    params = [arrays((30, 7), (5,), seed=k) for k in range(members)]
    alone = [[p.copy() for p in member] for member in params]
    options = [
        dict(lr=10.0**-k, weight_decay=0.01 * k, maximize=k % 2 == 0) for k in range(members)
    ]
    together = ss.Optimizer(
        rule, [{"params": p, **o} for p, o in zip(params, options, strict=True)],
        backend=backend, **OPTIONS.get(rule, {}),
    )  # fmt: skip
    separate = [
        ss.Optimizer(rule, p, backend=backend, **o, **OPTIONS.get(rule, {}))
        for p, o in zip(alone, options, strict=True)
    ]
    for step in range(4):
        grads = [random_like(member, 100 * step + k) for k, member in enumerate(params)]
        if step == 2:
            for k in range(members):
                lr = 0.3**k
                together.param_groups[k]["lr"] = separate[k].param_groups[0]["lr"] = lr
        together.step(grads)
        for optimizer, grad in zip(separate, grads, strict=True):
            optimizer.step(grad)
    for member, expected in zip(params, alone, strict=True):
        equal(member, expected)
    states = [state for optimizer in separate for state in optimizer.state]
    for state, expected in zip(together.state, states, strict=True):
        assert_same(state, expected)


def test_control_members_of_a_population_differ_from_each_other(backend):
    first, second = np.ones(5), np.ones(5)
    groups = [{"params": first, "lr": 0.1}, {"params": second, "lr": 0.2}]
    ss.AdamW(groups, backend=backend).step([np.ones(5), np.ones(5)])
    with pytest.raises(AssertionError):
        equal([first], [second])


def test_groups_may_have_structural_options_and_dtypes_of_their_own(backend):
    shapes = [(4, 3), (5,)]
    groups = [
        dict(params=arrays(*shapes), amsgrad=True),
        dict(params=arrays(*shapes, dtype=np.float64)),
        dict(params=arrays(*shapes, dtype=np.float16)),
    ]
    alone = [{**group, "params": [p.copy() for p in group["params"]]} for group in groups]
    together = ss.Adam(groups, lr=0.1, backend=backend)
    separate = [ss.Adam([group], lr=0.1, backend=backend) for group in alone]
    for step in range(3):
        grads = [random_like(group["params"], step) for group in groups]
        together.step(grads)
        for optimizer, grad in zip(separate, grads, strict=True):
            optimizer.step([grad])
    for group, expected in zip(groups, alone, strict=True):
        equal(group["params"], expected["params"])
    assert [sorted(s) for s in together.state] == [sorted(s) for o in separate for s in o.state]
    assert "max_exp_avg_sq" in together.state[0]
    assert "max_exp_avg_sq" not in together.state[2]


def test_a_group_added_later_starts_at_step_one_and_leaves_the_others_alone(backend):
    old, new, expected_old, expected_new = (np.ones(6) for _ in range(4))
    optimizer = ss.NAdam(old, lr=0.1, backend=backend)
    references = [ss.NAdam(expected_old, lr=0.1, backend=backend)]
    optimizer.step(np.ones(6))
    references[0].step(np.ones(6))
    optimizer.add_param_group({"params": {"x": new}, "lr": 0.7})
    references.append(ss.NAdam(expected_new, lr=0.7, backend=backend))
    for _ in range(2):
        optimizer.step([np.ones(6), {"x": np.ones(6)}])
        for reference in references:
            reference.step(np.ones(6))
    equal([old, new], [expected_old, expected_new])
    assert optimizer.steps == [3, 2]


def test_gradients_of_groups_may_come_as_dicts_with_params(backend):
    first, second = np.ones(2), np.ones(3)
    optimizer = ss.SGD([{"params": [first]}, {"params": second}], lr=1.0, backend=backend)
    optimizer.step([{"params": [np.ones(2)]}, {"params": np.ones(3)}])
    assert [*first, *second] == [0.0] * 5


@pytest.mark.parametrize("rule", RULES)
def test_a_frozen_group_neither_moves_nor_advances_and_goes_on_when_unfrozen(rule, backend):
    params = [arrays((3, 4)), arrays((5,))]
    untouched = [p.copy() for p in params[1]]
    groups = [{"params": params[0]}, {"params": params[1], "frozen": True}]
    optimizer = ss.Optimizer(rule, groups, lr=0.1, backend=backend)
    late = ss.Optimizer(rule, [p.copy() for p in untouched], lr=0.1, backend=backend)
    grads = [arrays((3, 4), seed=1), arrays((5,), seed=2)]
    optimizer.step(grads)
    optimizer.step([grads[0], None])
    equal(params[1], untouched)
    assert optimizer.steps == [2, 0]
    optimizer.param_groups[1]["frozen"] = False
    for _ in range(2):  # with arrays that were seen while it was frozen
        optimizer.step(grads)
        late.step(grads[1])
    equal(params[1], late.param_groups[0]["params"])
    assert optimizer.steps == [4, 2]
    optimizer.param_groups[0]["frozen"] = True
    before = [p.copy() for p in params[0]]
    optimizer.step(grads)
    equal(params[0], before)
    assert optimizer.steps == [4, 3]


# ---- step counts


@pytest.mark.parametrize("rule", RULES)
def test_a_parameter_without_gradient_is_as_if_the_step_had_not_been(rule, backend):
    shapes = [(3, 4), (70_000,), (5,)]
    params, alone = arrays(*shapes), arrays(*shapes)
    options = OPTIONS.get(rule, {})
    together = ss.Optimizer(rule, params, lr=0.1, backend=backend, **options)
    separate = [ss.Optimizer(rule, p, lr=0.1, backend=backend, **options) for p in alone]
    seen = [(0, 1, 2), (0, 2), (), (1,), (0, 1, 2), (0, 1, 2), (2,)]
    for step, present in enumerate(seen):
        grads = random_like(params, step)
        together.step([g if i in present else None for i, g in enumerate(grads)])
        for i in present:
            separate[i].step(grads[i])
    equal(params, alone)
    for state, optimizer in zip(together.state, separate, strict=True):
        assert_same(state, optimizer.state[0])
    assert together.steps == [4, 4, 5]


def test_none_stands_for_a_branch_or_for_everything(backend):
    params = {"a": [np.ones(2), np.ones(3)], "b": np.ones(1)}
    optimizer = ss.SGD(params, lr=1.0, backend=backend)
    optimizer.step({"a": None, "b": np.ones(1)})
    optimizer.step(None)
    assert optimizer.steps == [0, 0, 1]
    assert [params["a"][0].sum(), params["a"][1].sum(), params["b"][0]] == [2.0, 3.0, 0.0]


# ---- hyperparameters


@pytest.mark.parametrize(
    "rule",
    [
        name
        for name, rule in ss.rules.registry.items()
        # an average goes on without the rate, and so does D-Adaptation's mean of steps; FTRL
        # divides by it
        if name not in {"rprop", "madgrad", "ftrl", "dadapt_adam"} and rule.average_share is None
    ],
)
def test_a_changed_learning_rate_takes_effect_at_once(rule, backend):
    """With lr = 0 a parameter stays, bit for bit, whatever the state; with the same gradients."""
    param, gradient = fitting(rule, [np.array([1.5, -2.0]), np.array([0.5, 0.25])])
    optimizer = ss.Optimizer(rule, param, lr=0.1, backend=backend)
    optimizer.step(gradient)  # the first one of ADOPT only begins its second moment
    for lr, moves in [(0.1, True), (0.0, False), (0.2, True), (0.0, False)]:
        optimizer.param_groups[0]["lr"] = lr
        before = param.copy()
        optimizer.step(gradient)
        assert (param != before).all() == moves
        assert (param == before).all() != moves


def test_hyperparameters_changed_in_place_are_seen(backend):
    """A list of betas or a learning rate in an array may be changed without being assigned."""
    changed, assigned = np.ones(3), np.ones(3)
    first = ss.Adam(changed, backend=backend)
    second = ss.Adam(assigned, backend=backend)
    betas, lr = [0.9, 0.999], np.array(0.1)
    first.param_groups[0].update(betas=betas, lr=lr)
    second.param_groups[0].update(betas=(0.9, 0.999), lr=0.1)
    for optimizer in (first, second):
        optimizer.step(np.full(3, 2.0))
    betas[0], lr[...] = 0.5, 0.01
    second.param_groups[0].update(betas=(0.5, 0.999), lr=0.01)
    for optimizer in (first, second):
        optimizer.step(np.full(3, -1.0))
    assert_same(snapshot(first), snapshot(second))


def test_hyperparameters_are_float64_whatever_they_came_as(backend):
    """0.5 and 0.25 are exact in every type."""
    given = [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5)]
    params = [np.ones(3, np.float32) for _ in given]
    for value, param in zip(given, params, strict=True):
        betas = [value, np.float32(0.25)]
        ss.Adam(param, lr=value, betas=betas, backend=backend).step(np.ones(3, np.float32))
    equal(params[1:], params[:1] * 3)


@pytest.mark.parametrize("rule", ss.rules.registry)
def test_maximize_has_the_bits_of_negated_gradients(rule, backend):
    shapes = [(30, 40), (3,)]
    up, down = fitting(rule, arrays(*shapes)), fitting(rule, arrays(*shapes))
    first = ss.Optimizer(rule, up, lr=0.1, maximize=True, backend=backend)
    second = ss.Optimizer(rule, down, lr=0.1, backend=backend)
    for step in range(3):
        grads = random_like(up, step)
        first.step(grads)
        second.step([-g for g in grads])
    assert_same(snapshot(first), snapshot(second))


# ---- structures


def test_any_nesting_of_lists_tuples_and_dicts_works(backend):
    flat = arrays((2, 3), (4,), (), (1,))
    a, b, c, d = (p.copy() for p in flat)
    nested = {"layers": [{"w": a, "b": b}, (c,)], "head": {"scale": d}}
    first = ss.AdamW(flat, backend=backend)
    second = ss.AdamW(nested, backend=backend)
    for step in range(2):
        ga, gb, gc, gd = random_like(flat, step)
        first.step([ga, gb, gc, gd])
        # any order of keys, any kind of mapping, tuples for lists
        second.step({"head": {"scale": gd}, "layers": ({"b": gb, "w": ga}, [gc])})
    equal([a, b, c, d], flat)
    single = np.ones(3)
    ss.SGD(single, lr=1.0, backend=backend).step(np.ones(3))
    assert single.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    "given", [iter, lambda arrays: map(np.asarray, arrays), lambda arrays: dict(enumerate(arrays)).values()]
)  # fmt: skip
def test_iterators_and_views_are_lists_of_parameters(given, tmp_path):
    params, more = arrays((2,), (3,)), arrays((4,))
    optimizer = ss.SGD(given(params), lr=1.0)
    optimizer.add_param_group({"params": given(more)})
    grads = [random_like(params, 0), random_like(more, 1)]
    optimizer.step(grads)
    groups = [{"params": params}, {"params": more}]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
    assert optimizer.param_groups[0]["params"][0] is params[0]
    optimizer.save(tmp_path / "file")
    ss.SGD.load(tmp_path / "file", ({"params": given(group["params"])} for group in groups))
    ss.rules.registry["sgd"].init(given(params))


def test_a_model_s_parameters_are_updated_by_the_torch_backend():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    optimizer = ss.SGD(model.parameters(), lr=1.0)
    assert optimizer.backend.name == "torch"
    before = model.bias.item()
    optimizer.step([torch.zeros(1, 2), torch.ones(1)])
    assert model.bias.item() == np.float32(before) - 1


def test_a_group_may_have_a_name_which_is_kept(backend, tmp_path):
    """It changes nothing; torch's groups may have one, too."""
    params = arrays((2,), (3,), (4,))
    groups = [{"params": params[:1], "name": "body"}, {"params": params[1:2]}]
    optimizer = ss.AdamW(groups, backend=backend)
    optimizer.add_param_group({"params": params[2:], "name": "head"})
    optimizer.param_groups[1]["name"] = "neck"
    grads = [[g] for g in random_like(params, 0)]
    optimizer.step(grads)
    optimizer.save(tmp_path / "file")
    unnamed = [{"params": [p]} for p in copies(params)]
    loaded = ss.AdamW.load(tmp_path / "file", unnamed, backend=backend)
    other = ss.AdamW([{"params": [p]} for p in copies(params)], backend=backend)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, loaded, other, copy.deepcopy(optimizer)):
        assert [group["name"] for group in each.param_groups] == ["body", "neck", "head"]
        each.step(grads)
    del optimizer.param_groups[0]["name"]
    optimizer.step(grads)


def copies(arrays):
    return [array.copy() for array in arrays]
