"""State dicts and distributed checkpoints, sharded one way, another or not at all."""

from __future__ import annotations

import copy

import samestep.torch as ours
import torch
import torch.distributed.checkpoint as dcp
from parts import (
    FULL,
    assert_same_parameters,
    check,
    full,
    network,
    on,
    train,
)
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.tensor import DTensor, Shard


def shards_of_the_last_axis(param):
    return Shard(param.ndim - 1)


@check
def state_dicts_of_sharded_and_whole_models(mesh, folder):
    """Saved as a whole, or as shards by torch.distributed.checkpoint, and loaded where the model is
    sharded otherwise, or not at all: the next steps have the same bits."""
    model = network(mesh)
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    train(model, optimizer, 0, 3)
    parts, whole_parts = (
        get_state_dict(model, optimizer),
        get_state_dict(model, optimizer, options=FULL),
    )
    assert all(isinstance(e["exp_avg"], DTensor) for e in parts[1]["state"].values())
    assert not any(isinstance(e["exp_avg"], DTensor) for e in whole_parts[1]["state"].values())
    dcp.save(dict(zip(("model", "optimizer"), parts, strict=True)), checkpoint_id=folder / "dcp")
    others = []
    for make in (
        lambda: network(mesh),
        lambda: network(mesh, shard_placement_fn=shards_of_the_last_axis),
        network,
    ):
        for saved in ("as shards", "as a whole"):
            other = make()
            loading = ours.AdamW(other.parameters(), lr=0.5)
            if saved == "as shards":
                states = dict(
                    zip(("model", "optimizer"), get_state_dict(other, loading), strict=True)
                )
                dcp.load(states, checkpoint_id=folder / "dcp")
                set_state_dict(
                    other,
                    loading,
                    model_state_dict=states["model"],
                    optim_state_dict=states["optimizer"],
                )
            else:
                set_state_dict(
                    other,
                    loading,
                    model_state_dict=copy.deepcopy(whole_parts[0]),
                    optim_state_dict=copy.deepcopy(whole_parts[1]),
                    options=FULL,
                )
            assert loading.param_groups[0]["lr"] == 0.01
            assert {float(e["step"]) for e in loading.state.values()} == {3}
            others.append((other, loading))
    for i in range(3, 6):
        train(model, optimizer, i, i + 1)
        for other, loading in others:
            pairs = zip(other.parameters(), model.parameters(), strict=True)
            for param, theirs in pairs:
                grad = full(theirs.grad)
                param.grad = (
                    on(mesh, *param.placements)(grad) if isinstance(param, DTensor) else grad
                )
            loading.step()
    for other, _ in others:
        assert_same_parameters(other, model)


@check
def state_dicts_of_torch_s_optimizer(mesh, folder):
    """Both ways, to rounding."""
    models = {module: network(mesh) for module in (ours, torch.optim)}
    optimizers = {k: k.AdamW(m.parameters(), lr=0.01) for k, m in models.items()}
    for module, model in models.items():
        train(model, optimizers[module], 0, 3)
    snapshots = {k: get_optimizer_state_dict(m, optimizers[k]) for k, m in models.items()}
    for module, other in ((ours, torch.optim), (torch.optim, ours)):
        model = models[module]
        optimizers[module] = module.AdamW(model.parameters(), lr=0.5)
        set_optimizer_state_dict(model, optimizers[module], copy.deepcopy(snapshots[other]))
        assert optimizers[module].param_groups[0]["lr"] == 0.01
        train(model, optimizers[module], 3, 6)
    for param, expected in zip(*(m.parameters() for m in models.values()), strict=True):
        torch.testing.assert_close(full(param), full(expected), rtol=1e-5, atol=1e-6)
