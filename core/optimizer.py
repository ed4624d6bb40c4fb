"""The optimizer: parameters, their groups and state, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from . import state_dict as _state_dict
from .backend import get_backend
from .clock import Clock
from .hyper import GroupHyper, at_step, checked, is_scheduled, options_asked_for
from .loss_scaler import LossScaler
from .mask import decay_mask
from .program import check
from .rule import Rule, find_rule
from .settled import Settled
from .stepping import Outcome, Settings, Stepping
from .structure import flatten, gradient_leaves

Number = float | Callable[[int], float]


class Optimizer:
    """Updates parameters in place by a rule.

    Parameters
    ----------
    rule : Rule or str
        A rule, one's own included, or the name of a built-in one.
    params : array, nested list / tuple / dict of arrays, or list of groups
        Updated in place. A list of dicts that all have ``"params"`` is parameter groups: the
        other entries are hyperparameters of the group. A group with ``frozen=True`` stays as
        it is.
    backend : str, optional
        ``"numpy"``, ``"numba"``, ``"cupy"``, ``"torch"``; without it, see `samestep.get_backend`.
    clip_global_norm : float or schedule, optional
        Scale all gradients down together where their Euclidean norm is longer than this.
    skip_nonfinite : bool
        Leave out the whole step if any gradient is infinite or NaN; ``skipped`` tells.
    loss_scaler : LossScaler, optional
        Its scale is divided out of the gradients; implies ``skip_nonfinite``.
    accumulation_steps : int
        Update at every so many calls of ``step``, with the mean of their gradients.
    **hyper
        Hyperparameters and structural options of the rule, for all groups that do not say
        otherwise, and of every rule: ``maximize``; ``clip_value``, a limit for each element of
        a gradient; ``clip_norm``, a limit for the Euclidean norm of each parameter's gradient;
        ``weight_decay_mask``, which parameters decay (see `samestep.mask`). A number may also be
        a schedule: a function of the number of steps taken so far.

    Gradients are unscaled first, then clipped by ``clip_global_norm``, ``clip_value`` and
    ``clip_norm``, in this order. `clip_global_norm` to `accumulation_steps` are attributes, and
    may be changed between steps as hyperparameters may.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.
    """

    steps_taken, skipped_steps = Settled[int](), Settled[int]()
    skipped = Settled[bool]()
    _steps_taken: int
    _skipped_steps: int
    _skipped: bool
    _outcome: Outcome | None = None  # of the last step, until it is settled
    _measured: Outcome | None = None  # of the last step, which has its norm

    def __init__(
        self,
        rule: Rule | str,
        params: Any,
        *,
        backend: str | None = None,
        clip_global_norm: Number | None = None,
        skip_nonfinite: bool = False,
        loss_scaler: LossScaler | None = None,
        accumulation_steps: int = 1,
        weight_decay_mask: Any = None,
        **hyper: Any,
    ) -> None:
        self.rule = find_rule(rule)
        self.clip_global_norm, self.skip_nonfinite = clip_global_norm, skip_nonfinite
        self.loss_scaler, self.accumulation_steps = loss_scaler, accumulation_steps
        self.steps_taken = self.skipped_steps = 0
        self.skipped = False
        self._settings()
        self.defaults, _ = checked(self.rule, hyper, 0)
        self._single = not _is_groups(params)
        groups = [{"params": params}] if self._single else list(params)
        leaves = [leaf for group in groups for leaf in flatten(group["params"], "params")[0]]
        if not leaves:
            raise ValueError("params is empty: there is nothing to optimize")
        self.backend = get_backend(backend, leaves)
        self._clear()
        for group in groups:
            self._add_group({"weight_decay_mask": weight_decay_mask, **group}, {})
        self.backend.check_overlap(self._tensors)

    def _clear(self) -> None:
        self.param_groups: list[dict[str, Any]] = []
        self._rules: list[Rule] = []  # the variant of each group
        self._specs: list[Any] = []
        self._tensors: list[Any] = []
        self._clocks: list[Clock] = []
        self._forget()

    def _forget(self) -> None:
        """What is known about the next step: everything is looked at anew."""
        self._stepping_or_none: Stepping | None = None
        self._hyper_seen: Any = None
        self._outcome = self._measured = None
        self._takes_part: list[bool] = []

    @property
    def _stepping(self) -> Stepping:
        if self._stepping_or_none is None:
            self._stepping_or_none = Stepping(self.backend, self._tensors, self._clocks)
        return self._stepping_or_none

    def __repr__(self) -> str:
        tensors = f"{len(self._tensors)} parameter" + "s" * (len(self._tensors) != 1)
        return f"<{self.rule.name} on {self.backend.name}: {tensors}>"

    # ---- groups and hyperparameters

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        Gradients are then given as a list with one entry per group. Raises as the constructor
        does, and RuntimeError between micro-batches; a group with an error is not added.
        """
        self._settle()
        if self.micro_steps:
            raise RuntimeError("a group cannot be added while gradients are being accumulated")
        self._add_group(group, {}, check_overlap=True)

    def _add_group(
        self, group: Mapping[str, Any], options: Mapping[str, bool], check_overlap: bool = False
    ) -> None:
        index = len(self.param_groups)
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError("a parameter group is a dict with 'params' and hyperparameters")
        alone = self._single and index == 0
        where = "" if alone else f"group {index}: "
        own = ("params", "frozen", "weight_decay_mask")
        given = {k: v for k, v in group.items() if k not in own}
        held, hyper = checked(self.rule, {**self.defaults, **given}, self.steps_taken, where)
        rule = self.rule.variant(**{**options_asked_for(self.rule, held, hyper), **options})
        leaves, names, spec = flatten(group["params"], "params" if alone else f"group[{index}]")
        tensors = [self.backend.adopt(n, a) for n, a in zip(names, leaves, strict=True)]
        if check_overlap:
            self.backend.check_overlap([*self._tensors, *tensors])
        decays = decay_mask(group.get("weight_decay_mask"), rule, spec, leaves, names, where)
        clocks = []
        for tensor, decays_here in zip(tensors, decays, strict=True):
            variant = rule.for_shape(tensor.shape)
            check(variant)
            tensor.state = self.backend.new_state(tensor, variant, hyper)
            clocks.append(Clock(variant, index, 0, dict(variant.carry), decays_here))
        frozen = bool(group.get("frozen", False))
        self.param_groups.append({"params": group["params"], **held, "frozen": frozen})
        self._rules.append(rule)
        self._specs.append(spec)
        self._tensors += tensors
        self._clocks += clocks
        self._forget()

    def current_hyperparameters(self) -> list[dict[str, Any]]:
        """Each group's hyperparameters as the next step will use them: schedules as numbers."""
        return [
            checked(self.rule, {n: group[n] for n in self.defaults}, self.steps_taken)[1]
            for group in self.param_groups
        ]

    def _refresh(self) -> None:
        """Take over hyperparameters that were changed from outside, or that a schedule changes."""
        names = (*self.defaults, "frozen")
        try:
            now = [[group[name] for name in names] for group in self.param_groups]
        except KeyError as error:
            raise ValueError(f"a group in param_groups has lost its entry {error}") from None
        try:
            if now == self._hyper_seen:
                return
        except ValueError:  # an array where a number belongs
            pass
        hyper = []
        for i, (group, rule) in enumerate(zip(self.param_groups, self._rules, strict=True)):
            where = "" if len(self._rules) == 1 else f"group {i}: "
            values = {name: group[name] for name in self.defaults}
            numbers = checked(self.rule, values, self.steps_taken, where)[1]
            rule.check_options(numbers, where)
            hyper.append(GroupHyper(numbers))
        self._stepping.set_hyper(hyper)
        # what can change in place, such as a list of betas, has to be read at every step
        fixed = all(
            isinstance(v, (bool, int, float, tuple, type(None))) and not is_scheduled(v)
            for values in now
            for v in values
        )
        self._hyper_seen = now if fixed else None
        takes_part = [not self.param_groups[clock.group]["frozen"] for clock in self._clocks]
        if takes_part != self._takes_part:
            self._takes_part = takes_part

    def _settings(self) -> Settings:
        return Settings(
            at_step(self.clip_global_norm, self._steps_taken),
            self.skip_nonfinite,
            self.loss_scaler,
            self.accumulation_steps,
        ).checked()

    # ---- stepping

    def step(self, grads: Any) -> None:
        """Update the parameters in place.

        Afterwards ``skipped`` tells whether the step was left out, and ``grad_norm`` is the norm
        of all gradients before clipping, where `clip_global_norm` is set (None otherwise).

        Parameters
        ----------
        grads : same structure as the parameters
            Arrays of the parameters' shapes and dtypes (for 16-bit parameters float32, too), or
            None for a parameter that has no gradient this step: it neither moves nor advances
            its step count. They are only read. With several groups, a list with one such
            structure per group.

        Raises
        ------
        TypeError, ValueError
            For gradients or changed hyperparameters that cannot be used; parameters, state and
            step counts are then what they were.
        RuntimeError
            If the processor has been switched to flush subnormal numbers to zero.
        """
        if self._outcome is not None:
            self._settle()
        leaves = gradient_leaves(self._specs, len(self._tensors), self._single, grads)
        self._refresh()
        self._take_note(self._stepping.run(leaves, self._takes_part, self._settings()))

    def prepare(self) -> None:
        """Make a captured step the next one: to be called before each replay of a CUDA graph.

        While a stream is capturing, ``step`` records the work and takes no step. ``prepare``
        computes the scalars of the next step, sends them, on the current stream, to where the
        captured work reads them, and counts the step as taken.

        Raises
        ------
        RuntimeError
            If no step was captured, or what was captured is not what would run now.
        """
        self._settle()
        self._refresh()
        self._take_note(self._stepping.prepare(self._takes_part, self._settings()))

    def _take_note(self, outcome: Outcome | None) -> None:
        """Of what became of a step, or that it is not known yet."""
        self._measured, self._skipped = outcome, False
        if outcome is not None:
            self._outcome = outcome
            if outcome.settled:
                self._settle()

    def _settle(self) -> None:
        """Count the last step, if that has not been done. A device may have to be waited for."""
        outcome = self._outcome
        if outcome is not None:
            if not outcome.settled:
                outcome.settle()
            self._outcome = None
            self._steps_taken += outcome.updated
            self._skipped_steps += outcome.skipped
            self._skipped = outcome.skipped

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping at the last step, where `clip_global_norm`
        is set. Reading it may wait for a device."""
        return None if self._measured is None else self._measured.grad_norm

    # ---- state

    @property
    def state(self) -> list[dict[str, Any]]:
        """The state arrays of each parameter, by name; the optimizer's own memory."""
        return [tensor.state for tensor in self._tensors]

    @property
    def steps(self) -> list[int]:
        """How many steps each parameter has taken."""
        self._settle()
        return [clock.step for clock in self._clocks]

    @property
    def micro_steps(self) -> int:
        """How many micro-batches have been accumulated since the last step."""
        return 0 if self._stepping_or_none is None else self._stepping_or_none.micro_steps

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of everything but the parameters, in torch's layout: ``"state"`` maps the
        parameter's position to step, carry and arrays; ``"param_groups"`` lists hyperparameters
        and positions."""
        return _state_dict.take(self)

    def load_state_dict(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of the same rule, groups and shapes, taken on any backend.

        Raises TypeError or ValueError if it does not fit; nothing is changed then.
        """
        _state_dict.restore(self, snapshot)

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, state and everything else that the next step depends on to one file.

        The file appears under its name only when it is complete. See `samestep.checkpoint.save`.
        """
        from .checkpoint import save

        save(self, path)

    @staticmethod
    def load(
        path: str | PathLike[str],
        params: Any,
        *,
        backend: str | None = None,
        rule: Rule | None = None,
    ) -> Optimizer:
        """An optimizer of ``params`` that goes on from a file, with a rule of one's own if it was
        saved with one; see `samestep.checkpoint.load`."""
        from .checkpoint import load

        return load(path, params, backend=backend, rule=rule)

    def __getstate__(self) -> dict[str, Any]:
        return _state_dict.pickled(self)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        _state_dict.unpickle(self, saved)


def _is_groups(params: Any) -> bool:
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, Mapping) and "params" in group for group in params)
    )
