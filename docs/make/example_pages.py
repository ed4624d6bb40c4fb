"""Pages of the programs in ``docs/examples/``: each is run, and its page shows its text, what it
prints and a picture of what it has found."""

from __future__ import annotations

import contextlib
import io
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent.parent / "examples"


def example_pages() -> dict[str, str | bytes]:
    """Run all examples, and return pages in Markdown and pictures as PNG, by path in the site."""
    pages: dict[str, str | bytes] = {}
    for name, draw in PICTURES.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            names = runpy.run_path(str(FOLDER / f"{name}.py"))
        picture = io.BytesIO()
        figure = Figure(figsize=(9, 3), dpi=120, layout="constrained")
        draw(figure, names)
        figure.savefig(picture, format="png")
        pages[f"examples/{name}.png"] = picture.getvalue()
        pages[f"examples/{name}.md"] = _page(name, names["__doc__"], printed.getvalue())
    return pages


def _page(name: str, about: str, printed: str) -> str:
    title, _, text = about.strip().partition("\n")
    program = (FOLDER / f"{name}.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    return f"""# {title.rstrip(".")}

{text.strip()}

![what the program has found]({name}.png)

It prints

```text
{printed.strip()}
```

The picture and the line are made as this page is built, by the whole program below:
`python docs/examples/{name}.py`.

```python
{program.strip()}
```
"""


def _loss(axes: Any, losses: list[float]) -> None:
    axes.semilogy(losses)
    axes.set(title="loss", xlabel="step")
    axes.spines[["top", "right"]].set_visible(False)


def _phase(figure: Figure, names: dict[str, Any]) -> None:
    axes = figure.subplots(1, 4)
    shown = {
        "true phase": np.angle(names["true_object"]),
        "phase found": np.angle(names["guess"]),
        "amplitude found": np.abs(names["guess"]),
    }
    for place, (title, values) in zip(axes, shown.items(), strict=False):
        limits = (0, 1.2) if "amplitude" in title else (-1.2, 1.2)
        picture = place.imshow(values, vmin=limits[0], vmax=limits[1])
        figure.colorbar(picture, ax=place, shrink=0.6)
        place.set(title=title, xticks=[], yticks=[])
    _loss(axes[3], names["losses"])


def _network(figure: Figure, names: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    grid = np.linspace(-1.2, 1.2, 200, dtype=np.float32)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    output = names["forward"](points)[-1].reshape(len(grid), len(grid))
    left.contourf(grid, grid, output > 0, levels=1, colors=["#F7DCCB", "#D5EBF8"])
    for side, colour in ((1, "#0072B2"), (-1, "#D55E00")):
        left.plot(*names["points"][names["side"] == side].T, ".", color=colour, ms=3)
    left.set(title="what the network says", aspect="equal", xticks=[], yticks=[])
    _loss(right, names["losses"])


PICTURES: dict[str, Callable[[Figure, dict[str, Any]], None]] = {
    "phase": _phase,
    "network": _network,
}
