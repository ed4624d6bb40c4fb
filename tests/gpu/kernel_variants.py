"""Other ways to write the elementwise CUDA kernel, timed beside the printed one: which of them is
as fast as a copy only a GPU can say. ``python -m gpu.kernel_variants --json FILE`` in the folder
``tests``.

Each is the printed text with something replaced, or other grids; none changes a bit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from samestep.printing.printer import Printer
from samestep.tools.bench.work import Work, all_work

from . import benchmark, results
from .contenders import COPY, Contender, Maker, Step, Wait, copying, places, samestep

LAUNCH = "samestep.backends.cuda.launch"  # where the grids are chosen
LOAD, STORE = "    return *(const Group<T, N> *)from;\n", "    *(Group<T, N> *)to = group;\n"
STREAMED_LOAD = """\
    if constexpr (sizeof(Group<T, N>) % 16) return *(const Group<T, N> *)from;
    else {
        union { Group<T, N> group; uint4 words[sizeof(Group<T, N>) / 16]; } got;
        _Pragma("unroll")
        for (int k = 0; k < sizeof(got) / 16; k++) got.words[k] = __ldcs((const uint4 *)from + k);
        return got.group;
    }
"""
STREAMED_STORE = """\
    if constexpr (sizeof(Group<T, N>) % 16) *(Group<T, N> *)to = group;
    else {
        union { Group<T, N> group; uint4 words[sizeof(Group<T, N>) / 16]; } put = {group};
        _Pragma("unroll")
        for (int k = 0; k < sizeof(put) / 16; k++) __stcs((uint4 *)to + k, put.words[k]);
    }
"""
LOOP = """\
    _Pragma("unroll 1")
    for (int64_t i = first + size * thread; i < n; i += size * threads) {
"""
LOOP_ENDS = "update(Width<1>(), j);\n        }\n    }\n"
ONCE = "    const auto one = [&](int64_t i) {\n"
ONCE_ENDS = """\
update(Width<1>(), j);
        }
    };
    int64_t i = first + size * thread;
    if (i < n) one(i);
    _Pragma("unroll 1")
    for (i += size * threads; i < n; i += size * threads) one(i);
"""
STREAMED = {LOAD: STREAMED_LOAD, STORE: STREAMED_STORE}
TWO_GROUPS = {"_groups<4>(": "_groups<8>(", "_group<4>(": "_group<8>("}
NO_LOOP = {LOOP: ONCE, LOOP_ENDS: ONCE_ENDS}


@dataclass(frozen=True)
class Variant:
    """What is replaced in the printed text of a float32 kernel, and constants of the launch:
    ``PART``, the elements worth a block, and ``BLOCKS_PER_PROCESSOR``."""

    text: Mapping[str, str] = field(default_factory=dict)
    grid: Mapping[str, int] = field(default_factory=dict)

    def of(self, source: str) -> str:
        """The variant of a printed text. Raises ValueError where it has not what is replaced."""
        for old, new in self.text.items():
            if old not in source:
                raise ValueError(f"the printed text has no {old!r}")
            source = source.replace(old, new)
        return source

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """Print and launch it while it is entered."""
        printed = Printer.source
        with (
            patch.object(Printer, "source", lambda printer: self.of(printed(printer))),
            patch.multiple(importlib.import_module(LAUNCH), **self.grid)
            if self.grid
            else contextlib.nullcontext(),
        ):
            yield


SMALL = {"PART": 256 * 4, "BLOCKS_PER_PROCESSOR": 64}
VARIANTS = {
    "as printed": Variant(),
    "two groups in flight": Variant(TWO_GROUPS),
    "streamed": Variant(STREAMED),
    "small blocks": Variant(grid=SMALL),
    "small blocks, no loop": Variant(NO_LOOP, SMALL),
    "small blocks, no loop, streamed": Variant({**NO_LOOP, **STREAMED}, SMALL),
    "two groups, streamed": Variant({**TWO_GROUPS, **STREAMED}),
    "two groups, streamed, small blocks": Variant(
        {**TWO_GROUPS, **STREAMED}, {"PART": 256 * 8, "BLOCKS_PER_PROCESSOR": 32}
    ),
}


def bound(variant: Variant, make: Maker) -> Maker:
    """A maker whose first step, which compiles and binds, has been taken with the variant."""

    def made(work: Work) -> tuple[Step, Wait]:
        with variant.chosen():
            step, wait = make(work)
            step()
            wait()
        return step, wait

    return made


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("gpu.kernel_variants", description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(words)
    place, left_out = places()[0], []
    found = {name: Contender(bound(v, samestep(place))) for name, v in VARIANTS.items()}
    found[COPY] = copying(place)
    works = []
    for name in ("large", "gpt2", "resnet50"):
        works.append(benchmark.on_work(found, all_work()[name], place, chosen.rounds, left_out))
        print(f"{results.work_table(works[-1])}\n", *left_out, sep="\n", flush=True)
        chosen.json.write_text(json.dumps({"work": works, "left_out": left_out}, indent=2) + "\n")
    print(f"figures in {chosen.json.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
