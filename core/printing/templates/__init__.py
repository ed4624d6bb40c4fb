"""Texts that printed source contains as they are, in files of their own language.

A line ``//// NAME`` or ``#### NAME`` begins the text of that name. In a text, words that a target
or file replaces stand for what depends on the rule: ``REAL``, ``@LABEL``, ``{signature}``.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def read(file: str) -> dict[str, str]:
    """Return the texts of a file by name, in its order."""
    texts: dict[str, str] = {}
    name = ""
    for line in (FOLDER / file).read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith(("//// ", "#### ")):
            name = line[5:].strip()
            texts[name] = ""
        else:
            texts[name] += line
    return texts
