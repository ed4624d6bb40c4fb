"""The pages of the site that no file under ``docs/`` holds, as hooks of MkDocs.

These are the pages of rules and of examples, and those of source files that other pages link to: on
disk a link such as ``../core/rules/adam.py`` leads to the file, in the site to a page that shows
it.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from example_pages import example_pages
from graph import svg
from rule_pages import rule_pages

ROOT = Path(__file__).parent.parent.parent
FLOWCHART = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"(^ *```+.*?^ *```+$)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")
LANGUAGE = {".py": "python", ".pyi": "python", ".c": "c", ".h": "c", ".cu": "c++", "": "bash"}
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"


def on_config(config: Any) -> Any:
    """Put the rules' pages into the navigation."""
    for entry in config.nav:
        if entry.get("Rules"):
            entry["Rules"] = [*entry["Rules"], *(p for p in rule_pages() if "index" not in p)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add pages of rules and examples, and one for each file outside of ``docs/`` that a page links
    to."""
    for path, text in {**rule_pages(), **example_pages()}.items():
        files.append(File.generated(config, path, content=text))
    waiting = [file for file in files if file.is_documentation_page()]
    known = {file.src_uri for file in waiting}
    while waiting:
        file = waiting.pop()
        for target in _targets(file):
            page = _page_of(target)
            if page.startswith("source/") and page not in known and (ROOT / target).exists():
                known.add(page)
                made = File.generated(config, page, content=_source(target))
                files.append(made)
                waiting.append(made)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Draw flowcharts, and lead links to files outside of ``docs/`` to their pages."""
    markdown = FLOWCHART.sub(
        lambda match: f'<div style="overflow-x:auto">{svg(match[1])}</div>', markdown
    )
    here = page.file.src_uri

    def led(link: str) -> str:
        target = _page_of(_target(link, here))
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    return _with_links(markdown, led)


def _with_links(markdown: str, change: Callable[[str], str]) -> str:
    """Return a page with each relative link changed; code is left alone."""
    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(lambda match: change(match[1]), part) for part in parts[::2]]
    return "".join(parts)


def _targets(file: File) -> Iterator[str]:
    """Yield the files of the repository that a page links to."""
    for part in FENCE.split(file.content_string)[::2]:
        for link in LINK.findall(part):
            yield _target(link, file.src_uri)


def _target(link: str, page: str) -> str:
    """Return where a link leads, from the repository's root."""
    start = page[len("source/") : -len(".md")] if page.startswith("source/") else f"docs/{page}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(start), link))


def _page_of(path: str) -> str:
    """Return the page, or the picture, that shows a file of the repository."""
    return path[len("docs/") :] if path.startswith("docs/") else f"source/{path}.md"


def _source(path: str) -> str:
    """Return the page of a file, or of a folder, of the repository."""
    file = ROOT / path
    if file.suffix == ".md":
        return f"{UNSEARCHED}{file.read_text(encoding='utf-8')}"
    if file.is_dir():
        names = sorted(each.name + "/" * each.is_dir() for each in file.iterdir())
        text = "\n".join(f"- `{name}`" for name in names if not name.startswith((".", "__pycache")))
    else:
        language = LANGUAGE.get(file.suffix, "text")
        text = f"`````{language}\n{file.read_text(encoding='utf-8')}\n`````"
    return f"{UNSEARCHED}# {path}\n\n{text}\n"
