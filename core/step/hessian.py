"""Estimates of the Hessian's diagonal, which the caller hands over between steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ..language.dtypes import Cast
from ..language.kept import kept
from ..language.rounding import key_scalars
from ..language.rule import Rule
from ..language.scalars import next_scalars
from ..pages import see
from ..parameters.clock import Clock
from ..parameters.hyper import GroupHyper
from ..protocol import Backend, Tensor
from .indexed_slices import is_of_rows
from .launches import Launches


class HessianUpdates:
    """The launches that take estimates into the states of rules that have a ``hessian_rule``."""

    def __init__(self, backend: Backend, tensors: Sequence[Tensor]) -> None:
        self._backend, self._tensors = backend, tensors
        self._checker = backend.gradient_checker(tensors)
        self._checker.what = "estimate"
        self._launches: Launches | None = None

    def take(
        self,
        estimates: list[Any],
        takes_part: Sequence[bool] | None,
        clocks: Sequence[Clock],
        hyper: Sequence[GroupHyper],
        casts: Cast,
        before: Callable[[], None] | None,
    ) -> None:
        """Take in an estimate (or None) for each parameter, by the scalars of its next step.

        Those of frozen parameters are checked and left alone. ``before`` is called when everything
        that can raise has been computed. Raises TypeError, ValueError or RuntimeError before
        anything is changed.
        """
        if self._backend.capturing():
            raise RuntimeError(
                "update_hessian() cannot be captured; call it between replays of the graph"
            )
        rules = [_rule_for_estimates(clock.rule) for clock in clocks]
        for estimate, tensor, clock, rule in zip(
            estimates, self._tensors, clocks, rules, strict=True
        ):
            if estimate is not None and rule is None:
                raise TypeError(
                    f"{tensor.name} has the rule {clock.rule.name}, which takes no estimate of the "
                    f"Hessian; give None in its place{see('howto/hessian.md')}"
                )
            if is_of_rows(estimate):
                raise TypeError(
                    f"the estimate of {tensor.name} is of some rows; expected one of all elements"
                )
        self._checker.casts = casts
        found = self._checker.accept(estimates)
        try:
            if self._checker.moved:  # parameters that lie elsewhere than they did
                self._backend.check_overlap(self._tensors)
                self._launches, self._checker.moved = None, False
            self._backend.check_arithmetic()
            dtypes = [
                dtype if takes_part is None or takes_part[i] else None
                for i, dtype in enumerate(found.dtypes)
            ]
            launches = self._launches_for(rules)
            own = [rule or clock.rule for rule, clock in zip(rules, clocks, strict=True)]
            launches.choose(dtypes, lambda _: (own, clocks))
            for bucket in launches:
                bucket.set_rows([_row(bucket.rule, key, hyper[key.group]) for key in bucket.keys])
                bucket.ready(found)
            if before is not None:
                before()
            for bucket in launches:
                bucket.run(found)
        finally:
            found.release()

    def _launches_for(self, rules: Sequence[Rule | None]) -> Launches:
        """Return the launches over the states that these rules have; clocks may be others than
        those of last time."""
        if self._launches is None:
            states = [
                tensor.state if rule is None else {name: tensor.state[name] for name in rule.arrays}
                for tensor, rule in zip(self._tensors, rules, strict=True)
            ]
            only_these = map(lambda tensor, state: tensor.with_state(state), self._tensors, states)
            self._launches = Launches(self._backend, list(only_these))
        self._launches.forget()
        return self._launches


@kept
def _rule_for_estimates(rule: Rule) -> Rule | None:
    """Return the rule that takes in an estimate, with the states stored as this variant stores
    them."""
    if rule.hessian_rule is None:
        return None
    codecs = {name: c for name, c in rule.storage.items() if name in rule.hessian_rule.state}
    return dataclasses.replace(rule.hessian_rule, kept_in=codecs, rounding=rule.rounding)


def _row(rule: Rule, clock: Clock, hyper: GroupHyper) -> tuple[float, ...]:
    """Return the scalars of the next step; no coefficient multiplies an estimate."""
    numbers = hyper.numbers(clock.decays)
    row, _ = next_scalars(rule, clock.step, {}, numbers)
    key = key_scalars(numbers.seed, clock.step + 1) if rule.stochastic else ()
    return (*row.values(), *key, 1.0)
