"""One update of all tensors by the rule's own text, run once a slice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from ...dtypes import COMPUTE_DTYPE
from ...program import reachable
from ...rule import Rule
from ...trace import trace_update
from ..foreign import as_tensor
from . import work as slices
from .sums import Gathered
from .vocabulary import ExactDivision, TorchVocabulary, divides_numbers
from .work import Views, Work, batched_work, flat_work

Tensor = torch.Tensor


class SumPendingError(Exception):
    """Raised in the middle of the rule's text: a sum needs all blocks first."""


class SeenAsMatrixError(Exception):
    """Raised when a rule that was taken as flat reduces rows or columns."""


class Passes(TorchVocabulary):
    """``xp`` for one batch: knows the sums of earlier passes in the order the text asks for them,
    and gathers the next one."""

    def __init__(self, dtype: torch.dtype, device: torch.device, work: Work) -> None:
        super().__init__(dtype, device)
        self.work = work
        self.known: list[tuple[str, Tensor]] = []
        self.pending: Gathered | None = None
        self.asked = 0
        self.where_now = slice(0, 0)

    def begin_block(self, where: slice) -> None:
        self.asked, self.where_now = 0, where

    def size(self, x: Any, per: str = "tensor") -> Any:
        in_rows = self.work.matrix and x.shape[-1] == 1
        return self.size_of("row" if in_rows else "element", per)

    def size_of(self, kind: str, per: str) -> Tensor:
        """How many numbers a sum ``per`` what adds up, of a value that exists per row or element."""
        _, rows, *rest = self.work.shape
        columns = rest[0] if rest else 1
        if per != "tensor" and not self.work.matrix:
            raise SeenAsMatrixError
        counts = {"row": columns, "column": rows, "tensor": rows * columns}
        of_rows = per == "tensor" and kind == "row"
        count: Tensor = self.typed(float(rows if of_rows else counts[per]))
        return count

    def known_sum(self, k: int) -> Tensor:
        """The sum that the text asks for as its ``k``-th, as far as this block needs it."""
        per, value = self.known[k]
        return value[:, self.where_now, None] if per == "row" else value

    def sum(self, x: Any, per: str = "tensor") -> Any:
        self.asked += 1
        if self.asked <= len(self.known):
            return self.known_sum(self.asked - 1)
        self.gather(x, per)
        raise SumPendingError

    def gather(self, x: Tensor, per: str) -> None:
        """Add this block's part of the sum that is not known yet."""
        if per != "tensor" and not self.work.matrix:
            raise SeenAsMatrixError
        if self.pending is None:
            batch, rows, *rest = self.work.shape
            columns = rest[0] if rest else 1
            self.pending = Gathered(per, self.work.matrix, batch, rows, columns)
        self.pending.add(x, self.where_now.start)

    def end_pass(self) -> None:
        assert self.pending is not None
        self.known.append((self.pending.per, self.pending.result()))
        self.pending = None


class TorchLaunch:
    """Runs the text slice by slice; see `Launch`. ``gathered``: small tensors share slices."""

    def __init__(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, gathered: bool, reducing: bool
    ) -> None:
        self.rule, self.scalars = rule, (*scalars, "grad_coefficient")
        self.dtype: torch.dtype = getattr(torch, COMPUTE_DTYPE[param_dtype])
        self.names = ("param", *rule.state)
        self.gathered, self.reducing = gathered, reducing
        self.converts = COMPUTE_DTYPE[param_dtype] != param_dtype
        self._divides_numbers = divides_numbers(rule)
        self.matrix = bool({rule.per.get(name) for name in rule.state} & {"row", "column"})

    def bind(self, tensors: Sequence[Any]) -> None:
        self.tensors = tensors
        with torch.inference_mode(False):
            self.vectors = {"param": [vector(t.flat).detach() for t in tensors]}
            for name in self.rule.state:
                self.vectors[name] = [vector(t.flat_state(name)).detach() for t in tensors]
        self.sizes = [v.numel() for v in self.vectors["param"]]
        self.device = self.vectors["param"][0].device

    def set_gradients(self, addresses: Any) -> None:
        pass  # gradients come as arrays, with `run`

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        self.row_of_tensor = row_of_tensor
        self._plan()

    @property
    def _longest(self) -> int:
        """How many elements of one tensor are updated at once."""
        return slices.SLICE

    def _plan(self) -> None:
        """Decide what runs together, and look up its memory."""
        members = [i for i, row in enumerate(self.row_of_tensor) if row >= 0]
        if not self.reducing:
            work = list(flat_work(self.sizes, members, self.gathered, self._longest))
        else:
            sized = zip(self.tensors, self.sizes, strict=True)
            shapes = [t.rows_and_columns if self.matrix else (n,) for t, n in sized]
            work = list(batched_work(shapes, members, self.matrix, self.gathered))
        self.work = [(each, [self._views(each, name) for name in self.names]) for each in work]

    def _views(self, work: Work, name: str) -> Views:
        return Views(work.views(self.vectors[name], self.rule.per.get(name)), self.dtype)

    # ---- what a run takes, for reports

    in_text = True  # whether each operation of the text is one of torch's

    @property
    def operations(self) -> int:
        """How often memory is gone over: gathering, the text, storing."""
        arrays, stored = len(self.names) + 1, len(self.names)
        text, _ = operations_of(self.rule)
        each = [
            ((text + stored) if self.in_text else 1)
            + (0 if work.direct else arrays + (0 if self.in_text else stored))
            for work, _ in self.work
        ]
        return sum(each)

    @property
    def moved(self) -> int:
        """Bytes that these operations read and write, each array once per operation."""
        arrays, stored = len(self.names) + 1, len(self.names)
        _, accesses = operations_of(self.rule)
        total = 0
        for work, _ in self.work:
            count = (accesses + 2 * stored) if self.in_text else arrays + stored
            if not work.direct:
                count += 2 * arrays + (0 if self.in_text else 2 * stored)
            total += count * work.elements
        return total * self.dtype.itemsize

    def run(self, rows: Any, grads: Sequence[Any]) -> None:
        scaled = bool((rows[:, -1] != 1).any())
        with torch.inference_mode(False), torch.no_grad():
            table = torch.from_numpy(rows).to(self.device)
            gradients = [None if g is None else vector(g) for g in grads]
            while True:
                try:
                    for work, views in self.work:
                        self._update(work, views, table, gradients, scaled)
                    return
                except SeenAsMatrixError:  # raised by the first text that ran, before any store
                    self.matrix = True
                    self._plan()

    def _scalars(self, work: Work, table: Tensor) -> SimpleNamespace:
        """One number each, or one per element or tensor where these differ."""
        rows = [self.row_of_tensor[piece.tensor] for piece in work.pieces]
        if len(set(rows)) == 1:
            values = table[rows[0]].unbind()
        else:
            lines = table[torch.tensor(rows, device=self.device)]
            if work.shape[0] == 1:  # pieces in one vector
                lengths = [piece.stop - piece.start for piece in work.pieces]
                counts = torch.tensor(lengths, device=self.device)
                lines = lines.repeat_interleave(counts, dim=0, output_size=work.shape[1])
                values = lines.T.contiguous()[:, None, :].unbind()
            else:
                values = lines.T.reshape(-1, *work.shape_of("tensor")).unbind()
        return SimpleNamespace(**dict(zip(self.scalars, values, strict=True)))

    def _update(
        self, work: Work, views: list[Views], table: Tensor, gradients: Any, scaled: bool
    ) -> None:
        """Run the text on all blocks until no sum is pending; only that last pass stores."""
        pers = [None, *(self.rule.per.get(name) for name in self.rule.state)]
        s = self._scalars(work, table)
        arrays = [work.gather(view.tensors, per) for view, per in zip(views, pers, strict=True)]
        grad = work.gather(work.views(gradients, None), None)
        xp = Passes(self.dtype, self.device, work)
        several = len(work.cuts) > 2
        # state smaller than the parameter is read by many blocks: it changes after the last one
        targets = [
            a.clone() if several and per in ("column", "tensor") else a
            for a, per in zip(arrays, pers, strict=True)
        ]
        done = False
        while not done:
            done = True
            for start, stop in itertools.pairwise(work.cuts):
                where = slice(start, stop)
                xp.begin_block(where)
                parts = [part(a, where, per) for a, per in zip(arrays, pers, strict=True)]
                inputs = [p.to(self.dtype) for p in parts]  # itself, if it is of that dtype
                gradient = part(grad, where, None).to(self.dtype)
                try:
                    changed = self._evaluate(xp, s, inputs, gradient, scaled)
                except SumPendingError:
                    done = False
                    continue
                for k, value in changed:
                    if not work.direct:
                        work.scatter(views[k], value, pers[k])
                    elif value is not parts[k]:
                        part(targets[k], where, pers[k]).copy_(value)
            if not done:
                xp.end_pass()
        for array, target in zip(arrays, targets, strict=True):
            if target is not array:
                array.copy_(target)

    def _evaluate(
        self, xp: Passes, s: Any, inputs: list[Tensor], grad: Tensor, scaled: bool
    ) -> list[tuple[int, Tensor]]:
        """Run the text: which of ``(param, *state)`` have changed, and their new values. Raises
        SumPendingError where a sum is not known yet."""
        if scaled:
            grad = s.grad_coefficient * grad
        with ExactDivision(xp.typed) if self._divides_numbers else contextlib.nullcontext():
            results = self.rule.update(xp, s, inputs[0], grad, *inputs[1:])
        return self._changed(results, inputs)

    def _changed(self, results: Any, inputs: list[Tensor]) -> list[tuple[int, Any]]:
        """The new values, and whose they are, of what has changed."""
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self.names):
            raise TypeError(
                f"rule {self.rule.name!r}: update must return {', '.join(self.names)}; "
                f"it returned {len(results)} values"
            )
        found = []
        for k, value in enumerate(results):
            if not isinstance(value, Tensor):
                value = torch.full((), value, dtype=self.dtype, device=self.device)
            if value.dtype != self.dtype:
                raise TypeError(
                    f"rule {self.rule.name!r}: update computed {self.names[k]} in "
                    f"{str(value.dtype).removeprefix('torch.')}, not "
                    f"{str(self.dtype).removeprefix('torch.')}"
                )
            if value is inputs[k]:
                continue
            # one array's old value may be another's new one, and the old one is overwritten
            found.append((k, value.clone() if any(value is old for old in inputs) else value))
        return found


def operations_of(rule: Rule) -> tuple[int, int]:
    """The operations on elements in a rule's text, and the arrays they read and write. Of rules
    that do not reduce and use no composites, such as `sign`."""
    nodes = [n for n in reachable(trace_update(rule)[0].values()) if n.per == "element" and n.args]
    read = sum(arg.per == "element" for node in nodes for arg in node.args)
    return len(nodes), read + len(nodes)


def vector(array: Any) -> Tensor:
    """An array or tensor as a vector of reals over the same memory."""
    tensor: Tensor = array if isinstance(array, Tensor) else as_tensor(array)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor if tensor.ndim == 1 else tensor.reshape(-1)


def part(array: Tensor, where: slice, per: str | None) -> Tensor:
    """The lines of an array that belong to a block; all of it if it has no axis of rows."""
    return array if per in ("column", "tensor") else array[:, where]
