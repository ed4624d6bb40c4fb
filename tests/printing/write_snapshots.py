"""Snapshots of printed source, so that a change to a kernel is seen in review: those in
``snapshots/``, and AdamW's in ``docs/printed.md``.

``python tests/printing/write_snapshots.py`` writes them anew; look at the difference.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import samestep as ss
from samestep.golden.cases import variants
from samestep.language.stages import stages
from samestep.parts.decay import decoupled
from samestep.parts.moments import moments
from samestep.rules.adam import delta

FOLDER = Path(__file__).parent / "snapshots"
PAGE = Path(__file__).parents[2] / "docs/printed.md"
SUFFIX = {"numba": "py", "c": "c", "cuda": "cu"}
OTHER_DTYPES = {"adamw": ("float64", "bfloat16", "float16"), "lamb": ("bfloat16",)}
IN_BLOCKS = {
    "states_8_bits": {"exp_avg": "int8", "exp_avg_sq": "uint8"},
    "states_4_bits": {"exp_avg": "int4", "exp_avg_sq": "uint4"},
    "states_dynamic8": {"exp_avg": "dynamic8", "exp_avg_sq": "udynamic8"},
}
TITLES = {"c": "C", "cuda": "CUDA", "numba": "Numba"}
TEXT = """\
# AdamW, printed

The arithmetic of an optimizer is written once, in Python ([adam.py](../core/rules/adam.py),
and what it shares with other rules, [core/parts/](../core/parts)):

```python
{rule}
```

The parameter becomes `param - (delta + decoupled)`.

`samestep.emit("adamw", target)` and `samestep show adamw --target ...` print it as source. The names
and the order of operations stay, so that it can be read beside the rule:

<table>
<tr>{heads}</tr>
<tr>{hearts}</tr>
</table>

The whole texts follow, for float32. Each snapshot of
[tests/printing/snapshots/](../tests/printing/snapshots) is such a text. This page is written by
`python tests/printing/write_snapshots.py`.
"""


def snapshots() -> dict[str, str]:
    """Return file name to text: every variant for float32, a few for the other dtypes, and AdamW
    with states in blocks."""
    in_blocks = {
        f"adamw_{name}.float32.{suffix}": ss.emit("adamw", target, state_dtype=codecs)
        for name, codecs in IN_BLOCKS.items()
        for target, suffix in SUFFIX.items()
    }
    return in_blocks | {
        f"{rule.label}.{dtype}.{suffix}": ss.emit(rule, target, dtype)
        for rule in variants()
        if not stages(rule).calls
        for dtype in ("float32", *OTHER_DTYPES.get(rule.label, ()))
        for target, suffix in SUFFIX.items()
    }


def page() -> str:
    """Return the page with AdamW for each target."""
    texts = {target: ss.emit("adamw", target) for target in TITLES}
    text = TEXT.format(
        rule="\n\n".join(map(inspect.getsource, (moments, delta, decoupled))).rstrip(),
        heads="".join(f"<th>{title}</th>" for title in TITLES.values()),
        hearts="".join(f"<td>\n\n{_code(t, _heart(text))}\n</td>" for t, text in texts.items()),
    )
    for target, title in TITLES.items():
        text += f"\n## {title}\n\n{_code(target, texts[target])}"
    return text


def _heart(text: str) -> str:
    """Return the lines of the update's arithmetic."""
    lines = text.splitlines()
    first = next(k for k, line in enumerate(lines) if "exp_avg = beta1" in line)
    last = next(k for k, line in enumerate(lines) if "= param - (" in line)
    return textwrap.dedent("\n".join(lines[first : last + 1])) + "\n"


def _code(target: str, text: str) -> str:
    language = {"numba": "python"}.get(target, target)
    return f"```{language}\n{text}```\n"


def write(folder: Path) -> None:
    """Make the files in ``folder`` those of `snapshots`, and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = snapshots()
    for file in folder.iterdir():
        if file.is_file() and file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
    PAGE.write_text(page(), encoding="utf-8")
