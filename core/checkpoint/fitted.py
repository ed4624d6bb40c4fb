"""Fits a snapshot to an optimizer: the same rules, the same groups, the same parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..language.rule import Rule
from ..pages import see
from .parameter_names import group_by_name
from .torch_layout import layout_of


def fitted(
    snapshot: Mapping[str, Any],
    rules: Sequence[Rule],
    sizes: Sequence[int],
    names: Sequence[Sequence[str] | None],
) -> dict[str, Any]:
    """Return the snapshot with the parameters of each group in the optimizer's order, by ``names``
    where both have names, else as they are.

    Raises TypeError or ValueError for what is no snapshot, or one of groups with other rules, names
    or numbers of parameters than ``rules``, ``names`` and ``sizes``.
    """
    if not isinstance(snapshot, Mapping) or not {"state", "param_groups"} <= set(snapshot):
        found = list(snapshot) if isinstance(snapshot, Mapping) else type(snapshot).__name__
        raise TypeError(f"a state dict has 'state' and 'param_groups', not {found!r:.200}")
    if not isinstance(snapshot["state"], Mapping):
        kind = type(snapshot["state"]).__name__
        raise TypeError(f"state dict: 'state' maps a parameter's position to its state, not {kind}")
    groups = snapshot["param_groups"]
    if len(groups) != len(sizes):
        raise ValueError(
            f"the state dict has {len(groups)} groups; this optimizer {len(sizes)}{see('checkpoints.md')}"
        )
    ordered, mixed = [], len({*rules}) > 1
    for k, (group, count) in enumerate(zip(groups, sizes, strict=True)):
        where = f"state dict, group {k}: "
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{where}must be a dict with 'params' and hyperparameters")
        rule = rules[k]
        saved = group.get("rule", snapshot.get("rule", rule.name))
        if saved != rule.name:
            what = f"group {k} of the state dict" if mixed or "rule" in group else "the state dict"
            raise ValueError(
                f"{what} is of rule {saved!r}; this is {rule.name!r}{see('checkpoints.md')}"
            )
        ordered.append(group_by_name(group, names[k], where))
        if len(group["params"]) != count:
            raise ValueError(
                f"{where}{len(group['params'])} parameters, expected {count}{see('checkpoints.md')}"
            )
        for name, value in layout_of(rule).kind.items():
            if group.get(name, value) != value:
                raise ValueError(f"{where}{name} is {group[name]}; that is not {rule.name}")
    keys = [key for group in ordered for key in group["params"]]
    if len(set(keys)) < len(keys):
        raise ValueError("the state dict has a parameter twice in its groups' 'params'")
    return {**snapshot, "param_groups": ordered}
