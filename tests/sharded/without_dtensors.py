"""What shards parameters without DTensors: ZeRO, and FSDP1."""

from __future__ import annotations

import copy
import warnings

import samestep.torch as ours
import torch
import torch.distributed as dist
from parts import (
    REDUCING,
    assert_same_parameters,
    check,
    network,
    refused,
    train,
)
from torch.distributed import fsdp


@check
def zero_redundancy_optimizer(mesh, folder):
    """The bits of an optimizer that each process has whole; resumed, those of the uninterrupted
    run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of importing it
        from torch.distributed.optim import ZeroRedundancyOptimizer
    models, optimizers = [], []
    for whole in (False, True):
        model = torch.nn.parallel.DistributedDataParallel(network())
        params = model.parameters()
        optimizers.append(
            ours.AdamW(params, lr=0.01)
            if whole
            else ZeroRedundancyOptimizer(params, optimizer_class=ours.AdamW, lr=0.01)
        )
        models.append(train(model, optimizers[-1], 0, 3))
    assert_same_parameters(*models)
    optimizers[0].consolidate_state_dict(0)
    sent = [copy.deepcopy(optimizers[0].state_dict()) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(sent, 0)
    optimizers[0] = ZeroRedundancyOptimizer(
        models[0].parameters(), optimizer_class=ours.AdamW, lr=0.5
    )
    optimizers[0].load_state_dict(sent[0])
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, 3, 6)
    assert_same_parameters(*models)


@check
def parameters_of_the_old_fsdp(mesh, folder):
    """Flat or not, as under FSDP2; the state dict of flat ones resumes. With the original
    parameters torch saves one array's values under the names of all, on the CPU."""
    expected = network(mesh)
    train(expected, ours.AdamW(expected.parameters(), lr=0.01), 0, 6)
    for original in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            model, other = (
                fsdp.FullyShardedDataParallel(
                    network(), use_orig_params=original, device_id=torch.device("cpu")
                )
                for _ in range(2)
            )
            optimizer = ours.AdamW(model.parameters(), lr=0.01)
            train(model, optimizer, 0, 3)
            if not original:
                saved = fsdp.FullyShardedDataParallel.optim_state_dict(model, optimizer)
                optimizer = ours.AdamW(other.parameters(), lr=0.5)
                other.load_state_dict(model.state_dict())
                optimizer.load_state_dict(
                    fsdp.FullyShardedDataParallel.optim_state_dict_to_load(other, optimizer, saved)
                )
                model = other
            train(model, optimizer, 3, 6)
            with fsdp.FullyShardedDataParallel.summon_full_params(model):
                assert_same_parameters(model.module, expected)
            sums_are_refused(model, optimizer)


def sums_are_refused(model, optimizer):
    """Of parameters that nothing but a mark tells from whole ones."""
    message = "is flattened by FullyShardedDataParallel, and {} sums over"
    for name in REDUCING:
        other = getattr(ours, name)([torch.ones(3)], lr=0.1)
        with refused(ValueError, message.format(other.rule.name), other):
            other.add_param_group({"params": list(model.parameters())})
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with refused(ValueError, message.format("adamw_clip_norm"), optimizer):
        optimizer.step()
