"""Holds the double of NVIDIA's bindings against the real ones, as `cupy_drift` does for CuPy. Needs
no GPU: ``python bindings_drift.py`` where cuda-bindings are installed; exits with 1 and a line for
each difference."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from cupy_drift import HERE, differences, loaded

NAMES = ("driver", "nvrtc")


def double(name: str, copy: str = "double") -> ModuleType:
    """A module of the double, which imports that of CuPy, under a name of its own."""
    return loaded(f"{copy}_of_{name}", HERE / "cuda" / "bindings" / f"{name}.py")


def main() -> int:
    sys.path.insert(0, str(HERE))
    ours = [double(name) for name in NAMES]
    sys.path.remove(str(HERE))
    found, count = [], 0
    for name, module in zip(NAMES, ours, strict=True):
        theirs = importlib.import_module(f"cuda.bindings.{name}")
        assert not str(theirs.__file__).startswith(str(HERE)), "the double is not the real one"
        below, more = differences(module, theirs, f"cuda.bindings.{name}")
        found += below
        count += more
    version = importlib.import_module("cuda.bindings").__version__
    print("\n".join(found) or f"{count} names are as in cuda-bindings {version}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
