"""The parameters of a torch optimizer that have state, ready for the next step.

All of it follows from ``param_groups`` and ``state``, which belong to the user as much as to the
optimizer: `Participants.unchanged` notices what was written there from outside, and everything
is then made anew. Arrays are the very tensors in ``state``. Step counts and carried numbers are
tensors there as well, views of one vector each, so that a step writes a thousand of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from ....checkpoint.torch_layout import layout_of, read_entry
from ....language.rule import Rule
from ....language.scalars import next_scalars
from ....parameters.clock import Clock
from ....parameters.hyper import GroupHyper
from ....protocol import Backend
from ....step.outcome import Outcome
from ....step.settings import Settings
from ....step.stepping import Stepping
from ...launching.initial_state import initial_state
from ...memory import identities
from .shards import check_placement, check_rule, is_dtensor, is_part, local, local_gradient, placed


@dataclass
class Member:
    """A parameter that has state: its position among all, its name in messages, its group."""

    position: int
    param: torch.Tensor
    name: str
    group: int
    entry: dict[str, Any]


class Numbers:
    """The numbers of each parameter by name, float64, each a 0-d tensor: ``views[name][i]``."""

    def __init__(self, names: Sequence[str], count: int) -> None:
        self._array = np.zeros((len(names), count))
        rows = torch.from_numpy(self._array)
        self.views = {n: [row[i] for i in range(count)] for n, row in zip(names, rows, strict=True)}
        self._written = self._array.tobytes()

    def write(self, columns: Sequence[Sequence[float]]) -> None:
        """Set all numbers: a column for each parameter, or one that holds for all."""
        self._array[...] = np.array(columns).T
        self._written = self._array.tobytes()

    def unchanged(self) -> bool:
        """Return True if they are what was written last."""
        return self._array.tobytes() == self._written


class Participants:
    """The parameters that have state, as the backend adopted them, with what steps them.

    Raises TypeError or ValueError, naming the parameter, for what cannot be stepped. ``state``
    gets other tensors where its own have to be converted.
    """

    def __init__(
        self,
        backend: Backend,
        rules: Sequence[Rule],
        numbers: list[dict[str, Any]],
        members: Sequence[Member],
        params: list[Any],
        state: Mapping[Any, Any],
    ) -> None:
        self._positions = [m.position for m in members]
        self.absent = sorted(set(range(len(params))).difference(self._positions))
        self.rules = rules
        self._members, self._sharded = members, any(is_dtensor(m.param) for m in members)
        self._in_parts = any(is_part(m.param) for m in members)
        tensors: list[Any] = []
        clocks = []
        for member in members:
            tensor = backend.adopt(member.name, local(member.param))
            rule = rules[member.group].for_shape(tensor.shape)
            step, carry, arrays = _split(rule, member)
            tensor.state = {
                name: _usable(member, name, arrays[name], shape, dtype.name)
                for name, shape, dtype, _ in initial_state(tensor, rule, numbers[member.group])
            }
            tensors.append(tensor)
            clocks.append(Clock(rule, member.group, step, carry))
        backend.check_overlap(tensors)
        self._clocks_seen, self._distinct = b"", list[Clock]()
        self._clocks, self._takes_part = clocks, [True] * len(members)
        self._stepping = Stepping(backend, tensors, clocks)
        self._outcome: Outcome | None = None  # of the last step
        self._layout = layout_of(rules[0])
        self._carried = tuple(rules[0].carry)
        names = ("step", *self._carried, *self._layout.scalars)
        self._numbers = Numbers(names, len(members))
        self.set_hyper(numbers)
        self._write_numbers()
        for i, (tensor, member) in enumerate(zip(tensors, members, strict=True)):
            counts = {name: views[i] for name, views in self._numbers.views.items()}
            member.entry.update(counts)
            member.entry.update({n: placed(a, member.param) for n, a in tensor.state.items()})
        self._dtypes = [m.param.dtype for m in members]
        # what `unchanged` compares
        self._params, self._entries = identities(params), [m.entry for m in members]
        self._dicts, self._contents = identities(list(state.values())), self._look_up_contents()
        entries = [(m.param, *m.entry.values()) for m in members if self._sharded]
        self._dtensors = [array for entry in entries for array in entry if is_dtensor(array)]
        self._parts = self._look_up_parts()
        held = [array for tensor in tensors for array in tensor.state.values()]
        self._in_place = backend.watcher([*(tensor.owner for tensor in tensors), *held])

    def unchanged(self, params: list[Any], state: Mapping[Any, Any]) -> bool:
        """Return True if parameters and state are still those that this was made of: the same
        objects, over the same memory, with the step counts of the last step."""
        return (
            identities(params) == self._params
            and identities(list(state.values())) == self._dicts
            and self._look_up_contents() == self._contents
            and self._look_up_parts() == self._parts
            and self._numbers.unchanged()
            and self._in_place()
        )

    def _look_up_contents(self) -> bytes:
        return identities(list(chain.from_iterable(map(dict.values, self._entries))))

    def _look_up_parts(self) -> list[int]:
        return [local(dtensor).data_ptr() for dtensor in self._dtensors]

    def set_hyper(self, numbers: Sequence[Mapping[str, Any]]) -> None:
        """Use these hyperparameters of the groups from now on."""
        hyper = [GroupHyper(group) for group in numbers]
        if self._in_parts:
            for member, clock in zip(self._members, self._clocks, strict=True):
                check_rule(member.name, member.param, clock.rule, hyper[clock.group].clips)
        self._hyper = hyper
        self._stepping.set_hyper(hyper)

    def step(self, grads: list[Any], settings: Settings) -> None:
        """Update the parameters that have a gradient; ``grads`` are those of all parameters."""
        mine = [grads[i] for i in self._positions] if self.absent else grads
        if self._sharded:
            mine = [
                local_gradient(m.name, g, m.param) for m, g in zip(self._members, mine, strict=True)
            ]
        if [None if grad is None else grad.dtype for grad in mine] != self._dtypes:
            mine = list(map(_widened, mine, self._dtypes))
        self._outcome = self._stepping.run(mine, self._takes_part, settings)
        if self._sharded:
            torch.autograd.graph.increment_version(
                [m.param for m, g in zip(self._members, mine, strict=True) if g is not None]
            )
        self._write_numbers()

    def prepare(self) -> None:
        """Hand the scalars of the next step to the step that was captured, and count it."""
        self._stepping.prepare(self._takes_part, Settings())
        self._write_numbers()

    def settle(self) -> None:
        """Count the last step, or leave it out; a device that decides about it is waited for."""
        if self._outcome is not None and not self._outcome.settled:
            self._outcome.settle()
            self._write_numbers()

    def _write_numbers(self) -> None:
        if (now := identities(self._clocks)) != self._clocks_seen:
            self._clocks_seen, self._distinct = now, list({id(c): c for c in self._clocks}.values())
        columns = {id(clock): self._column(clock) for clock in self._distinct}
        if len(columns) == 1:
            self._numbers.write(list(columns.values()))
        else:
            self._numbers.write([columns[id(clock)] for clock in self._clocks])

    def _column(self, clock: Clock) -> list[float]:
        column = [float(clock.step), *(clock.carry[name] for name in self._carried)]
        if self._layout.scalars:
            numbers = self._hyper[clock.group].numbers(clock.decays)
            row, _ = next_scalars(clock.rule, clock.step, clock.carry, numbers)
            column += [float(row[name]) for name in self._layout.scalars]
        return column


def _split(rule: Rule, member: Member) -> tuple[int, dict[str, float], Mapping[str, Any]]:
    """Return step count, carry and arrays; others may keep things of their own in a state, too."""
    needed = {"step", *rule.carry, *rule.state}
    entry = {name: value for name, value in member.entry.items() if name in needed}
    found = read_entry(rule, entry, f"the state of {member.name} ")
    return found or (0, dict(rule.carry), entry)


def _similar(a: torch.dtype, b: torch.dtype) -> bool:
    """Return True if both are real floating-point dtypes, or both complex, or neither."""
    return (a.is_floating_point, a.is_complex) == (b.is_floating_point, b.is_complex)


def _widened(grad: Any, dtype: torch.dtype) -> Any:
    """Return the gradient in a dtype that holds it exactly and that a parameter of ``dtype``
    takes; as it is if there is none."""
    if grad is None or not _similar(grad.dtype, dtype):
        return grad
    return grad.to(torch.promote_types(grad.dtype, dtype))


def _usable(member: Member, name: str, array: Any, shape: tuple[int, ...], dtype: str) -> Any:
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
    if not _similar(array.dtype, expected):
        raise TypeError(f"{where} has dtype {array.dtype}; expected {expected}")
    return array.detach().to(expected).contiguous() if _differs(array, expected) else array


def _differs(array: torch.Tensor, dtype: torch.dtype) -> bool:
    return array.dtype != dtype or not array.is_contiguous() or array.requires_grad
