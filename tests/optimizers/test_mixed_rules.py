"""Groups with rules of their own in one optimizer."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, leaves, off, on, refused, snapshot, step
from samestep.checkpoint import CheckpointError
from samestep.checkpoint.file import CheckpointFile
from samestep.schedules import linear

SHAPES = ((30, 7), (5,), (3, 4, 2), ())


def own_scalars(xp, step, carry, h):
    return dict(lr=h.lr / step), carry


def own_update(xp, s, param, grad, total):
    total = total + grad
    return param - s.lr * total, total


def own_rule(name):
    return ss.Rule(name, own_scalars, own_update, defaults=dict(lr=1e-2))


OWN = own_rule("own_rule")
# the rule of each group, and what is said of it
GROUPS = (
    {"rule": "adamw", "lr": 1e-2, "amsgrad": True},
    {"rule": "lion", "lr": linear(1e-3, 1e-4, 3)},
    {"rule": "sgd", "momentum": 0.9, "nesterov": True, "maximize": True},
    {"rule": "lamb", "clip_norm": 0.5},
    {"rule": "adafactor"},
    {"rule": OWN, "lr": 1e-2},
    {"rule": "adamw", "lr": 1e-4, "weight_decay": 0.1},
)


def params_of_groups(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(shape).astype(dtype) for shape in SHAPES] for _ in GROUPS]


def gradients(seed, dtype=np.float32):
    """One set, in which some parameters have none."""
    found = params_of_groups(1000 + seed, dtype)
    for k in range(len(found)):
        if (k + seed) % 3 == 0:
            found[k][seed % len(SHAPES)] = None
    return found


def mixed(params, backend, rule="adamw", groups=GROUPS, **settings):
    listed = [{"params": p, **group} for p, group in zip(params, groups, strict=True)]
    return ss.Optimizer(rule, listed, backend=backend, **settings)


def separate(params, backend, groups=GROUPS, **settings):
    return [
        ss.Optimizer(
            group["rule"], [{"params": p, **group}], backend=backend, **settings
        )
        for p, group in zip(params, groups, strict=True)
    ]  # fmt: skip


def states(optimizers):
    return [
        {name: o.backend.to_numpy(array) for name, array in state.items()}
        for o in optimizers
        for state in o.state
    ]


def assert_same_bits(together, apart):
    """One optimizer has the bits and counts of several."""
    for ours, expected in zip(states([together]), states(apart), strict=True):
        assert_same(ours, expected)
    found = [together.backend.to_numpy(p) for p in leaves(together)]
    others = [o.backend.to_numpy(p) for o in apart for p in leaves(o)]
    assert_same(dict(enumerate(found)), dict(enumerate(others)))
    assert together.steps == [count for o in apart for count in o.steps]


@pytest.mark.parametrize(("dtype", "accumulation_steps"), [("float32", 1), ("float64", 2)])
def test_several_rules_in_one_optimizer_have_the_bits_of_several_optimizers(
    any_backend, dtype, accumulation_steps
):
    """With absent gradients, frozen groups, changed hyperparameters and schedules among them."""
    params = on(any_backend, params_of_groups(dtype=dtype))
    together = mixed(params, any_backend, accumulation_steps=accumulation_steps)
    apart = separate(
        on(any_backend, params_of_groups(dtype=dtype)), any_backend,
        accumulation_steps=accumulation_steps,
    )  # fmt: skip
    for t in range(6):
        if t == 2:
            together.param_groups[2]["lr"] = apart[2].param_groups[0]["lr"] = 0.5
            together.param_groups[1]["frozen"] = apart[1].param_groups[0]["frozen"] = True
        grads = gradients(t, dtype)
        step(together, grads)
        for optimizer, grad in zip(apart, grads, strict=True):
            step(optimizer, [grad])
    assert_same_bits(together, apart)
    together.reset()
    assert together.steps == [0] * len(SHAPES) * len(GROUPS)
    for optimizer in apart:
        optimizer.reset()
    for _ in range(accumulation_steps):
        step(together, gradients(9, dtype))
        for optimizer, grad in zip(apart, gradients(9, dtype), strict=True):
            step(optimizer, [grad])
    assert_same_bits(together, apart)


def test_parts_of_the_optimizer_go_with_every_rule(any_backend, tmp_path):
    """Masters and averages of 16-bit parameters, beside a rule on whole matrices."""
    groups = (
        {"rule": "muon", "lr": 0.02, "master": "float32"},
        {"rule": "adamw", "average": "ema", "average_decay": 0.5},
        {"rule": "lion", "compensated": True},
    )

    def matrices(seed):
        rng = np.random.default_rng(seed)
        found = [[rng.standard_normal((6, 4)).astype(np.float16)] for _ in groups]
        return on(any_backend, found)

    together = mixed(matrices(0), any_backend, groups=groups)
    apart = separate(matrices(0), any_backend, groups)
    for t in range(3):
        together.step(matrices(t + 1))
        for optimizer, grad in zip(apart, matrices(t + 1), strict=True):
            optimizer.step([grad])
    assert_same_bits(together, apart)
    together.save(tmp_path / "file")
    loaded = ss.Optimizer.load(
        tmp_path / "file", [{"params": p} for p in matrices(9)], backend=any_backend
    )
    for optimizer in (together, loaded):
        optimizer.step(matrices(5))
    assert_same(snapshot(loaded), snapshot(together))


def test_there_is_one_launch_per_rule(backend):
    """Groups of one rule share it."""
    params = [np.ones(3) for _ in range(6)]
    rules = ["adamw", "lion", "adamw", "sgd", "lion", "adamw"]
    groups = [{"params": p, "rule": rule} for p, rule in zip(params, rules, strict=True)]
    optimizer = ss.Optimizer("adamw", groups, backend=backend)
    optimizer.step([np.ones(3)] * 6)
    launched = [bucket.rule.name for bucket in optimizer._run.stepping._work.updates]
    assert sorted(launched) == ["adamw", "lion", "sgd"]


def test_the_norm_of_all_gradients_is_that_of_all_rules(any_backend):
    """Clipping, skipping and the loss scale are for all of them together."""
    groups, grads = GROUPS, params_of_groups(5)
    scaler = ss.LossScaler(scale=4.0)
    together = mixed(
        on(any_backend, params_of_groups()), any_backend, clip_global_norm=0.5, loss_scaler=scaler
    )
    one_rule = [{"rule": "sgd", "lr": 0.0}] * len(groups)
    reference = mixed(
        on(any_backend, params_of_groups()), any_backend, groups=one_rule, clip_global_norm=0.5
    )
    step(together, [[4 * g for g in group] for group in grads])
    step(reference, grads)
    assert together.grad_norm == reference.grad_norm > 0.5
    before = snapshot(together)
    grads[4][1][0] = np.inf
    step(together, grads)
    assert together.skipped
    assert scaler.scale == 2.0
    assert_same(snapshot(together), before)


def test_a_gradient_of_some_rows_is_a_step_of_its_group_s_rule(backend):
    params = [np.ones((6, 2)) for _ in range(4)]
    groups = ({"rule": "sgd", "lr": 0.5}, {"rule": "sparseadam", "lr": 0.1})
    together = mixed(params[:2], backend, groups=groups)
    apart = separate(params[2:], backend, groups=groups)
    for k in range(3):
        slices = ss.IndexedSlices(np.ones((2, 2)), np.array([k, 3]))
        together.step([slices, slices])
        for optimizer in apart:
            optimizer.step([slices])
    assert_same_bits(together, apart)
    with refused(together, TypeError, r"group\[1\]|weight_decay|lazy"):
        mixed(params[:1], backend, groups=[{"rule": "adamw"}]).step([slices])


def ways_on(optimizer, backend, path):
    """Return optimizers that go on from this one, in all ways that there are."""
    other = mixed(on(backend, params_of_groups(3)), backend)
    params = [group["params"] for group in optimizer.param_groups]
    for new, old in zip(leaves(other), leaves(optimizer), strict=True):
        other.backend.copy_into(new, optimizer.backend.to_numpy(old))
    other.load_state_dict(optimizer.state_dict())
    optimizer.save(path)
    groups = [{"params": on(backend, params_of_groups(4)[k])} for k in range(len(params))]
    groups[5]["rule"] = OWN
    loaded = ss.Optimizer.load(path, groups, backend=backend)
    return [other, loaded, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]


def test_it_goes_on_from_every_kind_of_snapshot(any_backend, tmp_path):
    """Written on the reference."""
    first = mixed(params_of_groups(), "numpy", weight_decay=0.25, clip_global_norm=3.0)
    step(first, gradients(0))
    going_on = ways_on(first, any_backend, tmp_path / "file")
    step(first, gradients(1))
    for optimizer in going_on:
        step(optimizer, gradients(1))
        assert_same(snapshot(optimizer), snapshot(first))
        for group, expected in zip(optimizer.param_groups, first.param_groups, strict=True):
            assert group["rule"] == expected["rule"]
            assert group.get("weight_decay") == expected.get("weight_decay")
    for optimizer in going_on[1:]:
        assert optimizer.defaults["weight_decay"] == 0.25


def test_a_file_of_one_rule_has_the_first_version_and_one_of_several_the_second(tmp_path):
    def version(optimizer):
        optimizer.save(tmp_path / "file")
        with CheckpointFile(tmp_path / "file") as file:
            tree = json.loads(file.metadata)
        return tree["format_version"], [group.get("rule") for group in tree["param_groups"]]

    a, b = np.ones(2), np.ones(3)
    named = [{"params": a, "rule": "adamw"}, {"params": b}]
    assert version(ss.Optimizer("adamw", named)) == (1, [None, None])
    groups = [{"params": a, "rule": "lion"}, {"params": b}]
    assert version(ss.Optimizer("adamw", groups)) == (2, ["lion", None])


def test_each_group_has_the_defaults_of_its_rule_and_the_keywords_that_it_knows(backend):
    a, b, c = np.ones(2), np.ones(3), np.ones(4)
    groups = [{"params": a}, {"params": b, "rule": "lion"}, {"params": c, "rule": "sgd", "lr": 1.0}]
    optimizer = ss.Optimizer("adamw", groups, backend=backend, momentum=0.5, weight_decay=0.25)
    first, second, third = optimizer.param_groups
    assert [g["rule"] for g in optimizer.param_groups] == ["adamw", "lion", "sgd"]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.25] * 3
    assert (first["lr"], second["lr"], third["lr"]) == (1e-3, ss.rules.lion.defaults["lr"], 1.0)
    assert second["betas"] == ss.rules.lion.defaults["betas"] != first["betas"]
    assert third["momentum"] == 0.5
    assert "momentum" not in {*first, *second, *optimizer.defaults}
    assert repr(optimizer).startswith("<adamw, lion, sgd on ")
    optimizer.add_param_group({"params": np.ones(1), "rule": "sgd"})
    optimizer.add_param_group({"params": np.ones(1)})
    assert (
        optimizer.param_groups[3]["momentum"] == 0.0
    )  # of the rule: keywords were for groups then
    assert optimizer.param_groups[4]["weight_decay"] == 0.25
    optimizer.step([np.ones(n) for n in (2, 3, 4, 1, 1)])
    now = optimizer.current_hyperparameters()
    assert now[1].keys() == ss.rules.lion.known_hyperparameters.keys()
    again = ss.Optimizer("adamw", optimizer.param_groups, backend=backend)
    assert [g["rule"] for g in again.param_groups] == ["adamw", "lion", "sgd", "sgd", "adamw"]


def test_a_mask_is_for_rules_that_decay(backend):
    """Where none does, it is refused as for one rule."""
    groups = [
        {"params": [np.ones((2, 2)), np.ones(2)]},
        {"params": np.ones(3), "rule": "sparseadam"},
    ]

    def mask(name, param):
        return param.ndim > 1

    optimizer = ss.Optimizer("adamw", groups, backend=backend, weight_decay_mask=mask)
    found = [group["weight_decay_mask"] for group in optimizer.state_dict()["param_groups"]]
    assert found == [[True, False], None]
    with pytest.raises(TypeError, match="sparseadam has no weight_decay that weight_decay_mask"):
        ss.Optimizer("adamw", groups[1:], backend=backend, weight_decay_mask=mask)


def test_the_state_dtype_may_be_that_of_one_rule(backend):
    groups = ({"rule": "adamw", "state_dtype": "bfloat16"}, {"rule": "lion"})
    params = [[np.ones(3, np.float32)] for _ in range(4)]
    together, apart = (
        mixed(params[:2], backend, groups=groups),
        separate(params[2:], backend, groups),
    )
    for t in range(3):
        grad = np.full(3, t + 0.1, np.float32)
        together.step([[grad], [grad]])
        for optimizer in apart:
            optimizer.step([[grad]])
    assert_same_bits(together, apart)


WRONG_GROUPS = {
    "unknown rule": ({"rule": "lionn"}, ValueError, "no rule 'lionn'; did you mean 'lion'"),
    "no rule": ({"rule": None}, TypeError, "a rule is a samestep.Rule or the name of one, not None"),
    "of another rule": (
        {"rule": "lion", "eps": 1.0}, TypeError, "lion has no hyperparameter 'eps'",
    ),
    "state of another rule": (
        {"rule": "lion", "state_dtype": {"exp_avg_sq": "bfloat16"}}, ValueError,
        "state_dtype names 'exp_avg_sq'.*the states of lion",
    ),
    "option": ({"rule": "sgd", "nesterov": True}, ValueError, "nesterov"),
    "same name": (
        {"rule": own_rule("adamw")}, ValueError, "called 'adamw', and so is another rule",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_GROUPS)
def test_a_group_with_a_wrong_rule_is_refused(name, backend):
    more, error, message = WRONG_GROUPS[name]
    group = {"params": np.ones(2), "name": "head", **more}
    with pytest.raises(error, match=rf"^group 1 \('head'\): .*{message}"):
        ss.Optimizer("adamw", [{"params": np.ones(2)}, group], backend=backend)
    optimizer = ss.Optimizer("adamw", [{"params": np.ones(2)}], backend=backend)
    with refused(optimizer, error, rf"^group 1 \('head'\): .*{message}"):
        optimizer.add_param_group(group)
    optimizer.step([np.ones(2)])


def test_a_keyword_that_no_rule_has_is_refused(backend):
    groups = [{"params": np.ones(2)}, {"params": np.ones(2), "rule": "sgd"}]
    with pytest.raises(
        TypeError, match=r"none of the rules adamw, sgd has .*did you mean 'momentum'"
    ):
        ss.Optimizer("adamw", groups, backend=backend, mometum=0.5)


def test_the_rule_of_a_group_cannot_be_changed(backend):
    optimizer = mixed(params_of_groups(), backend)
    optimizer.step(gradients(0))
    optimizer.param_groups[1]["rule"] = "sgd"
    with refused(optimizer, ValueError, "^group 1: rule was 'lion' .*make a new optimizer"):
        optimizer.step(gradients(1))
    del optimizer.param_groups[1]["rule"]
    with refused(optimizer, ValueError, "lost its entry 'rule'"):
        optimizer.step(gradients(1))
    optimizer.param_groups[1]["rule"] = "lion"
    optimizer.step(gradients(1))


def test_a_snapshot_of_other_rules_is_refused(backend, tmp_path):
    groups = ({"rule": "adamw"}, {"rule": "lion"})
    optimizer = mixed([np.ones(2), np.ones(3)], backend, groups=groups)
    for others in (({"rule": "adamw"}, {"rule": "sgd"}), ({"rule": "lion"}, {"rule": "lion"})):
        other = mixed([np.ones(2), np.ones(3)], backend, groups=others)
        message = r"(group \d of )?the state dict is of rule '.*'; this is '.*'"
        with refused(optimizer, ValueError, message):
            optimizer.load_state_dict(other.state_dict())
        with refused(other, ValueError, message):
            other.load_state_dict(optimizer.state_dict())
    optimizer.save(tmp_path / "file")
    for rules in (("lion", "lion"), ("adamw", "sgd")):
        given = [
            {"params": np.ones(n), "rule": rule} for n, rule in zip((2, 3), rules, strict=True)
        ]
        with pytest.raises(CheckpointError, match=r"group \d: is of rule '.*'; expected '.*'"):
            ss.Optimizer.load(tmp_path / "file", given, backend=backend)


def test_a_file_of_an_own_rule_is_loaded_with_it(backend, tmp_path):
    """A rule that is not built in has to be given."""
    groups = [{"params": np.ones(2)}, {"params": np.ones(3), "rule": OWN}]
    ss.Optimizer("adamw", groups, backend=backend).save(tmp_path / "file")
    given = [{"params": np.zeros(2)}, {"params": np.zeros(3)}]
    with pytest.raises(CheckpointError, match=r"group 1: no rule 'own_rule'.* 'rule' of its group"):
        ss.Optimizer.load(tmp_path / "file", given, backend=backend)
    given[1]["rule"] = OWN
    assert (
        ss.Optimizer.load(tmp_path / "file", given, backend=backend).param_groups[1]["lr"] == 1e-2
    )


def test_a_class_of_one_rule_and_the_functional_form_refuse_others(backend, tmp_path):
    groups = [{"params": np.ones(2)}, {"params": np.ones(3), "rule": "lion", "name": "head"}]
    message = r"group 1 \('head'\): its rule is 'lion'; {} is for adamw only; ss.Optimizer\('adamw'"
    with pytest.raises(TypeError, match=message.format("AdamW")):
        ss.AdamW(groups, backend=backend)
    with pytest.raises(TypeError, match="rules: AdamW is for adamw only"):
        ss.AdamW({"w": np.ones(2)}, rules={"w": "lion"}, backend=backend)
    optimizer = ss.AdamW([{"params": np.ones(2), "rule": "adamw"}], backend=backend)
    with refused(optimizer, TypeError, message.format("AdamW")):
        optimizer.add_param_group(groups[1])
    adamw = ss.rules.registry["adamw"]
    with pytest.raises(TypeError, match=message.format("init")):
        adamw.init(groups, backend=backend)
    state = adamw.init(groups[:1], backend=backend)
    with pytest.raises(TypeError, match=message.format("apply")):
        adamw.apply(groups, [np.ones(2), np.ones(3)], state, backend=backend)
    ss.Optimizer("adamw", groups, backend=backend).save(tmp_path / "file")
    given = [{"params": np.ones(2)}, {"params": np.ones(3)}]
    with pytest.raises(CheckpointError, match="groups of other rules than 'adamw'"):
        ss.AdamW.load(tmp_path / "file", given, backend=backend)


def test_numbers_on_a_device_are_those_on_the_host(any_backend):
    """A control of `off`, `on` and `mixed`: other groups give other bits."""
    params = on(any_backend, params_of_groups())
    step(mixed(params, any_backend), gradients(0))
    others = on(any_backend, params_of_groups())
    step(mixed(others, any_backend, groups=[{"rule": "sgd"}] * len(GROUPS)), gradients(0))
    for ours, theirs in zip(off(any_backend, params), off(any_backend, others), strict=True):
        assert not all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
