"""``samestep bench --torch``: what fusing saves, on the same tensors: torch's optimizers and ours.

For-loop, foreach, compiled and fused; and a population, as one launch and as ``torch.func.vmap``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ...optimizers.optimizer import Optimizer
from ..cli.console import print_table, progress
from ..cli.errors import UserError
from ..cli.installation import need
from ..memory.moved import bytes_by_torch, operations_by_torch
from .contenders import BYTES_PER_PARAMETER, HYPER, RULE, Contender
from .frameworks import TORCH_VARIANTS, Torch, TorchCompiled, Vmapped, torch_adamw
from .peak import resident_peak
from .timing import Seconds, ratio, take_turns
from .work import Work
from .work_table import COUNTED, FRESH_SETS, normal

OURS = ("forloop", "foreach", "compiled", "fused")
FIRST = "samestep fused"
POPULATION, COPIES = "population", 16  # of one network
NETWORK = ((64, 32), (1, 32), (32, 10), (1, 10))  # a small one: handwritten digits of 8 x 8
COLUMNS = ("", "ms per step", f"times {FIRST}", "extra memory, MB", "operations",
           "bytes moved per parameter")  # fmt: skip
EXPLAINED = (
    "Foreach fuses horizontally: one operation serves many tensors, which saves launches and the "
    "interpreter's time, the larger part of a step on small tensors. It still moves as many bytes "
    "as the for-loop, and torch's keeps its temporaries for all tensors at once.",
    "Compiled fuses vertically: one pass makes all of a rule's operations on each element, so that "
    "every array is read and written once and there are no temporaries. It pays off on large "
    "tensors; over slices it still copies small tensors in and out.",
    "Fused is both: one launch over all tensors, each element loaded once and nothing copied.",
    "vmap runs one functional step with an axis more: copies of a network, or of a rule with "
    "several learning rates, become one larger tensor. It saves what foreach saves, for tensors of "
    "one shape that are stacked already, and moves the bytes of unfused operations. Here the "
    "networks' learning rates are rows of the launch's table, whatever the shapes.",
)


@dataclass(frozen=True)
class Row:
    """A contender, and what is counted of it rather than timed; None is not known."""

    make: Callable[[Any, Any], Contender]
    operations: Callable[[Contender], int | None]
    moved: Callable[[Sequence[Any]], float | None]


def run(names: Sequence[str] | None, repeats: int, quick: bool) -> int:
    """Measure and print. Raises UserError."""
    need("bench --torch", ("torch", "numba", "rich"), "cli,numba")
    if repeats < 1:
        raise UserError("--repeats must be at least 1")
    known = {work.name: work for work in torch_work(quick)}
    if unknown := [name for name in names or () if name not in known]:
        raise UserError(f"--work {unknown[0]}: with --torch there are {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names or known)]
    with uncached(), progress(repeats * sum(1 + work.many_small for work in chosen)) as advance:
        for work in chosen:
            one = len(work.shapes) == 1
            rows = population() if work.name == POPULATION else contenders(compiles=one)
            for sets in (1, FRESH_SETS) if work.many_small else (1,):
                measure(work, sets, rows, repeats, functools.partial(advance, work.name))
    print("\n\n".join(EXPLAINED))
    return 0


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Have everything compiled here: cached code may be for other settings, and once was for one
    thread."""
    settings: Any = importlib.import_module("torch.compiler.config")
    with warnings.catch_warnings(), settings.patch(force_disable_caches=True):
        warnings.filterwarnings("ignore", "dynamo_pgo force disabled")
        yield


def torch_work(quick: bool) -> list[Work]:
    """One tensor, many large ones, many small ones, and a population of small networks."""
    scale = 100 if quick else 1
    networks = f"a population of {COPIES} networks, each with its own learning rate"
    return [
        Work("large", f"one tensor of {50_000_000 // scale:,}", ((50_000_000 // scale,),)),
        Work("many", f"{500 // scale} tensors of 100,000", ((100_000,),) * (500 // scale)),
        Work(
            "thousand",
            f"{1000 // scale:,} tensors of 1,000",
            ((1000,),) * (1000 // scale),
            many_small=True,
        ),
        Work(POPULATION, networks, NETWORK * COPIES),
    ]


def contenders(compiles: bool) -> dict[str, Row]:
    """Torch's implementations and ours. ``compiles``: torch's own compiled one, too: it makes one
    graph of all tensors, which takes a minute for a hundred of them."""
    found = {}
    for name in TORCH_VARIANTS:
        torchs = functools.partial(Torch, torch_adamw(name, **HYPER))
        found[name] = Row(torchs, counted_operations, functools.partial(counted_bytes, torchs))
    if compiles:
        make_compiled = functools.partial(TorchCompiled, torch_adamw("torch foreach", **HYPER))
        found["torch compiled"] = Row(make_compiled, lambda _: None, lambda _: None)
    for name in OURS:
        make = functools.partial(Ours, f"torch:{name}")
        found[f"samestep {name}"] = Row(
            make, planned_operations, functools.partial(planned_bytes, make)
        )
    make_class = functools.partial(Torch, _of_class)
    found["samestep.torch.AdamW"] = Row(
        make_class, planned_operations, functools.partial(planned_bytes, make_class)
    )
    return found


def population() -> dict[str, Row]:
    """Networks with learning rates of their own: ours as groups of one optimizer."""
    found = {}
    for name in ("foreach", "compiled", "fused"):
        make = functools.partial(Ours, f"torch:{name}", size=len(NETWORK))
        found[f"samestep {name}"] = Row(
            make, planned_operations, functools.partial(planned_bytes, make)
        )
    vmapped = functools.partial(Vmapped, RULE, HYPER, COPIES)
    found["torch.func.vmap"] = Row(vmapped, counted_operations, lambda _: None)
    compiled = functools.partial(Vmapped, RULE, HYPER, COPIES, compiled=True)
    found["torch.func.vmap, compiled"] = Row(compiled, lambda _: None, lambda _: None)
    return found


class Ours(Torch):
    """Ours on the same tensors; ``size`` of them are a group, with a learning rate of its own."""

    def __init__(
        self, backend: str, params: Any, sets: Sequence[Any], size: int | None = None
    ) -> None:
        super().__init__(functools.partial(_optimizer, backend, size), params, sets)
        self.size = size

    def give(self, k: int) -> None:
        grads: Any = self.sets[k]
        if self.size is not None:
            grads = [grads[i : i + self.size] for i in range(0, len(grads), self.size)]
        self.step = functools.partial(self.optimizer.step, grads)


def _optimizer(backend: str, size: int | None, tensors: list[Any]) -> Optimizer:
    params: Any = tensors
    if size is not None:
        groups = [tensors[i : i + size] for i in range(0, len(tensors), size)]
        params = [{"params": g, "lr": HYPER["lr"] * (1 + k)} for k, g in enumerate(groups)]
    hyper: dict[str, Any] = {**HYPER}
    return Optimizer(RULE, params, backend=backend, **hyper)


def _of_class(tensors: list[Any]) -> Any:
    """Ours as a ``torch.optim.Optimizer``."""
    module: Any = importlib.import_module("samestep.torch")
    return module.AdamW(tensors, **HYPER)


# ---- what is counted


def counted_operations(contender: Any) -> int:
    """Operations given to torch by one step, views left out."""
    return operations_by_torch(contender.step)


def counted_bytes(make: Callable[[Any, Any], Any], shapes: Sequence[Any]) -> float:
    """Per parameter, by counting a step of one tensor."""
    params, grads = (normal(COUNTED.shapes, seed) for seed in (0, 1))
    contender = make(params, [grads])
    contender.give(0)
    contender.step()
    return bytes_by_torch(contender.step) / COUNTED.parameters


def planned_operations(contender: Any) -> int:
    """Of ours: as the launches have planned them."""
    return sum(getattr(launch, "operations", 1) for launch in _launches(contender))


def _launches(contender: Any) -> list[Any]:
    optimizer = contender.optimizer
    ours = optimizer if isinstance(optimizer, Optimizer) else optimizer._participants
    return [bucket._launch for bucket in ours._run.stepping._work.updates]


def planned_bytes(make: Callable[[Any, Any], Any], shapes: Sequence[Any]) -> float:
    """Per parameter, of a model of these shapes; a fused launch moves what the rule has to."""
    params, grads = (normal(tuple(shapes), seed) for seed in (0, 1))
    contender = make(params, [grads])
    contender.give(0)
    contender.step()
    elements = sum(param.size for param in params)
    moved = (
        getattr(each, "moved", BYTES_PER_PARAMETER * elements) for each in _launches(contender)
    )
    return sum(moved) / elements


# ---- a table


def measure(
    work: Work, count: int, rows: Mapping[str, Row], repeats: int, advance: Callable[[], None]
) -> None:
    """Time all rows in turns, with that many sets of gradients one after the other, and print."""
    shapes = work.shapes
    params, sets = normal(shapes, 0), [normal(shapes, 1 + k) for k in range(count)]
    made: dict[str, Contender] = {name: row.make(params, sets) for name, row in rows.items()}
    seconds = take_turns(made, count, repeats, advance)
    lines = [_line(name, row, made[name], seconds, shapes) for name, row in rows.items()]
    print_table(
        work.title + (", other gradients at every step" if count > 1 else ""), COLUMNS, lines
    )
    print()


def _line(
    name: str, row: Row, contender: Contender, seconds: Seconds, shapes: Sequence[Any]
) -> list[str]:
    peak = resident_peak(contender.step)
    operations, moved = row.operations(contender), row.moved(shapes)
    return [
        name,
        f"{median(seconds[name]) * 1e3:,.3f}",
        f"{ratio(seconds, name, FIRST):,.2f}",
        "–" if peak is None else f"{peak / 1e6:,.1f}",
        "–" if operations is None else f"{operations:,}",
        "–" if moved is None else f"{moved:,.0f}",
    ]
