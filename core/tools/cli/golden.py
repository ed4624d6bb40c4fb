"""``samestep golden``: write golden files, or hold a backend to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ... import get_backend
from ...golden.around import all_cases
from ...golden.floats import FORMATS
from ...golden.format import VALUES, chosen, own_folder
from ...golden.generate import generate, generate_for
from ...golden.verify import Result, verify
from .console import print_table, progress
from .errors import users_mistakes
from .own_rule import own_rules


def run_generate(names: Sequence[str] | None, out: Path | None) -> int:
    """Write the files and say where they are. Raises UserError."""
    with users_mistakes():
        folder = out or own_folder(VALUES)
        own = own_rules(names or [])
        built_in = None if names is None else [name for name in names if name not in own]
        cases = chosen(all_cases(), built_in)
        with progress(len(cases)) as advance:
            paths = generate(built_in, folder, advance) if cases else []
        paths += [generate_for(r, dtype, folder) for r in own.values() for dtype in FORMATS]
    print(f"{_files(len(paths))} in {folder}")
    return 0


def run_verify(backend: str | None, names: Sequence[str] | None, directory: Path | None) -> int:
    """Print how each file came out; returns 1 if one differs. Raises UserError."""
    with users_mistakes(), progress() as advance:
        backend = backend or get_backend().name
        own = own_rules(names or [])
        rules = {rule.name: rule for rule in own.values()}
        if names is not None:
            names = [own[name].name if name in own else name for name in names]
        results = verify(backend, names, directory, rules, advance)
    rows = [
        [
            result.label,
            result.dtype,
            _verdict(result.same),
            _verdict(result.scalars_same),
            _error(result),
        ]
        for result in results
    ]
    columns = ["label", "dtype", "bits", "scalars", "error against the truth"]
    print_table(f"Golden files on {backend}", columns, rows, left=4)
    different = [result for result in results if not result.same]
    for result in different:
        print(f"{result.name}: {result.differences[0]}")
    print(
        f"{len(different)} of {_files(len(results))} with other bits on {backend}"
        if different
        else f"{_files(len(results))}, all with the same bits on {backend}"
    )
    return 1 if different else 0


def _verdict(same: bool) -> str:
    return "same" if same else "DIFFERENT"


def _error(result: Result) -> str:
    if result.flipped is not None:
        return f"{result.flipped} signs flipped"
    return "" if result.ulps is None else f"{result.ulps:.2f} ulp"


def _files(count: int) -> str:
    return f"{count} golden file" + "s" * (count != 1)
