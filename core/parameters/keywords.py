"""Keywords of a constructor: which of them each group takes, by the rule that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from ..language.names import suggestion
from ..language.rule import Rule
from .entries import WHOLE, is_group, label, rule_of
from .hyper import as_held, numbers_at

# hyperparameters that nothing reads unless another one asks for what they are of: its name, whether
# a value of it does, and how a message says which
AVERAGES = "average='ema' or average='mean'"
READ_WITH: Mapping[str, tuple[str, Callable[[Any], bool], str]] = {
    "average_decay": ("average", lambda kind: kind == "ema", "average='ema'"),
    "average_start": ("average", lambda kind: kind is not None, AVERAGES),
    "average_every": ("average", lambda kind: isinstance(kind, Integral), "average=a whole number"),
    "seed": ("rounding", lambda how: how != "nearest", "rounding='stochastic'"),
}


def with_keywords(
    rule: Rule,
    groups: Sequence[Any],
    hyper: Mapping[str, Any],
    masks: Sequence[Any],
    copies: Sequence[Any],
) -> tuple[dict[str, Any], list[Any]]:
    """Return the defaults of groups with this ``rule``, and the groups: those with another rule
    have the keywords that it knows. A group's own entries count more. ``masks`` has the weight
    decay mask of each group; those whose rule knows no weight decay have none if others do.
    ``copies`` has what each group's parameters are copied to.

    Raises TypeError or ValueError for a keyword that no rule has, and for values that ``rule``
    cannot use.
    """
    rules = [
        rule_of(group, rule, label(k, group)) if is_group(group) else rule
        for k, group in enumerate(groups)
    ]
    of_rule, of_groups = divided(rule, rules, hyper)
    numbers = numbers_at(rule, of_rule, 0, others=("weight_decay_mask", *WHOLE))
    check_read(hyper, groups, rules)
    decay = ["weight_decay" in each.known_hyperparameters for each in rules]
    given = []
    for k, (group, mask, copy) in enumerate(zip(groups, masks, copies, strict=True)):
        masked = {"weight_decay_mask": mask} if decay[k] or not any(decay) else {}
        entries = {**masked, "copy_to": copy, **of_groups[k]}
        given.append({**entries, **group} if is_group(group) else group)
    return as_held(of_rule, numbers), given


def divided(
    rule: Rule, rules: Sequence[Rule], hyper: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the keywords that are for ``rule``, all of them if no group has another one, and for
    each group, whose ``rules`` these are, those that it gets besides: what another rule knows.

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


def check_read(
    hyper: Mapping[str, Any], groups: Sequence[Any], rules: Sequence[Rule], first: int = 0
) -> None:
    """Raise TypeError for a hyperparameter that a group or, of those of all groups, none reads,
    since what it is of is not asked for: a decay without an average. Its default value may stand
    there. ``first`` is the place of the first group."""
    for name, (part, reads, expected) in READ_WITH.items():
        read = False
        for k, (group, rule) in enumerate(zip(groups, rules, strict=True), first):
            own = group if is_group(group) else {}
            known = rule.known_hyperparameters
            of_rule = name in rule.defaults and part not in rule.around  # its own, of the same name
            reads_it = of_rule or reads({**known, **hyper, **own}[part])
            if not reads_it and own.get(name, known[name]) != known[name]:
                raise _unread(label(k, own), name, expected)
            read = read or reads_it
        if not read and name in hyper and hyper[name] != known[name]:
            raise _unread("", name, expected)


def check_read_by_new(
    group: Mapping[str, Any], rule: Rule, default: Rule, defaults: Mapping[str, Any], k: int
) -> None:
    """Raise what `check_read` does for a group that is added at ``k``; one with the ``default``
    rule has the optimizer's ``defaults``."""
    parts = {part: defaults[part] for part, _, _ in READ_WITH.values()} if rule is default else {}
    check_read(parts, [group], [rule], k)


def _unread(where: str, name: str, expected: str) -> TypeError:
    """Make the error for a hyperparameter that nothing reads."""
    return TypeError(
        f"{where}{name} has no effect without {expected}: give that, too, or leave it out"
    )


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
