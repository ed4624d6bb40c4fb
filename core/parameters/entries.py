"""The entries of a param group: parameters, a rule, hyperparameters, and what else may stand
there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..language.names import suggestion
from ..language.rule import Rule
from ..rules import find_rule
from .trees import listed

# what belongs to the optimizer, and what a group may have besides parameters and hyperparameters
WHOLE = (
    "clip_global_norm", "skip_nonfinite", "accumulation_steps", "cast_gradients", "loss_scaler",
    "warn_lost_updates", "backend", "rules",
)  # fmt: skip
OF_GROUPS = ("rule", "frozen", "weight_decay_mask", "name", "copy_to")


def is_group(group: Any) -> bool:
    """Say whether this is a group of parameters, not parameters."""
    return isinstance(group, Mapping) and "params" in group


def name_entry(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry ``"name"`` of a group that has one."""
    return {"name": group["name"]} if "name" in group else {}


def lost_entry(name: str | KeyError) -> ValueError:
    """Return the error for a group of ``param_groups`` that has lost an entry: a name, or what
    looking it up raised."""
    entry = name if isinstance(name, KeyError) else repr(name)
    return ValueError(f"a group in param_groups has lost its entry {entry}; put it back")


def label(k: int, group: Mapping[str, Any]) -> str:
    """Return the beginning of a message about the group at ``k``: its place, and its name if it has
    one."""
    return f"group {k} ({group['name']!r:.60}): " if "name" in group else f"group {k}: "


def rule_of(group: Mapping[str, Any], default: Rule, where: str = "") -> Rule:
    """Return the rule of a group: its own, or the ``default`` one.

    Raises TypeError or ValueError, beginning with ``where``, for what is no rule.
    """
    given = group.get("rule", default)
    if given is default or (isinstance(given, str) and given == default.name):
        return default
    try:
        return find_rule(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from None


def family_of(
    group: Mapping[str, Any], default: Rule, others: Iterable[Rule], where: str = ""
) -> Rule:
    """Return the rule of a group, as `rule_of` does, of an optimizer that has the ``others``, too.

    Raises ValueError for another rule with the name of one that is there.
    """
    named = {rule.name: rule for rule in (*others, default)}
    given = group.get("rule")
    rule = named[given] if isinstance(given, str) and given in named else None
    rule = rule or rule_of(group, default, where)
    there = named.get(rule.name, rule)
    if not is_same_rule(there, rule):
        raise ValueError(
            f"{where}its rule is called {rule.name!r}, and so is another rule of this optimizer; they "
            "are told apart by their names: rename it, or give options of one rule in the group"
        )
    return there


def is_same_rule(one: Rule, other: Rule) -> bool:
    """Say whether two rules are one; copies and pickles build the rule of a factory anew."""
    built = [(r.name, r.factory, r.options, r.storage, r.rounding) for r in (one, other)]
    return one is other or (one.factory is not None and built[0] == built[1])


def check_one_rule(
    rule: Rule,
    groups: Any,
    what: str,
    first: int = 0,
    rules: Any = None,
    instead: str = "ss.Optimizer",
) -> None:
    """Raise TypeError for ``groups``, or ``rules`` by name, of other rules than this one, which
    ``what`` is for only. ``first`` is the place of the first group, ``instead`` the class that
    takes others."""
    remedy = f"{what} is for {rule.name} only; {instead}({rule.name!r}, ...) takes others, too"
    if rules is not None:
        raise TypeError(f"rules: {remedy}")
    written = filter(is_group, groups if isinstance(groups, (list, tuple)) else ())
    for k, group in enumerate(written, first):
        own = rule_of(group, rule, label(k, group))
        if not is_same_rule(own, rule):
            raise TypeError(f"{label(k, group)}its rule is {own.name!r}; {remedy}")


def hyper_of(group: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the hyperparameters of a group. Raises TypeError for what belongs to the optimizer."""
    if found := [name for name in WHOLE if name in group]:
        raise TypeError(f"{where}{found[0]} belongs to the whole optimizer, not to a group")
    return {k: v for k, v in group.items() if k not in ("params", *OF_GROUPS)}


def has_too_much(group: Mapping[str, Any], names: Sequence[str], where: str) -> TypeError:
    """Make the error for a group with other entries than ``params`` and these."""
    hyper_of(group, where)
    unknown = next(name for name in group if name not in ("params", "name", *names))
    hint = suggestion(unknown, names)
    return TypeError(
        f"{where}nothing reads the entry {unknown!r}; {hint}a group has {', '.join(names)}"
    )


def listed_group(group: Any) -> Any:
    """Return a group with a list of parameters where there was an iterator."""
    return {**group, "params": listed(group["params"])} if is_group(group) else group


def written_groups(params: Any) -> tuple[list[Any], bool]:
    """Return the groups that ``params`` are, and whether it is a single one, not written as such.
    Raises TypeError for a group without a list around it."""
    params = listed(params)
    if isinstance(params, (list, tuple)) and params and all(map(is_group, params)):
        return list(map(listed_group, params)), False
    if is_group(params) and (others := [k for k, v in params.items() if _is_no_array(v)]):
        raise TypeError(
            f"params is a dict with 'params' and {others[0]!r}, which is no array; a parameter group "
            "stands in a list: [{'params': ..., " + f"{others[0]!r}: ...}}]"
        )
    return [{"params": params}], True


def _is_no_array(value: Any) -> bool:
    """Say whether this can be a hyperparameter, or a name, and no parameter."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return bool(values) and all(
        isinstance(v, (bool, int, float, str, Rule)) or callable(v) for v in values
    )
