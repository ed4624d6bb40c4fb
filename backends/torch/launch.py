"""One update of all tensors by the rule's text, run once a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...interrupts import held
from ...language.dtypes import COMPUTE_DTYPE
from ...language.passes import program
from ...language.rule import Rule
from ..gradients import CheckedGradients
from ..host.launch import HostLaunch
from ..torch_tensors.view import as_tensor
from . import work as slicing
from .batch import Batch, Evaluate, Form
from .in_place import Buffers, in_place
from .text import Text, sums_of, text_of_pass
from .work import Work, batched_work, flat_work

Tensor = torch.Tensor


class TorchLaunch(HostLaunch):
    """A launch that runs the text slice by slice. ``gathered``: small tensors share slices."""

    def __init__(
        self, rule: Rule, scalars: tuple[str, ...], param_dtype: str, gathered: bool, reducing: bool
    ) -> None:
        super().__init__(param_dtype)
        self.rule, self.scalars = rule, (*scalars, "grad_coefficient")
        self.dtype: torch.dtype = getattr(torch, COMPUTE_DTYPE[param_dtype])
        self.gathered, self.reducing = gathered, reducing
        self.names = ("param", *rule.state)
        self.size_kinds = program(rule).size_kinds
        pers, sums = tuple(rule.per.get(name) for name in self.names), sums_of(rule)
        last = text_of_pass(rule, self.scalars, len(sums), scaled=True)
        converts = COMPUTE_DTYPE[param_dtype] != param_dtype
        self.form = Form(self.dtype, converts, pers, sums, last.written, last.smaller)
        seen = {*pers, *sums, *(per for _, per in self.size_kinds)}
        self.matrix = bool(seen & {"row", "column"})

    def texts(self, scaled: bool) -> list[Text]:
        """The passes, one more than there are sums; whether gradients are multiplied first."""
        passes = range(len(self.form.sums) + 1)
        return [text_of_pass(self.rule, self.scalars, known, scaled) for known in passes]

    def bind(self, tensors: Sequence[Any], positions: Sequence[int]) -> None:
        """Look up the memory of parameters and state."""
        super().bind(tensors, positions)
        with held(), torch.inference_mode(False):
            self.memory = [[vector(t.flat).detach() for t in tensors]]
            for name in self.rule.state:
                self.memory.append([vector(t.flat_state(name)).detach() for t in tensors])
        self.device = self.memory[0][0].device
        self._made: dict[Text, list[Tensor]] = {}  # constants

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Decide what runs together, and look up its memory."""
        self.row_of_tensor = row_of_tensor
        members = [i for i, row in enumerate(row_of_tensor) if row >= 0]
        lengths = [v.numel() for v in self.memory[0]]
        if not self.reducing:
            work = list(flat_work(lengths, members, self.gathered, self._longest))
        else:
            sized = zip(self.tensors, lengths, strict=True)
            shapes = [t.rows_and_columns if self.matrix else (n,) for t, n in sized]
            work = list(batched_work(shapes, members, self.matrix, self.gathered))
        with held(), torch.inference_mode(False):
            self.batches = [self._batch(each) for each in work]
            self._rows = [self._rows_of(each) for each in work]
        self._largest = max((each.block for each in work), default=0)

    @property
    def _longest(self) -> int:
        """How many elements of one tensor are updated at once."""
        return slicing.SLICE

    def _batch(self, work: Work) -> Batch:
        sizes = [self._typed(work.summed(*kind)) for kind in self.size_kinds]
        return Batch(self.form, work, self.memory, sizes)

    def _typed(self, number: float) -> Tensor:
        wide = torch.full((), float(number), dtype=torch.float64, device=self.device)
        return wide.to(self.dtype)  # which rounds what is too large to infinity, as elsewhere

    # ---- what a run takes, for reports

    def _of_text(self) -> tuple[int, int]:
        """Operations on a block, and arrays that they read and write; those that make sums and
        convert are left out."""
        passes = [in_place(text) for text in self.texts(False)]
        return sum(p.operations for p in passes), sum(p.accesses for p in passes)

    @property
    def operations(self) -> int:
        """How often memory is gone over: gathering, the text, storing."""
        text, _ = self._of_text()
        copies = 2 * len(self.names) + 1
        return sum(
            text * len(batch.blocks) + (0 if batch.work.direct else copies)
            for batch in self.batches
        )

    @property
    def moved(self) -> int:
        """Bytes that these operations read and write, each array once per operation."""
        _, accesses = self._of_text()
        copies = 2 * (2 * len(self.names) + 1)
        work = [batch.work for batch in self.batches]
        arrays = ((accesses + (0 if each.direct else copies)) * each.elements for each in work)
        return sum(arrays) * self.dtype.itemsize

    # ---- running

    def run(self, rows: Any, gradients: CheckedGradients, control: None) -> None:
        """Run the text on each slice."""
        scaled = bool((rows[:, -1] != 1).any())
        with torch.inference_mode(False), torch.no_grad(), np.errstate(invalid="ignore"):
            table = torch.from_numpy(rows).to(self.device)
            numbers = [row.unbind() for row in table]
            grads = [gradients.arrays[position] for position in self.positions]
            vectors = [None if grad is None else vector(grad) for grad in grads]
            evaluate = self._evaluation(scaled)
            for batch, rows_of in zip(self.batches, self._rows, strict=True):
                if isinstance(rows_of, int):
                    scalars: Sequence[Tensor] = numbers[rows_of]
                else:
                    scalars = self._scalars(batch.work, table, *rows_of)
                batch.update(evaluate, scalars, vectors)

    def _rows_of(self, work: Work) -> int | tuple[Tensor, Tensor]:
        """The row of all pieces; or each one's row, and how many elements it has."""
        rows = [int(self.row_of_tensor[piece.tensor]) for piece in work.pieces]
        if rows.count(rows[0]) == len(rows):
            return rows[0]
        lengths = [piece.stop - piece.start for piece in work.pieces]
        return torch.tensor(rows, device=self.device), torch.tensor(lengths, device=self.device)

    def _scalars(
        self, work: Work, table: Tensor, rows: Tensor, lengths: Tensor
    ) -> Sequence[Tensor]:
        """One per element of pieces in one vector, or per tensor."""
        lines = table[rows]
        if work.shape[0] > 1:
            return lines.T.reshape(-1, *work.shape_of("tensor")).unbind()
        lines = lines.repeat_interleave(lengths, dim=0, output_size=work.shape[1])
        return lines.T.contiguous()[:, None, :].unbind()

    def _constants(self, text: Text) -> list[Tensor]:
        if text not in self._made:
            self._made[text] = [self._typed(number) for number in text.constants]
        return self._made[text]

    def _evaluation(self, scaled: bool) -> Evaluate:
        """What computes the passes in this run, operation by operation."""
        texts = self.texts(scaled)
        passes = [in_place(text) for text in texts]
        constants = [self._constants(text) for text in texts]
        buffers = Buffers(passes, self._largest, self.dtype, self.device)

        def evaluate(known: int, given: Sequence[Tensor], shape: torch.Size) -> Sequence[Tensor]:
            memory = buffers.of(known, shape)
            return passes[known].function(*given, *constants[known], *memory)

        return evaluate


def vector(array: Any) -> Tensor:
    """An array or tensor as a vector of reals over the same memory."""
    tensor: Tensor = array if isinstance(array, Tensor) else as_tensor(array)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor if tensor.ndim == 1 else tensor.reshape(-1)
