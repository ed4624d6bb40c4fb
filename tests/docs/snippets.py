"""A page's snippets, run as they stand: each Python program in a namespace of its own, commands
in a shell, all of a page in one folder that was empty.

A block with a ``title`` is written to the file of that name. One whose title is "prints" is what
the snippet before it prints. Other ``text`` is not run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r'^( *)```(\w+)?(?: title="(.*?)")?\n(.*?)^\1```$', re.DOTALL | re.MULTILINE)
LANGUAGES = {"python", "c", "sh", "text"}


@dataclass(frozen=True)
class Snippet:
    """A block of code, with its language and title."""

    language: str
    title: str
    text: str


def snippets(page: str) -> list[Snippet]:
    """Return the blocks of a page. Raises ValueError for one in a language that is not known."""
    found = [
        Snippet(language, title, textwrap.dedent(text))
        for _, language, title, text in BLOCK.findall(page)
    ]
    if unknown := {each.language for each in found} - LANGUAGES:
        raise ValueError(f"blocks in {unknown}; expected {LANGUAGES}")
    return found


def run(page: str, folder: Path) -> None:
    """Run all snippets of a page. Raises what they raise, or AssertionError for another output."""
    printed = ""
    for each in snippets(page):
        if each.title == "prints":
            assert printed.strip() == each.text.strip(), f"the snippet prints\n{printed}"
            continue
        if each.title:
            (folder / each.title).write_text(each.text, encoding="utf-8")
        if each.language == "python":
            printed = _python(each.text, folder)
        elif each.language == "sh":
            printed = _shell(each.text, folder)


def _python(text: str, folder: Path) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(folder), _path_with(folder):
        exec(compile(text, f"{folder.name}.py", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@contextlib.contextmanager
def _path_with(folder: Path) -> Iterator[None]:
    """Let programs import files of the folder, and forget these after it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for file in folder.glob("*.py"):
            sys.modules.pop(file.stem, None)


def _shell(text: str, folder: Path) -> str:
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env={**os.environ, "PATH": programs},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
