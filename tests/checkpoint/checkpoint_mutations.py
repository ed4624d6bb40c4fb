"""Load thousands of damaged checkpoints in one process, under a limit of memory.

    PYTHONPATH=tests python tests/checkpoint/checkpoint_mutations.py --files 10000

Each file must give exactly what was written or `CheckpointError`; then the parameters must be
what they were. A *sealed* mutation has a checksum that is right again, so that what comes after
the checksum is tried, too: if such a file loads, the parameters must be those that the
safetensors package finds in it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import checkpoint_mutators as mutators
import numpy as np
import samestep as ss
from helpers import snapshot
from safetensors import SafetensorError, deserialize
from samestep import checkpoint, schedules
from samestep.checkpoint.file import CheckpointFile

CONSTANT = 1 << 20  # bytes that loading may take besides the file's size
ADDRESS_SPACE = 512 << 20  # beyond it the process gets no memory, so MemoryError is seen


def parameters(value: float) -> list:
    rng = np.random.default_rng(int(value))
    first = {"weight": rng.standard_normal((16, 8)).astype(np.float32), "bias": rng.random(9)}
    second = [np.full((3, 5), value, np.float16), np.full(4, value, np.complex64)]
    return [{"params": first, "lr": 0.5}, {"params": second, "rule": "adamw", "betas": (0.5, 0.75)}]


def written(path: Path, value: float) -> bytes:
    """A checkpoint that has something of everything, in the middle of an accumulation."""
    optimizer = ss.Optimizer(
        "nadam",
        parameters(value),
        betas=(schedules.reduce_on_plateau(0.9), 0.99),
        clip_global_norm=schedules.exponential(2.0, 0.9),
        loss_scaler=ss.LossScaler(scale=2.0),
        accumulation_steps=2,
        weight_decay_mask=lambda name, param: param.ndim > 1,
        backend="numpy",
    )
    rng = np.random.default_rng(1)
    for number in range(3):
        groups = [group["params"] for group in parameters(value)]
        groups[1][0] = None if number < 2 else groups[1][0]
        groups[0]["bias"] += rng.random()
        optimizer.step(groups)
    optimizer.save(path)
    return path.read_bytes()


def everything(optimizer: ss.Optimizer) -> str:
    """All that a checkpoint holds, to be compared."""
    rest = optimizer.state_dict()
    del rest["state"]
    arrays = snapshot(optimizer) | {f"sum {i}": a for i, a in rest.pop("accumulated").items()}
    return repr(({k: (v.dtype.name, v.shape, v.tobytes()) for k, v in arrays.items()}, rest))


def values_in_file(data: bytes) -> list[bytes] | None:
    """The parameters as the safetensors package reads them, in the order of their names; None if it
    refuses the file."""
    try:
        found = {name: bytes(view["data"]) for name, view in deserialize(data)}
    except SafetensorError:
        return None
    return [found[name] for name in sorted(found) if name.startswith("param/")]


def has_steps(data: bytes) -> bool:
    """Whether the file says of each parameter how many steps it has taken."""
    tree = json.loads(json.loads(mutators.header_of(data)[0])["__metadata__"]["samestep"])
    steps = [entry["step"] for entry in tree["state"].values()]
    return all(type(step) in (int, float) and 0 <= step < 2**53 for step in steps)


def values_of(params: list) -> list[bytes]:
    first, second = (group["params"] for group in params)
    return [first[name].tobytes() for name in sorted(first)] + [a.tobytes() for a in second]


class Checker:
    """Loads files and counts what comes of it; ``faults`` are what must not be."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mutated.safetensors"
        self.original = written(folder / "original.safetensors", 1.0)
        self.other = written(folder / "other.safetensors", 2.0)
        self.as_written = {}
        for data in (self.original, self.other):
            self.path.write_bytes(data)
            optimizer = ss.Optimizer.load(self.path, parameters(7.0), backend="numpy")
            self.as_written[data] = everything(optimizer)
        self.result: Counter[str] = Counter()
        self.faults: list[str] = []

    def check(self, kind: str, data: bytes, sealed: bool) -> None:
        self.path.write_bytes(data)
        params, loaded, error, extra = self.attempt(len(data))
        if extra > CONSTANT:  # once more: a table of the interpreter's may have grown just now
            params, loaded, error, extra = self.attempt(len(data))
        refused = isinstance(error, checkpoint.CheckpointError)
        outcome = "loaded" if loaded else "refused" if refused else "failed"
        self.result[f"{'sealed' if sealed else 'unsealed'}: {outcome}"] += 1
        most = "most bytes beyond the file's size"
        self.result[most] = max(self.result[most], extra)
        for fault, message in (
            (extra > CONSTANT, f"{extra} bytes beyond the file's {len(data)}"),
            (outcome == "failed", f"{type(error).__name__}: {str(error)[:200]}"),
            (refused and str(self.path) not in str(error), f"a message of no use: {error}"),
            (refused and len(str(error)) > 2000, f"an endless message: {str(error)[:200]}"),
            (not loaded and values_of(params) != values_of(parameters(7.0)), "changed parameters"),
            (
                loaded and sealed and values_of(params) != values_in_file(data),
                "loaded other values than are in the file",
            ),
            (loaded and sealed and not has_steps(data), "a step count that is none was loaded"),
            (
                loaded and not sealed and self.as_written.get(data) != everything(loaded),
                "a damaged file was loaded",
            ),
        ):
            if fault:
                self.faults.append(f"{kind}: {message}")

    def attempt(self, size: int) -> tuple[list, ss.Optimizer | None, BaseException | None, int]:
        """Parameters, the optimizer or the error, and the most bytes beyond the file's size."""
        params, loaded, caught = parameters(7.0), None, None
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            loaded = ss.Optimizer.load(self.path, params, backend="numpy")
        except BaseException as error:
            caught = error
        return params, loaded, caught, tracemalloc.get_traced_memory()[1] - before - size


def run(checker: Checker, files: int, seconds: float, seed: int) -> int:
    """Check so many files, or fewer if the time is over before. Returns how many."""
    rng = np.random.default_rng(seed)
    began = time.perf_counter()
    end = began + seconds
    tracemalloc.start()
    number = 0
    while number < files and time.perf_counter() < end:
        kind, data, sealed = mutators.mutated(rng, checker.original, checker.other)
        checker.result[f"kind: {kind}"] += 1
        checker.check(kind, data, sealed)
        number += 1
        if time.perf_counter() - began > 10:
            print(f"{number} files", file=sys.stderr)
            began = time.perf_counter()
    tracemalloc.stop()
    return number


def limit_memory() -> None:
    """So that an allocation of a size that a damaged file gives fails, and is seen."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def believe_lengths() -> None:
    """A control: make room for the header before looking whether it can be there."""
    read_header = CheckpointFile._read_header

    def believing(self: CheckpointFile) -> bytes:
        length = int.from_bytes(self._file.read(8), "little")
        bytearray(min(length, 1 << 40))
        self._file.seek(0)
        return read_header(self)

    CheckpointFile._read_header = believing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="and no longer than this")
    parser.add_argument("--seed", type=int, default=0)
    controls = ("no-checksum", "believe-lengths")
    parser.add_argument("--control", choices=controls, help="break the reader on purpose")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(Path(folder))
        if chosen.control == "no-checksum":
            CheckpointFile._check_checksum = lambda self: None
        if chosen.control == "believe-lengths":
            believe_lengths()
        limit_memory()
        files = run(checker, chosen.files, chosen.seconds, chosen.seed)
    summary = {"files": files, **checker.result, "faults": len(checker.faults)}
    print(json.dumps({**summary, "first faults": checker.faults[:10]}))
    sys.exit(1 if checker.faults else 0)


if __name__ == "__main__":
    main()
