"""Our torch classes where a torch.optim.Optimizer can stand."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import samestep as ss
from samestep.golden.compare import assert_same_bits
from samestep.optimizers import CLASS_NAMES

torch = pytest.importorskip("torch")
ours = pytest.importorskip("samestep.torch")
IMPLEMENTATIONS = [dict(foreach=False), dict(foreach=True), dict(fused=True), {}]


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 6), torch.nn.Linear(6, 2)
    ).to(dtype)


def loss_of(model, step):
    dtype = next(model.parameters()).dtype
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step)).to(dtype)
    return model(x).square().mean()


def train(model, optimizer, first=0, last=5, around=None):
    for step in range(first, last):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        if around:
            around(step)
        optimizer.step()
    return model


def assert_same_parameters(model, other):
    for param, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert_same_bits(param.detach().numpy(), expected.detach().numpy())


def assert_close_parameters(model, other):
    for param, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(param, expected, rtol=1e-12, atol=1e-14)


def trained(optimizer_class=None, last=5, **options):
    model = network()
    optimizer = (optimizer_class or ours.AdamW)(model.parameters(), **{"lr": 0.01, **options})
    return train(model, optimizer, 0, last), optimizer


# ---- the classes


@pytest.mark.parametrize("name", CLASS_NAMES.values())
def test_there_is_a_class_for_every_rule_and_it_steps(name):
    param = torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
    optimizer = getattr(ours, name)([param])
    assert isinstance(optimizer, torch.optim.Optimizer)
    before = param.detach().clone()
    param.grad = torch.ones(2, 3)
    optimizer.step()
    assert not torch.equal(param, before)
    assert type(pickle.loads(pickle.dumps(optimizer))) is getattr(ours, name)


@pytest.mark.parametrize("name", [n for n in CLASS_NAMES.values() if hasattr(torch.optim, n)])
def test_arguments_have_torch_s_order_and_defaults(name):
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    mine = inspect.signature(getattr(ours, name)).parameters
    flags = {"capturable", "foreach", "fused", "differentiable", "maximize"}  # differ among theirs
    by_position = [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    ordered = [n for n in by_position if n not in flags]
    assert list(mine)[: len(ordered)] == ordered
    # Adam with decoupled_weight_decay is AdamW; torch's Adafactor is another algorithm
    other = {("Adam", "decoupled_weight_decay"), ("Adafactor", "eps")}
    for argument, parameter in theirs.items():
        if (name, argument) not in other:
            assert mine[argument].default == parameter.default


def test_a_rule_of_one_s_own():
    def update(xp, s, param, grad, total):
        total = total + xp.abs(grad)
        return param - s.lr * grad / (1 + total), total

    rule = ss.Rule("own", lambda xp, step, carry, h: (dict(lr=h.lr), carry), update, dict(lr=0.1))
    param = torch.ones(3, requires_grad=True)
    optimizer = ours.Optimizer(rule, [param], lr=0.5)
    param.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step()
    torch.testing.assert_close(param.detach(), 1 - 0.5 * param.grad / (1 + param.grad))


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's, of its own
@pytest.mark.parametrize("chosen", [*IMPLEMENTATIONS, dict(backend="torch:compiled")], ids=str)
def test_every_implementation_has_the_bits_of_numpy(chosen):
    model, optimizer = trained(**chosen)
    reference, _ = trained(backend="numpy")
    assert_same_parameters(model, reference)
    names = {"foreach": "foreach" if chosen.get("foreach") else "forloop", "fused": "fused"}
    for flag in chosen.keys() & names.keys():
        assert optimizer.backend.name == f"torch:{names[flag]}"


def test_a_choice_of_backend():
    param = torch.ones(1, requires_grad=True)
    with ss.use_backend("numpy"):
        optimizer = ours.SGD([param])
    assert optimizer.backend.name == "numpy"
    assert copy.deepcopy(optimizer).backend.name == "numpy"
    for options in (dict(foreach=True, fused=True), dict(backend="numpy", foreach=True)):
        with pytest.raises(RuntimeError, match=r"`fused` and `foreach`|both choose"):
            ours.SGD([param], **options)
    for flag in ("capturable", "differentiable"):
        with pytest.raises(ValueError, match=f"{flag}=True is not supported"):
            ours.SGD([param], **{flag: True})
        ours.SGD([param], **{flag: False})
    with pytest.raises(ValueError, match="no such implementation"):
        ours.SGD([param], backend="torch:magic")


# ---- groups, names, hyperparameters


def test_named_parameters_are_named_in_state_dicts_and_messages():
    model = network()
    optimizer = ours.AdamW(model.named_parameters())
    names = [name for name, _ in model.named_parameters()]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == names
    train(model, optimizer)
    other = ours.AdamW(network().named_parameters())
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["param_names"] == names
    broken = copy.deepcopy(optimizer.state_dict())
    broken["state"][2]["exp_avg"] = torch.ones(2)
    with pytest.raises(ValueError, match=r"2\.weight"):
        other.load_state_dict(broken)


def test_groups_have_hyperparameters_of_their_own():
    models = network(torch.float64), network(torch.float64)
    optimizers = []
    for module, model in zip((ours, torch.optim), models, strict=True):
        groups = [
            {"params": model[0].parameters(), "lr": 0.1, "name": "first"},
            {"params": model[2].weight, "weight_decay": 0.3},
        ]
        optimizers.append(module.AdamW(groups, lr=0.01))
        train(model, optimizers[-1])
        optimizers[-1].add_param_group({"params": [model[2].bias], "betas": (0.5, 0.6)})
        train(model, optimizers[-1], 5, 10)
    assert_close_parameters(*models)
    assert optimizers[0].param_groups[0]["name"] == "first"
    assert [float(optimizers[0].state[p]["step"]) for p in models[0][2].parameters()] == [10, 5]


def test_a_group_with_an_error_is_not_added():
    model, optimizer = trained(last=1)
    extra = torch.ones(2, requires_grad=True)
    for group, error in (
        ({"params": [extra], "lr": -1.0}, ValueError),
        ({"params": [torch.ones(2, dtype=torch.int64)]}, TypeError),
        ({"params": [model[0].weight]}, ValueError),
        ({"params": [extra.detach()[:1], extra.detach()]}, ValueError),
    ):
        with pytest.raises(error):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
    train(model, optimizer, 1, 5)
    assert_same_parameters(model, trained()[0])


def test_tensors_as_hyperparameters_may_change_in_place():
    lr = torch.tensor(0.01, dtype=torch.float64)
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=lr, betas=(torch.tensor([0.9]), 0.999))
    reference = network()
    plain = ours.AdamW(reference.parameters(), lr=0.01, betas=(float(torch.tensor(0.9)), 0.999))
    train(model, optimizer)
    train(reference, plain)
    lr.fill_(0.5)
    plain.param_groups[0]["lr"] = 0.5
    train(model, optimizer, 5, 8)
    train(reference, plain, 5, 8)
    assert_same_parameters(model, reference)
    assert optimizer.param_groups[0]["lr"] is lr


SCHEDULERS = {
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
    "cyclic momentum": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "warm restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "warm-up, then decay": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=4),
            torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ],
        milestones=[4],
    ),
}


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("name", ["SGD", "Adam", "Rprop"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_torch_s_schedulers(scheduler, name):
    if (scheduler, name) in {("one cycle", "Rprop"), ("cyclic momentum", "Rprop")}:
        return  # nothing there to cycle
    options = dict(momentum=0.9) if name == "SGD" else {}
    models = network(torch.float64), network(torch.float64)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = getattr(module, name)(model.parameters(), lr=0.01, **options)
        schedule = SCHEDULERS[scheduler](optimizer)
        for step in range(10):
            train(model, optimizer, step, step + 1)
            schedule.step()
    assert_close_parameters(*models)


def test_reduce_on_plateau():
    models = network(torch.float64), network(torch.float64)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = module.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        for step in range(6):
            train(model, optimizer, step, step + 1)
            schedule.step(1.0 + step)
        assert optimizer.param_groups[0]["lr"] < 1e-4
    assert_close_parameters(*models)


# ---- steps


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
            "sparse_coo tensor; expected a strided",
        ),
        (dense(dtype=torch.float64), TypeError, "float64; expected float32"),
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


# ---- state belongs to the user as well


def test_state_is_live():
    """The same tensors at every step, in place, and those that the next step reads."""
    model, optimizer = trained(last=2)
    weight = model[0].weight
    held = dict(optimizer.state[weight])
    before = held["exp_avg"].clone()
    train(model, optimizer, 2, 5)
    assert all(optimizer.state[weight][name] is tensor for name, tensor in held.items())
    assert not torch.equal(held["exp_avg"], before)
    assert float(held["step"]) == 5
    held["exp_avg"].zero_()
    held["exp_avg_sq"].fill_(torch.inf)
    moved = weight.detach().clone()
    optimizer.param_groups[0]["weight_decay"] = 0.0
    train(model, optimizer, 5, 6)
    assert torch.equal(weight, moved)


def replaced(optimizer, param):
    entry = optimizer.state[param]
    optimizer.state[param] = {name: value.clone() for name, value in entry.items()}


def replaced_in_place(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].clone()
    entry["step"] = float(entry["step"])


def other_memory(optimizer, param):
    for tensor in (param, optimizer.state[param]["exp_avg"]):
        tensor.data = tensor.data.clone()


def transposed(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].T.contiguous().T


def wider(optimizer, param):
    entry = optimizer.state[param]
    entry["exp_avg"] = entry["exp_avg"].double()


def with_more(optimizer, param):
    optimizer.state[param]["slow_buffer"] = "of somebody else"
    optimizer.state["not a parameter"] = 1


@pytest.mark.parametrize(
    "write", [replaced, replaced_in_place, other_memory, transposed, wider, with_more]
)
def test_state_may_be_written_to(write):
    """Equal values in other objects or other memory: the next steps are the same."""
    model, optimizer = trained(last=2)
    write(optimizer, model[0].weight)
    train(model, optimizer, 2, 5)
    assert_same_parameters(model, trained()[0])
    assert float(optimizer.state[model[0].weight]["step"]) == 5
    assert optimizer.state[model[0].weight]["exp_avg"].abs().sum() > 0


def test_others_may_keep_things_in_the_state_from_the_start():
    model = network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    optimizer.state[model[0].weight]["slow_buffer"] = slow = model[0].weight.detach().clone()
    train(model, optimizer)
    assert_same_parameters(model, trained()[0])
    assert optimizer.state[model[0].weight]["slow_buffer"] is slow


def test_parameters_may_be_put_into_a_group():
    model = network()
    first, *rest = model.parameters()
    optimizer = ours.AdamW([first], lr=0.01)
    optimizer.param_groups[0]["params"].extend(rest)
    train(model, optimizer)
    assert_same_parameters(model, trained()[0])


def test_a_step_count_may_be_written_to():
    model, optimizer = trained(last=2)
    reference, plain = trained(last=2)
    snapshot = copy.deepcopy(plain.state_dict())
    for param, entry in zip(model.parameters(), snapshot["state"].values(), strict=True):
        optimizer.state[param]["step"].add_(100)
        entry["step"] = entry["step"] + 100
    plain.load_state_dict(snapshot)
    train(model, optimizer, 2, 4)
    train(reference, plain, 2, 4)
    assert_same_parameters(model, reference)
    assert {float(entry["step"]) for entry in optimizer.state.values()} == {104}
    with_two = trained(last=4)[0]
    assert not torch.equal(with_two[0].weight, model[0].weight)


def test_state_may_be_thrown_away():
    model, optimizer = trained(last=2)
    reference = copy.deepcopy(model)
    optimizer.state.clear()
    train(model, optimizer, 2, 5)
    train(reference, ours.AdamW(reference.parameters(), lr=0.01), 2, 5)
    assert_same_parameters(model, reference)


def test_a_model_that_is_converted_on_the_way():
    """Its parameters stand for other memory then, of another dtype."""
    models = network(torch.float32), network(torch.float32)
    for module, model in zip((ours, torch.optim), models, strict=True):
        optimizer = module.AdamW(model.parameters(), lr=0.01)
        train(model, optimizer, 0, 2)
        model.double()
        if module is torch.optim:  # which leaves this to the user
            optimizer.load_state_dict(optimizer.state_dict())
        train(model, optimizer, 2, 5)
    assert models[0][0].weight.dtype == torch.float64
    for param, expected in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(param, expected, rtol=1e-6, atol=1e-7)


def test_state_that_does_not_fit_is_an_error():
    model, optimizer = trained(last=2)
    before, entry = copy.deepcopy(model), optimizer.state[model[0].weight]
    for name, value, error in (
        ("exp_avg", torch.ones(3), ValueError),
        ("exp_avg", None, TypeError),
        ("exp_avg", torch.ones(6, 4) * 1j, TypeError),
        ("exp_avg", torch.ones(6, 4, device="meta"), ValueError),
        ("step", torch.tensor(-1.0), ValueError),
    ):
        kept, entry[name] = entry[name], value
        with pytest.raises(error, match=rf"params\[0\].*{name}|{name} of params\[0\]"):
            train(model, optimizer, 2, 3)
        entry[name] = kept
        assert_same_parameters(model, before)
    train(model, optimizer, 2, 5)
    assert_same_parameters(model, trained()[0])


# ---- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("when", [0, 3])
def test_copies_go_on_from_where_they_were_taken(copied, when):
    model, optimizer = trained(ours.NAdam, last=when, foreach=True)
    model_copy, optimizer_copy = copied((model, optimizer))
    train(model, optimizer, when, 5)
    train(model_copy, optimizer_copy, when, 5)
    assert_same_parameters(model, model_copy)
    assert_same_parameters(model, trained(ours.NAdam)[0])
    assert optimizer_copy.backend.name == "torch:foreach"
    assert optimizer_copy.param_groups[0]["params"][0] is model_copy[0].weight


def test_a_pickle_does_not_grow_with_the_square_of_the_number_of_parameters():
    sizes = []
    for count in (100, 200):
        params = [torch.ones(1, requires_grad=True) for _ in range(count)]
        optimizer = ours.SGD(params)
        for param in params:
            param.grad = torch.ones(1)
        optimizer.step()
        sizes.append(len(pickle.dumps(optimizer)))
    assert sizes[1] < 2.5 * sizes[0]
