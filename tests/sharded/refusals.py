"""What sharded parameters cannot do is an error, before anything is changed."""

from __future__ import annotations

import samestep.torch as ours
import torch
from parts import (
    REDUCING,
    assert_same,
    check,
    full,
    on,
    parameters,
    refused,
    step,
)
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard


@check
def sums_over_shards_are_refused(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), list(parameters(place).values())
    message = r"params\[0\] is placed \(Shard\(dim=0\),\), and {} sums over"
    for name in REDUCING:
        optimizer = getattr(ours, name)(whole.values(), lr=0.1)
        with refused(
            ValueError,
            message.format(optimizer.rule.name).replace("params", r"group\[1\]"),
            optimizer,
        ):
            optimizer.add_param_group({"params": params})
        assert len(optimizer.param_groups) == 1
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 1, place)
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with refused(ValueError, message.format("adamw_clip_norm"), optimizer):
        step(params, optimizer, 1, 2, place)
    del optimizer.param_groups[0]["clip_norm"]
    optimizer.param_groups[0].update(clip_norm=None, clip_value=0.5)  # of each element
    step(params, optimizer, 1, 2, place)


@check
def parts_of_blocks_are_refused(mesh, folder):
    """Edges within a block; columns; whole blocks, of which PyTorch would divide the scales
    otherwise; and more of them in one process, of which it would divide the bytes otherwise."""
    parts = {"int8": (((4, 6), 0), ((4, 512), 1), ((9, 384), 0))}
    parts["int4"] = (*parts["int8"], ((5, 128), 0))
    for codec, refused_ones in parts.items():
        optimizer = ours.AdamW(parameters().values(), state_dtype=codec)
        for shape, axis in refused_ones:
            param = torch.nn.Parameter(on(mesh, Shard(axis))(torch.ones(shape)))
            message = (
                rf"group\[1\]\[0\] of shape .* is placed .*; state_dtype='{codec}' stores .* of 128"
            )
            with refused(ValueError, message, optimizer):
                optimizer.add_param_group({"params": [param]})


@check
def what_is_placed_otherwise_is_refused(mesh, folder):
    place, otherwise = on(mesh, Shard(0)), on(mesh, Replicate())
    params = parameters(place)
    optimizer = ours.AdamW(params.items())
    step(params, optimizer, 0, 1, place)
    param = params["even"]
    entry = optimizer.state[param]
    kept = entry["exp_avg"]
    for value, error, message in (
        (full(kept), TypeError, "exp_avg of even is a plain tensor; the parameter is a DTensor"),
        (otherwise(full(kept)), ValueError, r"exp_avg of even is placed \(Replicate\(\),\)"),
    ):
        entry["exp_avg"] = value
        with refused(error, message, optimizer):
            step(params, optimizer, 1, 2, place)
        snapshot = optimizer.state_dict()
        snapshot["state"] = {key: dict(held) for key, held in snapshot["state"].items()}
        entry["exp_avg"] = kept
        with refused(error, message, optimizer):
            optimizer.load_state_dict(snapshot)
    sums = DTensor.from_local(torch.ones(2, 2), mesh, [Partial()], run_check=False)
    with refused(ValueError, r"sums is placed \(Partial\(sum\),\)", optimizer):
        optimizer.add_param_group({"params": [("sums", sums)]})
    step(params, optimizer, 1, 2, place)
    whole = parameters()
    reference = ours.AdamW(whole.values())
    step(whole, reference, 0, 2)
    assert_same(params, optimizer, whole, reference)
    plain = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([("plain", plain)], momentum=0.9)
    plain.grad = torch.ones(3)
    optimizer.step()
    optimizer.state[plain]["momentum_buffer"] = place(torch.ones(3))
    with refused(
        TypeError, "momentum_buffer of plain is a DTensor; the parameter is a plain", optimizer
    ):
        optimizer.step()
