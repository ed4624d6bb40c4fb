"""A small network, its training, and comparisons, for the tests of our torch classes."""

from __future__ import annotations

import samestep.torch as ours
import torch
from samestep.golden.compare import assert_same_bits


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
