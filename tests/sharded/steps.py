"""Steps of sharded parameters: the bits of the whole."""

from __future__ import annotations

import copy

import samestep.torch as ours
import torch
import torch.distributed as dist
from parts import (
    OF_MATRICES,
    REDUCING,
    assert_same,
    assert_same_parameters,
    check,
    full,
    loss_of,
    network,
    on,
    parameters,
    refused,
    step,
    train,
)
from samestep.golden.compare import assert_same_bits
from samestep.optimizers.classes import CLASS_NAMES
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.parallel import SequenceParallel, parallelize_module
from torch.nn.utils import clip_grad_norm_


@check
def a_step_has_the_bits_of_the_whole(mesh, folder):
    both = init_device_mesh("cpu", (1, 2))
    places = on(mesh, Shard(0)), on(mesh, Shard(-1)), on(both, Replicate(), Shard(0))
    for name in sorted(set(CLASS_NAMES.values()) - {*REDUCING, *OF_MATRICES}):
        for place in places:
            make = getattr(ours, name)
            options = dict(momentum=0.9) if name == "SGD" else {}
            whole, params = parameters(), parameters(place)
            optimizers = make(whole.values(), **options), make(params.values(), **options)
            step(whole, optimizers[0], 0, 4)
            step(params, optimizers[1], 0, 4, place)
            assert_same(params, optimizers[1], whole, optimizers[0])


@check
def so_has_every_implementation_and_dtype(mesh, folder):
    place = on(mesh, Shard(0))
    for dtype in (torch.float64, torch.bfloat16):
        whole = parameters(dtype=dtype)
        reference = ours.AdamW(whole.values(), backend="numpy")
        step(whole, reference, 0, 3)
        for backend in ("numpy", "torch:forloop", "torch:foreach", "torch:fused"):
            params = parameters(place, dtype)
            optimizer = ours.AdamW(params.values(), backend=backend)
            step(params, optimizer, 0, 3, place)
            assert_same(params, optimizer, whole, reference)


@check
def averages_are_parts_of_those_of_the_whole(mesh, folder):
    for kind in (dict(average="ema"), dict(average=2, average_every=2)):
        for place in (on(mesh, Shard(0)), on(mesh, Replicate())):
            whole, params = parameters(), parameters(place)
            reference, optimizer = (ours.AdamW(p.values(), **kind) for p in (whole, params))
            step(whole, reference, 0, 7)
            step(params, optimizer, 0, 7, place)
            assert_same(params, optimizer, whole, reference)
            own = [full(param).clone() for param in params.values()]
            expected = reference.averaged()[0]
            assert not torch.equal(own[0], expected[0])
            for found, average in zip(optimizer.averaged()[0], expected, strict=True):
                assert isinstance(found, DTensor)
                assert torch.equal(full(found), average)
            with optimizer.averages():
                assert all(map(torch.equal, map(full, params.values()), expected))
            assert all(map(torch.equal, map(full, params.values()), own))


@check
def control_another_beta_is_noticed(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), parameters(place)
    optimizers = ours.AdamW(whole.values()), ours.AdamW(params.values(), betas=(0.9, 0.9991))
    step(whole, optimizers[0], 0, 4)
    step(params, optimizers[1], 0, 4, place)
    try:
        assert_same(params, optimizers[1], whole, optimizers[0])
    except AssertionError:
        return
    raise AssertionError("nothing was noticed")


@check
def replicated_parameters_may_be_summed_over(mesh, folder):
    place = on(mesh, Replicate())
    for name in REDUCING:
        make = getattr(ours, name)
        whole, params = parameters(), parameters(place)
        optimizers = make(whole.values(), lr=0.1), make(params.values(), lr=0.1)
        step(whole, optimizers[0], 0, 3)
        step(params, optimizers[1], 0, 3, place)
        assert_same(params, optimizers[1], whole, optimizers[0])


@check
def training_under_fsdp(mesh, folder):
    """Gradient clipping over all shards, a scheduler: as the whole with the same gradients."""
    model, whole = network(mesh), network()
    optimizers = [ours.AdamW(m.parameters(), lr=0.01) for m in (model, whole)]
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=9) for o in optimizers]

    def around():
        norm = clip_grad_norm_(model.parameters(), 0.05)
        assert norm.full_tensor() > 0.05
        for param, expected in zip(model.parameters(), whole.parameters(), strict=True):
            expected.grad = full(param.grad)

    for i in range(8):
        train(model, optimizers[0], i, i + 1, around)
        optimizers[1].step()
        for scheduler in schedulers:
            scheduler.step()
    assert_same_parameters(model, whole)


@check
def state_is_placed_as_the_parameters_and_live(mesh, folder):
    place = on(mesh, Shard(0))
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 1, place)
    held = [(param, dict(optimizer.state[param])) for param in params.values()]
    step(params, optimizer, 1, 3, place)
    for param, entry in held:
        for name, value in entry.items():
            assert optimizer.state[param][name] is value
            assert isinstance(value, DTensor) == (name != "step")
        assert entry["exp_avg"].placements == param.placements
        assert entry["exp_avg"].shape == param.shape
    for _, entry in held:
        entry["exp_avg"].zero_()  # counts from the next step on
    before = copy.deepcopy(params)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for param in params.values():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    for param, expected in zip(params.values(), before.values(), strict=True):
        assert_same_bits(full(param).numpy(), full(expected).numpy())


@check
def parameters_and_state_may_move(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), parameters(place)
    optimizers = ours.AdamW(whole.values()), ours.AdamW(params.values())
    step(whole, optimizers[0], 0, 4)
    step(params, optimizers[1], 0, 2, place)
    for param in params.values():
        for tensor in (param, optimizers[1].state[param]["exp_avg"]):
            tensor._local_tensor = tensor._local_tensor.clone()  # as FSDP does it
    step(params, optimizers[1], 2, 4, place)
    assert_same(params, optimizers[1], whole, optimizers[0])


@check
def copies_in_16_bits_are_placed_as_the_parameters(mesh, folder):
    """And are the rounded parameters; autograd is told that they change."""
    place = on(mesh, Shard(0))
    params = parameters(place)
    halves = [
        torch.nn.Parameter(place(torch.zeros(p.shape, dtype=torch.bfloat16)))
        for p in params.values()
    ]
    optimizer = ours.AdamW(params.values(), copy_to=halves)
    with torch.no_grad():
        halves[0]._local_tensor = halves[0]._local_tensor.clone()  # as FSDP does it
    loss = sum((each * each).sum() for each in halves)
    step(params, optimizer, 0, 3, place)
    for param, half in zip(params.values(), halves, strict=True):
        assert torch.equal(full(half), full(param).bfloat16())
    with refused(RuntimeError, "modified by an inplace operation", optimizer):
        loss.backward()
    whole = torch.zeros(params["even"].shape, dtype=torch.bfloat16)
    with refused(TypeError, "copy_to of .* is a plain tensor; the parameter is a DT", optimizer):
        optimizer.add_param_group(
            {"params": [torch.nn.Parameter(place(whole.float()))], "copy_to": [whole]}
        )


@check
def copies_go_on(mesh, folder):
    place = on(mesh, Shard(0))
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 2, place)
    copied, copied_optimizer = copy.deepcopy((params, optimizer))
    step(params, optimizer, 2, 4, place)
    step(copied, copied_optimizer, 2, 4, place)
    whole = parameters()
    reference = ours.AdamW(whole.values())
    step(whole, reference, 0, 4)
    assert_same(params, optimizer, whole, reference)
    assert_same(copied, copied_optimizer, whole, reference)


@check
def autograd_is_told(mesh, folder):
    param = torch.nn.Parameter(on(mesh, Shard(0))(torch.ones(4)))
    optimizer = ours.SGD([param], lr=0.5)
    loss = (param * param).sum()
    param.grad = torch.ones_like(param)
    optimizer.step()
    with refused(RuntimeError, "modified by an inplace operation", optimizer):
        loss.backward()


@check
def partial_gradients_are_summed_first(mesh, folder):
    """Those of a layer norm over a sharded sequence, as torch's optimizers take them."""
    models = []
    for module in (ours, torch.optim):
        model = parallelize_module(torch.nn.LayerNorm(4), mesh, SequenceParallel(sequence_dim=0))
        optimizer = module.AdamW(model.parameters(), lr=0.01)
        train(model, optimizer, 0, 3)
        assert model.weight.grad.placements == (Partial(),)
        models.append(model)
    for param, expected in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(full(param), full(expected), rtol=1e-6, atol=1e-7)
        seen = [None, None]
        dist.all_gather_object(seen, param.to_local().detach())
        assert torch.equal(*seen)


@check
def grad_scaler(mesh, folder):
    """A step that one process finds infinite is left out in both."""
    for options in ({}, dict(fused=True)):
        model, plain = network(mesh), network(mesh)
        optimizer = ours.AdamW(model.parameters(), lr=0.01, **options)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
        for i in range(5):
            for broken in (True, False) if i == 3 else (False,):
                optimizer.zero_grad()
                scaler.scale(loss_of(model, i)).backward()
                if broken and dist.get_rank() == 1:
                    with torch.no_grad():
                        model[0].weight.grad.to_local()[0, 0] = torch.inf
                scaler.step(optimizer)
                scaler.update()
        assert scaler.get_scale() == 512.0
        train(plain, ours.AdamW(plain.parameters(), lr=0.01), 0, 5)
        assert_same_parameters(model, plain)
