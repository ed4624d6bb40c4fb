"""A page's snippets, run as they stand: commands in a shell, each Python program in a namespace of
its own, all of a page in one folder that was empty.

The language of a block says how it is run, its title what it is:

- ``python`` and ``sh`` are run, in the order of the page; ``c`` and ``toml`` are written to the
  file of their title;
- ``title="NAME.py"`` writes a program to that file, too, for the blocks that follow;
- ``title="continued"`` runs in the namespace of the Python block before it;
- ``text title="prints"`` is what the block before it prints;
- ``console`` has commands behind ``$`` and what each of them prints.

``mermaid`` is a picture. A page of figures that take long to measure has the command as the title
of what it printed, and ``run`` is told of it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(r'^( *)```(\w+)?(?: title="(.*?)")?\n(.*?)^\1```$', re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
LANGUAGES = {"python", "c", "sh", "console", "text", "toml", "mermaid"}


@dataclass(frozen=True)
class Snippet:
    """A block of code, with its language and title."""

    language: str
    title: str
    text: str

    @property
    def first_line(self) -> str:
        """What the list of exceptions calls a block by."""
        return self.text.partition("\n")[0]


def snippets(page: str) -> list[Snippet]:
    """Return the blocks of a page. Raises ValueError for one in a language that is not known."""
    found = [
        Snippet(language, title, textwrap.dedent(text))
        for _, language, title, text in BLOCK.findall(page)
    ]
    if unknown := {each.language for each in found} - LANGUAGES:
        raise ValueError(f"blocks in {unknown}; expected {LANGUAGES}")
    return found


def run(page: str, folder: Path, left_out: Collection[str] = ()) -> None:
    """Run the snippets of a page, but those whose first lines or titles are in ``left_out``, with
    what these print.

    Raises what they raise, AssertionError for another output, and ValueError for a block that would
    not be run at all: text that is no output, C without a file to write it to.
    """
    printed: str | None = ""
    names: dict[str, Any] = {}
    for each in snippets(page):
        if each.language == "mermaid":
            continue
        if each.title in left_out or each.first_line in left_out:
            printed = None
        elif each.title == "prints":
            if printed is not None:
                _same(each.text, printed)
        elif each.language == "console":
            for command, output in COMMAND.findall(each.text):
                _same(output, run_shell(command, folder))
        elif each.language == "sh":
            printed = run_shell(each.text, folder)
        elif each.language == "python":
            if each.title != "continued":
                names = {"__name__": "__main__"}
            if each.title.endswith(".py"):
                (folder / each.title).write_text(each.text, encoding="utf-8")
            printed = _python(each.text, folder, names)
        elif each.title:
            (folder / each.title).write_text(each.text, encoding="utf-8")
        else:
            raise ValueError(f"nothing runs the block that begins with {each.first_line!r}")


def _same(shown: str, printed: str) -> None:
    assert printed.strip() == shown.strip(), f"the snippet prints\n{printed}"


def _python(text: str, folder: Path, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(folder), _path_with(folder):
        exec(compile(text, f"{folder.name}.py", "exec"), names)
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


def run_shell(text: str, folder: Path) -> str:
    """Return what commands print, or raise AssertionError where one fails."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env={**os.environ, "PATH": programs},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
