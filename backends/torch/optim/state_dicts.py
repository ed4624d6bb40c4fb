"""State dicts, pickles and copies of a torch optimizer."""

from __future__ import annotations

from typing import Any

from ....interrupts import held
from ....step.one_thread import OneThread
from ....step.swapped import check_own
from ...torch_tensors.tracing import refuse_traced
from .backends import Backends
from .copies import refresh
from .eager import not_compiled
from .groups import RULE
from .load import in_own_order, loaded_groups, loaded_state
from .parts import Parts
from .pickled import with_own_counts
from .prepared import Prepared


class StateDicts(Prepared):
    """An optimizer that is saved and goes on, whatever it was saved by."""

    @not_compiled
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state dict of this optimizer's, of torch's optimizer of the same name, or
        of a `samestep.Optimizer` on any backend. Its tensors are copied. Parameters are found by
        their names where both have ``param_names`` (torch goes by position), else by position.

        Raises TypeError or ValueError if it does not fit; nothing is changed then. Where all states
        of a parameter are of 4 bits, another shape with as many elements is not noticed: such
        states are vectors of bytes.
        """
        refuse_traced("loading a state dict")
        check_own(self._swapped)
        state_dict = state_dict.copy()
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = pre_hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        with held(), self._alone:
            self._forget()
            rules = self._rules.of(self.param_groups)
            state_dict = in_own_order(rules, self.param_groups, state_dict)
            groups = loaded_groups(self.param_groups, state_dict)
            state = loaded_state(rules, groups, state_dict)
            parts = Parts(self._backends.of, rules, groups, state, self._copies)
            self.state, self.param_groups, self._parts = state, groups, parts
            refresh(self._backends, self._copies)
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the last step counted: that may wait for a device. It
        names the rule, as that of `samestep.Optimizer` does, so that another does not go on from
        it."""
        with self._alone:
            self._settle()
            saved = super().state_dict()
        saved.setdefault(RULE, self._rules.own.name)
        return saved

    def __getstate__(self) -> dict[str, Any]:
        check_own(self._swapped)
        self._settle()
        saved = super().__getstate__()
        return {
            **saved,
            "state": with_own_counts(self.state, self._rules.by_name.values()),
            "param_groups": [{**group, "copy_to": None} for group in self.param_groups],
            "_rules": self._rules,
            "warn_lost_updates": self.warn_lost_updates,
            "backend": self._backends.name,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._backends = Backends(state["backend"])
        self._alone, self._swapped, self._copies = OneThread(), False, {}
        self._forget()
