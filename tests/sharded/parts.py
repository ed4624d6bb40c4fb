"""Whole parameters and models, and their parts in two processes; what every check uses."""

from __future__ import annotations

import re

import torch
import torch.distributed as dist
from samestep.backends.torch_tensors.view import as_numpy
from samestep.golden.compare import assert_same_bits
from torch.distributed import fsdp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
)
from torch.distributed.tensor import DTensor, distribute_tensor

CHECKS = {}
FULL = StateDictOptions(full_state_dict=True)
REDUCING = [
    "LAMB",
    "LARS",
    "NovoGrad",
    "Adafactor",
    "StableAdamW",
    "MARSAdamW",
    "MARSLion",
    "SGDP",
    "AdamP",
    "AdamMini",
    "CAME",
    "APOLLOMini",
    "ScionSign",
    "ScionRows",
    "ScionColumns",
    "Prodigy",
    "DAdaptAdam",
    "SM3",
]
OF_MATRICES = [
    "Muon",
    "NorMuon",
    "Scion",
    "Shampoo",
    "SOAP",
    "PSGDKron",
    "Dion",
    "GaLore",
]  # which refuse vectors, sharded or not
SHAPES = {"even": (4, 6), "odd": (5, 3), "vector": (3,), "on one of them": (1,)}


def check(function):
    """Two processes run it, and say what failed under its name."""
    CHECKS[function.__name__] = function
    return function


def whole_tensors(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in SHAPES.items()}


def parameters(place=None, dtype=torch.float32):
    """The same parameters in every process: whole ones, or parts of them."""
    return {
        name: torch.nn.Parameter(place(tensor) if place else tensor)
        for name, tensor in whole_tensors(0, dtype).items()
    }


def on(mesh, *placements):
    """``place`` for these placements; no communication."""
    return lambda tensor: distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def step(params, optimizer, first, last, place=None):
    """Steps with the same gradients in every process."""
    dtype = next(iter(params.values())).dtype
    for i in range(first, last):
        for name, grad in whole_tensors(100 + i, dtype).items():
            params[name].grad = place(grad) if place else grad
        optimizer.step()
    return params


def full(tensor):
    """A copy of the whole."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def assert_same(params, optimizer, whole, whole_optimizer):
    """Parameters and state have the bits of the whole ones."""
    for param, expected in zip(params.values(), whole.values(), strict=True):
        assert_same_bits(as_numpy(full(param)), as_numpy(expected))
        entry, other = optimizer.state[param], whole_optimizer.state[expected]
        assert entry.keys() == other.keys()
        for name, value in other.items():
            assert_same_bits(full(entry[name]).numpy(), value.numpy())


def network(shard=None, **options):
    """Two layers, the same in every process; sharded by FSDP on request."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    return fsdp.fully_shard(model, mesh=shard, **options) if shard else model


def loss_of(model, i):
    """Of another batch in each process."""
    seed = 2 * i + dist.get_rank()
    return model(torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))).square().mean()


def train(model, optimizer, first, last, around=None):
    for i in range(first, last):
        optimizer.zero_grad()
        loss_of(model, i).backward()
        if around:
            around()
        optimizer.step()
    return model


def assert_same_parameters(model, other):
    for param, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert_same_bits(full(param).numpy(), full(expected).numpy())


class refused:
    """The block raises this error, and changes neither parameters nor state."""

    def __init__(self, error, message, optimizer):
        self.error, self.message, self.optimizer = error, message, optimizer

    def seen(self):
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        entries = [(p, *self.optimizer.state.get(p, {}).values()) for p in params]
        return [
            torch.as_tensor(t.to_local() if isinstance(t, DTensor) else t).detach().clone()
            for entry in entries
            for t in entry
        ]

    def __enter__(self):
        self.before = self.seen()

    def __exit__(self, kind, error, _):
        assert kind is not None, f"no error; expected {self.message}"
        if not issubclass(kind, self.error):
            return False
        assert re.search(self.message, str(error)), str(error)
        for after, before in zip(self.seen(), self.before, strict=True):
            assert torch.equal(after, before)
        return True
