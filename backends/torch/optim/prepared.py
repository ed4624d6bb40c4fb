"""A torch optimizer keeps from step to step what it made of its groups and its state."""

from __future__ import annotations

from itertools import chain

import torch

from ....parameters.entries import lost_entry
from ....protocol import Backend
from ....step.one_thread import OneThread
from .backends import Backends
from .copies import Copies
from .group_rules import GroupRules
from .parts import Parts


class Prepared(torch.optim.Optimizer):
    """An optimizer whose parameters and state are made ready for steps once, and again where
    something else stands there. ``_parts`` is what was made of them, None for nothing yet."""

    backend: Backend
    warn_lost_updates: bool
    _backends: Backends
    _rules: GroupRules
    _alone: OneThread
    _swapped: bool  # whether averages are in the places of the parameters
    _copies: Copies
    _parts: Parts | None = None

    def _forget(self) -> None:
        """Look at everything anew at the next step; parameters may be elsewhere by then."""
        self._settle()
        self._parts = None
        self.backend = self._backends.anew(self._params())

    def _params(self) -> list[torch.Tensor]:
        try:
            return list(chain.from_iterable(group["params"] for group in self.param_groups))
        except KeyError:
            raise lost_entry("params") from None

    def _look_again(self) -> list[torch.Tensor]:
        """Forget everything about parameters and state that are not what they were; return the
        parameters."""
        self._settle()
        params = self._params()
        if not (self._parts and self._parts.unchanged(params, self.state)):
            self._forget()
        return params

    def _settle(self) -> None:
        """Count the last step, if that has not been done. A device may have to be waited for."""
        if self._parts:
            self._parts.settle()
