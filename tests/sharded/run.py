"""One of two processes that hold the halves of sharded parameters.

``python run.py RANK FOLDER`` runs all checks; what failed, and how, goes to ``RANK.json`` in the
folder, where the checks keep their files, too.
"""

from __future__ import annotations

import datetime
import importlib
import json
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from parts import CHECKS
from torch.distributed.device_mesh import init_device_mesh

MODULES = ("steps", "refusals", "state_dicts", "blocks", "without_dtensors")  # of the checks


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "rendezvous"), 2)
    wait = datetime.timedelta(seconds=30)  # where the other process has failed
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=wait)
    mesh = init_device_mesh("cpu", (2,))
    for name in MODULES:
        importlib.import_module(name)
    failures = {}
    for name, function in CHECKS.items():
        try:
            function(mesh, folder)
            failures[name] = ""
        except Exception:
            failures[name] = traceback.format_exc()
    (folder / f"{rank}.json").write_text(json.dumps(failures))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
