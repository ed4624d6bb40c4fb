"""What came out, as one JSON file for machines and a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samestep.tools.bench.timing import Spread

from .driver import Gpu
from .running import FAILED, Outcome

FILE = "results.json"
COLUMNS = (
    "µs [quartiles]", "host µs", "times first [quartiles]", "GB/s", "% of a copy",
)  # fmt: skip


def collect(
    gpu: Gpu, outcomes: Sequence[Outcome], setting: dict[str, Any], benchmark: Path
) -> dict[str, Any]:
    """All that is known, ready for JSON."""
    figures = json.loads(benchmark.read_text()) if benchmark.exists() else None
    return {
        "format": 3,
        "passed": not any(outcome.status == FAILED for outcome in outcomes),
        "gpu": asdict(gpu) | {"cuda": gpu.cuda_version},
        "setting": setting,
        "checks": [asdict(outcome) for outcome in outcomes],
        "benchmark": figures,
    }


def write(results: dict[str, Any], folder: Path) -> Path:
    path = folder / FILE
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return path


def table(results: dict[str, Any]) -> str:
    """The checks with what failed, and a table for each work of the benchmark."""
    gpu, benchmark = results["gpu"], results["benchmark"] or {}
    rows = [
        [check["name"], check["status"], f"{check['seconds']:.0f}", check["detail"]]
        for check in results["checks"]
    ]
    parts = [
        f"{gpu['name']}, compute capability {gpu['capability']}, "
        f"{gpu['memory'] / 2**30:.0f} GiB, driver for CUDA {gpu['cuda']}",
        aligned(["check", "", "s", ""], rows),
    ]
    parts += ["\n".join(check["failures"]) for check in results["checks"] if check["failures"]]
    parts += map(work_table, benchmark.get("work", []))
    return "\n\n".join([*parts, *benchmark.get("left_out", [])]) + "\n"


def work_table(work: Mapping[str, Any]) -> str:
    """Who takes how long for one work; each is compared with the first and with the copy."""
    rows = [
        [
            entry["name"],
            _spread(entry, "seconds", 1e6).shown(),
            f"{entry['host_seconds'] * 1e6:,.0f}",
            _spread(entry, "times_first").shown(),
            f"{entry['bytes_per_second'] / 1e9:,.0f}",
            f"{100 * entry['fraction_of_copy']:.1f}%",
        ]
        for entry in work["contenders"]
    ]
    return aligned([work["title"], *COLUMNS], rows)


def _spread(entry: Mapping[str, Any], name: str, unit: float = 1.0) -> Spread:
    """A figure in the file, with its quartiles."""
    return Spread(*(unit * figure for figure in (entry[name], *entry[f"{name}_quartiles"])))


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text: the first column to the left, the last, too, if it has no title."""
    lines = [columns, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    left = {0, 1} if columns[1] == "" else {0}
    left |= {len(columns) - 1} if columns[-1] == "" else set()
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
