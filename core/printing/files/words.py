"""Comments on top of exported files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

WIDTH = 94


def comment(paragraphs: Iterable[str]) -> str:
    """A C comment. Paragraphs are filled, except for lines that begin with a blank: programs."""
    blocks = []
    for paragraph in paragraphs:
        lines: list[str] = []
        for line in paragraph.split("\n"):
            lines += [line] if not line or line.startswith(" ") else textwrap.wrap(line, WIDTH)
        blocks.append("\n".join(lines))
    text = "\n\n".join(blocks)
    return "/* " + text.replace("\n", "\n * ").replace(" * \n", " *\n") + "\n */\n"
