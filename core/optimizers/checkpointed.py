"""The state of an optimizer as it is kept: snapshots, files, pickles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from ..interrupts import held
from ..language.keywords import known_keywords
from ..language.rule import Rule
from ..parameters.entries import check_one_rule
from ..step.run import Run

if TYPE_CHECKING:
    from ..checkpoint.partial import Loaded

OF_THE_FILE = (
    "; hyperparameters and schedules are those of the file, and may be changed after it: "
    "opt.param_groups[0]['lr'] = 0.01"
)


class Checkpointed:
    """The part of an optimizer that reads its state and step counts, takes snapshots of them,
    writes and loads them."""

    # an attribute that there is not cannot be set: a misspelt one is an error
    __slots__ = ("__weakref__", "_run")
    _run: Run
    _only_rule: ClassVar[Rule | None] = None  # of classes for one rule

    @property
    def state(self) -> list[dict[str, Any]]:
        """The state arrays of each parameter, by name: the optimizer's own memory. What is written
        into them counts; the dicts are copies, in which nothing can be replaced."""
        return [dict(tensor.state) for tensor in self._run.groups.tensors]

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

        Raises TypeError or ValueError if it does not fit; nothing is changed then. Where all states
        of a parameter are of 4 bits, another shape with as many elements is not noticed: such
        states are vectors of bytes. A file of `save` has the shapes.
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
            self._run.check_own()
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
        rules: Mapping[str, Any] | Callable[[str, Any], Any] | None = None,
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
            rule loads no other. A group's own rule that is not built in is given as ``"rule"`` of
            this group.
        rules : mapping or callable, optional
            What chose rules by the names of parameters when the optimizer was made.
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

        optimizer, only = cls.__new__(cls), cls._only_rule
        if only is not None:
            check_one_rule(only, params, cls.__name__, rules=rules)
        optimizer._run = load(path, params, backend, rule, rules, strict, only)
        return optimizer

    @property
    def loaded(self) -> Loaded | None:
        """Tells what `load` took from its file: the names ``taken``, ``skipped`` (with the reason)
        and ``missing``; None for an optimizer that was not loaded."""
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
            self._run.check_own()
            self._run.follow()
            return pickled(self._run)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        from ..checkpoint.pickling import unpickled

        self._run = unpickled(saved)
