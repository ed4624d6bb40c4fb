"""Sparse gradients as PyTorch's own modules make them, against torch.optim and against arrays."""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss
import samestep.torch as ours
import torch
from conftest import UNDER_TEST
from helpers import refused
from samestep.golden.compare import assert_same_bits
from samestep.step.indexed_slices import IndexedSlices

TOLERANCE = 1e-12  # of the largest entry
IMPLEMENTATIONS = ["torch:forloop", "torch:foreach", "torch:fused", "numpy"]
IMPLEMENTATIONS += ["doubled"] * ("doubled" in UNDER_TEST)
ROWS, WIDTH = 40, 6
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")


def embedding(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return torch.nn.Embedding(ROWS, WIDTH, sparse=True, dtype=dtype, **options)


def backward(model, step):
    """A gradient of some rows, several of them named more than once, none at every tenth step."""
    generator = torch.Generator().manual_seed(step)
    count = 0 if step % 10 == 9 else int(torch.randint(1, 60, (), generator=generator))
    indices = torch.randint(ROWS, (count,), generator=generator)
    factors = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    (model(indices) * factors.to(model.weight.dtype)).sum().backward()


def train(make, steps=100, dtype=torch.float64, **options):
    """The model and its optimizer after some steps; another learning rate from step 50 on."""
    model = embedding(dtype, **options)
    optimizer = make(model.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        backward(model, step)
        assert model.weight.grad.is_sparse
        if step == 50:
            optimizer.param_groups[0]["lr"] *= 0.3
        optimizer.step()
    return model, optimizer


def difference(mine, theirs):
    found = 0.0
    for (model, optimizer), (other, reference) in [(mine, theirs)]:
        state, expected = optimizer.state[model.weight], reference.state[other.weight]
        pairs = [(model.weight, other.weight)]
        pairs += [(state[n], torch.as_tensor(expected[n])) for n in state if n in expected]
        for a, b in pairs:
            a, b = a.detach().double(), b.detach().double()
            found = max(found, float((a - b).abs().max() / (b.abs().max() or 1.0)))
    return found


OPTIONS = {
    "SparseAdam": [{}, dict(lr=0.05, betas=(0.8, 0.95), eps=1e-3), dict(maximize=True)],
    "Adagrad": [{}, dict(lr=0.2, lr_decay=0.1, initial_accumulator_value=0.5, eps=1e-3)],
    "SGD": [dict(lr=0.1), dict(lr=0.1, maximize=True)],
}
CASES = [(name, options) for name, given in OPTIONS.items() for options in given]


@pytest.mark.parametrize("backend", IMPLEMENTATIONS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_hundred_steps_agree_with_torch(name, options, backend):
    theirs = train(lambda params: getattr(torch.optim, name)(params, **options))
    mine = train(lambda params: getattr(ours, name)(params, backend=backend, **options))
    assert difference(mine, theirs) <= TOLERANCE


@pytest.mark.parametrize("name", ["lr", "eps", "betas"])
def test_control_a_hyperparameter_slightly_off_is_noticed(name):
    options = dict(lr=0.05, betas=(0.8, 0.95), eps=1e-3)
    wrong = dict(lr=0.05 + 1e-10, betas=(0.8, 0.95 + 1e-10), eps=1e-3 + 1e-9)
    theirs = train(lambda params: torch.optim.SparseAdam(params, **options))
    options[name] = wrong[name]
    assert difference(train(lambda params: ours.SparseAdam(params, **options)), theirs) > TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_implementation_has_the_bits_of_arrays(dtype):
    expected, optimizer = train_array(dtype)
    for backend in [*IMPLEMENTATIONS, "torch:compiled"]:
        model, found = train(lambda p, b=backend: ours.SparseAdam(p, lr=0.1, backend=b), 12, dtype)
        assert_same_bits(model.weight.detach().float().numpy(), expected.astype(np.float32))
        for name, array in optimizer.state[0].items():
            assert_same_bits(found.state[model.weight][name].numpy(), array)


def train_array(dtype):
    """The same steps with arrays and `IndexedSlices`, on the reference."""
    model = embedding(dtype)
    weight = ss.get_backend("numpy").to_numpy(model.weight)
    optimizer = ss.SparseAdam(weight, lr=0.1, backend="numpy")
    for step in range(12):
        model.zero_grad()
        backward(model, step)
        grad = model.weight.grad
        values = ss.get_backend("numpy").to_numpy(grad._values())
        optimizer.step(IndexedSlices(values, grad._indices()[0].numpy()))
    return weight, optimizer


def test_adamw_says_what_to_do_and_does_it_where_it_is_asked_for():
    model = embedding()
    optimizer = ours.AdamW(model.parameters(), lr=0.1)
    before = model.weight.detach().clone()
    backward(model, 0)
    with pytest.raises(
        TypeError, match=r"sparse, of some rows; adamw .*lazy=True, or by SparseAdam"
    ):
        optimizer.step()
    assert torch.equal(model.weight, before)
    assert not optimizer.state
    optimizer.param_groups[0]["lazy"] = True
    optimizer.step()
    named = torch.zeros(ROWS, dtype=torch.bool)
    named[model.weight.grad._indices()[0]] = True
    assert torch.equal((model.weight != before).any(dim=1), named)
    assert torch.equal((optimizer.state[model.weight]["exp_avg"] != 0).any(dim=1), named)


def test_dense_parameters_step_beside_sparse_ones():
    model = torch.nn.Sequential(embedding(), torch.nn.Linear(WIDTH, 2, dtype=torch.float64))
    groups = [{"params": m.parameters(), "lazy": not i} for i, m in enumerate(model)]
    optimizer = ours.AdamW(groups, lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    for step in range(5):
        optimizer.zero_grad()
        model(torch.tensor([step, step + 1, step])).square().sum().backward()
        optimizer.step()
    after = list(model.parameters())
    assert torch.equal(after[0][6:], before[0][6:])
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert [int(optimizer.state[p]["step"]) for p in after] == [5, 5, 5]


@pytest.mark.parametrize("backend", IMPLEMENTATIONS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_elements_that_are_named_step_as_torch_steps_them(name, options, backend):
    """What ``to_sparse()`` of a dense tensor names is elements, not rows; some of them twice
    here."""
    runs = []
    for make in (
        getattr(torch.optim, name),
        lambda p, **o: getattr(ours, name)(p, backend=backend, **o),
    ):
        generator = torch.Generator().manual_seed(0)
        model = embedding()
        before = model.weight.detach().clone()
        optimizer = make(model.parameters(), **options)
        named = torch.zeros(ROWS, WIDTH, dtype=torch.bool)
        for _ in range(20):
            kept, again = (torch.rand(2, ROWS, WIDTH, generator=generator) < 0.1).double()
            once = (torch.randn(ROWS, WIDTH, generator=generator).double() * kept).to_sparse()
            twice = (once.to_dense() * again).to_sparse()
            indices = torch.cat([once._indices(), twice._indices()], 1)
            values = torch.cat([once._values(), twice._values()])
            model.weight.grad = torch.sparse_coo_tensor(indices, values, once.shape)
            optimizer.step()
            named |= kept.bool()
        changed = model.weight.detach() != before
        assert torch.equal(changed, named)
        assert not named.all()
        runs.append((model, optimizer))
    theirs, mine = runs
    assert difference(mine, theirs) <= TOLERANCE


@pytest.mark.parametrize("backend", IMPLEMENTATIONS)
def test_any_number_of_axes_is_named(backend):
    """Rows, rows of a matrix of rows, elements; none of them, too."""
    torch.manual_seed(0)
    start, grad = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    grad *= (torch.rand(4, 5, 1) < 0.4).float()
    for axes in (1, 2, 3):
        for dense_grad in (grad, torch.zeros_like(grad)):
            results = []
            for given, name in ((dense_grad.to_sparse(axes), backend), (dense_grad, "numpy")):
                results.append(start.clone())
                ss.Adagrad([results[-1]], backend=name, lr=0.1).step([given])
            assert torch.equal(*results)


@pytest.mark.parametrize("backend", IMPLEMENTATIONS)
def test_a_rule_that_counts_columns_takes_rows_and_refuses_elements(backend):
    """Among some elements nothing says how many columns the parameter has."""
    start, grad = torch.ones(4, 3), torch.ones(4, 3)
    options = dict(backend=backend, lr=0.3, alpha=1.0, weight_decay=0.0, lazy=True)
    rows = start.clone()
    ss.ScionSign([rows], **options).step([grad.to_sparse(1)])
    assert torch.equal(rows, start - torch.tensor(0.3) / 3)
    optimizer = ss.ScionSign([start], **options)
    with refused(optimizer, TypeError, r"params\[0\] is sparse.* or counts over all"):
        optimizer.step([grad.to_sparse(2)])


def sparse(indices, values, size):
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=False)


@pytest.mark.parametrize("backend", IMPLEMENTATIONS)
def test_wrong_sparse_tensors_are_named_and_change_nothing(backend):
    optimizer = ss.SparseAdam([torch.ones(4, 3), torch.ones(4, 3)], backend=backend)
    good = sparse([[3, 0]], torch.ones(2, 3), (4, 3))
    optimizer.step([good, good])
    for wrong, error, message in [
        (
            torch.sparse_coo_tensor(torch.zeros(0, 1).long(), torch.ones(1, 4, 3), (4, 3)),
            TypeError,
            "sparse_dim 0; expected 1 or more",
        ),
        (
            sparse([[3], [5]], torch.ones(1), (4, 3)),
            ValueError,
            "has positions along axis 1 5 to 5; the parameter's are 0 to 2",
        ),
        (
            sparse([[0]], torch.ones(1, 3), (5, 3)),
            ValueError,
            r"\(5, 3\); the parameter has \(4, 3",
        ),
        (
            sparse([[9]], torch.ones(1, 3), (4, 3)),
            ValueError,
            "has rows 9 to 9; the parameter's are",
        ),
        (
            sparse([[0]], torch.ones(1, 3).double(), (4, 3)),
            TypeError,
            "has dtype float64; expected",
        ),
        (
            torch.sparse_coo_tensor(size=(4, 3), device="meta"),
            TypeError,
            "is on the meta device",
        ),
    ]:
        with refused(optimizer, error, rf"the gradient of params\[1\] .*{message}"):
            optimizer.step([good, wrong])


def test_a_parameter_that_was_given_other_memory_is_followed():
    param = torch.ones(4, 3)
    optimizer = ss.SGD([param], lr=1.0)
    grad = sparse([[3, 0, 3]], torch.ones(3, 3), (4, 3))
    optimizer.step([grad])
    old, param.data = param.data, param.data.clone()
    optimizer.step([grad])
    assert param[:, 0].tolist() == [-1, 1, 1, -3]
    assert old[:, 0].tolist() == [0, 1, 1, -1]


def test_autograd_notices_that_a_row_has_changed():
    model = embedding()
    loss = model.weight.square().sum()
    optimizer = ours.SparseAdam(model.parameters())
    backward(model, 0)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
