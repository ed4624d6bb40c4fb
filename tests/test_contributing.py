"""`CONTRIBUTING.md` is followed to the letter, in a copy of the checkout: nothing else is
touched."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import toys
from helpers import ROOT

pytestmark = pytest.mark.whole

PAGE = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
TOP = ("core", "backends", "golden", "tests", "docs")
# in a process that finds it first: this package is the copy, whatever is installed
SITE = """
import importlib.util, sys
FOLDERS = {{"samestep": "core", "samestep.backends": "backends", "samestep.golden": "golden"}}
class Copy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in FOLDERS:
            folder = {root!r} + "/" + FOLDERS[name]
            return importlib.util.spec_from_file_location(
                name, folder + "/__init__.py", submodule_search_locations=[folder]
            )
sys.meta_path.insert(0, Copy)
"""


class Checkout:
    """A copy of the checkout's files, and commands that run on it."""

    def __init__(self, folder: Path) -> None:
        self.root, self._site = folder / "checkout", folder / "site"
        ignored = shutil.ignore_patterns("__pycache__")
        for name in TOP:
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
            shutil.copy(ROOT / name, self.root / name)
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(SITE.format(root=str(self.root)))
        self._before = self._files()

    def _files(self) -> dict[str, bytes]:
        found = [f for top in TOP for f in (self.root / top).rglob("*") if f.is_file()]
        kept = (f for f in found if f.suffix != ".pyc")
        return {f.relative_to(self.root).as_posix(): f.read_bytes() for f in kept}

    def touched(self) -> set[str]:
        """Return the files that are new, other or gone."""
        return {name for name, _ in self._before.items() ^ self._files().items()}

    def write(self, file: str, text: str) -> None:
        """Make a new file."""
        assert not (self.root / file).exists()
        (self.root / file).write_text(text, encoding="utf-8")

    def insert(self, lines: Mapping[str, Mapping[str, str]]) -> None:
        """Insert lines into files, each behind the line that is its key."""
        for file, added in lines.items():
            text = (self.root / file).read_text(encoding="utf-8")
            for before, line in added.items():
                assert text.count(before) == 1, (file, before)
                text = text.replace(before, before + line)
            (self.root / file).write_text(text, encoding="utf-8")

    def run(self, command: str, **environment: str) -> str:
        """Run a command line of the page, here; return what it prints."""
        first, *words = shlex.split(command)
        main = "import sys; from samestep.tools.cli.commands import main; sys.exit(main())"
        start = ["-c", main] if first == "samestep" else []
        done = subprocess.run(
            [sys.executable, *start, *words],
            capture_output=True, text=True, check=False, cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self._site), "COLUMNS": "100", **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def said(command: str, name: str) -> str:
    """Return a command that the page says, with ``name`` for NAME."""
    assert f"`{command}`" in PAGE, command
    return command.replace("NAME", name)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_a_rule_is_added_as_the_page_says(checkout):
    checkout.write("core/rules/toy.py", toys.RULE)
    checkout.insert(toys.OF_RULE)
    checkout.run(said("python tests/optimizers/stubs.py", "toy"))
    checkout.run(said("samestep golden generate --rule NAME", "toy"))
    checkout.run(said("python tests/printing/write_snapshots.py", "toy"))
    by_hand = {"core/rules/toy.py", *toys.OF_RULE}
    written = {"core/optimizers/classes.pyi", "core/torch.pyi"}
    written |= {f"tests/printing/snapshots/toy.float32.{suffix}" for suffix in ("c", "cu", "py")}
    dtypes = ("float64", "float32", "float16", "bfloat16")
    written |= {f"golden/values/toy.{dtype}.safetensors" for dtype in dtypes}
    assert checkout.touched() == by_hand | written
    verify = said("samestep golden verify --rule NAME --backend numba", "toy")
    for backend in ("numpy", "numba"):
        done = checkout.run(verify.replace("numba", backend))
        assert f"4 golden files, all with the same bits on {backend}" in done
    tests = "tests/test_layout.py tests/test_layout_names.py tests/optimizers/test_stubs.py"
    checkout.run(f"python -m pytest -q -p no:xdist -k 'not mypy' {tests}")


def test_a_backend_is_added_as_the_page_says(checkout):
    checkout.write("backends/toy.py", toys.BACKEND)
    checkout.insert(toys.OF_BACKEND)
    assert checkout.touched() == {"backends/toy.py", *toys.OF_BACKEND}
    done = checkout.run(said("samestep golden verify --backend NAME", "toy"))
    assert re.search(
        r"files, \d+ with the same bits on toy, \d+ within their tolerance$", done.strip()
    )
    assert "SAMESTEP_TEST_BACKENDS=numpy,NAME python -m pytest tests" in PAGE
    tests = "tests/test_layout.py tests/test_layout_names.py tests/test_errors_backends.py"
    checkout.run(
        f"python -m pytest -q -p no:xdist {tests} tests/parameters/test_errors.py",
        SAMESTEP_TEST_BACKENDS="numpy,toy",
    )


def test_control_a_file_that_is_touched_besides_is_seen(checkout):
    checkout.insert(toys.OF_BACKEND)
    (checkout.root / "core/version.py").unlink()
    assert checkout.touched() == {"core/version.py", *toys.OF_BACKEND}
