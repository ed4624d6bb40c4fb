"""Keywords of a constructor: which of them each group takes, by the rule that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..language.names import suggestion
from ..language.rule import Rule
from .entries import WHOLE, is_group, label, rule_of
from .hyper import as_held, numbers_at


def with_keywords(
    rule: Rule, groups: Sequence[Any], hyper: Mapping[str, Any], masks: Sequence[Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Return the defaults of groups with this ``rule``, and the groups: those with another rule
    have the keywords that it knows. A group's own entries count more. ``masks`` has the weight decay
    mask of each group; those whose rule knows no weight decay have none if others do.

    Raises TypeError or ValueError for a keyword that no rule has, and for values that ``rule``
    cannot use.
    """
    rules = [
        rule_of(group, rule, label(k, group)) if is_group(group) else rule
        for k, group in enumerate(groups)
    ]
    of_rule, of_groups = divided(rule, rules, hyper)
    numbers = numbers_at(rule, of_rule, 0, others=("weight_decay_mask", *WHOLE))
    decay = ["weight_decay" in each.known_hyperparameters for each in rules]
    given = []
    for group, more, decays, mask in zip(groups, of_groups, decay, masks, strict=True):
        masked = {"weight_decay_mask": mask} if decays or not any(decay) else {}
        given.append({**masked, **more, **group} if is_group(group) else group)
    return as_held(of_rule, numbers), given


def divided(
    rule: Rule, rules: Sequence[Rule], hyper: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the keywords that are for ``rule``, all of them if no group has another one, and for each
    group, whose ``rules`` these are, those that it gets besides: what another rule knows.

    Raises TypeError for a keyword that none of several rules has.
    """
    known = {each: each.known_hyperparameters for each in (rule, *rules)}
    if len(known) > 1:
        _check_known(hyper, known)
    of_rule = {name: v for name, v in hyper.items() if len(known) == 1 or name in known[rule]}
    more = [
        {} if own is rule else {name: v for name, v in hyper.items() if name in known[own]}
        for own in rules
    ]
    return of_rule, more


def _check_known(hyper: Mapping[str, Any], known: Mapping[Rule, Mapping[str, Any]]) -> None:
    """Raise TypeError for a keyword that none of several rules has."""
    every = dict.fromkeys(name for each in known.values() for name in each)
    for name in hyper:
        if name not in every:
            rules = ", ".join(rule.name for rule in known)
            takes = (*every, "weight_decay_mask", *WHOLE)
            raise TypeError(
                f"none of the rules {rules} has a hyperparameter {name!r}; "
                f"{suggestion(name, takes)}they have {', '.join(takes)}"
            )
