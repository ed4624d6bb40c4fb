"""The optimizer: parameters, their groups and state, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from ..interrupts import held, hold, holding, release
from ..language.keywords import known_keywords
from ..language.rule import Rule
from ..parameters.trees import gradient_leaves
from ..protocol import Backend
from ..rules import find_rule
from ..step.loss_scaler import LossScaler
from ..step.run import Run, start
from ..step.settings import Settings

if TYPE_CHECKING:
    from ..checkpoint.partial import Loaded

Number = float | Callable[[int], float]
OF_THE_FILE = (
    "; hyperparameters and schedules are those of the file, and may be changed after it: "
    "opt.param_groups[0]['lr'] = 0.01"
)


def _setting(name: str, about: str) -> Any:
    """Make an attribute that reads a setting of the run, and changes it from the next step on."""

    def read(self: Optimizer) -> Any:
        return getattr(self._run.settings, name)

    def change(self: Optimizer, value: Any) -> None:
        self._run.change(**{name: value})

    return property(read, change, doc=about)


class Optimizer:
    """Updates parameters in place by a rule.

    Parameters
    ----------
    rule : Rule or str
        A rule, your own included, or the name of a built-in one.
    params : array, nested list / tuple / dict of arrays, or list of groups
        Updated in place. A list of dicts that all have ``"params"`` is parameter groups: the
        other entries are hyperparameters of the group. A group with ``frozen=True`` stays as
        it is. An entry ``"name"`` is the user's own.
    backend : str, optional
        ``"numpy"``, ``"numba"``, ``"cupy"``, ``"torch"``; without it, see `samestep.get_backend`.
    clip_global_norm : float or schedule, optional
        Scale all gradients down together where their Euclidean norm is longer than this. A step
        whose norm is not finite is left out; ``skipped`` tells.
    skip_nonfinite : bool
        Leave out the whole step if any gradient is infinite or NaN; ``skipped`` tells.
    loss_scaler : LossScaler, optional
        Its scale is divided out of the gradients; implies ``skip_nonfinite``.
    accumulation_steps : int
        Update at every so many calls of ``step``, with the mean of their gradients.
    cast_gradients : bool
        Round gradients of other dtypes to the parameter's compute dtype (float64 to float32) instead
        of refusing them.
    **hyper
        Hyperparameters and structural options of the rule, for all groups that do not say
        otherwise, and of every rule: ``maximize``; ``lazy``, see `samestep.step.indexed_slices`; ``clip_value``, a limit for each element of
        a gradient; ``clip_norm``, a limit for the Euclidean norm of each parameter's gradient;
        ``state_dtype``, what states are stored in (see `samestep.language.codecs`): "bfloat16",
        "float16", "int8" or, for what is never negative, "uint8", or a dict of these by the names
        of states;
        ``weight_decay_mask``, which parameters decay (see `samestep.parameters.decay_mask`). A number may also be
        a schedule: a function of the number of steps taken so far.

    Raises
    ------
    TypeError, ValueError
        For parameters or hyperparameters that cannot be used, before anything is changed. The
        message names the parameter, what came and what was expected.

    Notes
    -----
    Gradients are unscaled first, then clipped by ``clip_global_norm``, ``clip_value`` and
    ``clip_norm``, in this order. `clip_global_norm` to `cast_gradients` are attributes, and
    may be changed between steps as hyperparameters may.
    """

    # an attribute that there is not cannot be set: a misspelt one is an error
    __slots__ = ("__weakref__", "_run")
    _only_rule: ClassVar[Rule | None] = None  # of classes for one rule

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
        cast_gradients: bool = False,
        weight_decay_mask: Any = None,
        **hyper: Any,
    ) -> None:
        settings = Settings(
            clip_global_norm, skip_nonfinite, loss_scaler, accumulation_steps, cast_gradients
        )
        found = find_rule(rule)
        self._run: Run = start(found, params, backend, settings, weight_decay_mask, hyper)

    def __repr__(self) -> str:
        count = len(self._run.groups.tensors)
        tensors = f"{count} parameter" + "s" * (count != 1)
        return f"<{self.rule.name} on {self.backend.name}: {tensors}>"

    @property
    def rule(self) -> Rule:
        """The rule that updates the parameters."""
        return self._run.rule

    @property
    def backend(self) -> Backend:
        """The backend that it runs on."""
        return self._run.backend

    # ---- groups, hyperparameters and settings

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The hyperparameters of groups that do not say otherwise."""
        return self._run.defaults

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups: each a dict with ``"params"``, hyperparameters and ``"frozen"``. What is
        written there counts from the next step on.

        Another array in the place of a parameter, in ``"params"`` or in a list or dict that was
        passed, is updated from then on, with the state of the place; it must have the same shape
        and dtype. Parameters cannot be taken away, and are added by `add_param_group`.
        """
        return self._run.groups.entries

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        Gradients are then given as a list with one entry per group. Raises as the constructor
        does, and RuntimeError between micro-batches; a group with an error is not added.
        """
        with self._run.alone:
            self._run.add_group(group)

    def current_hyperparameters(self) -> list[dict[str, Any]]:
        """Return each group's hyperparameters at the next step: schedules as numbers."""
        return self._run.groups.numbers(self.steps_taken)

    @property
    def lr(self) -> NoReturn:
        """Raise AttributeError: the learning rate belongs to a group."""
        raise AttributeError("lr belongs to a group: param_groups[0]['lr']")

    @lr.setter
    def lr(self, value: object) -> None:
        self.lr  # noqa: B018 (raises)

    clip_global_norm: Number | None = _setting(
        "clip_global_norm", "The longest norm that all gradients together may have."
    )
    skip_nonfinite: bool = _setting(
        "skip_nonfinite", "True if a step with infinite or NaN gradients is left out."
    )
    loss_scaler: LossScaler | None = _setting(
        "loss_scaler", "The scaler whose scale is divided out of the gradients."
    )
    accumulation_steps: int = _setting(
        "accumulation_steps", "The number of calls of ``step`` that make one update."
    )
    cast_gradients: bool = _setting(
        "cast_gradients", "True if gradients of other dtypes are rounded, not refused."
    )

    # ---- stepping

    @known_keywords()
    def step(self, grads: Any) -> None:
        """Update the parameters in place.

        Afterwards ``skipped`` tells whether the step was left out, and ``grad_norm`` is the norm
        of all gradients before clipping, where `clip_global_norm` is set (None otherwise).

        Parameters
        ----------
        grads : same structure as the parameters
            An iterator, such as a generator, is a list. Arrays of the parameters' shapes and dtypes,
            or None for a parameter that has no gradient this step: it neither moves nor advances its
            step count. For float32 and 16-bit parameters float32, bfloat16 and float16, too; others
            if `cast_gradients` says so. For a parameter without axes also a number; for others also
            a `samestep.IndexedSlices` or a sparse tensor, a gradient of some rows. They are only
            read. With several groups, a list with one such structure per group. The arrays of the last step are recognized and
            not looked at again: give none of them, nor a parameter, another shape, dtype or flags
            in place.

        Raises
        ------
        TypeError, ValueError
            For gradients or changed hyperparameters that cannot be used; parameters, state and
            step counts are then what they were.
        RuntimeError
            If the processor has been switched to flush subnormal numbers to zero, or to round
            otherwise than to nearest; or if another thread is using this optimizer.

        Notes
        -----
        Ctrl-C during a step takes effect after it: the step is then complete and counted. A second
        one takes effect at once, and may leave some parameters updated and nothing counted.
        """
        run = self._run
        with run.alone:
            run.begin()
            groups = run.groups
            leaves = gradient_leaves(groups.specs, groups.flat, groups.single, grads)
            outermost = not holding()  # what `held` does, in half the time
            try:
                hold()
                run.keep(run.stepping.run(leaves, groups.takes_part, run.settings_now()))
            finally:
                if outermost:
                    release()

    def flush(self) -> None:
        """Update with the mean of the micro-batches since the last update, fewer than
        `accumulation_steps`: those that are left at the end. Does nothing if there are none.

        Raises as `step` does.
        """
        run = self._run
        if not run.micro_steps:
            return
        with run.alone:
            run.begin()
            leaves = [None] * len(run.groups.tensors)
            with held():
                settings = run.settings_now()
                run.keep(run.stepping.run(leaves, run.groups.takes_part, settings, flush=True))

    def reset(self) -> None:
        """Set state and counts to what they were before the first step, in the same memory; drop
        micro-batches. Parameters, hyperparameters and settings stay, the loss scaler too.

        Schedules begin anew, and an initial state that is a hyperparameter is that of now.
        """
        with held(), self._run.alone:
            self._run.reset()

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
        run = self._run
        with run.alone:
            run.begin()
            with held():
                run.keep(run.stepping.prepare(run.groups.takes_part, run.settings_now()))

    @property
    def steps_taken(self) -> int:
        """The number of updates so far, without skipped ones. Reading it may wait for a device."""
        self._run.settle()
        return self._run.steps_taken

    @property
    def skipped_steps(self) -> int:
        """The number of steps that were left out. Reading it may wait for a device."""
        self._run.settle()
        return self._run.skipped_steps

    @property
    def skipped(self) -> bool:
        """True if the last step was left out. Reading it may wait for a device."""
        self._run.settle()
        return self._run.skipped

    @property
    def grad_norm(self) -> float | None:
        """The norm of all gradients before clipping at the last step, where `clip_global_norm`
        is set. Reading it may wait for a device."""
        return self._run.grad_norm

    @property
    def micro_steps(self) -> int:
        """The number of micro-batches that have been accumulated since the last step."""
        return self._run.micro_steps

    # ---- state

    @property
    def state(self) -> list[dict[str, Any]]:
        """The state arrays of each parameter, by name; the optimizer's own memory."""
        return [tensor.state for tensor in self._run.groups.tensors]

    @property
    def steps(self) -> list[int]:
        """The number of steps that each parameter has taken."""
        self._run.settle()
        return [clock.step for clock in self._run.groups.clocks]

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of everything but the parameters, in torch's layout: ``"state"`` maps
        the parameter's position to step, carry and arrays; ``"param_groups"`` lists
        hyperparameters and positions, and where parameters are in dicts their names: the keys with
        points between, such as ``"layers.0.weight"``."""
        from ..checkpoint.state_dict import take

        with self._run.alone:
            return take(self._run)

    def load_state_dict(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of the same rule, groups and shapes, taken on any backend.

        Parameters are found by their names where both the snapshot and this optimizer have names
        (``"param_names"``), else by their position.

        Raises TypeError or ValueError if it does not fit; nothing is changed then.
        """
        from ..checkpoint.state_dict import restore

        with held(), self._run.alone:
            restore(self._run, snapshot)

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, state, step counts, hyperparameters and settings to one file.

        It is there under its name only when it is complete and on the disk: a process that is
        killed while saving leaves the previous file whole. A step of another thread meanwhile
        raises RuntimeError.

        Raises
        ------
        TypeError
            For what a file cannot hold, such as a hyperparameter that is a function, before
            anything is written.
        OSError
            If the file cannot be written; the previous one is then whole.
        ValueError
            If ``path`` is something else than a file.
        """
        from ..checkpoint.save import save

        with self._run.alone:
            self._run.follow()
            save(self._run, path)

    @classmethod
    @known_keywords(advice=OF_THE_FILE)
    def load(
        cls,
        path: str | PathLike[str],
        params: Any,
        *,
        backend: str | None = None,
        rule: Rule | str | None = None,
        strict: bool = True,
    ) -> Self:
        """Return an optimizer that goes on from a file, on any backend, bit for bit.

        Parameters
        ----------
        path : path
            A file that `save` has written.
        params : array, nested list / tuple / dict of arrays, or list of groups
            Of the dtypes and shapes that were saved; their values become those of the file.
            Entries of a dict are found by their keys, in whatever order, those of a list by their
            position; the optimizer has them in the file's order. Where there were several groups,
            a list of as many dicts with ``"params"``; other entries of these dicts are not looked
            at, since all hyperparameters are those of the file.
        backend : str, optional
            The backend to run on; which one the file was written on does not matter.
        rule : Rule or str, optional
            The rule that it must be. A rule that is not built in has to be given. A class of one
            rule loads no other.
        strict : bool
            False to take only what fits, parameter by parameter: those that the file does not have,
            or has with another shape or dtype, keep their values and have taken no step.
            ``loaded`` says which. Groups and rule must be those of the file all the same.

        Raises
        ------
        CheckpointError
            A ValueError: for a file that is no checkpoint, is damaged, or does not fit;
            ``params`` are then what they were.
        OSError
            If the file cannot be read.
        TypeError, ValueError, RuntimeError
            For parameters that no optimizer can update, or a backend that cannot run.
        """
        from ..checkpoint.load import load

        optimizer = cls.__new__(cls)
        optimizer._run = load(path, params, backend, cls._only_rule or rule, strict)
        return optimizer

    @property
    def loaded(self) -> Loaded | None:
        """Tells what `load` took from its file: the names ``taken``, ``skipped`` (with the reason) and
        ``missing``; None for an optimizer that was not loaded."""
        loaded: Loaded | None = self._run.loaded
        return loaded

    def __copy__(self) -> NoReturn:
        """Raise TypeError: a copy would update the same parameters with other state."""
        raise TypeError(
            "copy.copy of an optimizer would share its parameters but not its state; copy.deepcopy "
            "copies both"
        )

    def __getstate__(self) -> dict[str, Any]:
        from ..checkpoint.pickling import pickled

        with self._run.alone:
            self._run.follow()
            return pickled(self._run)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        from ..checkpoint.pickling import unpickled

        self._run = unpickled(saved)
