"""One update of all tensors by a rule that keeps the last copies of its parameters.

A launch for each copy writes that one, another one writes none. Which of them run follows from the
rows of scalars: the host knows whose turn it is (`samestep.language.last_copies`). They are bound
when their turn comes for the first time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..language.around import last_copies
from ..language.last_copies import TURN, without_copies, writing
from ..language.rule import Rule
from ..pages import see
from ..protocol import Backend, Launch, Tensor


def launch_of_text(
    backend: Backend, rule: Rule, names: tuple[str, ...], dtype: str, grad_dtype: str
) -> Launch:
    """Return a new launch of a rule that calls no function of a whole matrix."""
    if last_copies(rule.around):
        return TurnLaunch(backend, rule, names, dtype, grad_dtype)
    return backend.launch(rule, names, dtype, grad_dtype)


class TurnLaunch:
    """The launches of all copies, and the one that writes none; see `Launch`."""

    def __init__(
        self, backend: Backend, rule: Rule, names: tuple[str, ...], dtype: str, grad_dtype: str
    ) -> None:
        self._backend, self._rule = backend, rule
        self._like = names, dtype, grad_dtype
        self._copies, self._turn = last_copies(rule.around), names.index(TURN)
        self._without = backend.launch(without_copies(rule), *self._like)
        self.rows_dtype = self._without.rows_dtype

    def bind(self, tensors: Sequence[Tensor], positions: Sequence[int]) -> None:
        """Take note of where parameters and state are."""
        self._tensors, self._positions = tensors, positions
        self._without.bind(tensors, positions)
        self._bound = {-1: self._without}

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Take note of which row of scalars each tensor has."""
        self._row_of_tensor = row_of_tensor
        self._set: dict[int, list[int]] = {}  # the turns of all rows that a launch's rows are of

    def ready(self, rows: Any, gradients: Any) -> None:
        """Make the launches of this step ready. Raise RuntimeError where a step is captured: which
        copy it writes is decided on the host."""
        if self._backend.capturing():
            raise RuntimeError(
                f"a step of {self._rule.name} cannot be captured: which of the copies it writes is "
                "decided on the host at each step; take it as it is, or take average='ema' or "
                f"average='mean'{see('cuda.md')}"
            )
        turns = rows[:, self._turn].astype(int).tolist()
        self._now = []
        for turn in dict.fromkeys(turns):
            launch, own = self._launch(turn), [k for k, t in enumerate(turns) if t == turn]
            if self._set.get(turn) != turns:
                row = {k: new for new, k in enumerate(own)}
                launch.set_rows([row.get(k, -1) for k in self._row_of_tensor])
                self._set[turn] = turns
            chosen = rows if len(own) == len(turns) else rows[own]
            launch.ready(chosen, gradients)
            self._now.append((launch, chosen))

    def _launch(self, turn: int) -> Launch:
        """Return the launch that writes this copy, bound."""
        if turn not in self._bound:
            launch = self._backend.launch(writing(self._rule), *self._like)
            launch.bind(
                [self._with_copy(tensor, turn) for tensor in self._tensors], self._positions
            )
            self._bound[turn] = launch
        return self._bound[turn]

    def _with_copy(self, tensor: Tensor, turn: int) -> Tensor:
        """Return the tensor with this copy in the place of the first one."""
        here = {self._copies[0]: self._copies[turn]}
        names = writing(self._rule).arrays
        return tensor.with_state({name: tensor.state[here.get(name, name)] for name in names})

    def run(self, rows: Any, gradients: Any, control: Any) -> None:
        """Update the tensors, each by the launch that was made ready for its row."""
        for launch, chosen in self._now:
            launch.run(chosen, gradients, control)

    def prepare(self, rows: Any) -> None:
        """Do nothing: no step of these is captured."""
