"""Snapshots of printed kernels, ``golden/kernels/``: a change to a kernel is seen in review.

``python -m samestep.golden.printed`` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

from ..printing.emit import emit
from .cases import variants
from .format import own_folder

FOLDER = Path(__file__).parent / "kernels"
SUFFIX = {"numba": "py", "c": "c", "cuda": "cu"}
OTHER_DTYPES = {"adamw": ("float64", "bfloat16", "float16"), "lamb": ("bfloat16",)}


def kernels() -> dict[str, str]:
    """Return file name to text: every variant for float32, a few for the other dtypes."""
    return {
        f"{rule.label}.{dtype}.{suffix}": emit(rule, target, dtype)
        for rule in variants()
        for dtype in ("float32", *OTHER_DTYPES.get(rule.label, ()))
        for target, suffix in SUFFIX.items()
    }


def write(folder: Path) -> None:
    """Make the files in ``folder`` those of `kernels`, and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = kernels()
    for file in folder.iterdir():
        if file.is_file() and file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(own_folder(FOLDER))
