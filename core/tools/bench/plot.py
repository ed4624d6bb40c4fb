"""The benchmark's times as one table of colours: a row for each contender, a column for each
work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .contenders import REFERENCE

SLOWEST = 100.0  # times the reference; what is slower has the same colour
CELL_WIDTH, CELL_HEIGHT = 1.15, 0.36  # inches
LABELS_WIDTH, LABELS_HEIGHT = 1.8, 1.35


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a picture in the format of the file name's ending.

    ``results`` are those of works, as in the file of ``samestep bench --json``. A number says how
    many times the reference's time a step takes; its colour is the number's logarithm.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    names = [figures["name"] for figures in results[0]["contenders"]]
    columns = [_times(result) for result in results]
    times = [[column[name] for column in columns] for name in names]
    size = LABELS_WIDTH + CELL_WIDTH * len(columns), LABELS_HEIGHT + CELL_HEIGHT * len(names)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.add_subplot()
    # symmetric, so that equal times are white
    axes.imshow(times, cmap="PuOr_r", norm=LogNorm(1 / SLOWEST, SLOWEST), aspect="auto")
    for row, cells in enumerate(times):
        for column, value in enumerate(cells):
            dark = not 1 / SLOWEST**0.6 < value < SLOWEST**0.6
            axes.text(column, row, _shown(value), ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(len(columns)), map(_heading, results), fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.get_yticklabels()[names.index(REFERENCE)].set_fontweight("bold")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"AdamW, float32: time of a step as a multiple of {REFERENCE}'s (orange: slower)",
        fontsize=11,
    )
    figure.savefig(path)


def _times(result: Mapping[str, Any]) -> dict[str, float]:
    """Return times as multiples of the reference's, by contender; both were compared with the bare
    loop in the same rounds."""
    of = {figures["name"]: figures["fraction_of_bare_loop"] for figures in result["contenders"]}
    return {name: of[REFERENCE] / fraction for name, fraction in of.items()}


def _shown(times: float) -> str:
    return f"{times:.2f}" if times < 9.95 else f"{times:,.0f}"


def _heading(result: Mapping[str, Any]) -> str:
    words = result["title"].replace(",000,000", " million")
    tensors, of, each = words.partition(" of ")
    fresh = "\nfresh gradients" if result["gradients"] == "fresh" else "\n"
    return f"{tensors}\n{of.strip()} {each}{fresh}"
