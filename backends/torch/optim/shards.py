"""Sharded parameters: DTensors, of which this process holds a part.

A step runs on that part, over its own memory, and state is placed as the parameter is. Where an
element's new value depends on that element alone, that is the step of the whole; a rule that sums
over a tensor needs all of it in every process.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch

from ....interrupts import held
from ....language.blockwise import BLOCKWISE, Blockwise
from ....language.clipping import clipped
from ....language.passes import program
from ....language.rule import Rule
from ....language.stages import stages

FLATTENED = "_fsdp_flattened"  # how FullyShardedDataParallel marks parameters, flat and original


def is_dtensor(tensor: Any) -> bool:
    """Return True for a DTensor. Its module is never imported here: whoever has one has loaded
    it."""
    return isinstance(tensor, getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", ()))


def is_part(param: Any) -> bool:
    """Return True if this process may hold a part of the parameter only."""
    return is_dtensor(param) or getattr(param, FLATTENED, False)


def local(tensor: Any) -> Any:
    """Return the part of a DTensor in this process, over its own memory; others as they are."""
    if not is_dtensor(tensor):
        return tensor
    with held(), torch.no_grad():
        return tensor.to_local()


def placed(name: str, array: Any, param: Any, rule: Rule) -> Any:
    """Return the state ``name`` of the parameter's part in this process, placed as the parameter
    is."""
    if not is_dtensor(param):
        return array
    from torch.distributed.tensor import DTensor

    whole: dict[str, Any] = {}
    if name in rule.vectors:
        codec, size = BLOCKWISE[rule.storage[rule.scales.get(name, name)]], param.numel()
        count = codec.count(size) if name in rule.scales else codec.bytes_of(0, size).stop
        whole = dict(shape=torch.Size([count]), stride=(1,))
    elif name not in rule.per:  # otherwise a row, a column or a square of a replicated parameter
        whole = dict(shape=param.shape, stride=torch.empty(param.shape, device="meta").stride())
    return DTensor.from_local(array, param.device_mesh, param.placements, run_check=False, **whole)


def check_placement(name: str, tensor: Any, param: Any) -> None:
    """Raise TypeError or ValueError unless the tensor is placed as the parameter is."""
    if not (is_dtensor(tensor) or is_dtensor(param)):
        return
    if not (is_dtensor(tensor) and is_dtensor(param)):
        kinds = ("a DTensor" if is_dtensor(t) else "a plain tensor" for t in (tensor, param))
        raise TypeError("{} is {}; the parameter is {}".format(name, *kinds))
    if (tensor.device_mesh, tensor.placements) != (param.device_mesh, param.placements):
        raise ValueError(
            f"{name} is placed {tensor.placements} on {tensor.device_mesh}; the parameter is "
            f"placed {param.placements} on {param.device_mesh}"
        )


def local_gradient(name: str, grad: Any, param: Any) -> Any:
    """Return the gradient's part in this process. As in torch one that is placed otherwise, such as
    the partial sums of a replicated parameter, is redistributed first."""
    if grad is None:
        return None
    if is_dtensor(grad) and is_dtensor(param) and grad.placements != param.placements:
        grad = grad.redistribute(placements=param.placements)
    check_placement(f"the gradient of {name}", grad, param)
    return local(grad)


def check_rule(name: str, param: Any, rule: Rule, clips: tuple[str, ...]) -> None:
    """Raise ValueError if a step of the parameter needs more than its part in this process."""
    if not is_part(param):
        return
    named = clipped(rule, clips)
    sums = (
        f"{named.name} sums over or counts the elements of a tensor, which are in several processes"
    )
    if not is_dtensor(param):
        if _reduces(named):
            raise ValueError(f"{name} is flattened by FullyShardedDataParallel, and {sums}")
        if rule.scales:
            raise ValueError(
                f"{name} is flattened by FullyShardedDataParallel, so which elements it has is not "
                f"known; state_dtype={rule.state_dtype!r} stores states in blocks of the whole. Use "
                "bfloat16, float16 or None, or fully_shard"
            )
        return
    if all(placement.is_replicate() for placement in param.placements):
        return
    if any(placement.is_partial() for placement in param.placements):
        raise ValueError(f"{name} is placed {param.placements}: each process holds terms of a sum")
    if _reduces(named):
        raise ValueError(
            f"{name} is placed {param.placements}, and {sums}; of DTensors it can step replicated "
            "ones"
        )
    for codec in {BLOCKWISE[rule.storage[state]] for state in rule.scales.values()}:
        if not _has_whole_blocks(param, codec):
            raise ValueError(
                f"{name} of shape {tuple(param.shape)} is placed {param.placements}; "
                f"state_dtype={rule.state_dtype!r} stores states in blocks of {codec.size} elements, "
                "and each process must have whole ones, all processes equally many. Shard the first "
                f"axis alone, in parts of a multiple of {codec.size} elements; or use bfloat16, "
                "float16 or None"
            )


def _has_whole_blocks(param: Any, codec: Blockwise) -> bool:
    """Return True if the parts of a sharded parameter, which stand one after the other, end where
    blocks do, and have the scales, and the bytes where codes share them, that PyTorch gives each
    process of a vector of so many."""
    from torch.distributed.tensor import Shard

    sharded = [k for k, each in enumerate(param.placements) if not each.is_replicate()]
    if len(sharded) != 1 or not param.numel():
        return not param.numel()
    (k,) = sharded
    placement = param.placements[k]
    if type(placement) is not Shard or placement.dim % param.ndim:
        return False
    processes, rows = param.device_mesh.size(k), param.shape[0]
    ends = _chunks(rows, processes)
    row = param.numel() // rows
    sizes = [codec.size] if codec.per_byte == 1 else [codec.size, codec.per_byte]
    vectors = [_chunks(-(-param.numel() // size), processes) for size in sizes]
    return all(end == rows or end * row % codec.size == 0 for end in ends) and all(
        [-(-end * row // size) for end in ends] == chunks
        for size, chunks in zip(sizes, vectors, strict=True)
    )


def _chunks(count: int, processes: int) -> list[int]:
    """Return where the part of each process ends, of so many rows."""
    each = -(-count // processes)
    return [min(each * (k + 1), count) for k in range(processes)]


@functools.cache
def _reduces(rule: Rule) -> bool:
    found = stages(rule)
    programs = map(program, found.rules)
    return bool(found.calls or any(each.asked or each.small for each in programs))
