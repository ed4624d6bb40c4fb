"""Draws a Mermaid flowchart as SVG, which shows on the site without any script.

A code host draws the same text itself. Understood are nodes, `name["label"]`, and arrows,
`one --> other & another`; each node stands in a row below all that it points to.
"""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

NODE = re.compile(r'^ *(\w+)\["(.+)"\]$', re.MULTILINE)
ARROWS = re.compile(r"^ *(\w+) --> (.+)$", re.MULTILINE)
SWEEPS = 20  # over all rows, to bring joined nodes near each other
WIDTH, HEIGHT, GAP, BEND = 170, 28, 16, 24  # of a box, between boxes, of the room an arrow takes
ROW = 70  # from one row to the next

Node = str | tuple[str, str, int]  # a name; or where the arrow between two crosses a row


def svg(text: str) -> str:
    """Return the drawing of a flowchart. Raises ValueError for a line that is not understood."""
    labels = dict(NODE.findall(text))
    arrows = [(a, b) for a, found in ARROWS.findall(text) for b in found.split(" & ")]
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    if len(lines) != len(labels) + len(ARROWS.findall(text)):
        raise ValueError("a line of the flowchart is neither a node nor arrows")
    row = _rows(labels, arrows)
    paths = {(a, b): [a, *((a, b, k) for k in range(row[a] - 1, row[b], -1)), b] for a, b in arrows}
    rows: list[list[Node]] = [[] for _ in range(max(row.values()) + 1)]
    for name in labels:
        rows[row[name]].append(name)
    for path in paths.values():
        for crossing in path[1:-1]:
            rows[crossing[2]].append(crossing)
    x = _places(rows, list(paths.values()))
    height = len(rows) * ROW
    width = max(x[name] for name in labels) + WIDTH
    drawn = [_arrow([(x[n], _y(n, row)) for n in path]) for path in paths.values()]
    drawn += [_box(x[name], _y(name, row), label) for name, label in labels.items()]
    return (
        f'<svg viewBox="0 0 {width:.0f} {height}" role="img" style="width:100%; min-width:1000px">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker>'
        f"</defs>{''.join(drawn)}</svg>"
    )


def _rows(labels: dict[str, str], arrows: list[tuple[str, str]]) -> dict[str, int]:
    """Return the row of each node: the first for those that point to none."""
    row = dict.fromkeys(labels, 0)
    for _ in labels:
        for a, b in arrows:
            row[a] = max(row[a], row[b] + 1)
    if any(row[a] <= row[b] for a, b in arrows):
        raise ValueError("the arrows make a circle")
    return row


def _y(node: Node, row: dict[str, int]) -> int:
    return (row[node] if isinstance(node, str) else node[2]) * ROW + HEIGHT


def _places(rows: list[list[Node]], paths: list[list[Node]]) -> dict[Node, float]:
    """Return the middle of each node and crossing: near the mean of what it is joined to, in rows
    without overlaps."""
    joined: dict[Node, list[Node]] = {node: [] for nodes in rows for node in nodes}
    for path in paths:
        for one, other in pairwise(path):
            joined[one].append(other)
            joined[other].append(one)
    x = {node: float(k * (WIDTH + GAP)) for nodes in rows for k, node in enumerate(nodes)}
    for sweep in range(SWEEPS):
        for nodes in rows if sweep % 2 else rows[::-1]:
            wanted = {n: sum(x[m] for m in joined[n]) / len(joined[n]) for n in nodes if joined[n]}
            nodes.sort(key=lambda node: wanted.get(node, 0.0))
            at = 0.0
            for k, node in enumerate(nodes):
                if k:
                    at += (_room(nodes[k - 1]) + _room(node)) / 2
                at = max(at, wanted.get(node, at)) if k else wanted.get(node, at)
                x[node] = at
            shift = sum(wanted.get(n, x[n]) - x[n] for n in nodes) / len(nodes)
            for node in nodes:
                x[node] += shift
    left = min(x.values()) - WIDTH * 0.6
    return {node: place - left for node, place in x.items()}


def _room(node: Node) -> int:
    return WIDTH + GAP if isinstance(node, str) else BEND


def _arrow(points: list[tuple[float, int]]) -> str:
    """Return a curve through points of rows one above the other, from a box to a box."""
    (x, y), *others = points
    d = f"M{x:.0f} {y - HEIGHT / 2:.0f}"
    for k, (next_x, next_y) in enumerate(others):
        end = next_y + (HEIGHT / 2 if k == len(others) - 1 else 0)
        half = (y + end) / 2
        d += f"C{x:.0f} {half:.0f} {next_x:.0f} {half:.0f} {next_x:.0f} {end:.0f}"
        x, y = next_x, int(end)
    return f'<path d="{d}" fill="none" stroke="currentColor" opacity="0.5" marker-end="url(#tip)"/>'


def _box(x: float, y: int, label: str) -> str:
    return (
        f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}" '
        'rx="4" fill="var(--md-code-bg-color, white)" stroke="currentColor"/>'
        f'<text x="{x:.0f}" y="{y + 4}" text-anchor="middle" font-size="12" '
        f'fill="currentColor">{escape(label)}</text>'
    )
