"""The rules of a torch optimizer's groups: the optimizer's own, and those that groups name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from ....language.rule import Rule
from ....parameters.copies import copies_of_groups
from ....parameters.entries import check_one_rule, family_of, is_group, label
from ....parameters.keywords import check_read, divided
from .groups import RULE, Groups, plain


class GroupRules:
    """The rules that an optimizer's groups may have; ``own`` is that of groups that name none.

    ``only`` is the name of a class that takes no other rule; None for one that takes any.
    """

    def __init__(self, own: Rule, only: str | None, others: Collection[Rule] = ()) -> None:
        self.own, self._only = own, only
        self.by_name = {rule.name: rule for rule in (own, *others)}

    def of(self, groups: Groups) -> list[Rule]:
        """Return the rule of each group. Raises ValueError for the name of none of them."""
        named = [group.get(RULE, self.own.name) for group in groups]
        if unknown := [name for name in named if name not in self.by_name]:
            raise ValueError(
                f"a group in param_groups has the rule {unknown[0]!r}; this optimizer has "
                f"{', '.join(self.by_name)}, and a group's rule cannot be changed"
            )
        return [self.by_name[name] for name in named]

    def of_new(self, group: Any, k: int) -> Rule:
        """Return the rule of a group that is to be the one at ``k``. Raises TypeError or ValueError
        for one that cannot be."""
        if not is_group(group):  # torch says what is wrong
            return self.own
        if self._only is not None:
            check_one_rule(self.own, [group], self._only, k, instead="its Optimizer")
        return family_of(group, self.own, self.by_name.values(), label(k, group))

    def and_of(self, rule: Rule) -> GroupRules:
        """Return these rules and one more."""
        return GroupRules(self.own, self._only, [*self.by_name.values(), rule])

    def defaults_of(self, rule: Rule, usual: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults of groups with this rule; ``usual`` are those of the optimizer's
        own."""
        if rule is self.own:
            return dict(usual)
        own = self.own.known_hyperparameters
        others = {name: value for name, value in usual.items() if name not in own}
        return {**rule.known_hyperparameters, **others}

    def with_keywords(self, params: Any, hyper: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the parameters, those in groups with the keywords that the rules of these groups
        know besides, and where there are copies in groups with theirs; and the hyperparameters of
        groups with the optimizer's own rule.

        Raises TypeError or ValueError for rules and keywords that cannot be used.
        """
        given = params if isinstance(params, torch.Tensor) else list(params)
        hyper = dict(hyper)
        copy_to = hyper.pop("copy_to", None)
        groups = [group for group in given if is_group(group)]
        rules = [self.of_new(group, k) for k, group in enumerate(groups)]
        of_own, of_groups = divided(self.own, rules, hyper)
        self.own.hyperparameters(plain(of_own))
        check_read(hyper, groups or [{}], rules or [self.own])
        if groups and len(groups) == len(given):
            copies = copies_of_groups(copy_to, len(groups), False, None)
            given = [
                {**more, "copy_to": copy, **group}
                for more, copy, group in zip(of_groups, copies, groups, strict=True)
            ]
        elif copy_to is not None and isinstance(given, list) and given:
            given = [{"params": given, "copy_to": copy_to}]
        return given, {**self.own.known_hyperparameters, **of_own}
