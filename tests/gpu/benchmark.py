"""AdamW on a GPU: this package, torch fused, Apex, and a copy within the device's memory.

``python -m gpu.benchmark --json FILE`` in the folder ``tests``. A timing is of several steps and
one wait for the device, so that the host may run ahead as it does in a training loop.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import samestep as ss
from samestep.language.passes import program
from samestep.tools.bench.contenders import BYTES_PER_PARAMETER, HYPER, RULE
from samestep.tools.bench.timing import ratio, take_turns
from samestep.tools.bench.work import Work, all_work, normal

REFERENCE, COPY = "samestep", "copy of as many bytes"
STEPS = 10  # of one timing, at least
WORK = ("large", "resnet50", "gpt2", "thousand")
RULES = ("lamb", "adafactor")
MATRIX, SMALL_MATRIX = (5000, 10_000), (500, 1000)  # for these
SHARE = 0.8  # of the free memory that a contender may take


@dataclass(frozen=True)
class Device:
    """Where arrays are: ``asarray`` brings them there, ``wait`` until all is done, ``copy(to,
    from)``, and the free memory in bytes."""

    backend: str
    asarray: Callable[[Any], Any]
    wait: Callable[[], None]
    copy: Callable[[Any, Any], None]
    free: Callable[[], int]


def cupy_device() -> Device:
    """The current CUDA device."""
    import cupy

    return Device(
        "cupy",
        cupy.asarray,
        lambda: cupy.cuda.Device().synchronize(),
        lambda to, source: cupy.copyto(to, source),
        lambda: int(cupy.cuda.runtime.memGetInfo()[0]),
    )


class Contender:
    """Several steps, then one wait: what `take_turns` times. ``one`` is a step."""

    def __init__(self, device: Device, one: Callable[[], object]) -> None:
        self.device, self.one = device, one

    def give(self, k: int) -> None:
        """Gradients stay where they are, as in most training loops."""

    def step(self) -> None:
        for _ in range(STEPS):
            self.one()
        self.device.wait()

    def count_bytes(self) -> int | None:
        return None


Maker = Callable[[Device, Work], Callable[[], object]]


def samestep(rule: str) -> Maker:
    def make(device: Device, work: Work) -> Callable[[], object]:
        params, grads = ([device.asarray(a) for a in normal(work.shapes, seed)] for seed in (0, 1))
        hyper = HYPER if rule == RULE else {}
        optimizer = ss.Optimizer(rule, params, backend=device.backend, **hyper)
        return lambda: optimizer.step(grads)

    return make


def torch_fused(device: Device, work: Work) -> Callable[[], object]:
    import torch

    return torch_optimizer(lambda tensors: torch.optim.AdamW(tensors, fused=True, **HYPER), work)


def apex_fused(device: Device, work: Work) -> Callable[[], object]:
    from apex.optimizers import FusedAdam

    return torch_optimizer(lambda tensors: FusedAdam(tensors, adam_w_mode=True, **HYPER), work)


def torch_optimizer(make: Callable[[Any], Any], work: Work) -> Callable[[], object]:
    """``make`` of tensors with gradients on the device."""
    import torch

    tensors = [torch.from_numpy(a).cuda().requires_grad_() for a in normal(work.shapes, 0)]
    for tensor, grad in zip(tensors, normal(work.shapes, 1), strict=True):
        tensor.grad = torch.from_numpy(grad).cuda()
    step: Callable[[], object] = make(tensors).step
    return step


def copying(device: Device, work: Work) -> Callable[[], object]:
    """Half of what a step moves is read, half is written."""
    (source,) = normal(((work.parameters * BYTES_PER_PARAMETER // 8,),), 0)
    source = device.asarray(source)
    target = source.copy()
    return lambda: device.copy(target, source)


def makers() -> tuple[dict[str, Maker], list[str]]:
    """The contenders that can run, and who is left out and why."""
    found: dict[str, Maker] = {REFERENCE: samestep(RULE), COPY: copying}
    left_out = []
    if not has_torch():
        left_out.append("torch fused is left out: torch with CUDA is not installed")
    else:
        found["torch fused"] = torch_fused
    if not has_torch() or importlib.util.find_spec("apex") is None:
        left_out.append("Apex FusedAdam is left out: apex is not installed")
    else:
        found["Apex FusedAdam"] = apex_fused
    return found, left_out


def has_torch() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def measure(
    device: Device,
    work: Work,
    contenders: Mapping[str, Maker],
    rounds: int,
    moved: Mapping[str, int],
) -> dict[str, Any]:
    """Times and bytes per second of each contender. ``moved`` has the bytes per parameter of those
    that do not move AdamW's."""
    made = {name: Contender(device, make(device, work)) for name, make in contenders.items()}
    seconds = take_turns(made, 1, rounds, lambda: None)
    for times in seconds.values():
        times[:] = [time / STEPS for time in times]
    entries = []
    for name, times in seconds.items():
        count = moved.get(name, BYTES_PER_PARAMETER) * work.parameters
        entries.append(
            {
                "name": name,
                "seconds": median(times),
                "all_seconds": times,
                "times_reference": ratio(seconds, name, REFERENCE),
                "bytes_per_second": count / median(times),
                "fraction_of_copy": ratio(seconds, COPY, name)
                * count
                / (BYTES_PER_PARAMETER * work.parameters),
            }
        )
    return {
        "name": work.name,
        "title": work.title,
        "parameters": work.parameters,
        "contenders": entries,
    }


def run(device: Device, quick: bool, rounds: int) -> dict[str, Any]:
    """All works that fit into the device's memory."""
    found, left_out = makers()
    works = []
    known = all_work(quick)
    for name in WORK:
        need = 32 * known[name].parameters * len(found)
        if need > SHARE * device.free():
            left_out.append(f"{known[name].title} is left out: it takes {need / 2**30:.1f} GiB")
            continue
        works.append(measure(device, known[name], found, rounds, {}))
    shape = SMALL_MATRIX if quick else MATRIX
    matrix = Work("rules", f"other rules on {shape[0]:,} x {shape[1]:,}", (shape,))
    others = {name: samestep(name) for name in RULES}
    moved = {name: 4 * sum(program(ss.rules.registry[name]).traffic) for name in RULES}
    if 32 * matrix.parameters * (len(RULES) + 2) <= SHARE * device.free():
        contenders = {REFERENCE: found[REFERENCE], **others, COPY: copying}
        works.append(measure(device, matrix, contenders, rounds, moved))
    return {
        "rule": RULE,
        "dtype": "float32",
        "rounds": rounds,
        "quick": quick,
        "work": works,
        "left_out": left_out,
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("gpu.benchmark", description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args(words)
    figures = run(cupy_device(), chosen.quick, 2 if chosen.quick else chosen.rounds)
    chosen.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
