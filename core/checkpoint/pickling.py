"""Keeps of a run what pickle and deepcopy take along."""

from __future__ import annotations

from typing import Any

from ..step.run import Run
from ..step.settings import Settings
from .state_dict import restore, take


def pickled(run: Run) -> dict[str, Any]:
    """Return what pickle and deepcopy keep of an optimizer."""
    return {
        "rule": run.rule,
        "defaults": run.defaults,
        "backend": run.backend.name,
        "single": run.groups.single,
        "params": [group["params"] for group in run.groups.entries],
        "snapshot": take(run),
    }


def unpickled(saved: dict[str, Any]) -> Run:
    """Return the run that was pickled."""
    run = Run(
        saved["rule"],
        saved["defaults"],
        saved["backend"],
        [{"params": tree} for tree in saved["params"]],
        saved["single"],
        Settings(),
        [group["options"] for group in saved["snapshot"]["param_groups"]],
    )
    restore(run, saved["snapshot"])
    return run
