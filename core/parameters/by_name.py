"""Rules by the names of parameters: a structure of parameters, divided into a group per rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..language.rule import Rule
from ..pages import see
from .contents import Contents
from .entries import written_groups
from .names import dotted_names
from .trees import Spec, flatten, flatten_like

REST = "*"  # the name of the group of all parameters that no pattern is for


class Division:
    """The places of parameters that were passed in one structure and stand in several groups.

    ``tree`` is that structure, ``places`` has the group and the name of each of its parameters.
    The groups are the first ones of the optimizer, the ``params`` of each a dict by name.
    """

    def __init__(self, tree: Any, places: Sequence[tuple[int, str]]) -> None:
        self.tree, self.places = tree, places
        self._leaves, _, self.spec = flatten(tree, "params")
        self._count = 1 + max(k for k, _ in places)
        self._contents = Contents(tree)

    def structures(self, of_groups: Sequence[Spec]) -> list[Spec]:
        """Return what gradients are a list of: the structure that was passed, and those of groups
        that were added. ``of_groups`` has the structure of each group."""
        return [self.spec, *of_groups[self._count :]]

    def order(self, of_groups: Sequence[Spec]) -> list[int]:
        """Return which parameter of ``tree`` each one of the groups is."""
        position = {place: i for i, place in enumerate(self.places)}
        divided = enumerate(of_groups[: self._count])
        return [position[k, name] for k, (_, children) in divided for name, _ in children]

    def follow(self, groups: Sequence[dict[str, Any]]) -> None:
        """Put arrays that have been written into ``tree`` since last time into the groups. Where
        nothing was written, what stands in a group stays.

        Raises ValueError if it has another structure.
        """
        if self._contents.same(self.tree):
            return
        try:
            leaves = list(flatten_like(self.spec, self.tree, "params"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{error}; add_param_group adds parameters, none can be taken away"
            ) from None
        written: list[dict[str, Any]] = [{} for _ in range(self._count)]
        for (k, name), leaf, old in zip(self.places, leaves, self._leaves, strict=True):
            if leaf is not old:
                written[k][name] = leaf
        for group, arrays in zip(groups, written, strict=False):
            if arrays:
                group["params"] = {**group["params"], **arrays}
        self._leaves, self._contents = leaves, Contents(self.tree)

    def masks(self, mask: Any) -> Sequence[Any]:
        """Return the weight decay mask of each group. Raises TypeError or ValueError for a mask of
        another structure than the parameters."""
        if mask is None or callable(mask):
            return [mask] * self._count
        return self.split(list(flatten_like(self.spec, mask, "weight_decay_mask")))

    def split(self, leaves: Sequence[Any]) -> list[dict[str, Any]]:
        """Return one thing per parameter of ``tree`` as a dict by name for each group."""
        dicts: list[dict[str, Any]] = [{} for _ in range(self._count)]
        for (k, name), leaf in zip(self.places, leaves, strict=True):
            dicts[k][name] = leaf
        return dicts


def as_groups(params: Any, rules: Any = None) -> tuple[list[Any], bool, Division | None]:
    """Return the groups that ``params`` are, whether they were not written as groups, and what has
    become of them if ``rules`` divide them.

    The arguments are those of `samestep.Optimizer`. Raises TypeError or ValueError for groups that
    cannot be made of them.
    """
    groups, single = written_groups(params)
    if rules is None:
        return groups, single, None
    if not single:
        raise TypeError(
            "rules makes groups of parameters that are in none; a group has a 'rule' of its own"
            f"{see('howto/rules_by_name.md')}"
        )
    divided, division = _divided(groups[0]["params"], rules)
    return divided, True, division


def _divided(params: Any, rules: Any) -> tuple[list[dict[str, Any]], Division]:
    """Return a group for each choice that ``rules`` makes among ``params``, and their division.

    Parameters
    ----------
    params : nested list / tuple / dict of arrays
    rules : mapping or callable
        As of `samestep.Optimizer`.

    Raises
    ------
    TypeError
        For parameters without names, and for rules that are neither of the two.
    ValueError
        For no parameters, and for a pattern that is no regular expression or chooses none of them.
    """
    leaves, written_out, spec = flatten(params, "params")
    if not leaves:
        raise ValueError("params is empty: there is nothing to optimize")
    names = dotted_names(spec, written_out)
    if names is None:
        raise TypeError(
            "rules goes by the names of parameters, and arrays in lists have none; give a dict, "
            f"such as dict(model.named_parameters()){see('howto/rules_by_name.md')}"
        )
    chosen = _chosen(rules, names, leaves)
    choices: list[Any] = []
    for choice in chosen:
        if choice is not None and choice not in choices:
            choices.append(choice)
    if isinstance(rules, Mapping):
        choices.sort(key=list(rules).index)
    groups = [_entries(rules, choice) for choice in choices]
    if None in chosen:
        choices.append(None)
        groups.append({"name": REST})
    places = [(choices.index(choice), name) for choice, name in zip(chosen, names, strict=True)]
    division = Division(params, places)
    parts = zip(division.split(leaves), groups, strict=True)
    return [{"params": part, **group} for part, group in parts], division


def _chosen(rules: Any, names: Sequence[str], leaves: Sequence[Any]) -> list[Any]:
    """Return what is chosen for each parameter, a pattern or what a function returns; None where
    nothing is."""
    if callable(rules):
        returned = [rules(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
        for name, choice in zip(names, returned, strict=True):
            if not isinstance(choice, (str, Rule, Mapping, type(None))):
                raise TypeError(
                    f"rules returned a {type(choice).__name__} for {name!r}; expected a rule, the name of one, a "
                    "dict with 'rule' and hyperparameters, or None for the optimizer's first argument"
                    f"{see('howto/rules_by_name.md')}"
                )
        return returned
    if not isinstance(rules, Mapping):
        raise TypeError(
            "rules maps regular expressions to rules, or is a function (name, param) -> rule, not "
            f"{type(rules).__name__}{see('howto/rules_by_name.md')}"
        )
    patterns = {pattern: _compiled(pattern) for pattern in rules}
    chosen = [next((p for p, search in patterns.items() if search(name)), None) for name in names]
    for pattern, search in patterns.items():
        if pattern not in chosen:
            found = next(filter(search, names), None)
            why = (
                f"{found!r} and all others that it is in match an earlier one"
                if found
                else (f"it is in none of the names, such as {names[0]!r}")
            )
            raise ValueError(
                f"rules: no parameter is left for {pattern!r}: {why}{see('howto/rules_by_name.md')}"
            )
    return chosen


def _compiled(pattern: Any) -> Callable[[str], Any]:
    """Return a function that searches a name. Raises TypeError or ValueError for what is no
    pattern."""
    if not isinstance(pattern, str):
        raise TypeError(f"rules: a pattern is a string, not {pattern!r:.80}")
    try:
        return re.compile(pattern).search
    except re.error as error:
        raise ValueError(
            f"rules: {pattern!r} is no regular expression: {error}; parameters that no pattern is "
            f"for have the optimizer's first argument as their rule{see('howto/rules_by_name.md')}"
        ) from None


def _entries(rules: Any, choice: Any) -> dict[str, Any]:
    """Return the entries of a group, but for its parameters."""
    given = rules[choice] if isinstance(rules, Mapping) else choice
    entries = dict(given) if isinstance(given, Mapping) else {"rule": given}
    if "params" in entries:
        raise TypeError("rules: a dict there has 'rule' and hyperparameters, no 'params'")
    return {"name": choice, **entries} if isinstance(rules, Mapping) else entries
