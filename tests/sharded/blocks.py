"""States in blocks of sharded parameters, whose parts end where blocks do: the bits of the
whole."""

from __future__ import annotations

import copy

import samestep.torch as ours
import torch
import torch.distributed.checkpoint as dcp
from parts import FULL, assert_same, check, full, on
from samestep.golden.compare import assert_same_bits
from torch.distributed import fsdp
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard

# parts of several blocks, of a vector, of a short last block with half a byte, of nothing in one
# process
EVEN = ((4, 256), (511,), (1,), (2, 128, 3))
ODD = (5, 128)  # one block more in the first process, which 8 bits may have
CODECS = {"int8": (*EVEN, ODD), "int4": EVEN}


def parameters(place=lambda tensor: tensor, shapes=EVEN):
    torch.manual_seed(0)
    return [torch.nn.Parameter(place(torch.randn(shape))) for shape in shapes]


def step(params, optimizer, first, last, place=lambda tensor: tensor):
    for i in range(first, last):
        torch.manual_seed(100 + i)
        for param in params:
            param.grad = place(torch.randn(param.shape))
        optimizer.step()


def same(params, optimizer, whole, reference):
    assert_same(dict(enumerate(params)), optimizer, dict(enumerate(whole)), reference)


@check
def blocks_have_the_bits_of_the_whole(mesh, folder):
    both = init_device_mesh("cpu", (1, 2))
    for place in (on(mesh, Shard(0)), on(both, Replicate(), Shard(0)), on(mesh, Replicate())):
        for codec, shapes in CODECS.items():
            whole, params = parameters(shapes=shapes), parameters(place, shapes)
            first, second = (
                ours.AdamW(each, lr=0.1, state_dtype=codec) for each in (whole, params)
            )
            step(whole, first, 0, 3)
            step(params, second, 0, 3, place)
            same(params, second, whole, first)


@check
def a_state_dict_in_blocks_is_resumed(mesh, folder):
    """As it is, and with states of float32 in it, which are stored in blocks in each process."""
    place = on(mesh, Shard(0))
    for codec, saved in (("int8", "int8"), ("int8", None), ("int4", "int4"), ("int4", None)):
        found = []
        for where in (place, lambda tensor: tensor):
            params, others = (parameters(where, CODECS[codec]) for _ in range(2))
            source = ours.AdamW(params, lr=0.1, state_dtype=saved)
            step(params, source, 0, 2, where)
            target = ours.AdamW(others, lr=0.1, state_dtype=codec)
            target.load_state_dict(source.state_dict())
            step(others, target, 2, 4, where)
            found += [others, target]
        same(*found)


@check
def checkpoints_of_blocks(mesh, folder):
    """By torch.distributed.checkpoint, as shards and as a whole."""
    for codec in CODECS:
        checkpoint_of_blocks(mesh, folder / codec, codec)


def checkpoint_of_blocks(mesh, folder, codec):
    def made():
        torch.manual_seed(0)
        model = fsdp.fully_shard(torch.nn.Linear(256, 4, bias=False), mesh=mesh)
        return model, ours.AdamW(model.parameters(), lr=0.1, state_dtype=codec)

    def train(model, optimizer, first, last):
        step([model.weight], optimizer, first, last, on(mesh, Shard(0)))

    model, optimizer = made()
    train(model, optimizer, 0, 2)
    whole = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=FULL))
    parts = get_optimizer_state_dict(model, optimizer)
    dcp.save(parts, checkpoint_id=folder)
    train(model, optimizer, 2, 4)
    for as_whole in (True, False):
        other, loading = made()
        train(other, loading, 0, 2)  # so the parameters are the same
        for entry in loading.state.values():
            for array in (entry["exp_avg"], entry["exp_avg_sq_scale"]):
                array.zero_()
        if as_whole:
            set_optimizer_state_dict(other, loading, whole, options=FULL)
        else:
            found = get_optimizer_state_dict(other, loading)
            dcp.load(found, checkpoint_id=folder)
            set_optimizer_state_dict(other, loading, found)
        train(other, loading, 2, 4)
        assert_same_bits(full(other.weight).numpy(), full(model.weight).numpy())
