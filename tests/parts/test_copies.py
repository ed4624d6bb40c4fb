"""Copies of parameters in 16 bits, in arrays of the caller's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import samestep as ss
from helpers import HOST, leaves, off, on, refused, step
from samestep.golden.compare import first_difference
from samestep.language.dtypes import numpy_dtype

SHAPES = ((33, 40), (1_500,), (), (0, 3))
DTYPES = ["bfloat16", "float16"]


def arrays(seed: int, dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)).astype(numpy_dtype(dtype)) for shape in SHAPES]


def blank(backend: str, dtype: str = "bfloat16") -> list:
    """Arrays that hold something else than the parameters."""
    return on(backend, arrays(99, dtype))


def made(backend: str, copies: list, rule: str = "adamw", **hyper) -> ss.Optimizer:
    return ss.Optimizer(
        rule, on(backend, arrays(0)), backend=backend, lr=1e-2, copy_to=copies, **hyper
    )


def assert_rounded(backend: str, optimizer: ss.Optimizer, copies: list) -> None:
    for param, found in zip(off(backend, leaves(optimizer)), off(backend, copies), strict=True):
        assert first_difference(found, param.astype(found.dtype)) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["adamw", "lamb", "adafactor"])
def test_a_copy_is_the_rounded_parameter_after_every_step(rule, dtype, any_backend):
    """And the step is that of the rule without."""
    copies = blank(any_backend, dtype)
    ours = made(any_backend, copies, rule)
    plain = ss.Optimizer(rule, on(any_backend, arrays(0)), backend=any_backend, lr=1e-2)
    assert_rounded(any_backend, ours, copies)
    for number in range(3):
        for each in (ours, plain):
            step(each, arrays(number + 1))
        assert_rounded(any_backend, ours, copies)
    for found, expected in zip(leaves(ours), leaves(plain), strict=True):
        assert first_difference(*(off(any_backend, x) for x in (found, expected))) is None
    assert ours.param_groups[0]["copy_to"] == dtype


def test_an_average_and_a_part_of_the_rows_go_with_it(any_backend):
    copies = blank(any_backend)
    ours = made(any_backend, copies, average="ema", average_decay=0.5)
    step(ours, [*arrays(1)[:2], None, None])
    assert_rounded(any_backend, ours, copies)
    (half,) = on(any_backend, [np.zeros((6, 3), numpy_dtype("bfloat16"))])
    sparse = ss.SGD(
        on(any_backend, [np.ones((6, 3), np.float32)]), backend=any_backend, copy_to=[half]
    )
    rows = on(any_backend, ss.IndexedSlices(np.full((1, 3), 0.5, np.float32), np.array([4])))
    sparse.step([rows])  # the step of SGD leaves the other rows as they are, and so their copies
    assert off(any_backend, half)[4, 0] == numpy_dtype("bfloat16").type(1 - 1e-3 * 0.5)
    assert_rounded(any_backend, sparse, [half])


def test_groups_have_copies_of_their_own(any_backend):
    first, second = arrays(0)[:2], arrays(0)[2:]
    copies = [blank(any_backend)[:2], None]
    groups = [{"params": on(any_backend, first)}, {"params": on(any_backend, second)}]
    ours = ss.SGD(groups, lr=0.1, backend=any_backend, copy_to=copies)
    own = blank(any_backend, "float16")
    ours.add_param_group({"params": on(any_backend, arrays(3)), "copy_to": own})
    assert [group["copy_to"] for group in ours.param_groups] == ["bfloat16", None, "float16"]
    step(ours, [arrays(1)[:2], arrays(1)[2:], arrays(4)])
    found = leaves(ours)
    for param, array in zip([*found[:2], *found[4:]], [*copies[0], *own], strict=True):
        param, array = (off(any_backend, each) for each in (param, array))
        assert first_difference(array, param.astype(array.dtype)) is None


def test_the_structure_is_that_of_the_parameters_whatever_rule_they_have(any_backend):
    params = {"norm": np.ones(3, np.float32), "layer": {"weight": np.ones((2, 3), np.float32)}}
    copies = {
        "norm": np.zeros(3, np.float16),
        "layer": {"weight": np.zeros((2, 3), np.float16)},
    }
    params, copies = on(any_backend, params), on(any_backend, copies)
    ours = ss.Optimizer(
        "adamw", params, lr=0.5, rules={"norm": "sgd"}, copy_to=copies, backend=any_backend
    )
    step(ours, {"norm": np.ones(3, np.float32), "layer": {"weight": np.ones((2, 3), np.float32)}})
    assert off(any_backend, copies["norm"]).tolist() == off(any_backend, params["norm"]).tolist()
    weights = off(any_backend, params["layer"]["weight"])
    found = off(any_backend, copies["layer"]["weight"])
    assert first_difference(found, weights.astype(np.float16)) is None


@pytest.mark.parametrize("backend", HOST)
def test_a_model_of_torch_is_the_copy_of_arrays(backend):
    """Autograd is told that its weights changed."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(4, 3).bfloat16()
    weights = {n: p.detach().float().numpy() for n, p in model.named_parameters()}
    ours = ss.AdamW(weights, lr=0.1, copy_to=dict(model.named_parameters()), backend=backend)
    loss = sum((param * param).sum() for param in model.parameters())
    grads = {n: np.ones(w.shape, np.float32) for n, w in weights.items()}
    ours.step(grads)
    for name, param in model.named_parameters():
        assert torch.equal(param.detach(), torch.from_numpy(weights[name]).bfloat16())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_checkpoints_have_none_and_loading_writes_them(any_backend, tmp_path):
    copies = blank(any_backend)
    ours = made(any_backend, copies)
    step(ours, arrays(1))
    saved = ours.state_dict()
    assert "copy" not in saved["state"][0]
    ours.save(tmp_path / "run.safetensors")
    loaded = ss.AdamW.load(
        tmp_path / "run.safetensors", on(any_backend, arrays(7)), backend=any_backend
    )
    for without in (loaded, pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        assert without.param_groups[0]["copy_to"] is None
        assert "copy" not in without.state[0]
    later = blank(any_backend)
    resumed = ss.AdamW(leaves(loaded), lr=1e-2, copy_to=later, backend=any_backend)
    for array in later:
        ss.get_backend(any_backend).copy_into(array, 0)
    resumed.load_state_dict(saved)
    assert_rounded(any_backend, resumed, later)
    for each in (ours, resumed):
        step(each, arrays(2))
    for found, expected in zip(off(any_backend, later), off(any_backend, copies), strict=True):
        assert first_difference(found, expected) is None
    ours.reset()
    assert_rounded(any_backend, ours, copies)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_exported_file_has_the_copy_as_one_array_more(dtype):
    space: dict = {"__name__": "exported"}
    exec(ss.export("adamw", "numpy", copy_to=dtype), space)
    ours, copies = arrays(0)[:2], arrays(99, dtype)[:2]
    theirs = [x.copy() for x in ours]
    optimizer = ss.AdamW(ours, lr=1e-3, copy_to=copies)
    state = space["init"](theirs)
    for number in range(2):
        optimizer.step(arrays(number + 1)[:2])
        space["step"](theirs, arrays(number + 1)[:2], state)
    for found, expected in zip(optimizer.state, state, strict=True):
        stored = np.asarray(found["copy"]).view(np.uint16)
        assert np.array_equal(stored, expected["copy"].view(np.uint16))
    assert "uint16_t *RESTRICT copys" in ss.emit("adamw", "c", copy_to=dtype)


def test_what_cannot_be_a_copy_says_why():
    one, half = [np.ones(4, np.float32)], numpy_dtype("bfloat16")
    for given, error, message in (
        ([np.ones(3, half)], ValueError, r"copy_to of params\[0\] has shape \(3,\); expected \(4,\)"),
        ([np.ones(4)], TypeError, r"copy_to of params\[0\] has dtype float64; expected bfloat16 or"),
        ([np.ones(8, half)[::2]], ValueError, r"copy_to of params\[0\] is not contiguous"),
        ([1.0], TypeError, r"copy_to of params\[0\] is a float; backend"),
        ({"a": np.ones(4, half)}, TypeError, "copy_to"),
        ("bfloat16", TypeError, "copy_to is 'bfloat16'; expected the arrays that a step writes into"),
        (np.float16, TypeError, "float16'>; expected the arrays that a step writes into"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            ss.SGD(one, copy_to=given)
    with pytest.raises(TypeError, match=r"params\[0\] is of float64; copy_to is for .* float32"):
        ss.SGD([np.ones(4)], copy_to=[np.ones(4, half)])
    with pytest.raises(TypeError, match="have master='float32' instead"):
        ss.SGD([np.ones(4, half)], copy_to=[np.ones(4, half)])
    memory = np.ones(8, half)
    with pytest.raises(ValueError, match=r"copy_to of params\[0\] and copy_to of .* share memory"):
        ss.SGD([*one, np.ones(4, np.float32)], copy_to=[memory[:4], memory[2:6]])
    mixed = [np.ones(4, half), np.ones(4, np.float16)]
    with pytest.raises(TypeError, match="the same for all parameters of a group"):
        ss.SGD([*one, np.ones(4, np.float32)], copy_to=mixed)
    groups = [{"params": one}, {"params": [np.ones(4, np.float32)]}]
    with pytest.raises(ValueError, match="an entry for each of 2 groups"):
        ss.SGD(groups, copy_to=[[np.ones(4, half)]])
    assert memory.tolist() == [1.0] * 8
    ours = ss.SGD(one, copy_to=[np.ones(4, half)])
    ours.param_groups[0]["copy_to"] = None
    with pytest.raises(ValueError, match=r"copy_to was 'bfloat16' .*structural"):
        ours.step([np.ones(4, np.float32)])


def test_copies_are_of_the_parameters_after_train_reset_and_averages():
    """What writes averages into the parameters for a while leaves the copies alone in the end."""
    copies = blank("numpy")
    ours = made("numpy", copies, "adamw_schedulefree")
    for number in range(3):
        ours.step(arrays(number + 1))
    ours.eval()
    ours.load_state_dict(ours.state_dict())
    ours.train()
    assert_rounded("numpy", ours, copies)
    ours.eval()
    ours.load_state_dict(ours.state_dict())
    ours.reset()
    assert_rounded("numpy", ours, copies)

    copies = blank("numpy")
    ours = made("numpy", copies, average="ema")
    ours.step(arrays(1))
    saved = ours.state_dict()
    with ours.averages():
        with pytest.raises(RuntimeError, match="averages"):
            ours.add_param_group({"params": arrays(5)[0], "copy_to": None})
        with pytest.raises(RuntimeError, match="averages"):
            ours.load_state_dict(saved)
        with pytest.raises(RuntimeError, match="averages"):
            ours.reset()
    assert_rounded("numpy", ours, copies)


def test_an_array_in_the_place_of_another_is_copied_without_a_gradient_too(any_backend):
    copies = blank(any_backend)
    ours = made(any_backend, copies, rounding="stochastic")
    step(ours, arrays(1))
    before = off(any_backend, copies)
    ours.param_groups[0]["params"][0] = on(any_backend, arrays(7)[0])
    step(ours, [None] * 4)
    found = off(any_backend, copies)
    assert first_difference(found[0], arrays(7)[0].astype(found[0].dtype)) is None
    for now, then in zip(found[1:], before[1:], strict=True):
        assert first_difference(now, then) is None


def test_a_group_that_is_added_leaves_the_copies_of_others():
    copies = blank("numpy")
    ours = made("numpy", copies, rounding="stochastic")
    ours.step(arrays(1))
    before = copy.deepcopy(copies)
    ours.add_param_group({"params": arrays(5)[1], "copy_to": arrays(6, "bfloat16")[1]})
    for found, expected in zip(copies, before, strict=True):
        assert first_difference(found, expected) is None


def test_the_functional_form_refuses_it():
    with pytest.raises(TypeError, match="round what apply returns"):
        ss.rules.registry["adamw"].init(arrays(0), copy_to=blank("numpy"))


@pytest.mark.parametrize("rules", [None, {"b": "sgd"}])
def test_another_array_in_the_place_of_a_copy_is_noticed(rules, any_backend):
    """Steps would go on writing into one that nobody looks at."""
    params, copies = (
        {name: on(any_backend, array) for name, array in zip("abcd", given, strict=True)}
        for given in (arrays(0), arrays(1, "float16"))
    )
    ours = ss.Optimizer("adamw", params, rules=rules, copy_to=copies, backend=any_backend)
    grads = dict(zip("abcd", arrays(2), strict=True))
    step(ours, grads)
    there, copies["b"] = copies["b"], on(any_backend, off(any_backend, copies["b"]))
    with refused(ours, ValueError, "copy_to has another array .* write into that one"):
        step(ours, grads)
    copies["b"] = there
    step(ours, grads)
    for name, param in params.items():
        found, expected = (off(any_backend, array) for array in (copies[name], param))
        assert first_difference(found, expected.astype(np.float16)) is None


def test_copies_may_come_from_an_iterator(backend):
    copies = arrays(1, "float16")
    ours = made(backend, (each for each in copies))
    ours.step(arrays(2))
    assert_rounded(backend, ours, copies)
    group = {"params": np.ones(3, np.float32), "copy_to": iter([np.ones(3, np.float16)])}
    with pytest.raises(TypeError, match="copy_to"):  # of one array, not of a list
        ours.add_param_group(group)
