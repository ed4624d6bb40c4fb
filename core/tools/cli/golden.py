"""``samestep golden``: write golden files, or compare a backend with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ... import get_backend
from ...golden.around import all_cases
from ...golden.floats import FORMATS
from ...golden.format import EXTENSION, VALUES, chosen, own_folder
from ...golden.generate import generate, generate_for
from ...golden.verify import Result, verify
from ...language.rule import Rule
from .console import print_table, progress
from .errors import UserError, users_mistakes
from .rules import own_rules


def run_generate(rules: Sequence[str] | None, out: Path | None) -> int:
    """Write golden files: inputs, the reference's bits and the truth.

    The same bytes each time. The truth needs mpmath, in the extra "oracle".
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; expected a folder")
    with users_mistakes():
        folder = out or own_folder(VALUES)
        own = own_rules(rules)
        built_in = None if rules is None else [name for name in rules if name not in own]
        cases = chosen(all_cases(), built_in)
        with progress(len(cases)) as advance:
            paths = generate(built_in, folder, advance) if cases else []
        paths += [generate_for(r, dtype, folder) for r in own.values() for dtype in FORMATS]
    print(f"{_files(len(paths))} in {folder}")
    return 0


def run_verify(backend: str | None, rules: Sequence[str] | None, directory: Path | None) -> int:
    """Replay golden files on a backend and compare every bit.

    Parameters that products of matrices went into may differ by the file's tolerance. The exit
    code is 1 if anything else differs.
    """
    with users_mistakes(), progress() as advance:
        backend = backend or get_backend().name
        own = own_rules(rules)
        names = None if rules is None else [own[n].name if n in own else n for n in rules]
        by_name = {rule.name: rule for rule in own.values()}
        _check_there(own, directory or VALUES)
        results = verify(backend, names, directory, by_name, advance)
    columns = ["label", "dtype", "bits", "scalars", "error against the truth"]
    print_table(f"Golden files on {backend}", columns, [_row(each) for each in results], left=4)
    different = [result for result in results if not result.same]
    for result in different:
        print(f"{result.name}: {result.differences[0]}")
    files = _files(len(results))
    if different:
        print(f"{len(different)} of {files} with other bits on {backend}")
        return 1
    within = sum(result.tolerance is not None for result in results)
    exact = f"{len(results) - within if within else 'all'} with the same bits on {backend}"
    print(f"{files}, {exact}{f', {within} within their tolerance' * bool(within)}")
    return 0


def _check_there(own: Mapping[str, Rule], folder: Path) -> None:
    """Raise UserError if a folder has no golden files of one's own rules."""
    for word, rule in own.items():
        if not any(folder.glob(f"{rule.name}*{EXTENSION}")):
            raise UserError(
                f"no golden file of {rule.name!r} in {folder}; golden files of rules of your own are "
                f"written by: samestep golden generate --rule {word} --out golden; and found by: "
                "--directory golden"
            )


def _row(result: Result) -> list[str]:
    bits, scalars = ("same" if x else "DIFFERENT" for x in (result.same, result.scalars_same))
    if result.same and result.tolerance is not None:
        bits = f"{result.tolerance:g} ulp"
    error = "" if result.ulps is None else f"{result.ulps:.2f} ulp"
    if result.flipped is not None:
        error = f"{result.flipped} signs flipped"
    return [result.label, result.dtype, bits, scalars, error]


def _files(count: int) -> str:
    return f"{count} golden file" + "s" * (count != 1)
