"""The benchmark's figures as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..cli.console import print_table
from .contenders import NUMPY, REFERENCE
from .timing import spread

COLUMNS = ("", "ms per step [quartiles]", f"times {REFERENCE} [quartiles]", "GB/s", "% of bare loop", "extra memory, MB",
           "bytes moved per parameter")  # fmt: skip


def print_work(result: Mapping[str, Any]) -> None:
    """Print a row per contender; GB/s are of the bytes that the rule cannot do without."""
    rows = [
        [
            figures["name"],
            _milliseconds(figures["all_seconds"]),
            figures["times_reference"].shown(),
            f"{figures['bytes_per_second'] / 1e9:,.1f}",
            f"{figures['fraction_of_bare_loop']:.0%}",
            _megabytes(figures["extra_memory"]),
            _count(figures["bytes_moved_per_parameter"]),
        ]
        for figures in result["contenders"]
    ]
    title = f"{result['title']}, {result['gradients']} gradient arrays at every step"
    print_table(title, COLUMNS, rows)
    equal = [
        figures["name"]
        for figures in result["contenders"]
        if figures["times_reference"].within_noise_of_one and figures["name"] != REFERENCE
    ]
    if equal:
        print(f"Equal to {REFERENCE}, within the noise of this run: {', '.join(equal)}.")
    if result["blocks_speed_up"]:
        print(
            f"{NUMPY} is {result['blocks_speed_up']:.2f} times as fast as the same formula, written "
            "by hand, on one array after the other."
        )
    if len(result["groups"]) > 1:
        print(f"Not all fit into memory at once: measured in {len(result['groups'])} groups.")
    print()


def print_rules(result: Mapping[str, Any]) -> None:
    """Print a row per rule."""
    first = result["rules"][0]["title"]
    rows = [
        [
            figures["title"],
            _milliseconds(figures["all_seconds"]),
            figures["times_first"].shown(),
            _count(figures["bytes_moved_per_parameter"]),
            _megabytes(figures["extra_memory"]),
        ]
        for figures in result["rules"]
    ]
    rows_by_columns = " x ".join(f"{size:,}" for size in result["shape"])
    print_table(
        f"Rules on {result['backend']}: a {rows_by_columns} {result['dtype']} matrix",
        [
            "",
            "ms per step [quartiles]",
            f"times {first} [quartiles]",
            "bytes moved per parameter",
            "extra memory, MB",
        ],
        rows,
    )
    print()


def print_startup(startup: Mapping[str, Sequence[float]]) -> None:
    """Print the milliseconds that a new process takes."""
    rows = [[name, _milliseconds(seconds)] for name, seconds in startup.items()]
    print_table("A new process", ["", "ms [quartiles]"], rows)


def print_left_out(reasons: Sequence[str]) -> None:
    """Print a line for each contender that was left out."""
    if reasons:
        print("\n" + "\n".join(f"{reason}." for reason in reasons))


def _milliseconds(seconds: Sequence[float]) -> str:
    return spread([each * 1e3 for each in seconds]).shown()


def _megabytes(memory: Mapping[str, int | None]) -> str:
    return f"{max(count or 0 for count in memory.values()) / 1e6:,.1f}"


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"
