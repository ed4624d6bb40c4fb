"""The benchmark's times as bars: multiples of the bare loop, a panel for each work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..demo.picture import COLOURS
from .contenders import BARE_LOOP

OURS, OTHERS = COLOURS[0], "0.75"
ACROSS = 2  # panels side by side
PANEL_WIDTH, BAR_HEIGHT, PANEL_MARGIN = 6.0, 0.27, 0.95  # inches


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a picture in the format of the file name's ending.

    The axes are logarithmic: equal lengths are equal ratios.
    """
    from matplotlib.figure import Figure

    down = math.ceil(len(results) / ACROSS)
    across = min(ACROSS, len(results))
    bars = max(len(result["contenders"]) for result in results) - 1
    height = down * (bars * BAR_HEIGHT + PANEL_MARGIN) + 0.4
    figure = Figure(figsize=(across * PANEL_WIDTH, height), dpi=120, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).reshape(-1)
    for panel, result in zip(panels, results, strict=False):
        _draw_work(panel, result)
    for panel in panels[len(results) :]:
        panel.remove()
    figure.suptitle(
        "AdamW, float32: time of a step as a multiple of the bare loop over the same memory"
    )
    figure.savefig(path)


def _draw_work(panel: Any, result: Mapping[str, Any]) -> None:
    others = [figures for figures in result["contenders"] if figures["name"] != BARE_LOOP]
    names = [figures["name"] for figures in others]
    times = [1 / figures["fraction_of_bare_loop"] for figures in others]
    colours = [OURS if name.startswith("samestep") else OTHERS for name in names]
    panel.barh(names, times, color=colours, height=0.7)
    panel.set_xscale("log")
    lowest, highest = min(0.5, min(times) / 2), max(2.0, *times)
    panel.set_xlim(lowest, highest * (highest / lowest) ** 0.14)  # room for the numbers
    for row, value in enumerate(times):
        panel.annotate(
            f"{value:,.2f}" if value < 10 else f"{value:,.0f}",
            (value, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8,
            bbox=dict(facecolor="white", edgecolor="none", pad=0.6),
        )  # fmt: skip
    panel.axvline(1, color="0.2", lw=1)
    panel.invert_yaxis()
    gradients = "" if result["gradients"] == "same" else ", fresh gradient arrays"
    panel.set_title(result["title"] + gradients, fontsize=10)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.tick_params(labelsize=8)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color="0.9", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
