"""The text on top of an exported file: what it is, how to call it, how to verify it."""

from __future__ import annotations

from ..exported import Exported
from ..templates import Words, filled, read

TEXTS = read("about.txt")
# the machine that a file is verified on, and how the file's name ends
OF_LANGUAGE = {"c": ("machine", "c"), "cuda": ("GPU", "cu"), "python": ("machine", "py")}


def about(exported: Exported, language: str, words: Words) -> list[str]:
    """Return the paragraphs on top of a file in "c", "cuda" or "python". ``words`` are those that
    stand in no other language's text."""
    text = TEXTS[f"{language} check" if exported.check else "no check"]
    machine, suffix = OF_LANGUAGE[language]
    common: Words = {
        "LABEL": exported.label,
        "PARAM": exported.dtype,
        "GRAD": exported.grad_dtype,
        "REFERENCE": exported.reference,
        "VERSION": exported.version,
        "MACHINE": machine,
        "SUFFIX": suffix,
        "COMMAND": exported.command,
        "GOLDEN": exported.golden_file,
    }
    return paragraphs(
        TEXTS[language].replace("@VERIFICATION", text.strip("\n")), {**common, **words}
    )


def paragraphs(text: str, words: Words) -> list[str]:
    """Return the paragraphs of a text with the meanings of its words. Each is one line but for
    those that begin with a blank: programs. Empty ones are left out."""
    found = []
    for paragraph in text.strip("\n").split("\n\n"):
        joined = paragraph if paragraph.startswith(" ") else " ".join(paragraph.split())
        found.append(filled(f"{joined}\n", words).strip("\n"))
    return [paragraph for paragraph in found if paragraph]
