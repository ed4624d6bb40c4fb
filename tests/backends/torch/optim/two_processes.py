"""One of two processes that train together under DistributedDataParallel.

``python two_processes.py RANK FOLDER``: a rendezvous file in the folder; writes what it ended with
to ``RANK.pt`` there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import samestep.torch
import torch

STEPS = 5


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


def loss_of(model, rank, step):
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(2 * step + rank))
    return model(x).square().mean()


def main(rank: int, folder: Path) -> None:
    store = torch.distributed.FileStore(str(folder / "rendezvous"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(network(), gradient_as_bucket_view=True)
    optimizer = samestep.torch.AdamW(model.parameters(), lr=0.01)
    gradients = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, rank, step).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
    params = [p.detach() for p in model.parameters()]
    torch.save({"params": params, "gradients": gradients}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
    # Nothing is freed: the destructor of DistributedDataParallel's reducer waits for a thread of
    # Gloo, and holds the GIL, which that thread may need to free the last all-reduce (seen once).
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
