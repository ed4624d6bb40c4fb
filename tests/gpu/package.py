"""The checkout as the package ``samestep``, without installing it.

The folders are mapped to a package when it is installed (``[tool.setuptools]`` in pyproject.toml).
Links do the same, with no network, no setuptools and nothing written to the Python's own folders.
"""

from __future__ import annotations

from pathlib import Path

INSIDE = ("backends", "golden")  # folders of the checkout that are packages inside of core/


def linked(root: Path, folder: Path) -> Path:
    """Make ``folder`` one to have on PYTHONPATH: in it ``samestep`` is the checkout ``root``."""
    package = folder / "samestep"
    package.mkdir(parents=True, exist_ok=True)
    parts = [path for path in (root / "core").iterdir() if path.name != "__pycache__"]
    for path in [*parts, *(root / name for name in INSIDE)]:
        link = package / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
    return folder
