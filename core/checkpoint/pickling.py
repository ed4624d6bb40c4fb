"""Keeps of a run what pickle and deepcopy take along."""

from __future__ import annotations

import warnings
from typing import Any

from ..choice import get_backend
from ..parameters.by_name import Division
from ..parameters.trees import flatten
from ..step.run import Run
from ..step.settings import Settings
from .state_dict import restore, take


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
    backend = saved["backend"]
    try:
        get_backend(backend, leaves)
    except (RuntimeError, ValueError) as error:
        chosen = get_backend(None, leaves).name
        warnings.warn(f"{error}; the optimizer goes on with {chosen!r}", stacklevel=3)
        backend = None
    run = Run(
        saved["rule"],
        saved["defaults"],
        backend,
        [
            {"params": tree, "rule": rule}
            for tree, rule in zip(saved["params"], saved["rules"], strict=True)
        ],
        saved["single"],
        Settings(),
        [group["options"] for group in saved["snapshot"]["param_groups"]],
        None if saved["divided"] is None else Division(*saved["divided"]),
    )
    restore(run, saved["snapshot"])
    return run
