"""Our torch classes where a torch.optim.Optimizer can stand: closures, hooks, gradients of all
kinds, loss scaling and the compiler."""

from __future__ import annotations

import copy

import pytest
import samestep.torch as ours
import torch
from torch_networks import (
    assert_close_parameters,
    assert_same_parameters,
    loss_of,
    network,
    train,
    trained,
)


def test_a_closure_computes_gradients_and_its_loss_is_returned():
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)

    def closure():
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_a_parameter_without_gradient_neither_moves_nor_advances():
    a, b = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = ours.AdamW([a, b])
    optimizer.step()
    assert not optimizer.state
    for step in range(3):
        a.grad = torch.ones(3)
        b.grad = torch.ones(3) if step == 1 else None
        moved = b.detach().clone()
        optimizer.step()
        assert torch.equal(moved, b) == (step != 1)
    assert [float(optimizer.state[p]["step"]) for p in (a, b)] == [3, 1]
    alone = torch.ones(3, requires_grad=True)
    reference = ours.AdamW([alone])
    alone.grad = torch.ones(3)
    reference.step()
    assert torch.equal(b, alone)


def test_hooks_around_steps_and_state_dicts():
    model, seen = network(), []
    optimizer = ours.AdamW(model.parameters())
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before step"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after step"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("before state"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": seen.append("after state")})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: seen.append("before load"))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("after load"))
    train(model, optimizer, 0, 1)
    snapshot = optimizer.state_dict()
    assert "extra" in snapshot
    optimizer.load_state_dict(snapshot)
    steps, states, loads = (
        [f"{when} {what}" for when in ("before", "after")] for what in ("step", "state", "load")
    )
    assert seen == [*steps, *states, *loads]


@pytest.mark.parametrize("together", [False, True])
def test_stepping_inside_the_backward_pass(together):
    """Each gradient is used and freed as it comes, by an optimizer for each parameter or by one
    for all."""
    model = network()
    params = list(model.parameters())
    one = ours.AdamW(params, lr=0.01)
    optimizers = {p: one if together else ours.AdamW([p], lr=0.01) for p in params}
    most = 0

    def use(param):
        nonlocal most
        most = max(most, sum(p.grad is not None for p in params))
        optimizers[param].step()
        optimizers[param].zero_grad()

    for param in params:
        param.register_post_accumulate_grad_hook(use)
    for step in range(5):
        loss_of(model, step).backward()
        assert all(p.grad is None for p in params)
    assert most == 1
    assert_same_parameters(model, trained()[0])


def test_parameters_shared_between_modules():
    def tied():
        model = network().append(torch.nn.Linear(2, 6)).append(torch.nn.Linear(6, 6)).double()
        model[5].weight = model[2].weight
        return model

    models = tied(), tied()
    train(models[0], ours.AdamW(models[0].parameters(), lr=0.01))
    train(models[1], torch.optim.AdamW(models[1].parameters(), lr=0.01))
    assert_close_parameters(*models)
    twice = [p for _, p in models[0].named_parameters(remove_duplicate=False)]
    duplicates = pytest.warns(UserWarning, match="duplicate parameters")
    with duplicates, pytest.raises(ValueError, match="share memory"):
        ours.AdamW(twice)


def test_complex_parameters_are_two_reals():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 2, generator=generator)
    real = start.clone().requires_grad_()
    pair = torch.view_as_complex(start.clone()).requires_grad_()
    one, other = ours.Adagrad([real]), ours.Adagrad([pair], initial_accumulator_value=0.0)
    theirs_param = torch.view_as_complex(start.clone()).requires_grad_()
    theirs = torch.optim.Adagrad([theirs_param])
    for _ in range(4):
        real.grad = torch.randn(5, 2, generator=generator)
        pair.grad = torch.view_as_complex(real.grad.clone())
        theirs_param.grad = pair.grad.clone()
        for optimizer in (one, other, theirs):
            optimizer.step()
    assert torch.equal(torch.view_as_real(pair.detach()), real.detach())
    assert other.state[pair]["sum"].dtype == torch.complex64
    torch.testing.assert_close(pair, theirs_param)
    theirs.load_state_dict(copy.deepcopy(other.state_dict()))
    other.load_state_dict(copy.deepcopy(theirs.state_dict()))


takes_other_dtypes = pytest.mark.skipif(
    not hasattr(torch.Tensor, "grad_dtype"), reason="this PyTorch refuses such gradients itself"
)


@takes_other_dtypes
@pytest.mark.parametrize(
    ("param_dtype", "grad_dtype"),
    [
        (torch.float32, torch.bfloat16),
        (torch.float64, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float16),
        (torch.complex128, torch.complex64),
    ],
)
def test_gradients_of_another_dtype(param_dtype, grad_dtype):
    """Those that fit: as if they had been converted first."""
    results = []
    for given in (grad_dtype, torch.promote_types(param_dtype, grad_dtype)):
        param = torch.ones(4, dtype=param_dtype, requires_grad=True)
        param.grad_dtype = None
        param.grad = torch.tensor([1.0, -0.3, 2.0, 1e-3]).to(grad_dtype).to(given)
        optimizer = ours.AdamW([param], lr=0.1)
        optimizer.step()
        results.append(param.detach())
    assert torch.equal(*results)
    assert not torch.equal(results[0], torch.ones(4, dtype=param_dtype))


def state_of(optimizer):
    return {
        (i, n): v.clone() for i, (p, e) in enumerate(optimizer.state.items()) for n, v in e.items()
    }


def dense(**changes):
    return lambda p: torch.ones_like(p.detach(), **changes)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (
            lambda p: torch.ones(3, 4).to_sparse(),
            TypeError,
            "is sparse, of some rows; adamw with these hyperparameters changes rows",
        ),
        pytest.param(
            dense(dtype=torch.float64),
            TypeError,
            "float64; expected float32",
            marks=takes_other_dtypes,
        ),
        (lambda p: p.detach(), ValueError, "shares memory"),
    ],
    ids=["sparse", "wider", "the parameter"],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_gradient_that_cannot_be_used_changes_nothing(gradient, error, message, late):
    a, b = (torch.ones(3, 4, requires_grad=True) for _ in range(2))
    optimizer = ours.AdamW([("a", a), ("b", b)])
    for _ in range(2 * late):
        a.grad, b.grad = torch.ones(3, 4), torch.ones(3, 4)
        optimizer.step()
    before, params = state_of(optimizer), [a.detach().clone(), b.detach().clone()]
    b.grad_dtype = None
    a.grad, b.grad = torch.ones(3, 4), None
    b.grad = gradient(b)
    with pytest.raises(error, match=f"gradient of b .*{message}"):
        optimizer.step()
    after = state_of(optimizer)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(a, params[0])
    assert torch.equal(b, params[1])
    b.grad = torch.ones(3, 4)
    optimizer.step()


def test_a_hyperparameter_that_cannot_be_used_changes_nothing():
    model, optimizer = trained(last=2)
    before = copy.deepcopy(model)
    for name, value, error in (
        ("lr", -1.0, ValueError),
        ("betas", (0.9, torch.ones(2)), ValueError),
        ("amsgrad", True, ValueError),
        ("eps", "small", TypeError),
    ):
        kept = optimizer.param_groups[0][name]
        optimizer.param_groups[0][name] = value
        with pytest.raises(error, match=name):
            train(model, optimizer, 2, 3)
        optimizer.param_groups[0][name] = kept
        assert_same_parameters(model, before)
    train(model, optimizer, 2, 5)
    assert_same_parameters(model, trained()[0])


@pytest.mark.parametrize(
    "options", [{}, dict(fused=True)], ids=["unscaled before", "in the launch"]
)
def test_grad_scaler(options):
    """A power of two is divided out exactly; a step with an infinite gradient is left out."""
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
    for step in range(5):
        for broken in (True, False) if step == 3 else (False,):
            optimizer.zero_grad()
            scaler.scale(loss_of(model, step)).backward()
            if broken:
                model[0].weight.grad[0, 0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
    assert scaler.get_scale() == 512.0
    assert_same_parameters(model, trained()[0])
    assert {float(entry["step"]) for entry in optimizer.state.values()} == {5}
    assert not hasattr(optimizer, "found_inf")


def test_clip_grad_norm():
    models = network(torch.float64), network(torch.float64)
    for module, model in zip((ours, torch.optim), models, strict=True):
        params = list(model.parameters())
        train(
            model,
            module.SGD(params, lr=0.1, momentum=0.9),
            around=lambda _, p=params: torch.nn.utils.clip_grad_norm_(p, 0.01),
        )
    assert_close_parameters(*models)


@pytest.mark.parametrize("set_to_none", [False, True])
def test_zero_grad(set_to_none):
    model, optimizer = trained(last=1)
    optimizer.zero_grad(set_to_none)
    for param in model.parameters():
        assert param.grad is None if set_to_none else not param.grad.any()


def test_torch_compile_around_it():
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)

    @torch.compile(backend="eager")
    def train_step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    for step in range(3):
        train_step(torch.randn(8, 4, generator=torch.Generator().manual_seed(step)))
    compiled_step = torch.compile(optimizer.step, backend="eager")
    for step in range(3, 5):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        compiled_step()
    assert_same_parameters(model, trained()[0])
