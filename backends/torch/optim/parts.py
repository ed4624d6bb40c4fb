"""The parameters of a torch optimizer that have state, in one part for each device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ....language.rule import Rule
from ....pages import see
from ....protocol import Backend
from ....step.settings import Settings
from .copies import Copies
from .groups import Groups, all_slots, device_of
from .participants import Participants

BackendOf = Callable[[torch.Tensor], Backend]


class Parts:
    """The parameters that have state, in one part for each device; a step is taken by all or none.

    ``backend_of(param)`` is the backend of the parameter's device, ``rules`` are those of the
    groups. Raises what `Participants` raises. ``absent``: the positions of parameters that have no
    state.
    """

    def __init__(
        self,
        backend_of: BackendOf,
        rules: Sequence[Rule],
        groups: Groups,
        state: Mapping[Any, Any],
        copies: Copies,
    ) -> None:
        slots = all_slots(groups, state)
        of_device: dict[torch.device, torch.Tensor] = {}
        for slot in slots:
            if slot.has_state:
                of_device.setdefault(device_of(slot.param), slot.param)
        if len(of_device) > 1 and (shared := [rule for rule in rules if rule.shared]):
            where = ", ".join(map(str, of_device))
            raise ValueError(
                f"{shared[0].name} goes by sums over all parameters, and these are on {where}; make one "
                "optimizer for each device"
            )
        self._backends = [backend_of(param) for param in of_device.values()]
        self._parts = [
            Participants(backend, rules, groups, state, copies, device)
            for backend, device in zip(self._backends, of_device, strict=True)
        ]
        self.absent = [i for i, slot in enumerate(slots) if not slot.has_state]

    def unchanged(self, params: list[Any], state: Mapping[Any, Any]) -> bool:
        """Return True if there are parameters with state, and they are still those that this was
        made of."""
        return bool(self._parts) and all(part.unchanged(params, state) for part in self._parts)

    def step(
        self, groups: Groups, grads: list[Any], settings_of: Callable[[Backend], Settings | None]
    ) -> bool:
        """Update the parameters that have a gradient, if that is what the settings of each backend
        say. Returns whether they do; an error in one part changes none."""
        if len(self._parts) > 1 and any(backend.capturing() for backend in self._backends):
            raise RuntimeError(
                "a step on several devices cannot be captured: a graph is of one device; make one "
                f"optimizer for each{see('torch.md#on-a-cuda-device')}"
            )
        others: Callable[[], None] | None = None  # the steps of the parts behind a part
        for part, backend in zip(reversed(self._parts), reversed(self._backends), strict=True):
            if (settings := settings_of(backend)) is None:
                return False
            others = functools.partial(part.step, groups, grads, settings, others)
        if others is not None:
            others()
        return True

    def update_hessian(self, groups: Groups, estimates: list[Any]) -> None:
        """Take in the estimates of the parameters that have one; an error in one part changes
        none."""
        others: Callable[[], None] | None = None  # the estimates of the parts behind a part
        for part in reversed(self._parts):
            others = functools.partial(part.update_hessian, groups, estimates, others)
        if others is not None:
            others()

    def prepare(self, groups: Groups) -> None:
        """Hand the scalars of the next step to the step that was captured, and count it."""
        for part in self._parts:
            part.prepare(groups)

    def change_mode(self, groups: Groups, evaluating: bool) -> None:
        """Turn the parameters into the averages that their rule keeps, or back."""
        for part in self._parts:
            part.change_mode(groups, evaluating)

    def averages(self) -> dict[torch.Tensor, torch.Tensor]:
        """Return the average of each parameter that has one."""
        return {param: found for part in self._parts for param, found in part.averages().items()}

    def settle(self) -> None:
        """Count the last step, or leave it out; a device that decides about it is waited for."""
        for part in self._parts:
            part.settle()
