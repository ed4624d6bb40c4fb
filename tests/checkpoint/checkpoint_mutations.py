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
from typing import Any

import checkpoint_mutators as mutators
import numpy as np
from checkpoint_kinds import KINDS, Kind, everything, values_of
from safetensors import SafetensorError, deserialize
from samestep import checkpoint
from samestep.checkpoint.file import CheckpointFile

CONSTANT = 1 << 20  # bytes that loading may take besides the file's size
ADDRESS_SPACE = 512 << 20  # beyond it the process gets no memory, so MemoryError is seen


def values_in_file(data: bytes) -> list[bytes] | None:
    """The parameters as the safetensors package reads them, in the order of `values_of`; None if it
    refuses the file."""
    try:
        found = {name: bytes(view["data"]) for name, view in deserialize(data)}
    except SafetensorError:
        return None
    return sorted(values for name, values in found.items() if name.startswith("param/"))


def has_steps(data: bytes) -> bool:
    """Whether the file says of each parameter how many steps it has taken."""
    tree = json.loads(json.loads(mutators.header_of(data)[0])["__metadata__"]["samestep"])
    if "s_dot_y" in tree["state"]:  # L-BFGS
        return type(tree["state"]["iterations"]) is int
    steps = [
        entry.get("step", 1) for entry in tree["state"].values()
    ]  # SGD may do without, as in torch
    return all(type(step) in (int, float) and 0 <= step < 2**53 for step in steps)


class Checker:
    """Loads files and counts what comes of it; ``faults`` are what must not be."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mutated.safetensors"
        self.written: dict[str, tuple[bytes, bytes]] = {}  # by the name of a kind, two of a size
        self.as_written = {}
        for name, kind in KINDS.items():
            pair = []
            for value in (1.0, 2.0):
                kind.write(kind.params(value), self.path)
                pair.append(self.path.read_bytes())
                self.as_written[pair[-1]] = everything(kind.load(self.path, kind.params(7.0)))
            self.written[name] = (pair[0], pair[1])
        self.result: Counter[str] = Counter()
        self.faults: list[str] = []

    def check(self, name: str, mutator: str, data: bytes, sealed: bool) -> None:
        self.path.write_bytes(data)
        kind = KINDS[name]
        params, loaded, error, extra = self.attempt(kind, len(data))
        if extra > CONSTANT:  # once more: a table of the interpreter's may have grown just now
            params, loaded, error, extra = self.attempt(kind, len(data))
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
            (not loaded and values_of(params) != values_of(kind.params(7.0)), "changed parameters"),
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
                self.faults.append(f"{name}, {mutator}: {message}")

    def attempt(self, kind: Kind, size: int) -> tuple[Any, Any, BaseException | None, int]:
        """Parameters, the optimizer or the error, and the most bytes beyond the file's size."""
        params, loaded, caught = kind.params(7.0), None, None
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            loaded = kind.load(self.path, params)
        except BaseException as error:
            caught = error
        return params, loaded, caught, tracemalloc.get_traced_memory()[1] - before - size


def run(checker: Checker, files: int, seconds: float, seed: int) -> int:
    """Check so many files, or fewer if the time is over before. Returns how many."""
    rng = np.random.default_rng(seed)
    began = time.perf_counter()
    end = began + seconds
    tracemalloc.start()
    number, names = 0, [*KINDS]
    while number < files and time.perf_counter() < end:
        name = names[number % len(names)]
        mutator, data, sealed = mutators.mutated(rng, *checker.written[name])
        checker.result[f"kind: {mutator}"] += 1
        checker.result[f"file: {name}"] += 1
        checker.check(name, mutator, data, sealed)
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
