"""Schedules from plain JSON values: data are checked, nothing in them is run."""

from __future__ import annotations

import reprlib
from dataclasses import fields
from typing import Any

from .schedule import KINDS, MAX_DEPTH, PARTS, Schedule


def from_json(record: Any) -> Schedule:
    """Return the schedule that `Schedule.to_json` described.

    Raises
    ------
    TypeError
        For what is not a dict with the kind of a schedule, or an argument of the wrong kind.
    ValueError
        For an unknown kind, missing or unknown entries, arguments out of bounds, or schedules
        nested deeper than 32 or more than 1,000.
    """
    return _read(record, MAX_DEPTH)


def _read(record: Any, deeper: int) -> Schedule:
    if not deeper:
        raise ValueError(f"schedules may be nested {MAX_DEPTH} deep; these are deeper")
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise TypeError(f"a schedule is a dict with a 'kind', not {reprlib.repr(record)}")
    name = record["kind"]
    if name not in KINDS:
        known = ", ".join(KINDS)
        raise ValueError(f"there is no schedule of kind {reprlib.repr(name)}; there are {known}")
    kind = KINDS[name]
    expected = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    given = {key: value for key, value in record.items() if key != "kind"}
    if missing := sorted(expected - given.keys()):
        raise ValueError(f"{name}: the entries {', '.join(missing)} are missing")
    if unknown := [key for key in given if key not in expected]:
        raise ValueError(f"{name} has no entries {reprlib.repr(unknown)}")
    for parts in PARTS:
        if isinstance(given.get(parts), list):
            given[parts] = [_read(part, deeper - 1) for part in given[parts]]
    return kind.from_arguments(given)
