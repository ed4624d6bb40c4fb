"""Curves as a picture in which those that coincide can all be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe & Ito's colours, told apart by colour-blind readers, too
COLOURS = ("#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
DASHES = ("-", (0, (5, 3)), (0, (1.5, 2)), (0, (7, 2, 1.5, 2)), (0, (3, 6)))
WIDTHS = (7.0, 2.8, 2.2, 1.6, 1.0)  # in points; the first curve lies lowest
MARKERS = ("o", "s", "^", "D", "v")
SIZES = (10.0, 7.5, 6.0, 4.5, 3.5)  # of markers, in points


@dataclass(frozen=True)
class Curve:
    """Values over the horizontal axis."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def draw_loss_curves(curves: Sequence[Curve], title: str, path: Path) -> None:
    """Write a picture of the loss after each epoch, a curve per backend."""
    from matplotlib.ticker import MaxNLocator

    axes = _axes(curves, dict(linestyle=DASHES, linewidth=WIDTHS))
    axes.set(xlabel="epoch", ylabel="training loss (mean cross-entropy)", title=title)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.legend(title="backend", frameon=False, handlelength=4)
    axes.figure.savefig(path)


def draw_accuracy_curves(curves: Sequence[Curve], chance: float, title: str, path: Path) -> None:
    """Write a picture of accuracy against learning rate, a curve per rule.

    ``chance`` is the accuracy of guessing.
    """
    from matplotlib.ticker import PercentFormatter

    widths = [size / 3 for size in SIZES]
    axes = _axes(curves, dict(marker=MARKERS, markersize=SIZES, linewidth=widths))
    axes.set(xlabel="learning rate", ylabel="test accuracy", title=title)
    axes.axhline(chance, color="0.5", lw=1, ls=(0, (2, 2)))
    axes.annotate(
        "guessing", (0.5, chance), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="center", color="0.4", fontsize="small",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.grid(visible=False, which="minor")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False)
    axes.figure.savefig(path)


def _axes(curves: Sequence[Curve], styles: dict[str, Any]) -> Any:
    """Return axes with the curves; the name of the saved file tells the format."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(7.2, 4.4), dpi=130, layout="constrained").add_subplot()
    axes.set_prop_cycle(color=COLOURS, **styles)
    for curve in curves:
        axes.plot(curve.x, curve.y, label=curve.label)
    axes.grid(which="both", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes
