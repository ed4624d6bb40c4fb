"""Tables and pictures of figures name the command that makes them, and figures that are the same on
every machine are what their command gives now. Timings are not compared with new ones, but pages
with the file of timings that they are made from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from helpers import ROOT
from pages import PAGES, WRITTEN
from samestep.golden.format import VALUES, read
from samestep.language import summation
from samestep.tools.bench.timing import spread

PROGRAM = r"(samestep|python|\.venv/bin/python) [-\w]|tests/gpu/run|[A-Z_]+=\S+ python "
COMMAND = re.compile(
    rf'(?<!`)`({PROGRAM})|```text title="({PROGRAM})|^(\$ |.*&& \.venv/bin/)?samestep \w+$',
    re.MULTILINE,
)
FIGURE = re.compile(r"[-–]?[\d.,]+ ?(\+ \d+|%|×|ms|µs)?.{0,20}|equal|–|")
BENCHMARK = json.loads((ROOT / "docs" / "benchmark.json").read_text(encoding="utf-8"))
REFERENCE = "samestep numba"
WORK = {
    "1 tensor of 50,000,000": ("large", "same"),
    "161 tensors of ResNet-50": ("resnet50", "same"),
    "1,000 tensors of 1,000, new gradient arrays": ("thousand", "fresh"),
    "4 tensors of 10, new gradient arrays": ("tiny", "fresh"),
}
COLUMNS = ["exported C, gcc", "torch fused", "optax jit", "NumPy whole arrays"]


def without_command(page: str) -> list[str]:
    """Return the first lines of a page's tables of figures, and its pictures, for which neither
    their section nor the page's beginning names a command."""
    beginning, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    found = []
    for section in [beginning, *sections]:
        if not COMMAND.search(section) and not COMMAND.search(beginning):
            found += re.findall(r"!\[.*?\]\(.*?\.png\)", section)
            found += [table[0] for table in tables(section) if is_of_figures(table)]
    return found


def tables(text: str) -> list[list[str]]:
    """Return the lines of each table."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def is_of_figures(table: list[str]) -> bool:
    """Say whether most cells behind the first column of a table are numbers."""
    cells = [cell.strip() for line in table[2:] for cell in line.strip("|").split("|")[1:]]
    return sum(bool(FIGURE.fullmatch(cell)) for cell in cells) > len(cells) / 2


def printed_table(work: str, gradients: str) -> dict[str, dict]:
    """Return the contenders of one work in the file of timings."""
    (found,) = [w for w in BENCHMARK["work"] if (w["name"], w["gradients"]) == (work, gradients)]
    return {each["name"]: each for each in found["contenders"]}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WRITTEN])
def test_figures_stand_beside_their_command(page):
    assert not without_command(PAGES[page])


def test_control_figures_without_a_command_are_found():
    table = "| a | b |\n|---|---|\n| x | 3.5 ms |\n"
    assert without_command(f"# Page\n\n## Part\n\n{table}") == ["| a | b |"]
    assert without_command("# Page\n\n![x](x.png)\n") == ["![x](x.png)"]
    assert without_command(f"# Page\n\n## Part\n\n`samestep`\n```python\n1\n```\n{table}")
    for command in ("`samestep bench`", "```console\n$ samestep bench\n```"):
        assert not without_command(f"# Page\n\n## Part\n\n{command}\n\n{table}")
    assert not without_command("# Page\n\n| a | b |\n|---|---|\n| x | words |\n")


def ratios_of(found: dict[str, dict], name: str) -> np.ndarray:
    """Return the times of a contender as multiples of samestep's on Numba, turn by turn."""
    return np.divide(found[name]["all_seconds"], found[REFERENCE]["all_seconds"])


def is_one(ratios: np.ndarray) -> bool:
    """Say whether the quartiles of ratios enclose 1, as `samestep bench` does."""
    low, high = np.percentile(ratios, [25, 75])
    return bool(low <= 1 <= high)


def readme_row(work: str, gradients: str) -> list[str]:
    """Return the cells of README's table for one work, from the file of timings."""
    found = printed_table(work, gradients)
    reference = found[REFERENCE]["all_seconds"]
    cells = [f"{median(reference) * 1e3:#.3g} ms"]
    for name in COLUMNS:
        ratios = ratios_of(found, name)
        shown = f"{median(ratios):#.3g}" if median(ratios) >= 2 else f"{median(ratios):.2f}"
        cells.append("equal" if is_one(ratios) else shown)
    return cells


def test_readme_s_table_is_of_the_file_of_timings():
    (table,) = [t for t in tables(PAGES["README.md"]) if "torch, fused" in t[0]]
    rows = {
        cells[0]: cells[1:]
        for cells in ([c.strip() for c in line.strip("|").split("|")] for line in table[2:])
    }
    assert rows == {title: readme_row(*work) for title, work in WORK.items()}


def test_control_another_timing_is_another_row(monkeypatch):
    changed = json.loads(json.dumps(BENCHMARK))
    for work in changed["work"]:
        for each in work["contenders"]:
            if each["name"] == "torch fused":
                each["all_seconds"] = [2 * s for s in each["all_seconds"]]
    before = readme_row("large", "same")
    monkeypatch.setitem(globals(), "BENCHMARK", changed)
    assert readme_row("large", "same") != before


def test_the_page_of_the_benchmark_is_of_the_file_of_timings():
    page = PAGES["docs/benchmark.md"]
    titles = [
        f"{w['title']}, {w['gradients']} gradient arrays at every step" for w in BENCHMARK["work"]
    ]
    places = [page.index(f"\n{title}\n") for title in titles]
    for work, (start, end) in zip(BENCHMARK["work"], pairwise([*places, len(page)]), strict=True):
        text = page[start:end].split("\n\n")[0]
        of = {each["name"]: each for each in work["contenders"]}
        for name, each in of.items():
            (line,) = re.findall(rf"^{name} {{2,}}(\S.*\])  .*", text, re.MULTILINE) or [""]
            milliseconds = [1e3 * seconds for seconds in each["all_seconds"]]
            cells = [spread(milliseconds).shown(), spread(ratios_of(of, name)).shown()]
            assert re.split(" {2,}", line) == cells, name
        equal = [n for n in of if n != REFERENCE and is_one(ratios_of(of, n))]
        said = re.findall(
            f"^Equal to {REFERENCE}, within the noise of this run: (.*)\\.", text, re.M
        )
        assert said == [", ".join(equal)] * bool(equal)


def test_bytes_that_fusion_saves():
    found = printed_table("large", "same")
    (table,) = tables(PAGES["docs/explain/fusion.md"])
    cells = [int(line.strip("|").split("|")[1]) for line in table[2:]]
    names = ("NumPy whole arrays", "samestep numba")
    assert cells == [found[name]["bytes_moved_per_parameter"] for name in names]


def test_counts_of_golden_files():
    headers = [read(path).header for path in VALUES.glob("*.safetensors")]
    number, plain = (
        len(headers),
        sum(not (h.settings or h.tolerance or h.shared or h.estimates) for h in headers),
    )
    assert f"{number} files, in every dtype, for every rule" in PAGES["README.md"]
    assert f"{plain} of {number}" in " ".join(PAGES["docs/machines.md"].split())


def test_numbers_of_the_fixed_order():
    page = PAGES["docs/explain/sums.md"]
    assert f"chunks of {summation.CHUNK:,} elements" in page
    assert f"{summation.LANES:,} running sums" in page
    assert f"`i % {summation.LANES}`" in page


def test_the_table_of_machine_code():
    """Takes NVRTC and its disassembler, no GPU. "before" are kernels that are no more."""
    page = PAGES["docs/cuda.md"]
    (release,) = re.findall(r"ptxas \(CUDA ([\d.]+)\)", page)
    if not version("nvidia-cuda-nvrtc").startswith(f"{release}."):
        pytest.skip(f"the page has the machine code of CUDA {release}")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "cuda" / "kernel_table.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (table,) = [each for each in tables(page) if each[0].startswith("| kernel |")]
    now = [line for line in table if not line.startswith("| before: ")]
    assert now == tables(done.stdout)[0], "python tests/cuda/kernel_table.py"
