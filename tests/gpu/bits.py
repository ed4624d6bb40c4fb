"""Golden files and random steps on one backend, on the device: ``python -m gpu.bits WHAT BACKEND``,
where WHAT is ``golden``, ``random`` or ``sparse``.

What differs or raises is said at once, in a line that begins with FAILED.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import samestep as ss
from samestep.golden.compare import first_difference
from samestep.golden.composed import RULES
from samestep.golden.format import EXTENSION, VALUES, read
from samestep.golden.verify import verify_one
from samestep.language.dtypes import numpy_dtype
from samestep.language.passes import program
from samestep.step.indexed_slices import IndexedSlices
from variants import DTYPES, options_of, values, variants

TABLES = ((300, 7), (70_001,), (2000, 64))
NAMED = 500  # rows, some of them several times
SHAPES = ((), (1,), (300, 7), (3, 5, 300), (70_001,), (66, 1025))
STEPS = 3
Case = tuple[str, Callable[[], str | None]]  # a name, and what says what differs


def golden(backend: str) -> Iterator[Case]:
    """Every golden file."""
    for path in sorted(VALUES.glob(f"*{EXTENSION}")):
        yield path.stem, partial(_replayed, path, backend)


def _replayed(path: Any, backend: str) -> str | None:
    file = read(path)
    return next(iter(verify_one(file, RULES[file.header.base], backend).differences), None)


def random(backend: str) -> Iterator[Case]:
    """Every variant in every dtype on random numbers, special values among them, and tensors that
    have no gradient."""
    for dtype in DTYPES:
        for seed, rule in enumerate(variants()):
            yield f"{rule.label}.{dtype}", partial(_compared, _stepped, rule, dtype, seed, backend)


def sparse(backend: str) -> Iterator[Case]:
    """Every variant that takes gradients of some rows, on these."""
    for dtype in DTYPES:
        for seed, rule in enumerate(variants()):
            if not program(rule).sums and rule.average_share is None:
                compared = partial(_compared, _stepped_by_rows, rule, dtype, seed, backend)
                yield f"{rule.label}.{dtype} by rows", compared


def _compared(
    stepped: Callable[..., dict[str, Any]], rule: ss.Rule, dtype: str, seed: int, backend: str
) -> str | None:
    ours, expected = (stepped(rule, dtype, seed, name) for name in (backend, "numpy"))
    for name, array in ours.items():
        if difference := first_difference(array, expected[name]):
            return f"{name}: {difference}"
    return None


def _stepped(rule: ss.Rule, dtype: str, seed: int, backend: str) -> dict[str, Any]:
    """Parameters and state, on the host, after some steps."""
    rng, place = np.random.default_rng(seed), ss.get_backend(backend)
    make = lambda shape: place.asarray(values(rng, shape, numpy_dtype(dtype), 0.02))  # noqa: E731
    params = [make(shape) for shape in SHAPES]
    optimizer = ss.Optimizer(rule, params, backend=backend, **options_of(rule))
    for _ in range(STEPS):
        grads = [make(shape) for shape in SHAPES]
        optimizer.step([None if rng.random() < 0.1 else grad for grad in grads])
    return _on_host(optimizer, params)


def _stepped_by_rows(rule: ss.Rule, dtype: str, seed: int, backend: str) -> dict[str, Any]:
    """As `_stepped`, by gradients of some rows."""
    rng, place = np.random.default_rng(seed), ss.get_backend(backend)
    make = lambda shape: place.asarray(values(rng, shape, numpy_dtype(dtype), 0.02))  # noqa: E731
    params = [make(shape) for shape in TABLES]
    options = {**options_of(rule), "lazy": True, "clip_global_norm": 1e3}
    optimizer = ss.Optimizer(rule, params, backend=backend, **options)
    for _ in range(STEPS):
        optimizer.step([
            IndexedSlices(
                make((NAMED, *shape[1:])), place.asarray(rng.integers(0, shape[0], NAMED))
            )
            for shape in TABLES
        ])  # fmt: skip
    return _on_host(optimizer, params)


def _on_host(optimizer: ss.Optimizer, params: list[Any]) -> dict[str, Any]:
    place = optimizer.backend
    found = {f"param {i}": place.to_numpy(param) for i, param in enumerate(params)}
    for i, state in enumerate(optimizer.state):
        found |= {f"{name} {i}": place.to_numpy(array) for name, array in state.items()}
    return found


def failures(cases: Iterable[Case]) -> tuple[int, int]:
    """How many cases there are and how many of them fail, each of which is named at once."""
    count = failed = 0
    for name, differs in cases:
        count += 1
        try:
            difference = differs()
        except Exception as error:  # the next case may say more
            difference = f"{type(error).__name__}: {error}".splitlines()[0]
        if difference:
            failed += 1
            print(f"FAILED {name}: {difference}", flush=True)
    return count, failed


def main(what: str, backend: str) -> int:
    if backend.startswith("torch"):
        from . import on_cuda  # noqa: F401 (which brings torch's arrays to the device)
    count, failed = failures({"golden": golden, "random": random, "sparse": sparse}[what](backend))
    print(f"{count} {what} cases on {backend}, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
