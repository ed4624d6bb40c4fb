"""Copies of parameters in 16 bits, in tensors of the caller's, by PyTorch's classes."""

from __future__ import annotations

import copy
import pickle

import pytest
import samestep as ss
import samestep.torch as st
import torch

IMPLEMENTATIONS = [dict(foreach=False), dict(foreach=True), dict(fused=True), dict(backend="numpy")]
SHAPES = ((33, 40), (1_500,), (), (0, 3))


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def blank(dtype: torch.dtype = torch.bfloat16) -> list[torch.nn.Parameter]:
    """Tensors of a network, which hold something else than the parameters."""
    return [torch.nn.Parameter(torch.full(shape, 7.0, dtype=dtype)) for shape in SHAPES]


def take(optimizer: torch.optim.Optimizer, steps: range) -> None:
    for number in steps:
        generator = torch.Generator().manual_seed(number)
        for param in (p for group in optimizer.param_groups for p in group["params"]):
            param.grad = torch.randn(param.shape, generator=generator)
        optimizer.step()


def rounded(params: list[torch.nn.Parameter], copies: list[torch.nn.Parameter]) -> bool:
    pairs = zip(params, copies, strict=True)
    return all(torch.equal(found, param.to(found.dtype)) for param, found in pairs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("how", IMPLEMENTATIONS, ids=str)
def test_a_copy_is_the_rounded_parameter_after_every_step(how, dtype):
    """And the step is that without; autograd is told that the copy changes."""
    params, copies, plain = parameters(), blank(dtype), parameters()
    ours, without = st.AdamW(params, copy_to=iter(copies), **how), st.AdamW(plain, **how)
    assert rounded(params, copies)
    loss = sum((each * each).sum() for each in copies)
    for number in range(3):
        for optimizer in (ours, without):
            take(optimizer, range(number, number + 1))
        assert rounded(params, copies)
    assert all(map(torch.equal, params, plain))
    assert ours.param_groups[0]["copy_to"] == str(dtype).removeprefix("torch.")
    assert list(ours.state[params[0]]) == list(without.state[plain[0]])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_they_have_the_random_bits_of_an_optimizer_of_arrays():
    params, copies = parameters(), blank()
    arrays, expected = ([p.detach().clone() for p in each] for each in (params, copies))
    hyper = dict(lr=0.1, weight_decay=0.01, rounding="stochastic", seed=3)
    ours = st.AdamW(params, copy_to=copies, **hyper)
    theirs = ss.AdamW(arrays, copy_to=expected, backend="numpy", **hyper)
    for number in range(2):
        take(ours, range(number, number + 1))
        theirs.step([param.grad for param in params])
    assert all(map(torch.equal, copies, expected))
    assert not rounded(params, copies)  # the control


def test_groups_have_copies_of_their_own_and_rows_are_copied():
    params, copies = parameters(), blank()
    groups = [{"params": params[:1]}, {"params": params[1:2], "rule": "sgd"}]
    ours = st.Optimizer("adamw", groups, lr=0.1, copy_to=[copies[:1], None])
    ours.add_param_group({"params": params[2:], "copy_to": blank(torch.float16)[2:]})
    (table, half) = torch.nn.Parameter(torch.ones(6, 3)), torch.zeros(6, 3, dtype=torch.bfloat16)
    ours.add_param_group({"params": table, "copy_to": half, "rule": "sgd"})
    found = [group["copy_to"] for group in ours.param_groups]
    assert found == ["bfloat16", None, "float16", "bfloat16"]
    take(ours, range(2))
    table.grad = torch.sparse_coo_tensor(
        [[4]], torch.full((1, 3), 0.5), (6, 3), check_invariants=True
    )
    ours.step()
    assert rounded([params[0], table], [copies[0], half])


def test_state_dicts_and_copies_of_the_optimizer_have_none_and_loading_writes_them(tmp_path):
    params, copies = parameters(), blank()
    ours = st.AdamW(params, lr=0.1, copy_to=copies)
    take(ours, range(2))
    torch.save(ours.state_dict(), tmp_path / "state.pt")
    for without in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert without.param_groups[0]["copy_to"] is None
        take(without, range(2, 3))
        own = without.param_groups[0]["params"]
        assert rounded(params, copies)
        assert not rounded(own, copies)
    resumed = st.AdamW(params, lr=0.1, copy_to=copies)
    with torch.no_grad():
        copies[0].zero_()
    loss = (copies[0] * copies[0]).sum()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert rounded(params, copies)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    take(resumed, range(2, 3))
    assert rounded(params, copies)


def test_evaluation_leaves_the_copies_alone():
    params, copies = parameters(), blank()
    ours = st.AdamWScheduleFree(params, lr=0.1, copy_to=copies)
    take(ours, range(3))
    before = [each.detach().clone() for each in copies]
    ours.eval()
    assert all(map(torch.equal, copies, before))
    assert not rounded(params, copies)
    ours.train()
    assert rounded(params, copies)

    params, copies = parameters(), blank()
    ours = st.AdamW(params, lr=0.1, copy_to=copies, average="ema")
    take(ours, range(3))
    with ours.averages():
        assert not rounded(params, copies)
    assert rounded(params, copies)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("bfloat16", TypeError, r"copy_to is a str; expected tensors of bfloat16 or float16"),
        ([torch.zeros(4).half()], ValueError, r"copy_to has 1 tensors; the group has 2 parameters"),
        (None, TypeError, r"copy_to of params\[1\] is a float; expected a tensor of bfloat16"),
        ([torch.zeros(4).half(), torch.zeros(3).half()], ValueError, r"copy_to of params\[1\] has shape"),
        ([torch.zeros(4).half(), torch.zeros(4)], TypeError, r"copy_to of params\[1\] has dtype float32"),
        ([torch.zeros(4).half(), torch.zeros(4).bfloat16()], TypeError, "the same for all parameters"),
        ([torch.zeros(4).half(), torch.zeros(8).half()[::2]], ValueError, r"params\[1\] is not contiguous"),
        ([torch.zeros(4, device="meta").half()] * 2, (TypeError, ValueError), r"copy_to of params\[0\]"),
        ([torch.zeros(4).half()] * 2, ValueError, r"copy_to of params\[0\] and copy_to of .* share memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_copy_says_why(given, error, message):
    params = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    given = [torch.zeros(4).half(), 1.0] if given is None else given
    before = [each.clone() for each in given if isinstance(each, torch.Tensor) and not each.is_meta]
    with pytest.raises(error, match=message):
        st.AdamW(params, copy_to=given)
    optimizer = st.AdamW([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(error):
        optimizer.add_param_group({"params": params, "copy_to": given})
    assert len(optimizer.param_groups) == 1
    after = [each for each in given if isinstance(each, torch.Tensor) and not each.is_meta]
    assert all(map(torch.equal, after, before))


def test_parameters_that_can_have_none():
    half = [torch.zeros(4).bfloat16()]
    for dtype in (torch.float64, torch.bfloat16):
        with pytest.raises(TypeError, match=r"params\[0\] is of .*copy_to is for .* float32"):
            st.AdamW([torch.nn.Parameter(torch.ones(4, dtype=dtype))], copy_to=half)
    lazy = torch.nn.LazyLinear(2, bias=False)
    with pytest.raises(ValueError, match=r"params\[0\] has no shape yet"):
        st.AdamW(lazy.parameters(), copy_to=half)
    assert not half[0].any()


def test_what_is_changed_later_is_noticed():
    params = [torch.nn.Parameter(torch.ones(4))]
    for asked, later in ((None, "bfloat16"), ([torch.zeros(4).bfloat16()], None)):
        for steps in (0, 1):
            ours = st.SGD(params, lr=0.1, momentum=0.9, copy_to=asked)
            take(ours, range(steps))
            before = params[0].detach().clone()
            ours.param_groups[0]["copy_to"] = later
            with pytest.raises(ValueError, match=r"copy_to .*structural"):
                take(ours, range(1))
            assert torch.equal(params[0], before)
    (other,) = half = [torch.zeros(4).bfloat16()]
    ours = st.SGD(params, lr=0.1, copy_to=half)
    other.data = torch.zeros(4).bfloat16()  # elsewhere: it is followed
    take(ours, range(1))
    assert rounded(params, half)
    other.data = torch.zeros(5).bfloat16()
    with pytest.raises(ValueError, match=r"copy_to of params\[0\] has shape"):
        take(ours, range(1))
