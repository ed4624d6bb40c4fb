"""Checks a built site: ``python docs/make/check.py site [--pictures FOLDER]``.

Links are read from the files. Then each page but those of source code is shown in a browser, wide
and as on a telephone: no message on its console, nothing from another server, no need to scroll
sideways; and the search finds what it should. Takes chromedriver; exits with 1 and a line for each
fault.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from browser import Browser, browser
from check_links import broken_links

FETCHED = "return performance.getEntriesByType('resource').map(entry => entry.name)"
TOO_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOUND = """
const said = document.querySelector('.md-search-result__meta').textContent
return /No matching|\\d+ matching/.test(said) ? parseInt(said) || 0 : null
"""
BROKEN_PAGE = "data:text/html,<script>missing()</script>"
SIZES = {"wide": (1280, 900), "telephone": (500, 900)}  # pixels; chromium makes none narrower


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on this machine only; gives the address."""
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def faults(window: Browser, home: str, page: str, pictures: Path | None) -> list[str]:
    """Return what is wrong with one page; write a picture of it for each size of the window."""
    window.resize(*SIZES["wide"])
    window.show(f"{home}{page}")
    found = window.console()
    found += [f"takes {name}" for name in window.run(FETCHED) if not name.startswith(home)]
    for name, size in SIZES.items():
        window.resize(*size)
        if (pixels := window.run(TOO_WIDE)) > 0:
            found.append(f"is {pixels} pixels too wide for a window of {size[0]}")
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / f"{page.replace('/', '_')}{name}.png").write_bytes(window.picture())
    return [f"{page or 'the first page'}: {fault}" for fault in found]


def searched(window: Browser, home: str, words: str) -> int | None:
    """Return the number of pages that the site's search finds, None if it does not answer."""
    window.show(f"{home}?q={words}")
    for _ in range(200):
        if (found := window.run(FOUND)) is not None:
            return int(found)
        time.sleep(0.1)
    return None


def said(found: list[str], what: str) -> int:
    """Print what is wrong, and return the exit code."""
    print("\n".join(found) or f"{what}: nothing wrong")
    return int(bool(found))


def main() -> int:
    """Check the site that the command line names, print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--links-only", action="store_true", help="take no browser")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each page")
    chosen = parser.parse_args()
    found = broken_links(chosen.site)
    if chosen.links_only:
        return said(found, "links")
    files = (path.parent.relative_to(chosen.site) for path in chosen.site.rglob("index.html"))
    pages = sorted(f"{path.as_posix()}/".removeprefix("./") for path in files)
    pages = [page for page in pages if not page.startswith("source/") or page.endswith(".md/")]
    with served(chosen.site) as home, browser() as window:
        window.show(BROKEN_PAGE)
        if not window.console():  # the control
            found.append("an error on the console of a broken page was not seen")
        for page in pages:
            found += faults(window, home, page, chosen.pictures)
        for words, there in (("exp_avg_sq", True), ("qwertzuiop", False)):
            number = searched(window, home, words)
            if number is None or bool(number) != there:
                found.append(f"the search for {words} finds {number}")
    return said(found, f"{len(pages)} pages")


if __name__ == "__main__":
    sys.exit(main())
