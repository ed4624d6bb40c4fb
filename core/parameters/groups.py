"""Parameter groups: parameters with hyperparameters of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import call, itemgetter
from typing import Any

from ..language.around import COPY
from ..language.dtypes import dtype_of
from ..language.hyperparameters import Option, check_options
from ..language.outside import Constant, check_constants, constants
from ..language.rule import Rule
from ..language.text_checks import check
from ..pages import see
from ..parts.by_keyword import variant_of
from ..protocol import Backend, Tensor
from .by_name import Division
from .clock import Clock
from .contents import Contents
from .copies import SameCopies, adopt_copies, with_copies
from .decay_mask import decay_mask
from .entries import (
    OF_GROUPS,
    family_of,
    has_too_much,
    hyper_of,
    is_group,
    label,
    lost_entry,
    name_entry,
)
from .hyper import (
    GroupHyper,
    as_held,
    as_seen,
    is_fixed,
    is_function,
    numbers_at,
    options_asked_for,
)
from .products import check_products
from .trees import flat_count, flatten, flatten_like, gradient_leaves, listed


class Groups:
    """The groups of one optimizer. ``entries`` is its ``param_groups``; ``families``, ``rules`` and
    ``specs`` have the rule, the variant of it and the structure of each group, ``tensors`` and
    ``clocks`` an entry per parameter, in order.

    ``rule`` and ``defaults`` are those of groups that do not say otherwise. ``single``: parameters
    that were not given as groups; ``division`` is where they are if they have several rules.
    """

    def __init__(
        self,
        rule: Rule,
        defaults: Mapping[str, Any],
        backend: Backend,
        single: bool,
        division: Division | None = None,
    ) -> None:
        self._rule, self._defaults, self._backend = rule, defaults, backend
        self.single, self.division = single, division
        self.entries: list[dict[str, Any]] = []
        self.families: list[Rule] = []
        self.rules: list[Rule] = []
        self.specs: list[Any] = []
        self.tensors: list[Any] = []
        self.clocks: list[Clock] = []
        self._hyper_names: list[tuple[str, ...]] = []
        self._read: list[Callable[[dict[str, Any]], tuple[Any, ...]]] = []
        self._size: list[int] = []  # of each entry, without a name
        self._contents: list[Contents] = []
        self.copies = SameCopies()
        self._constants: dict[Constant, Rule] = {}
        self.forget()

    def check_constants(self) -> None:
        """Raise ValueError if a number that a rule reads from outside has changed since it was
        traced."""
        for constant, rule in self._constants.items():
            constant.check(rule)

    def forget(self) -> None:
        """Look at all hyperparameters anew next time."""
        self._seen: Any = None
        self._scheduled: list[list[str]] = []  # names, group by group
        self._hyper: list[GroupHyper] = []
        self.takes_part: list[bool] | None = None  # those that are not frozen; None: all

    def add(
        self,
        group: Mapping[str, Any],
        options: Mapping[str, Option],
        steps_taken: int,
        check_overlap: bool = False,
    ) -> None:
        """Add a group; ``options`` are structural options that it has whatever it says. Raises as
        `Optimizer.add_param_group` does."""
        index = len(self.entries)
        if not is_group(group):
            raise TypeError(
                f"group {index}: a parameter group is a dict with 'params' and hyperparameters, "
                f"not {type(group).__name__}"
            )
        alone = self.single and self.division is None and index == 0
        where = "" if alone else label(index, group)
        family = family_of(group, self._rule, self.families, where)
        leaves, names, spec = flatten(group["params"], "params" if alone else f"group[{index}]")
        tensors = [self._backend.adopt(n, a) for n, a in zip(names, leaves, strict=True)]
        copy_to = listed(group.get("copy_to"))
        copies = adopt_copies(self._backend, copy_to, spec, tensors, where)
        given = {
            **(self._defaults if family is self._rule else {}),
            **hyper_of(group, where),
            "copy_to": copies[0].dtype if copies else None,
        }
        hyper = numbers_at(family, given, steps_taken, where, OF_GROUPS)
        held = as_held(given, hyper)
        asked = {**options_asked_for(family, held, hyper), **options}
        try:
            rule = variant_of(family, hyper, asked)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}{error}") from None
        if check_overlap:
            self._backend.check_overlap([*with_copies(self.tensors), *tensors, *copies])
        decays = decay_mask(group.get("weight_decay_mask"), rule, spec, leaves, names, where)
        clocks: list[Clock] = []
        for tensor, decays_here in zip(tensors, decays, strict=True):
            tensor.position = len(self.clocks) + len(clocks)
            variant = rule.for_shape(tensor.shape)
            check(variant)
            check_constants(variant)
            check_products(self._backend, variant, where)
            self._constants |= dict.fromkeys(constants(variant), variant)
            tensor.state = self._backend.new_state(tensor, variant, hyper)
            clocks.append(Clock(variant, index, 0, dict(variant.carry), decays_here))
        self._backend.arrange_states(tensors)
        for tensor, copy in zip(tensors, copies, strict=bool(copies)):
            tensor.copied_to, tensor.state[COPY] = copy, copy.owner
        self.entries.append(
            {
                "params": group["params"],
                "rule": family.name,
                **held,
                "frozen": bool(group.get("frozen", False)),
                **name_entry(group),
            }
        )
        self.families.append(family)
        self.rules.append(rule)
        self.specs.append(spec)
        self._hyper_names.append(tuple(held))
        self._read.append(itemgetter(*self._names_of(index)))
        self._size.append(1 + len(self._names_of(index)))
        self._contents.append(Contents(group["params"]))
        self.copies.watch(copy_to)
        self.tensors += tensors
        self.clocks += clocks
        self._expect_gradients()

    def _expect_gradients(self) -> None:
        """Note what gradients look like: ``grad_specs`` are their structures, ``flat`` the
        `flat_count` of these, ``order`` the place of each parameter's gradient among them, None if
        it is its own."""
        if self.division is None:
            self.grad_specs, self.order = self.specs, None
        else:
            self.grad_specs = self.division.structures(self.specs)
            divided = self.division.order(self.specs)
            self.order = [*divided, *range(len(divided), len(self.tensors))]
        self.flat = flat_count(self.grad_specs)

    def gradient_leaves(self, grads: Any, name: str = "grads") -> list[Any]:
        """Return the leaves of gradients, or of what else has their structure and ``name``, one for
        each parameter. Raises TypeError, ValueError or KeyError for another structure."""
        leaves = gradient_leaves(self.grad_specs, self.flat, self.single, grads, name)
        return leaves if self.order is None else [leaves[i] for i in self.order]

    def follow(self) -> list[Tensor]:
        """Update other arrays from now on, where ``params`` of a group has others in the places of
        those that it had. State and step counts stay with the place. Returns these.

        Raises TypeError or ValueError for arrays that are not like those in whose places they
        stand, for groups of another structure, and for other arrays in the places of copies.
        """
        count = len(self._contents)
        if len(self.entries) != count:
            raise ValueError(
                f"param_groups has {len(self.entries)} groups; this optimizer {count}; "
                "add_param_group adds one, and none can be taken away"
            )
        self.copies.check()
        try:
            if self.division is not None:
                self.division.follow(self.entries)
            for group, contents in zip(self.entries, self._contents, strict=True):
                if not contents.same(group["params"]):
                    break
            else:
                return []
            trees = [listed(group["params"]) for group in self.entries]
        except (KeyError, TypeError):
            raise lost_entry("params") from None
        leaves = [leaf for i, tree in enumerate(trees) for leaf in self._leaves(i, tree)]
        tensors = list(map(self._successor, self.tensors, leaves))
        self._backend.check_overlap(with_copies(tensors))
        for group, tree in zip(self.entries, trees, strict=True):
            group["params"] = tree
        found = [new for new, old in zip(tensors, self.tensors, strict=True) if new is not old]
        self.tensors[:] = tensors
        self._contents = list(map(Contents, trees))
        return found

    def _leaves(self, i: int, tree: Any) -> list[Any]:
        """Return the arrays of a group, whose structure must be what it was."""
        try:
            return list(flatten_like(self.specs[i], tree, f"param_groups[{i}]['params']"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{error}; add_param_group adds parameters, none can be taken away"
            ) from None

    def _successor(self, old: Tensor, array: Any) -> Tensor:
        """Return the parameter that this array is in the place of ``old``."""
        if array is old.owner:
            return old
        new = self._backend.adopt(old.name, array)
        found, expected = ((t.shape, dtype_of(t.array).name) for t in (new, old))
        if found != expected:
            raise ValueError(
                f"{old.name} is another array now, of shape {found[0]} and dtype {found[1]}; "
                f"expected {expected[0]} and {expected[1]}, as when the optimizer was made"
                f"{see('in_place.md')}"
            )
        new.state, new.position, new.copied_to = old.state, old.position, old.copied_to
        return new

    def numbers(self, steps_taken: int) -> list[dict[str, Any]]:
        """Return each group's hyperparameters at the next step: schedules as numbers."""
        groups = zip(self.families, self._hyper_names, self.entries, strict=True)
        return [
            numbers_at(rule, {name: group[name] for name in names}, steps_taken, self._where(i))
            for i, (rule, names, group) in enumerate(groups)
        ]

    def changed(self, steps_taken: int) -> list[GroupHyper] | None:
        """Return the hyperparameters of the next step, or None if they are what they were.

        They were changed from outside, or a schedule changes them. Also brings ``takes_part`` up
        to date.

        Raises TypeError or ValueError for what cannot be used.
        """
        try:
            now = list(map(call, self._read, self.entries))
        except KeyError as error:
            raise lost_entry(error) from None
        for i, group in enumerate(self.entries):
            if len(group) - ("name" in group) != self._size[i]:
                raise has_too_much(group, self._names_of(i), self._where(i))
        try:
            same = now == self._seen
        except ValueError:  # an array where a number belongs
            same = False
        if same:  # but for what schedules say
            if not any(self._scheduled):
                return None
            return [
                hyper.at(rule, entry, names, steps_taken, self._where(i))
                for i, (hyper, rule, entry, names) in enumerate(
                    zip(self._hyper, self.rules, self.entries, self._scheduled, strict=True)
                )
            ]
        self._check_rules()
        numbers = self.numbers(steps_taken)
        for i, rule in enumerate(self.rules):
            check_options(rule, numbers[i], self._where(i))
        # what can change in place, such as a list of betas, has to be read at every step
        steady = all(is_fixed(value) or callable(value) for values in now for value in values)
        self._seen = [tuple(map(as_seen, values)) for values in now] if steady else None
        self._scheduled = [
            [n for n, v in zip(self._names_of(i), values, strict=True) if is_function(v)]
            for i, values in enumerate(now)
        ]
        takes_part = [not self.entries[clock.group]["frozen"] for clock in self.clocks]
        if takes_part != self.takes_part:
            self.takes_part = None if all(takes_part) else takes_part
        self._hyper = list(map(GroupHyper, numbers))
        return self._hyper

    def _names_of(self, i: int) -> tuple[str, ...]:
        """Return what a group has besides parameters and a name, in the order in which it is
        read."""
        return (*self._hyper_names[i], "rule", "frozen")

    def _check_rules(self) -> None:
        """Raise ValueError if the entry ``"rule"`` of a group was changed."""
        for i, (group, rule) in enumerate(zip(self.entries, self.families, strict=True)):
            if group["rule"] != rule.name:
                raise ValueError(
                    f"{self._where(i)}rule was {rule.name!r} when the group was made and is "
                    "structural: state and kernels depend on it; make a new optimizer to change it"
                )

    def _where(self, i: int) -> str:
        """Return the beginning of a message about a group."""
        return "" if len(self.entries) == 1 else label(i, self.entries[i])
