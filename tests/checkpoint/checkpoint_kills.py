"""Kill processes at random moments while they save, and look at the file after each kill.

    python tests/checkpoint/checkpoint_kills.py --kills 1000

A child saves version after version; parameters, state, step counts and learning rate all say
which one. It tells before and after each save. What the file holds after the kill must be one
version, whole: the last that was saved, or the one that was being saved.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import samestep as ss
from samestep.checkpoint import save

BEGUN, SAVED = 0, 1
MESSAGE = struct.Struct("<qq")


def parameters(value: float) -> dict[str, np.ndarray]:
    return {"weight": np.full((300, 400), value, np.float32), "bias": np.full(40_000, float(value))}


def optimizer_of_version(version: int) -> ss.Optimizer:
    optimizer = ss.Adam(parameters(version), lr=float(version), backend="numpy")
    snapshot = optimizer.state_dict()
    for entry in snapshot["state"].values():
        entry["step"] = version
        for name in ("exp_avg", "exp_avg_sq"):
            entry[name][...] = version
    optimizer.load_state_dict(snapshot)
    return optimizer


def version_in(path: Path) -> int | None:
    """The version that the file holds; None if it cannot be loaded or holds more than one."""
    params = parameters(-1)
    try:
        optimizer = ss.Optimizer.load(path, params, backend="numpy")
    except (OSError, ValueError):
        return None
    found = {float(value) for array in params.values() for value in np.unique(array)}
    found |= {float(v) for state in optimizer.state for a in state.values() for v in np.unique(a)}
    found |= {*map(float, optimizer.steps), optimizer.param_groups[0]["lr"]}
    return int(found.pop()) if len(found) == 1 else None


def save_for_ever(path: Path, first: int, report: int) -> None:
    version = first
    while True:
        optimizer = optimizer_of_version(version)
        os.write(report, MESSAGE.pack(BEGUN, version))
        optimizer.save(path)
        os.write(report, MESSAGE.pack(SAVED, version))
        version += 1


def kill_one(path: Path, first: int, wait: float) -> tuple[int, int | None]:
    """Let a child save from version ``first`` on and kill it ``wait`` seconds after it began.
    Returns the last version it began to save and the last that it had saved (None if
    there is none)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_for_ever(path, first, writing)
        finally:
            os._exit(1)  # an error; nothing of the parent's runs in the child
    os.close(writing)
    with open(reading, "rb") as report:
        messages = [MESSAGE.unpack(report.read(MESSAGE.size))]
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "the child has failed"
        rest = report.read()
    messages += MESSAGE.iter_unpack(rest[: len(rest) // MESSAGE.size * MESSAGE.size])
    last = dict(messages)
    return last[BEGUN], last.get(SAVED)


def save_naively(path: Path, pieces) -> None:
    """The control: what the atomic writer replaces."""
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def run(folder: Path, kills: int, seed: int) -> Counter:
    path = folder / "checkpoint.safetensors"
    optimizer_of_version(1).save(path)
    began = time.perf_counter()
    for _ in range(5):
        optimizer_of_version(1).save(path)
    usual = (time.perf_counter() - began) / 5
    rng = np.random.default_rng(seed)
    result: Counter[str] = Counter(kills=kills)
    version, in_file, began = 1, 1, time.perf_counter()
    for number in range(kills):
        version, saved = kill_one(path, version + 1, rng.uniform(0, 3 * usual))
        whole = in_file if saved is None else saved
        result["while saving"] += version != saved
        in_file = version_in(path)
        if in_file not in (whole, version):
            result["lost"] += 1
            optimizer_of_version(version).save(path)
            in_file = version
        elif version != saved:
            result["new version" if in_file == version else "old version"] += 1
        left = len(list(folder.iterdir())) - 1
        result["temporary files left by a kill"] += left > 0
        result["most temporary files"] = max(result["most temporary files"], left)
        if time.perf_counter() - began > 10:
            print(f"{number + 1} of {kills} kills", file=sys.stderr)
            began = time.perf_counter()
    optimizer_of_version(version).save(path)
    result["temporary files at the end"] = len(list(folder.iterdir())) - 1
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--naive", action="store_true", help="the control: write in place")
    chosen = parser.parse_args()
    if chosen.naive:
        save.write_atomically = save_naively
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), chosen.kills, chosen.seed)
    print(json.dumps(result))
    sys.exit(1 if result["lost"] else 0)


if __name__ == "__main__":
    main()
