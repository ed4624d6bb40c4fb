"""Evaluation by a torch optimizer: the two modes of rules that train at another point than they
evaluate, and the averages of the parameters."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ....interrupts import held
from ....step.evaluation import MODE, is_evaluating
from ....step.swapped import check_own
from ...torch_tensors.tracing import refuse_traced
from . import averages
from .copies import refresh
from .eager import not_compiled
from .parts import Parts
from .prepared import Prepared


class Modes(Prepared):
    """An optimizer that puts averages of the steps into the places of the parameters, and takes
    them out."""

    def eval(self) -> None:
        """Turn the parameters, in place, into the average of the steps so far, for evaluation; no
        step is taken then. For rules that keep one (``Rule.average_share``); with others it does
        nothing, since training loops call it on every optimizer that has it.
        """
        self._change_mode(True)

    def train(self) -> None:
        """Turn the parameters back into those that steps are taken from, which they are at first.

        Each way rounds once: after `eval` and `train` a parameter may differ in its last place.
        """
        self._change_mode(False)

    @not_compiled
    def _change_mode(self, evaluating: bool) -> None:
        if not self._keeps_averages():
            return
        refuse_traced("eval() or train()")
        check_own(self._swapped)
        groups = self.param_groups
        if is_evaluating(groups) == evaluating:
            return
        with held(), self._alone, torch.no_grad():
            self._look_again()
            self._all_parts().change_mode(groups, evaluating)
            for group in groups:
                group[MODE] = evaluating
            if not evaluating:  # a state dict that was loaded meanwhile wrote averages there
                refresh(self._backends, self._copies)

    def _all_parts(self) -> Parts:
        """Return the parts, made if there are none yet."""
        if self._parts is None:
            groups = self.param_groups
            rules = self._rules.of(groups)
            self._parts = Parts(self._backends.of, rules, groups, self.state, self._copies)
        return self._parts

    def _keeps_averages(self) -> bool:
        """Say whether a rule evaluates another point than it trains."""
        return any(rule.average_share is not None for rule in self._rules.by_name.values())

    @not_compiled
    def averaged(self) -> list[list[torch.Tensor]]:
        """Return the averages of the parameters, a list for each group: new tensors, of float32 for
        16-bit parameters.

        A parameter without a step that counts, or whose group keeps no average, is its own. Raises
        ValueError if no group keeps one: they are asked for by ``average="ema"``, "mean" or a
        number of last copies.
        """
        refuse_traced("averaged()")
        self._settle()
        return averages.averaged(self)

    @not_compiled
    def averages(self) -> AbstractContextManager[None]:
        """Have the averages in the places of the parameters, for evaluation: ``with
        opt.averages():``.

        Afterwards, and after an exception, parameters are what they were. Meanwhile a step and
        pickling raise RuntimeError. Raises as `averaged` does.
        """
        refuse_traced("averages()")
        self._settle()
        return averages.averages(self)
