"""Hyperparameters and names that cannot be used."""

from __future__ import annotations

import math

import numpy as np
import pytest
import samestep as ss
import torch
from helpers import assert_same, on, refused, snapshot, step

NUMBER = "must be a number, not"
WRONG_VALUES = [
    ("lr", math.nan, ValueError, "lr must be finite, not nan"),
    ("lr", math.inf, ValueError, "lr must be finite, not inf"),
    ("lr", -1.0, ValueError, r"lr must be in \[0, inf\), not -1"),
    ("lr", "abc", TypeError, f"lr {NUMBER} 'abc'"),
    ("lr", "0.1", TypeError, f"lr {NUMBER} '0.1'"),
    ("lr", None, TypeError, f"lr {NUMBER} None"),
    ("lr", True, TypeError, f"lr {NUMBER} True"),
    ("lr", np.True_, TypeError, f"lr {NUMBER} True"),
    ("lr", [0.1], TypeError, rf"lr {NUMBER} \[0.1\]"),
    ("lr", (0.1, 0.2), TypeError, rf"lr {NUMBER} \(0.1, 0.2\)"),
    ("lr", 1j, TypeError, f"lr {NUMBER} 1j"),
    ("lr", 10**400, TypeError, f"lr {NUMBER} 1000"),
    ("lr", np.ones(2), TypeError, f"lr {NUMBER} array"),
    ("betas", (1.0, 0.9), ValueError, r"betas\[0\] must be in \[0, 1\), not 1"),
    ("betas", (0.9, -0.1), ValueError, r"betas\[1\] must be in \[0, 1\), not -0.1"),
    ("betas", (0.9, math.nan), ValueError, r"betas\[1\] must be finite, not nan"),
    ("betas", (0.9,), TypeError, r"betas must be 2 numbers, not \(0.9,\)"),
    ("betas", (0.9, 0.9, 0.9), TypeError, "betas must be 2 numbers, not"),
    ("betas", 0.9, TypeError, "betas must be 2 numbers, not 0.9"),
    ("betas", None, TypeError, "betas must be 2 numbers, not None"),
    ("betas", "ab", TypeError, rf"betas\[0\] {NUMBER} 'a'"),
    ("betas", (0.9, True), TypeError, rf"betas\[1\] {NUMBER} True"),
    ("eps", -1e-9, ValueError, r"eps must be in \[0, inf\), not -1e-09"),
    ("weight_decay", -0.1, ValueError, r"weight_decay must be in \[0, inf\), not -0.1"),
    ("amsgrad", "yes", TypeError, "amsgrad must be True or False, not 'yes'"),
    ("amsgrad", 2, TypeError, "amsgrad must be True or False, not 2"),
    ("maximize", None, TypeError, "maximize must be True or False, not None"),
]
OTHER_BOUNDS = [
    ("sgd", "momentum", -0.1, r"momentum must be in \[0, inf\), not -0.1"),
    ("sgd", "dampening", math.inf, "dampening must be finite, not inf"),
    ("rmsprop", "alpha", 1.0, r"alpha must be in \[0, 1\), not 1"),
    ("rprop", "etas", (0.5, 1.0), r"etas\[1\] must be in \(1, inf\), not 1"),
    ("rprop", "etas", (0.0, 1.2), r"etas\[0\] must be in \(0, 1\), not 0"),
    ("rprop", "step_sizes", (-1.0, 1.0), r"step_sizes\[0\] must be in \[0, inf\), not -1"),
    ("rprop", "step_sizes", (0.0, 0.0), r"step_sizes\[1\] must be in \(0, inf\), not 0"),
    ("adagrad", "initial_accumulator_value", -1, "initial_accumulator_value must be in"),
    ("muon", "ns_steps", 2.5, r"ns_steps must be in \[0, 100\) and whole, not 2.5"),
    ("muon", "ns_steps", 100, r"ns_steps must be in \[0, 100\) and whole, not 100"),
]


def fresh(backend):
    return ss.AdamW([np.arange(3.0)], lr=0.1, backend=backend)


@pytest.mark.parametrize(("name", "value", "error", "message"), WRONG_VALUES)
def test_a_wrong_value_is_refused_at_construction_in_groups_and_between_steps(
    name, value, error, message, backend
):
    with pytest.raises(error, match=f"^{message}"):
        ss.AdamW([np.ones(3)], backend=backend, **{name: value})
    with pytest.raises(error, match=f"^group 1: {message}"):
        ss.AdamW([{"params": np.ones(3)}, {"params": np.ones(2), name: value}], backend=backend)
    optimizer, untroubled = fresh(backend), fresh(backend)
    with refused(optimizer, error, f"^group 1: {message}"):
        optimizer.add_param_group({"params": np.ones(2), name: value})
    gradient = [np.ones(3)]
    for each in (optimizer, untroubled):
        each.step(gradient)
    before = optimizer.param_groups[0][name]
    optimizer.param_groups[0][name] = value
    for _ in range(2):  # again, and with the same arrays
        with refused(optimizer, error, message):
            optimizer.step(gradient)
    optimizer.param_groups[0][name] = before
    for each in (optimizer, untroubled):
        each.step(gradient)
    assert_same(snapshot(optimizer), snapshot(untroubled))


@pytest.mark.parametrize(("rule", "name", "value", "message"), OTHER_BOUNDS)
def test_every_rule_s_bounds_are_checked(rule, name, value, message, backend):
    with pytest.raises(ValueError, match=message):
        ss.Optimizer(rule, np.ones(2), backend=backend, **{name: value})


def test_every_hyperparameter_has_bounds_that_keep_out_what_is_not_finite():
    for rule in ss.rules.registry.values():
        for name, default in rule.defaults.items():
            if isinstance(default, bool):
                continue
            for wrong in (math.nan, math.inf, -math.inf):
                value = (wrong,) * len(default) if isinstance(default, tuple) else wrong
                with pytest.raises(ValueError, match=f"{name}.* must be finite"):
                    rule.hyperparameters({name: value})


def test_an_unknown_hyperparameter_is_named_with_those_there_are(backend):
    message = "adam has no hyperparameter 'lrr'; did you mean 'lr'. it has amsgrad, lr, betas, e"
    with pytest.raises(TypeError, match=message):
        ss.Adam(np.ones(2), lrr=1, backend=backend)
    with pytest.raises(TypeError, match=message):
        ss.Optimizer("adam", np.ones(2), lrr=1, backend=backend)
    optimizer = ss.Adam([np.ones(2)], backend=backend)
    with refused(optimizer, TypeError, f"group 1: {message}"):
        optimizer.add_param_group({"params": np.ones(1), "lrr": 1})


def test_what_is_not_a_group_s_is_listed_too_and_named_where_it_does_not_belong(backend):
    message = "no hyperparameter 'clip_globalnorm'; did you mean 'clip_global_norm'. it has .* weig"
    with pytest.raises(TypeError, match=message):
        ss.AdamW(np.ones(2), clip_globalnorm=1, backend=backend)
    group = {"params": np.ones(2), "clip_global_norm": 1.0}
    message = "group 0: clip_global_norm belongs to the whole optimizer, not to a group"
    with pytest.raises(TypeError, match=message):
        ss.AdamW([group], backend=backend)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lrr", "nothing reads the entry 'lrr'; did you mean 'lr'. a group has amsgrad, lr, "),
        ("accumulation_steps", "accumulation_steps belongs to the whole optimizer, not to a group"),
        ("weight_decay_mask", "nothing reads the entry 'weight_decay_mask'; "),
    ],
)
def test_an_entry_of_a_group_that_nothing_reads_is_refused(name, message, backend):
    optimizer, untroubled = fresh(backend), fresh(backend)
    optimizer.param_groups[0][name] = 3
    for _ in range(2):
        with refused(optimizer, TypeError, message):
            optimizer.step([np.ones(3)])
    del optimizer.param_groups[0][name]
    for each in (optimizer, untroubled):
        each.step([np.ones(3)])
    assert_same(snapshot(optimizer), snapshot(untroubled))


def test_an_attribute_that_there_is_not_cannot_be_set():
    for optimizer in (ss.AdamW(np.ones(2)), ss.Optimizer("adamw", np.ones(2))):
        with pytest.raises(AttributeError, match="no attribute 'clip_globalnorm'"):
            optimizer.clip_globalnorm = 1.0
        with pytest.raises(AttributeError, match=r"lr belongs to a group: param_groups\[0\]\['lr"):
            optimizer.lr = 3
        assert not hasattr(optimizer, "lr")


def test_a_setting_counts_from_the_next_step_on_and_is_checked_by_it(backend):
    optimizer = fresh(backend)
    optimizer.step([np.ones(3)])
    optimizer.clip_global_norm = -1.0
    for _ in range(2):
        with refused(optimizer, ValueError, r"clip_global_norm must be in \(0, inf\), not -1"):
            optimizer.step([np.ones(3)])
    optimizer.clip_global_norm = 1.0
    optimizer.step([np.ones(3)])
    assert optimizer.grad_norm == 3**0.5


def test_a_hyperparameter_too_large_for_the_compute_dtype_is_refused(any_backend):
    """It would be infinite there, and times a gradient of zero NaN."""
    params = on(any_backend, [np.ones(2, np.float32), np.ones(2)])
    optimizer = ss.SGD(params, lr=1e300, backend=any_backend)
    message = "sgd: the scalar lr is 1e.300, which is infinite in float32"
    with refused(optimizer, ValueError, message):
        step(optimizer, [np.zeros(2, np.float32), np.zeros(2)])
    ss.SGD(on(any_backend, [np.ones(2)]), lr=1e300, backend=any_backend)


def test_a_group_that_lost_an_entry_is_refused(backend):
    optimizer = fresh(backend)
    optimizer.step([np.ones(3)])
    before = snapshot(optimizer)
    lr = optimizer.param_groups[0].pop("lr")
    with pytest.raises(ValueError, match="a group in param_groups has lost its entry 'lr'"):
        optimizer.step([np.ones(3)])
    optimizer.param_groups[0]["lr"] = lr
    assert_same(snapshot(optimizer), before)


@pytest.mark.parametrize("group", [np.ones(2), [np.ones(2)], {"lr": 0.1}, None])
def test_what_is_not_a_group_is_not_added(group, backend):
    optimizer = fresh(backend)
    with refused(optimizer, TypeError, "a parameter group is a dict with 'params' and hyperpara"):
        optimizer.add_param_group(group)


@pytest.mark.parametrize(
    ("rule", "options", "change"),
    [
        ("adam", {}, dict(amsgrad=True)),
        ("adam", dict(amsgrad=True), dict(amsgrad=False)),
        ("sgd", {}, dict(momentum=0.9)),
        ("sgd", dict(momentum=0.9), dict(nesterov=True)),
        ("rmsprop", {}, dict(centered=True)),
        ("rmsprop", {}, dict(momentum=0.5)),
        ("nadam", {}, dict(decoupled_weight_decay=True)),
    ],
)
@pytest.mark.parametrize("steps", [0, 2])
def test_a_structural_option_cannot_be_changed_after_construction(
    rule, options, change, steps, backend
):
    optimizer = ss.Optimizer(rule, [np.ones(3)], backend=backend, **options)
    for _ in range(steps):
        optimizer.step([np.ones(3)])
    optimizer.param_groups[0].update(change)
    (name,) = change
    was = bool(options.get(name, False))
    with refused(optimizer, ValueError, f"{name} was {was} when the optimizer was made and is str"):
        optimizer.step([np.ones(3)])


@pytest.mark.parametrize("rule", ["sgd", "rmsprop"])
def test_momentum_can_become_zero_and_come_back(rule, backend):
    """With zero momentum the step is that of an optimizer without, and leaves the buffer alone."""
    param, other = np.ones(3), np.ones(3)
    optimizer = ss.Optimizer(rule, param, lr=0.1, momentum=0.9, backend=backend)
    plain = ss.Optimizer(rule, other, lr=0.1, backend=backend)
    for seed in range(5):  # the fourth step's gradient is the first in the buffer
        gradient = np.random.default_rng(seed).standard_normal(3)
        optimizer.param_groups[0]["momentum"] = 0.0 if seed < 3 else 0.9
        optimizer.step(gradient)
        plain.step(gradient)
        assert_same({"param": param}, {"param": other}) if seed < 3 else None
    assert (param != other).all()


def test_a_structural_option_that_a_functional_state_lacks_is_to_be_given_to_init():
    params = [np.ones(2)]
    rule, state = ss.rules.registry["sgd"], ss.rules.registry["sgd"].init(params)
    with pytest.raises(ValueError, match=r"momentum was False when init made this state .* init"):
        rule.apply(params, params, state, momentum=0.9)
    state = rule.init(params, momentum=0.9)
    rule.apply(params, params, state, momentum=0.8)


def test_nesterov_without_momentum_is_refused(backend):
    with pytest.raises(ValueError, match="nesterov needs momentum > 0"):
        ss.SGD(np.ones(2), nesterov=True, backend=backend)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ("adamm", ValueError, "no rule 'adamm'; did you mean 'adam'. there are sgd, adam, adamw, "),
        ("AdamW", ValueError, "no rule 'AdamW'; did you mean 'adamw'. there are sgd, "),
        ("qwerty", ValueError, "no rule 'qwerty'; there are sgd, "),
        (["adam"], TypeError, r"a rule is a samestep.Rule or the name of one, not \['adam'\]"),
        (ss.Adam, TypeError, "a rule is a samestep.Rule or the name of one, not <class"),
    ],
)
def test_an_unknown_rule_is_refused(rule, error, message):
    with pytest.raises(error, match=message):
        ss.Optimizer(rule, np.ones(2))


@pytest.mark.parametrize(
    ("make", "name", "meant"),
    [(ss.Adam, "learning_rate", "lr"), (ss.SGD, "alpha", "lr"), (ss.Adam, "beta_1", "betas"),
     (ss.Adam, "epsilon", "eps"), (ss.RMSprop, "rho", "alpha"), (ss.Adam, "wd", "weight_decay"),
     (ss.Adam, "global_clipnorm", "clip_global_norm"), (ss.Adam, "ema_decay", "average_decay"),
     (ss.Adam, "use_ema", "average"), (ss.Adam, "swa_start", "average_start"),
     (ss.Adam, "swa_freq", "average_every"), (ss.Adam, "mu_dtype", "state_dtype"),
     (ss.Adam, "optim_bits", "state_dtype"), (ss.Adam, "bf16_stochastic_round", "rounding"),
     (ss.Adam, "kahan_sum", "compensated"), (ss.Adam, "master_weights", "master"),
     (ss.Adam, "mask", "weight_decay_mask"), (ss.Adam, "every_k_schedule", "accumulation_steps"),
     (ss.Adam, "fused", "backend"), (ss.Adam, "param_labels", "rules"),
     (ss.Adam, "max_norm", "clip_global_norm"), (ss.Adam, "generator", "seed")],
)  # fmt: skip
def test_what_other_libraries_call_a_hyperparameter_is_understood(make, name, meant):
    with pytest.raises(TypeError, match=f"has no hyperparameter '{name}'; did you mean '{meant}'"):
        make(np.ones(2), **{name: 0.5})
    optimizer = make([np.ones(2)])
    optimizer.param_groups[0][name] = 0.5
    if meant in optimizer.param_groups[0]:
        with refused(
            optimizer, TypeError, f"nothing reads the entry '{name}'; did you mean '{meant}'"
        ):
            optimizer.step([np.ones(2)])


def test_a_model_or_a_function_is_no_parameter():
    class Model:
        def parameters(self):
            return iter([np.ones(2)])

    model = Model()
    for params, message in [
        (model, r"params is a Model; did you mean its parameters\(\)"),
        ([model], r"params\[0\] is a Model; did you mean its parameters"),
        (model.parameters, "params is a method; did you mean to call it"),
    ]:
        with pytest.raises(TypeError, match=message):
            ss.Adam(params)
    optimizer = ss.Adam(model.parameters())
    with refused(optimizer, TypeError, r"group\[1\] is a Model; did you mean its parameters"):
        optimizer.add_param_group({"params": model})


def test_attributes_of_the_package_are_suggested():
    for name, meant in (
        ("adamw", "AdamW"), ("AMSGrad", r"Adam\(amsgrad=True\)"), ("Prodigi", "Prodigy"),
        ("GradScaler", "LossScaler"), ("minimise", "minimize"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean '{meant}'"):
            getattr(ss, name)
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        ss.zzz  # noqa: B018
    assert not hasattr(ss, "__wrapped__")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("amsgrad", r"Adam\(amsgrad=True\)"), ("LBFGS", "ss.LBFGS"), ("mars", "mars_adamw"),
     ("SophiaG", "sophia"), ("schedule_free", "adamw_schedulefree"), ("kron", "psgd_kron")],
)  # fmt: skip
def test_what_others_call_a_rule_is_understood(name, meant):
    with pytest.raises(ValueError, match=f"no rule '{name}'; did you mean '{meant}'"):
        ss.Optimizer(name, np.ones(2))


NUMPY_OPTIONS = [
    ("adamw", {"accumulation_steps": np.int64(2)}),
    ("adamw", {"skip_nonfinite": np.True_, "cast_gradients": np.True_}),
    ("adamw", {"warn_lost_updates": np.False_, "clip_global_norm": np.float32(1)}),
    ("adamw", {"maximize": np.True_, "amsgrad": np.True_, "lazy": np.False_}),
    ("adamw", {"average": np.array(2), "average_every": np.int8(1), "compensated": np.False_}),
    ("adamw", {"state_dtype": "float16", "rounding": "stochastic", "seed": np.int64(3)}),
    ("sgd", {"momentum": np.float32(0.5), "nesterov": np.True_, "lr": np.array(0.5)}),
    ("muon", {"ns_steps": np.int64(3)}),
    ("galore", {"rank": np.int64(1)}),
]


@pytest.mark.parametrize(("rule", "options"), NUMPY_OPTIONS)
def test_numpy_s_numbers_are_numbers(rule, options, backend, tmp_path):
    grad = np.ones((2, 3), np.float32)
    plain = {
        name: value.item() if hasattr(value, "item") else value for name, value in options.items()
    }
    optimizers = [
        ss.Optimizer(rule, [np.ones_like(grad)], backend=backend, **given)
        for given in (options, plain)
    ]
    for optimizer in optimizers:
        optimizer.step([grad])
        optimizer.step([grad])
    assert_same(*map(snapshot, optimizers))
    first, second = (optimizer.state_dict() for optimizer in optimizers)
    assert {**first, "state": {}} == {**second, "state": {}}
    for name, value in options.items():  # between steps, too
        if hasattr(optimizers[0], name):
            setattr(optimizers[0], name, value)
        else:
            optimizers[0].param_groups[0][name] = value
    for optimizer in optimizers:
        optimizer.step([grad])
        optimizer.step([grad])
    assert_same(*map(snapshot, optimizers))
    optimizers[0].save(tmp_path / "x")
    ss.Optimizer.load(tmp_path / "x", [grad.copy()], backend=backend).step([grad])


@pytest.mark.parametrize(
    "dtype", ["float16", np.float16, np.dtype("float16"), torch.float16], ids=repr
)
def test_a_dtype_is_as_good_as_its_name(dtype, backend):
    param = np.ones(3, np.float16)
    optimizer = ss.AdamW([param], state_dtype=dtype, backend=backend)
    optimizer.step([param.copy()])
    assert {array.dtype.name for array in optimizer.state[0].values()} == {"float16"}
    assert optimizer.param_groups[0]["state_dtype"] == "float16"
    optimizer = ss.AdamW([param], state_dtype={"exp_avg": dtype}, backend=backend)
    assert optimizer.param_groups[0]["state_dtype"] == {"exp_avg": "float16"}
    for printed in (ss.emit, ss.export):
        expected = printed("adamw", "c", "float16", state_dtype="float16")
        assert printed("adamw", "c", dtype, state_dtype=dtype) == expected
    assert ss.emit("adamw", "c", copy_to=dtype) == ss.emit("adamw", "c", copy_to="float16")
    with pytest.raises(TypeError, match="lr must be a number, not 'float16'"):
        ss.AdamW([param], lr=dtype, backend=backend)


@pytest.mark.parametrize("dtype", [np.float32, torch.float32], ids=repr)
def test_a_master_is_of_a_dtype(dtype, backend):
    optimizer = ss.AdamW([np.ones(3, np.float16)], master=dtype, backend=backend)
    assert optimizer.param_groups[0]["master"] == "float32"


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [("state_dtype", "fp16", "float16"), ("state_dtype", "bf16", "bfloat16"),
     ("state_dtype", "8bit", "dynamic8"), ("state_dtype", "Int8", "int8"),
     ("rounding", "stochastically", "stochastic"), ("master", "fp32", "float32"),
     ("average", "EMA", "ema")],
)  # fmt: skip
def test_what_others_call_a_value_is_understood(name, value, meant):
    with pytest.raises(ValueError, match=rf"{name} is '{value}'; .*; did you mean '{meant}'\?$"):
        ss.AdamW(np.ones(2, np.float16), **{name: value})


def test_a_class_is_no_rule_but_has_the_name_of_one():
    for make in (
        lambda: ss.Optimizer(ss.Muon, np.ones((2, 2))),
        lambda: ss.Optimizer("adam", {"w": np.ones((2, 2))}, rules={"w": ss.Muon}),
        lambda: ss.Optimizer("adam", [{"params": np.ones((2, 2)), "rule": ss.Muon}]),
    ):
        with pytest.raises(TypeError, match=r"or the name of one, not .*; did you mean 'muon'"):
            make()
    with pytest.raises(TypeError, match="or the name of one, not array") as caught:
        ss.Optimizer(np.ones((100, 100)), "adam")
    assert len(str(caught.value)) < 200
