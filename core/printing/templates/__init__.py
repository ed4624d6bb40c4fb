"""Texts that printed source contains as they are, in files of their own language.

A line ``//// NAME`` or ``#### NAME`` begins the text of that name. In a text, words that a target
or file replaces stand for what depends on the rule: ``REAL``, ``@LABEL``, ``{reference}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

Words = Mapping[str, str | list[str]]  # the meanings of a text's words
FOLDER = Path(__file__).parent
WORD = "@([A-Z]+(?:_[A-Z]+)*)"


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


def filled(text: str, words: Words) -> str:
    """Return a text with the meaning of each ``@WORD`` in its place. A word that stands alone in a
    line may mean several lines, or none; they get its indentation."""

    def meaning(match: re.Match[str]) -> str:
        indent, alone, within = match.groups()
        found = words[alone or within]
        if within:
            return str(found)
        lines = [found] if isinstance(found, str) else found
        return "".join(f"{indent}{line}".rstrip() + "\n" for line in lines)

    return re.sub(f"^( *){WORD}\n|{WORD}", meaning, text, flags=re.MULTILINE)
