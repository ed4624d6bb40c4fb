"""Keeps of a run what pickle and deepcopy take along."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..choice import get_backend
from ..parameters.by_name import Division
from ..parameters.trees import flatten
from ..step.run import Run
from ..step.settings import Settings
from .state_dict import restore, structure_of, take


def pickled(run: Run) -> dict[str, Any]:
    """Return what pickle and deepcopy keep of an optimizer."""
    division = run.groups.division
    return {
        "rule": run.rule,
        "defaults": run.defaults,
        "backend": run.backend.name,
        "rules": run.groups.families,
        "single": run.groups.single,
        "divided": None if division is None else (division.tree, division.places),
        "params": [group["params"] for group in run.groups.entries],
        "snapshot": take(run),
    }


def unpickled(saved: dict[str, Any]) -> Run:
    """Return the run that was pickled; where its backend cannot run, with a warning, on that which
    is chosen for its arrays."""
    leaves = [leaf for tree in saved["params"] for leaf in flatten(tree, "params")[0]]
    run = Run(
        saved["rule"],
        saved["defaults"],
        backend_here(saved["backend"], leaves),
        [
            {"params": tree, "rule": rule, **structure_of(group)}
            for tree, rule, group in zip(
                saved["params"], saved["rules"], saved["snapshot"]["param_groups"], strict=True
            )
        ],
        saved["single"],
        Settings(),
        [group["options"] for group in saved["snapshot"]["param_groups"]],
        None if saved["divided"] is None else Division(*saved["divided"]),
    )
    restore(run, saved["snapshot"])
    return run


def backend_here(name: str, leaves: Sequence[Any]) -> str | None:
    """Return the name of the backend that was pickled; where it cannot run, warn and return None:
    then the one that is chosen for these arrays runs."""
    try:
        get_backend(name, leaves)
    except (RuntimeError, ValueError) as error:
        chosen = get_backend(None, leaves).name
        warnings.warn(f"{error}; the optimizer goes on with {chosen!r}", stacklevel=4)
        return None
    return name
