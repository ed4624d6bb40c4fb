"""What came out, as one JSON file for machines and a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checks import FAILED, Outcome
from .driver import Gpu

FILE = "results.json"


def collect(
    gpu: Gpu, outcomes: Sequence[Outcome], setting: dict[str, Any], benchmark: Path
) -> dict[str, Any]:
    """All that is known, ready for JSON."""
    figures = json.loads(benchmark.read_text()) if benchmark.exists() else None
    return {
        "format": 1,
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
    """The checks, and a table for each work of the benchmark."""
    gpu = results["gpu"]
    parts = [
        f"{gpu['name']}, compute capability {gpu['capability']}, "
        f"{gpu['memory'] / 2**30:.0f} GiB, driver for CUDA {gpu['cuda']}",
        aligned(
            ["check", "", "s", ""],
            [
                [check["name"], check["status"], f"{check['seconds']:.0f}", check["detail"]]
                for check in results["checks"]
            ],
        ),
    ]
    for work in (results["benchmark"] or {}).get("work", []):
        rows = [
            [
                entry["name"],
                f"{entry['seconds'] * 1e3:.3f}",
                f"{entry['times_reference']:.2f}",
                f"{entry['bytes_per_second'] / 1e9:.0f}",
                f"{100 * entry['fraction_of_copy']:.0f}%",
            ]
            for entry in work["contenders"]
        ]
        columns = [work["title"], "ms per step", "times samestep", "GB/s", "% of a copy"]
        parts.append(aligned(columns, rows))
    parts += (results["benchmark"] or {}).get("left_out", [])
    return "\n\n".join(parts) + "\n"


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
