"""Who takes part in the benchmark on a GPU: this package on CuPy arrays, on PyTorch's tensors and
as a class for PyTorch; torch, optax and Apex; a copy within the device's memory.

A contender is made for some work: parameters and gradients are on the device from then on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import samestep as ss
from samestep.language.passes import program
from samestep.step.indexed_slices import IndexedSlices
from samestep.step.measurement import NORM
from samestep.tools.bench.contenders import BYTES_PER_PARAMETER, HYPER, RULE
from samestep.tools.bench.work import Work

COPY = "copy of as many bytes"
SPARSE = 100  # one row of as many has a gradient
BLOCK = 1 << 20  # random numbers, repeated: whole arrays of them take long on the host
Step = Callable[[], object]  # enqueues a step
Wait = Callable[[], object]  # until all that was enqueued is done
Maker = Callable[[Work], tuple[Step, Wait]]


@dataclass(frozen=True)
class Contender:
    """``make`` returns a step and a wait for some work. ``moved``: the bytes of a step per
    parameter."""

    make: Maker
    moved: float = BYTES_PER_PARAMETER


@dataclass(frozen=True)
class Place:
    """Arrays on the device, of one library: ``asarray`` brings them there, ``copy(to, from)``,
    ``free`` tells the bytes that are free after unused ones were given back."""

    title: str
    backend: str
    asarray: Callable[[Any], Any]
    wait: Wait
    copy: Callable[[Any, Any], object]
    free: Callable[[], int]


def cupy_place() -> Place:
    """CuPy arrays on the current device."""
    import cupy

    def free() -> int:
        cupy.get_default_memory_pool().free_all_blocks()
        return int(cupy.cuda.runtime.memGetInfo()[0])

    return Place(
        "CuPy arrays", "cupy", cupy.asarray, lambda: cupy.cuda.Device().synchronize(), cupy.copyto, free
    )  # fmt: skip


def torch_place() -> Place:
    """PyTorch's tensors on the current device."""
    import torch

    def free() -> int:
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info()[0])

    return Place(
        "PyTorch tensors", "torch", lambda array: torch.from_numpy(array).cuda(),
        torch.cuda.synchronize, lambda to, source: to.copy_(source), free,
    )  # fmt: skip


def places() -> list[Place]:
    """The libraries that have arrays on the device here."""
    found = [cupy_place()] if importlib.util.find_spec("cupy") else []
    if importlib.util.find_spec("torch"):
        import torch

        found += [torch_place()] if torch.cuda.is_available() else []
    return found


def numbers(work: Work, seed: int) -> list[Any]:
    """Random float32 arrays of a work's shapes."""
    block = np.random.default_rng(seed).standard_normal(BLOCK, np.float32)
    return [np.resize(block, shape) for shape in work.shapes]


# ---- contenders


def adamw(there: list[Place]) -> tuple[dict[str, Contender], list[str]]:
    """AdamW by all who can run, and a line for each who cannot; the copy last."""
    found = {f"samestep, {place.title}": Contender(samestep(place)) for place in there}
    left_out = []
    tensors = next((place for place in there if place.backend == "torch"), None)
    if tensors is None:
        left_out.append("torch is left out: PyTorch with CUDA is not installed")
    else:
        makers = {"samestep.torch.AdamW": class_of_ours, "torch fused": torchs_own("fused"),
                  "torch foreach": torchs_own("foreach")}  # fmt: skip
        if importlib.util.find_spec("apex"):
            makers["Apex FusedAdam"] = apex
        else:
            left_out.append("Apex FusedAdam is left out: apex is not installed")
        for name, make in makers.items():
            found[name] = Contender(partial(torch_optimizer, tensors, make))
    if reason := without_optax():
        left_out.append(f"optax jit is left out: {reason}")
    else:
        found["optax jit"] = Contender(optax_jit)
    return {**found, COPY: copying(there[0])}, left_out


def rules(there: list[Place]) -> dict[str, Contender]:
    """AdamW, with clipping, LAMB and Adafactor by this package; the copy last."""
    kinds: list[tuple[str, Mapping[str, Any]]] = [
        (RULE, HYPER), (RULE, {**HYPER, "clip_global_norm": 1.0}), ("lamb", {}), ("adafactor", {}),
    ]  # fmt: skip
    found = {}
    for place in there:
        for rule, hyper in kinds:
            title = f"{rule}{', clip_global_norm' * ('clip_global_norm' in hyper)}, {place.title}"
            found[title] = Contender(samestep(place, rule, hyper), moved(rule, hyper))
    return {**found, COPY: copying(there[0])}


def sparse(there: list[Place]) -> dict[str, Contender]:
    """SparseAdam of a table of which few rows have a gradient, by this package and by torch; the
    copy, of as many bytes as a step of all rows moves, last."""
    share = BYTES_PER_PARAMETER / SPARSE
    found = {f"sparseadam, {each.title}": Contender(by_rows(each), share) for each in there}
    for place in there:
        if place.backend == "torch":
            found["torch SparseAdam"] = Contender(torchs_by_rows(place), share)
    return {**found, COPY: copying(there[0])}


def rows_of(work: Work) -> tuple[Any, Any, Any]:
    """A table, and the values and indices of a gradient."""
    (table,), ((rows, width),) = numbers(work, 0), work.shapes
    count = max(rows // SPARSE, 1)
    indices = np.random.default_rng(1).integers(0, rows, count)
    return table, np.resize(table, (count, width)), indices


def by_rows(place: Place) -> Maker:
    """This package's SparseAdam."""

    def make(work: Work) -> tuple[Step, Wait]:
        table, values, indices = map(place.asarray, rows_of(work))
        optimizer = ss.Optimizer("sparseadam", table, backend=place.backend)
        return lambda: optimizer.step(IndexedSlices(values, indices)), place.wait

    return make


def torchs_by_rows(place: Place) -> Maker:
    """PyTorch's SparseAdam."""

    def make(work: Work) -> tuple[Step, Wait]:
        import torch

        table, values, indices = map(place.asarray, rows_of(work))
        table.grad = torch.sparse_coo_tensor(
            indices[None], values, table.shape, check_invariants=False
        )
        return torch.optim.SparseAdam([table]).step, place.wait

    return make


def moved(rule: str, hyper: Mapping[str, Any]) -> int:
    """The bytes of a step per float32 element of a matrix."""
    programs = [program(ss.rules.registry[rule])]
    if "clip_global_norm" in hyper:
        programs.append(program(NORM))
    return 4 * sum(sum(each.traffic) for each in programs)


def samestep(place: Place, rule: str = RULE, hyper: Mapping[str, Any] = HYPER) -> Maker:
    """This package's optimizer of a place's arrays."""

    def make(work: Work) -> tuple[Step, Wait]:
        params, grads = ([place.asarray(a) for a in numbers(work, seed)] for seed in (0, 1))
        optimizer = ss.Optimizer(rule, params, backend=place.backend, **hyper)
        return lambda: optimizer.step(grads), place.wait

    return make


def copying(place: Place) -> Contender:
    """Half of what a step moves is read, half is written."""

    def make(work: Work) -> tuple[Step, Wait]:
        size = work.parameters * BYTES_PER_PARAMETER // 8
        source, target = (place.asarray(np.ones(size, np.float32)) for _ in range(2))
        return lambda: place.copy(target, source), place.wait

    return Contender(make)


def torch_optimizer(
    place: Place, make: Callable[[list[Any]], Any], work: Work
) -> tuple[Step, Wait]:
    """An optimizer of PyTorch's, ``make(tensors)``, which have gradients."""
    tensors = [place.asarray(array).requires_grad_() for array in numbers(work, 0)]
    for tensor, grad in zip(tensors, numbers(work, 1), strict=True):
        tensor.grad = place.asarray(grad)
    return make(tensors).step, place.wait


def class_of_ours(tensors: list[Any]) -> Any:
    from samestep.torch import AdamW

    return AdamW(tensors, **HYPER)


def torchs_own(kind: str) -> Callable[[list[Any]], Any]:
    def make(tensors: list[Any]) -> Any:
        import torch

        return torch.optim.AdamW(tensors, **{kind: True}, **HYPER)

    return make


def apex(tensors: list[Any]) -> Any:
    from apex.optimizers import FusedAdam

    return FusedAdam(tensors, adam_w_mode=True, **HYPER)


def without_optax() -> str:
    """Why optax cannot run on the device, or an empty text."""
    for name in ("optax", "jax"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    import jax

    return "" if jax.default_backend() == "gpu" else "JAX has no GPU here"


def optax_jit(work: Work) -> tuple[Step, Wait]:
    """optax' AdamW, compiled, its parameters and state updated in place."""
    import jax
    import optax

    optimizer = optax.adamw(HYPER["lr"], weight_decay=HYPER["weight_decay"])

    def update(grads: Any, params: Any, state: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(update, donate_argnums=(1, 2))
    params, grads = (list(map(jax.device_put, numbers(work, seed))) for seed in (0, 1))
    now = [params, optimizer.init(params)]

    def step() -> None:
        now[:] = compiled(grads, *now)

    return step, lambda: jax.block_until_ready(now)
