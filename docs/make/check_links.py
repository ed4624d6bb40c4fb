"""Links of a built site: each leads to a page and an anchor that are there, and no page takes a
font, script, style or picture from another server."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

TAKEN = {"script": "src", "img": "src", "source": "src", "iframe": "src"}
NOT_TAKEN = {"canonical", "next", "prev"}  # kinds of <link> that a browser does not fetch


class _Page(HTMLParser):
    """Collects anchors, links, and what a browser fetches to show the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.taken: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in TAKEN and TAKEN[tag] in found:
            self.taken.append(found[TAKEN[tag]])
        if tag == "link" and "href" in found and found.get("rel") not in NOT_TAKEN:
            self.taken.append(found["href"])


def broken_links(site: Path) -> list[str]:
    """Return a line for each link that leads nowhere, and for each file of another server."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        if here == "404.html":  # shown under any address, so its links begin with the site's own
            continue
        foreign = [link for link in page.taken if urlsplit(link).netloc]
        found += [f"{here} takes {link}" for link in foreign]
        for link in {*page.links, *page.taken}:
            parts = urlsplit(urljoin(f"/{here}", link))
            if parts.scheme or parts.netloc:
                continue
            target = site / unquote(parts.path).lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            missing = target in pages and unquote(parts.fragment) not in {
                "",
                *pages[target].anchors,
            }
            if missing or not target.exists():
                found.append(f"{here} links to {link}")
    return sorted(set(found))
