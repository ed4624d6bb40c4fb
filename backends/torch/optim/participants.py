"""The parameters of a torch optimizer on one device that have state, ready for the next step.

All of it follows from ``param_groups`` and ``state``, which belong to the user as much as to the
optimizer: `Participants.unchanged` notices what was written there from outside, and everything
is then made anew. Arrays are the very tensors in ``state``. Step counts and carried numbers are
tensors there as well, views of one vector each, so that a step writes a thousand of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from ....checkpoint.torch_layout import layout_of, read_entry
from ....identities import identities
from ....language.around import COPY
from ....language.dtypes import WIDER
from ....language.hyperparameters import check_options
from ....language.rule import Rule
from ....language.scalars import next_scalars
from ....parameters.clock import Clock
from ....parameters.copies import kept_state, with_copies
from ....parameters.hyper import GroupHyper, as_seen, is_fixed
from ....parameters.products import check_products
from ....protocol import Backend
from ....step.averages import averages_of
from ....step.evaluation import change_mode
from ....step.outcome import Outcome
from ....step.settings import Settings
from ....step.stepping import Stepping
from ...launching.initial_state import initial_state
from .copies import Copies, adopted_copy, copy_of
from .groups import RULE, Groups, Slot, all_numbers, all_slots, device_of, rules_of, where
from .shards import check_placement, check_rule, is_dtensor, is_part, local, local_gradient, placed


class Numbers:
    """The numbers of each parameter by name, float64, each a 0-d tensor: ``views[name][i]``."""

    def __init__(self, names: Sequence[str], count: int) -> None:
        self._array = np.zeros((len(names), count))
        rows = torch.from_numpy(self._array)
        self.views = {n: [row[i] for i in range(count)] for n, row in zip(names, rows, strict=True)}
        self._written = self._array.tobytes()

    def write(self, columns: Sequence[Sequence[float]]) -> None:
        """Set all numbers: a column for each parameter, or one that holds for all."""
        if len(columns) == 1:  # in half the time of what follows
            for row, number in zip(self._array, columns[0], strict=True):
                row.fill(number)
        else:
            self._array[...] = np.array(columns).T
        self._written = self._array.tobytes()

    def unchanged(self) -> bool:
        """Return True if they are what was written last."""
        return self._array.tobytes() == self._written


class Participants:
    """The parameters on a device that have state, as its backend adopted them, with what steps
    them.

    Raises TypeError or ValueError, naming the parameter, for what cannot be stepped. ``state``
    gets other tensors where its own have to be converted.
    """

    def __init__(
        self,
        backend: Backend,
        rules: Sequence[Rule],
        groups: Groups,
        state: Mapping[Any, Any],
        copies: Copies,
        device: torch.device,
    ) -> None:
        slots, numbers = all_slots(groups, state), all_numbers(rules, groups)
        self._positions = [
            i for i, s in enumerate(slots) if s.has_state and device_of(s.param) == device
        ]
        self._all_here = len(self._positions) == len(slots)
        self._members = members = [slots[i] for i in self._positions]
        self._families, self._rules = rules, rules_of(rules, numbers, members)
        self._named = [group.get(RULE) for group in groups]
        tensors: list[Any] = []
        self._clocks: list[Clock] = []
        for position, member in zip(self._positions, members, strict=True):
            tensor = backend.adopt(member.name, local(member.param))
            tensor.position = position
            own = self._rules[member.group].for_shape(tensor.shape)
            check_products(backend, own, f"{member.name}: ")
            given: dict[str, Any] = {}  # states that are the caller's
            if (copy := copy_of(copies, member, own)) is not None:
                copied = adopted_copy(backend, member, tensor, copy)
                tensor.copied_to, given[COPY] = copied, copied.owner
            step, carry, arrays = _split(own, member, given)
            tensor.state = {
                name: given[name]
                if name in given
                else _usable(member, name, arrays[name], shape, dtype.name)
                for name, shape, dtype, _ in initial_state(tensor, own, numbers[member.group])
            }
            tensors.append(tensor)
            self._clocks.append(Clock(own, member.group, step, carry))
        backend.check_overlap(with_copies(tensors))
        self._in_parts = [
            (member, clock.rule)
            for member, clock in zip(members, self._clocks, strict=True)
            if is_part(member.param)
        ]
        self._backend, self._tensors = backend, tensors
        self._stepping = Stepping(backend, tensors, self._clocks)
        self._outcome: Outcome | None = None  # of the last step
        self._read = [itemgetter(*rule.known_hyperparameters) for rule in rules]
        self._hyper_held: list[Any] = []
        self._hyper_seen: bytes | None = None  # which objects they are
        self._dicts: list[dict[str, Any]] = []  # those among them, and what was in them
        self._dicts_seen: list[dict[str, Any]] = []
        self._refresh(groups)
        self._carried = tuple(dict.fromkeys(n for clock in self._clocks for n in clock.rule.carry))
        scalars = (name for rule in rules for name in layout_of(rule).scalars)
        self._next_scalars = tuple(dict.fromkeys(scalars))
        numbers_of_all = ("step", *self._carried, *self._next_scalars)
        self._numbers = Numbers(numbers_of_all, len(members))
        self._write_numbers()
        for i, (tensor, member) in enumerate(zip(tensors, members, strict=True)):
            own = self._clocks[i].rule
            names = ("step", *own.carry, *layout_of(own).scalars)
            counts = {name: self._numbers.views[name][i] for name in names}
            kept = kept_state(tensor).items()
            arrays = {n: placed(n, a, member.param, own) for n, a in kept}
            member.entry.update({**counts, **arrays})
        # what `unchanged` looks at
        self._entries = [member.entry for member in members]
        params = [member.param for member in members]
        self._written = [(p, copies[p]) if p in copies else (p,) for p in params]
        held = [
            *chain.from_iterable(self._written),
            *chain.from_iterable(m.entry.values() for m in members),
        ]
        self._dtensors = [array for array in held if is_dtensor(array)]
        self._seen = self._look([slot.param for slot in slots], state)
        self._in_place = backend.watcher([a for t in tensors for a in (t.owner, *t.state.values())])

    def unchanged(self, params: list[Any], state: Mapping[Any, Any]) -> bool:
        """Return True if parameters and state are still those that this was made of: the same
        objects, over the same memory, with the step counts of the last step."""
        return (
            self._look(params, state) == self._seen
            and self._numbers.unchanged()
            and self._in_place()
        )

    def _look(self, params: list[Any], state: Mapping[Any, Any]) -> tuple[Any, ...]:
        """Return which objects there are, and where the parts of DTensors lie."""
        contents = chain.from_iterable(map(dict.values, self._entries))
        objects = identities([*params, *state.values(), *contents])
        where_parts_lie = [local(array).data_ptr() for array in self._dtensors]
        return len(params), len(state), objects, where_parts_lie

    def _refresh(self, groups: Groups) -> None:
        """Take over hyperparameters that were changed from outside."""
        try:
            held = [group.get(RULE) for group in groups]
            for read, group in zip(self._read, groups, strict=True):
                held += read(group)
        except KeyError:  # the message is that of `all_numbers`
            held = []
        seen = self._hyper_seen is not None and identities(held) == self._hyper_seen
        if seen and self._dicts == self._dicts_seen:
            return
        for k, (named, group) in enumerate(zip(self._named, groups, strict=True)):
            if group.get(RULE) != named:
                raise ValueError(
                    f"{where(groups, k)}its rule cannot be changed: {RULE!r} is {group.get(RULE)!r}, "
                    f"and was {named!r}"
                )
        numbers = all_numbers(self._families, groups)
        for k, rule in enumerate(self._rules):
            check_options(rule, numbers[k], where(groups, k))
        hyper = [GroupHyper(group) for group in numbers]
        for member, rule in self._in_parts:
            check_rule(member.name, member.param, rule, hyper[member.group].clips)
        self._hyper = hyper
        self._stepping.set_hyper(hyper)
        # what can change in place, such as a tensor, has to be read at every step
        self._hyper_held = held  # alive, so that others have other identities
        self._hyper_seen = identities(held) if all(map(is_fixed, held)) else None
        self._dicts = [value for value in held if isinstance(value, dict)]
        self._dicts_seen = list(map(as_seen, self._dicts))

    def step(
        self,
        groups: Groups,
        grads: list[Any],
        settings: Settings,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Update the parameters that have a gradient, by the groups' hyperparameters; ``grads`` are
        those of all parameters. ``before`` is called when everything has been checked, before
        anything is changed."""
        self._refresh(groups)
        mine = self._mine(grads)
        self._outcome = self._stepping.run(mine, None, settings, before=before)
        if self._dtensors:
            torch.autograd.graph.increment_version(
                [
                    each
                    for written, grad in zip(self._written, mine, strict=True)
                    if grad is not None
                    for each in written
                ]
            )
        self._write_numbers()

    def update_hessian(
        self, groups: Groups, estimates: list[Any], before: Callable[[], None] | None = None
    ) -> None:
        """Take in the estimates of the parameters that have one; arguments as of `step`."""
        self._refresh(groups)
        self._stepping.update_hessian(self._mine(estimates), None, WIDER, before)

    def _mine(self, grads: list[Any]) -> list[Any]:
        """Return the gradients, or estimates, of these parameters among those of all, as parts of
        this process."""
        mine = grads if self._all_here else [grads[i] for i in self._positions]
        if self._dtensors:
            mine = [
                local_gradient(m.name, g, m.param) for m, g in zip(self._members, mine, strict=True)
            ]
        return mine

    def prepare(self, groups: Groups) -> None:
        """Hand the scalars of the next step to the step that was captured, and count it."""
        self._refresh(groups)
        self._stepping.prepare(None, Settings())
        self._write_numbers()

    def change_mode(self, groups: Groups, evaluating: bool) -> None:
        """Turn the parameters into the averages that their rule keeps, or back."""
        numbers = all_numbers(self._families, groups)
        change_mode(self._backend, self._tensors, self._clocks, numbers, evaluating)
        if self._dtensors:
            torch.autograd.graph.increment_version([member.param for member in self._members])

    def averages(self) -> dict[torch.Tensor, torch.Tensor]:
        """Return the average of each parameter that has one, placed as the parameter is."""
        found = averages_of(self._backend, self._tensors, self._clocks)
        members = zip(self._members, self._clocks, found, strict=True)
        return {
            member.param: placed("average", average, member.param, clock.rule)
            for member, clock, average in members
            if average is not None
        }

    def settle(self) -> None:
        """Count the last step, or leave it out; a device that decides about it is waited for."""
        if self._outcome is not None and not self._outcome.settled:
            self._outcome.settle()
            self._write_numbers()

    def _write_numbers(self) -> None:
        """Write the counts of all clocks, each computed once, to the state of its parameters."""
        clocks = self._clocks
        if clocks and clocks.count(clocks[0]) == len(
            clocks
        ):  # all parameters share one, as most often
            clocks = clocks[:1]
        columns = {clock: self._column(clock) for clock in set(clocks)}
        self._numbers.write([columns[clock] for clock in clocks])

    def _column(self, clock: Clock) -> list[float]:
        column = [float(clock.step), *(clock.carry.get(name, 0.0) for name in self._carried)]
        if self._next_scalars:
            numbers = self._hyper[clock.group].numbers(clock.decays)
            row, _ = next_scalars(clock.rule, clock.step, clock.carry, numbers)
            column += [float(row.get(name, 0.0)) for name in self._next_scalars]
        return column


def _split(
    rule: Rule, member: Slot, given: Collection[str]
) -> tuple[int, dict[str, float], Mapping[str, Any]]:
    """Return step count, carry and arrays but those ``given``; others may keep things of their own
    in a state, too."""
    needed = {"step", *rule.carry, *rule.arrays} - {*given}
    entry = {name: value for name, value in member.entry.items() if name in needed}
    found = read_entry(rule, entry, f"the state of {member.name} ")
    if found is None:
        return 0, dict(rule.carry), entry
    step, carry, arrays = found
    missing = set(rule.state) - {*arrays, *given}
    begun = {name: torch.zeros_like(member.param) for name in missing}
    return step, carry, {**arrays, **begun}


def _similar(a: torch.dtype, b: torch.dtype) -> bool:
    """Return True if both are real floating-point dtypes, or both complex, or neither."""
    return (a.is_floating_point, a.is_complex) == (b.is_floating_point, b.is_complex)


def _usable(member: Slot, name: str, array: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Return the array, converted if a step needs another dtype or layout in memory."""
    where, expected = f"the state {name} of {member.name}", getattr(torch, dtype)
    if not isinstance(array, torch.Tensor):
        raise TypeError(f"{where} is a {type(array).__name__}; expected a tensor")
    check_placement(where, array, member.param)
    array = local(array)
    if array.device != member.param.device:
        raise ValueError(f"{where} is on {array.device}; the parameter is on {member.param.device}")
    if tuple(array.shape) != shape:
        raise ValueError(f"{where} has shape {tuple(array.shape)}; expected {shape}")
    codes = not expected.is_floating_point and not expected.is_complex
    if not _similar(array.dtype, expected) or (codes and array.dtype != expected):
        raise TypeError(f"{where} has dtype {array.dtype}; expected {expected}")
    array = array.to(expected).contiguous()
    return array.detach() if array.requires_grad else array
