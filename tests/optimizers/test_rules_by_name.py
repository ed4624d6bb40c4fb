"""Rules that are chosen by the names of parameters."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, refused, snapshot, step
from samestep.checkpoint import CheckpointError

RULES = {
    r"^layers\..*weight$": {"rule": "lamb", "lr": 0.02},
    r"^embedding|^head": "lion",
}
# the parameters of each group, by name, and its rule
EXPECTED = [
    ("lamb", ["layers.0.weight", "layers.1.weight"]),
    ("lion", ["embedding", "head.weight"]),
    ("adamw", ["layers.0.bias", "layers.1.bias"]),
]


def tree(seed=0):
    """A structure of parameters, or of gradients."""
    rng = np.random.default_rng(seed)
    layers = [
        {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(4)} for _ in range(2)
    ]
    return {
        "embedding": rng.standard_normal((5, 3)),
        "layers": layers,
        "head": {"weight": rng.standard_normal((2, 4))},
    }


def in_groups(params):
    """The same parameters in groups, as they can be written out."""
    first, second = params["layers"]
    return [
        {"layers.0.weight": first["weight"], "layers.1.weight": second["weight"]},
        {"embedding": params["embedding"], "head.weight": params["head"]["weight"]},
        {"layers.0.bias": first["bias"], "layers.1.bias": second["bias"]},
    ]


def by_function(name, param):
    if name.startswith("layers"):
        return RULES[r"^layers\..*weight$"] if param.ndim > 1 else None
    return "lion"


def by_name(params, backend, rules=RULES, **settings):
    return ss.Optimizer("adamw", params, rules=rules, backend=backend, **settings)


@pytest.mark.parametrize("rules", [RULES, by_function], ids=["patterns", "function"])
def test_rules_by_name_have_the_bits_of_groups(any_backend, rules):
    """Gradients have the structure that the parameters were given in."""
    params, groups = on(any_backend, tree()), in_groups(on(any_backend, tree()))
    entries = [{"rule": "lamb", "lr": 0.02}, {"rule": "lion"}, {}]
    order = [1, 0, 2] if callable(rules) else [0, 1, 2]  # as the parameters come, the rest last
    written = [{"params": groups[k], **entries[k]} for k in order]
    settings = dict(backend=any_backend, clip_global_norm=1.0, weight_decay=0.1, lr=1e-2)
    optimizer = ss.Optimizer("adamw", params, rules=rules, **settings)
    other = ss.Optimizer("adamw", written, **settings)
    for t in range(4):
        grads = tree(10 + t)
        grads["layers"][t % 2]["weight"] = None
        step(optimizer, grads)
        step(other, [in_groups(grads)[k] for k in order])
    assert_same(snapshot(optimizer), snapshot(other))
    assert [g["rule"] for g in optimizer.param_groups] == [g["rule"] for g in other.param_groups]


def test_the_groups_say_what_was_chosen(backend):
    optimizer = by_name(tree(), backend)
    found = [(g["rule"], list(g["params"])) for g in optimizer.param_groups]
    assert found == EXPECTED
    assert [g["name"] for g in optimizer.param_groups] == [*RULES, "*"]
    assert optimizer.rule.name == "adamw"
    assert repr(optimizer).startswith("<lamb, lion, adamw on ")
    optimizer.param_groups[1]["lr"] = -1.0
    with refused(optimizer, ValueError, r"^group 1 \('\^embedding\|\^head'\): lr"):
        optimizer.step(tree(1))
    named = {r"^head": {"rule": "sgd", "name": "head"}}
    assert [g["name"] for g in by_name(tree(), backend, named).param_groups] == ["head", "*"]
    everything = by_name(tree(), backend, {"": "lion"})
    assert [list(g["params"]) for g in everything.param_groups] == [
        ["embedding", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
         "head.weight"]
    ]  # fmt: skip
    everything.step(tree(1))


def test_a_mask_has_the_structure_of_the_parameters(backend):
    """Or is a function, as for groups."""
    structured = tree()
    for part in (structured, structured["head"], *structured["layers"]):
        for key, value in part.items():
            if isinstance(value, np.ndarray):
                part[key] = value.ndim > 1 and key != "embedding"
    for mask in (structured, lambda name, param: param.ndim > 1 and "embedding" not in name):
        optimizer = by_name(tree(), backend, weight_decay_mask=mask)
        found = [g["weight_decay_mask"] for g in optimizer.state_dict()["param_groups"]]
        assert found == [None, [False, True], [False, False]]
    with pytest.raises(ValueError, match="weight_decay_mask does not match the parameters"):
        by_name(tree(), backend, weight_decay_mask={"embedding": True})


def test_other_arrays_in_the_structure_or_in_a_group_are_followed(backend):
    """With the state of the place, as for parameters that are not divided."""
    params, written = tree(), in_groups(tree())
    groups = [{"params": p, "rule": rule} for p, (rule, _) in zip(written, EXPECTED, strict=True)]
    groups[0]["lr"] = 0.02
    optimizer, other = by_name(params, backend), ss.Optimizer("adamw", groups, backend=backend)
    for t in range(3):
        optimizer.step(tree(t))
        other.step(in_groups(tree(t)))
        if t == 0:
            params["layers"][1]["weight"] = np.full((4, 3), 2.0)
            written[0]["layers.1.weight"] = np.full((4, 3), 2.0)
        if t == 1:
            optimizer.param_groups[1]["params"]["embedding"] = params["embedding"].copy()
    assert_same(snapshot(optimizer), snapshot(other))
    assert optimizer.param_groups[0]["params"]["layers.1.weight"] is params["layers"][1]["weight"]
    params["head"]["weight"] = params["head"]["weight"].copy()  # of the same group as the embedding
    optimizer.step(tree(3))
    other.step(in_groups(tree(3)))
    assert_same(snapshot(optimizer), snapshot(other))
    assert optimizer.param_groups[1]["params"]["head.weight"] is params["head"]["weight"]
    params["layers"].pop()
    with pytest.raises(
        ValueError, match=r"params.*add_param_group adds parameters, none can be taken"
    ):
        optimizer.step(tree(9))


def test_it_goes_on_from_every_kind_of_snapshot(any_backend, tmp_path):
    params = on(any_backend, tree())
    optimizer = by_name(params, any_backend)
    step(optimizer, tree(1))
    optimizer.save(tmp_path / "file")
    loaded = ss.Optimizer.load(
        tmp_path / "file", on(any_backend, tree(2)), rules=RULES, backend=any_backend
    )
    backwards = {key: on(any_backend, tree(3))[key] for key in ("head", "layers", "embedding")}
    turned = ss.Optimizer.load(tmp_path / "file", backwards, rules=RULES, backend=any_backend)
    others = in_groups(on(any_backend, tree(4)))
    in_file = ss.Optimizer.load(
        tmp_path / "file", [{"params": p} for p in others], backend=any_backend
    )
    copied, again = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))
    copied.load_state_dict(optimizer.state_dict())
    more = ss.Optimizer.load(
        tmp_path / "file", {**on(any_backend, tree(5)), "new": on(any_backend, np.ones(3))},
        rules=RULES, backend=any_backend, strict=False,
    )  # fmt: skip
    assert more.loaded.missing == ["group[2]['new']"]
    step(more, {**tree(6), "new": None})
    step(optimizer, tree(6))
    step(in_file, in_groups(tree(6)))
    for each in (loaded, turned, copied, again):
        step(each, tree(6))
    for each in (loaded, turned, copied, again, in_file):
        assert_same(snapshot(each), snapshot(optimizer))
    inside = copied._run.groups.division.tree["embedding"]
    assert copied.param_groups[1]["params"]["embedding"] is inside
    with pytest.raises(CheckpointError, match=r"3 parameter groups; 1 were given; .* as rules="):
        ss.Optimizer.load(tmp_path / "file", on(any_backend, tree()), backend=any_backend)


def test_groups_may_be_added_to_it(backend):
    """Gradients are then a list: those of the structure, and of each group."""
    optimizer = by_name(tree(), backend)
    added = np.ones(2)
    optimizer.add_param_group({"params": added, "rule": "sgd", "lr": 0.5})
    optimizer.step([tree(1), np.ones(2)])
    assert added.tolist() == [0.5, 0.5]
    assert optimizer.steps == [1] * 7
    again = pickle.loads(pickle.dumps(optimizer))
    again.step([tree(2), np.ones(2)])


def test_gradients_of_some_rows_stand_in_their_place(backend):
    params = {"embedding": np.zeros((5, 2)), "bias": np.ones(2)}
    optimizer = by_name(params, backend, {"embedding": {"rule": "sgd", "lr": 1.0}})
    rows = ss.IndexedSlices(np.ones((1, 2)), np.array([3]))
    optimizer.step({"embedding": rows, "bias": np.ones(2)})
    assert params["embedding"].tolist() == [[0.0] * 2] * 3 + [[-1.0] * 2, [0.0] * 2]


def test_parameters_of_a_network_have_names():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    params = dict(model.named_parameters())
    optimizer = ss.Optimizer("adamw", params, rules={r"^[02].weight$": "lion"})
    model(torch.ones(2, 3)).sum().backward()
    before = {name: param.detach().clone() for name, param in params.items()}
    optimizer.step({name: param.grad for name, param in params.items()})
    first, rest = optimizer.param_groups
    assert (first["rule"], list(first["params"])) == ("lion", ["0.weight", "2.weight"])
    assert (rest["rule"], len(rest["params"])) == ("adamw", 4)
    assert not torch.equal(model[2].weight, before["2.weight"])


LISTED = [np.ones(2), np.ones(3)]
WRONG = {
    "nothing": ({}, {"w": "lion"}, ValueError, "params is empty"),
    "nothing for a function": ([], lambda name, param: "lion", ValueError, "params is empty"),
    "no names": (LISTED, {"w": "lion"}, TypeError, "arrays in lists have none; give a dict"),
    "one array": (LISTED[0], {"w": "lion"}, TypeError, "arrays in lists have none; give a dict"),
    "in groups": ([{"params": LISTED}], {"w": "lion"}, TypeError, "a group has a 'rule' of its own"),
    "rest": (tree(), {"*": "lion"}, ValueError, r"'\*' is no regular expression.*first argument"),
    "nowhere": (tree(), {"wight": "lion"}, ValueError, "left for 'wight': it is in none of the names"),
    "too late": (
        tree(), {"weight": "lion", "head": "sgd"}, ValueError,
        "left for 'head': 'head.weight' and all others that it is in match an earlier one",
    ),
    "number": (tree(), {3: "lion"}, TypeError, "a pattern is a string, not 3"),
    "not rules": (tree(), "lion", TypeError, r"maps regular expressions to rules.* not str"),
    "no rule": (tree(), {"head": 3}, TypeError, r"group 0 \('head'\): a rule is .* not 3"),
    "unknown": (tree(), {"head": "lionn"}, ValueError, "no rule 'lionn'; did you mean 'lion'"),
    "params": (tree(), {"head": {"params": LISTED}}, TypeError, "no 'params'"),
    "hyper": (tree(), {"head": {"rule": "sgd", "eps": 1}}, TypeError, "sgd has no hyperparameter 'eps'"),
    "function": (tree(), lambda name, param: "lionn", ValueError, "no rule 'lionn'"),
    "array": (tree(), lambda name, param: param, TypeError, "returned a ndarray for 'embedding'; expected"),
    "bool": (tree(), lambda name, param: "head" in name, TypeError, "returned a bool for 'embedding'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_rules_that_cannot_be_chosen_are_refused(name, backend):
    params, rules, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        by_name(params, backend, rules)


def test_a_mapping_in_the_place_of_the_rule_says_where_it_belongs():
    with pytest.raises(TypeError, match="rules by the names of parameters are given as rules="):
        ss.Optimizer({"head": "lion"}, tree())


def test_gradients_of_another_structure_are_refused(backend):
    optimizer = by_name(tree(), backend)
    with refused(optimizer, ValueError, "does not match the parameters: missing"):
        optimizer.step(in_groups(tree(1))[0])
    with refused(optimizer, TypeError, "grads must be a dict"):
        optimizer.step(in_groups(tree(1)))
    with refused(optimizer, ValueError, r"group\[1\]\['embedding'\]"):
        optimizer.step({**tree(1), "embedding": np.ones(2)})
