"""The first line of a docstring says what a thing is or does: it has a subject or a verb."""

from __future__ import annotations

import ast
import re

import pytest
from helpers import ROOT, sources

# a line that begins with one of these is half a sentence: "Whether the step counts."
NO_BEGINNING = ("What", "Whether", "Of", "How", "Who", "Where", "That", "Those", "See")
FOLDERS = ("core", "backends", "golden")


def half_sentences(source: str) -> list[str]:
    """Return the first lines of all docstrings that begin with one of those words."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(n) for n in ast.walk(ast.parse(source)) if isinstance(n, holders))
    lines = [text.splitlines()[0] for text in found if text]
    return [line for line in lines if re.match(rf"({'|'.join(NO_BEGINNING)})\b", line)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_first_lines_are_sentences(folder):
    for file in sources(folder):
        found = half_sentences(file.read_text(encoding="utf-8"))
        assert not found, f"{file.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize("word", NO_BEGINNING)
def test_control_half_a_sentence_is_found(word):
    line = f"{word} a step needs."
    assert half_sentences(f'"""{line}"""') == [line]
    assert half_sentences(f'class C:\n    def f(self):\n        """{line}\n\n        More."""') == [
        line
    ]
    assert half_sentences(f'async def f():\n    """{line}"""') == [line]


@pytest.mark.parametrize(
    "line", ["Offer a step.", "Say whether it counts.", "Seeds of a rule.", "Return what is left."]
)
def test_control_a_sentence_is_left_alone(line):
    assert not half_sentences(f'def f():\n    """{line}\n\n    What follows is more."""')
