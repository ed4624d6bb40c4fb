"""``samestep bench --torch``: the gain by fusing, on the same tensors: torch's optimizers and ours.

For-loop, foreach, compiled and fused; and a population, as one launch and as ``torch.func.vmap``.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...optimizers.optimizer import Optimizer
from ..cli.console import print_table, progress
from ..cli.installation import need
from .contenders import BYTES_PER_PARAMETER, HYPER, RULE
from .frameworks import TORCH_VARIANTS, Torch, TorchCompiled, Vmapped, torch_adamw
from .moved import Counted, counting_torch
from .peak import resident_peak
from .timing import Arrays, Maker, ratios, spread, take_turns
from .work import Work, choose, normal
from .work_table import FRESH_SETS, made

FIRST = "samestep fused"
POPULATION, COPIES = "population", 16  # of one network
NETWORK = ((64, 32), (1, 32), (32, 10), (1, 10))  # a small one: handwritten digits of 8 x 8
COLUMNS = ("", "ms per step [quartiles]", f"times {FIRST} [quartiles]", "extra memory, MB", "operations",
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

Count = tuple[int, float] | None
"""Operations of one step, and the bytes per parameter that they move, if they can be counted."""


@dataclass(frozen=True)
class Row:
    """A contender's maker, and the function that counts one of its steps."""

    make: Maker
    count: Callable[[Maker, Arrays, list[Arrays]], Count]


def run_torch(works: Sequence[str] | None, repeats: int, quick: bool) -> int:
    """Measure and print. Raises UserError."""
    need("bench --torch", ("torch",), "torch")
    known = {work.name: work for work in torch_work(quick)}
    chosen = [known[name] for name in choose(works, known)]
    with uncached(), progress(repeats * sum(1 + work.many_small for work in chosen)) as advance:
        for work in chosen:
            one = len(work.shapes) == 1
            rows = population() if work.name == POPULATION else contenders(compiles=one)
            for sets in (1, FRESH_SETS) if work.many_small else (1,):
                measure(work, sets, rows, repeats, partial(advance, work.name))
    print("\n\n".join(EXPLAINED))
    return 0


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Compile everything anew in this block: cached code may be for other settings."""
    settings: Any = importlib.import_module("torch.compiler.config")
    with warnings.catch_warnings(), settings.patch(force_disable_caches=True):
        warnings.filterwarnings("ignore", "dynamo_pgo force disabled")
        yield


def torch_work(quick: bool) -> list[Work]:
    """Return one tensor, many large ones, many small ones, and a population of small networks."""
    scale = 100 if quick else 1
    large, many, small = 50_000_000 // scale, 500 // scale, 1000 // scale
    networks = f"a population of {COPIES} networks, each with its own learning rate"
    return [
        Work("large", f"one tensor of {large:,}", ((large,),)),
        Work("many", f"{many} tensors of 100,000", ((100_000,),) * many),
        Work("thousand", f"{small:,} tensors of 1,000", ((1000,),) * small, many_small=True),
        Work(POPULATION, networks, NETWORK * COPIES),
    ]


def contenders(compiles: bool) -> dict[str, Row]:
    """Return torch's implementations and ours.

    ``compiles``: torch's own compiled one, too. It makes one graph of all tensors, which takes a
    minute for a hundred of them.
    """
    found = {
        name: Row(partial(Torch, partial(torch_adamw, **HYPER, **options)), counted)
        for name, options in TORCH_VARIANTS.items()
    }
    if compiles:
        foreach = partial(torch_adamw, **HYPER, **TORCH_VARIANTS["torch foreach"])
        found["torch compiled"] = Row(partial(TorchCompiled, foreach), unknown)
    return {
        **found,
        **our_rows("forloop", "foreach", "compiled", "fused"),
        "samestep.torch.AdamW": Row(partial(Torch, _of_class), one_launch),
    }


def population() -> dict[str, Row]:
    """Return networks with learning rates of their own: ours as groups of one optimizer."""
    vmapped = partial(Vmapped, RULE, HYPER, COPIES)
    return {
        **our_rows("foreach", "compiled", "fused", size=len(NETWORK)),
        "torch.func.vmap": Row(vmapped, counted),
        "torch.func.vmap, compiled": Row(partial(vmapped, compiled=True), unknown),
    }


def our_rows(*names: str, size: int | None = None) -> dict[str, Row]:
    """Return our implementations; ``size`` tensors are a group with a learning rate of its own."""
    counts = dict(forloop=counted, foreach=counted, compiled=unknown, fused=one_launch)
    return {
        f"samestep {name}": Row(partial(Ours, f"torch:{name}", size=size), counts[name])
        for name in names
    }


class Ours(Torch):
    """Ours on the same tensors; ``size`` of them are a group, with a learning rate of its own."""

    def __init__(
        self, backend: str, params: Arrays, sets: Sequence[Arrays], size: int | None = None
    ) -> None:
        self.size = size
        super().__init__(partial(self._optimizer, backend), params, sets)

    def _optimizer(self, backend: str, tensors: list[Any]) -> Optimizer:
        params: Any = self._grouped(tensors)
        if self.size is not None:
            params = [{"params": g, "lr": HYPER["lr"] * (1 + k)} for k, g in enumerate(params)]
        return Optimizer(RULE, params, backend=backend, **HYPER)

    def give(self, k: int) -> None:
        self.take_step = partial(self.optimizer.step, self._grouped(self.sets[k]))

    def _grouped(self, tensors: list[Any]) -> list[Any]:
        if self.size is None:
            return tensors
        return [tensors[i : i + self.size] for i in range(0, len(tensors), self.size)]


def _of_class(tensors: list[Any]) -> Any:
    """Return ours as a ``torch.optim.Optimizer``."""
    module: Any = importlib.import_module("samestep.torch")
    return module.AdamW(tensors, **HYPER)


# ---- counts


def counted(make: Maker, params: Arrays, sets: list[Arrays]) -> Count:
    """Count the second step of a contender whose operations are torch's and NumPy's."""
    with counting_torch():
        contender = made(make, params, sets, steps=1)
        Counted.operations = Counted.moved = 0
        contender.step()
    return Counted.operations, Counted.moved / sum(param.size for param in params)


def one_launch(make: Maker, params: Arrays, sets: list[Arrays]) -> Count:
    """Return the count of a launch that moves what the rule cannot do without."""
    return 1, BYTES_PER_PARAMETER


def unknown(make: Maker, params: Arrays, sets: list[Arrays]) -> None:
    """Return None: the operations of compiled code are not given to torch."""


# ---- a table


def measure(
    work: Work, many: int, rows: Mapping[str, Row], repeats: int, advance: Callable[[], None]
) -> None:
    """Time all rows in turns, with so many sets of gradients one after the other, and print."""
    params, *sets = (normal(work.shapes, k) for k in range(1 + many))
    about = ", other gradients at every step" if many > 1 else ""
    contenders = {name: row.make(params, sets) for name, row in rows.items()}
    seconds = take_turns(contenders, many, repeats, advance)
    peaks = {name: resident_peak(contender.step) for name, contender in contenders.items()}
    del contenders
    lines = []
    for name, row in rows.items():
        ms, peak = spread([each * 1e3 for each in seconds[name]]), peaks[name]
        line = [name, ms.shown(), ratios(seconds, name, FIRST).shown()]
        line.append("–" if peak is None else f"{peak / 1e6:,.1f}")
        found = row.count(row.make, params, sets)
        line += ["–", "–"] if found is None else [f"{found[0]:,}", f"{found[1]:,.0f}"]
        lines.append(line)
    print_table(work.title + about, COLUMNS, lines)
    print()
