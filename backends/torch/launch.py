"""One update of all tensors by a rule, run once a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...interrupts import held
from ...language.blockwise import BLOCKWISE, scales_of
from ...language.dtypes import COMPUTE_DTYPE
from ...language.passes import program
from ...language.random_signs import random_signs
from ...language.rounding import key_of, streams
from ...language.rule import Rule
from ..gradients import CheckedGradients
from ..host.launch import HostLaunch
from ..torch_tensors.view import as_tensor
from . import work as slicing
from .batch import Batch, Evaluate
from .block_state import BlockState
from .in_place import Buffers, in_place
from .operations import Operations, operations
from .work import Work, batched_work, flat_work

Tensor = torch.Tensor


class TorchLaunch(HostLaunch):
    """A launch that runs passes and folds slice by slice. ``gathered``: small tensors share
    slices."""

    # the operations of the next run, and what computes them, with its buffers
    _made_ready: tuple[list[Operations], Evaluate] | None = None

    def __init__(self, rule: Rule, param_dtype: str, gathered: bool) -> None:
        super().__init__(param_dtype)
        self.rule, self.program, self.gathered = rule, program(rule), gathered
        self.storage: torch.dtype = getattr(torch, param_dtype)
        self.dtype: torch.dtype = getattr(torch, COMPUTE_DTYPE[param_dtype])
        self.converts = bool(rule.storage) or COMPUTE_DTYPE[param_dtype] != param_dtype
        self.streams = streams(rule, param_dtype)
        self.reducing = bool(self.program.asked or self.program.small)
        self.matrix = self.program.text_matrix
        self.signs = [node for node in self.program.asked if node.op == "random_signs"]

    def operations(self, scaled: bool) -> list[Operations]:
        """Return the passes and folds in their order; see `operations` for ``scaled``."""
        steps = (*self.program.passes, *self.program.folds)
        asked = any(node.op == "stored" for step in steps for node in step.nodes)
        storage = self.storage if asked else self.dtype  # dtypes that compute alike share graphs
        return [operations(self.rule, *each, scaled, storage) for each in self.program.launches]

    def bind(self, tensors: Sequence[Any], positions: Sequence[int]) -> None:
        """Look up the memory of parameters and state."""
        super().bind(tensors, positions)
        with held(), torch.inference_mode(False):
            self.memory: dict[str, list[Any]] = {
                "param": [vector(t.flat).detach() for t in tensors]
            }
            for name in self.rule.state:
                self.memory[name] = [self._state(t, name) for t in tensors]
        self.device = self.memory["param"][0].device
        self._made: dict[Operations, list[Tensor]] = {}  # constants

    def _state(self, tensor: Any, name: str) -> Tensor | BlockState:
        """Return a state's memory as a vector."""
        memory, scales = vector(tensor.flat_state(name)).detach(), scales_of(name)
        if scales not in self.rule.scales:
            return memory
        codec = BLOCKWISE[self.rule.storage[name]]
        own = vector(tensor.flat_state(scales)).detach()
        return BlockState(codec, memory, own, tensor.size)

    def set_rows(self, row_of_tensor: Sequence[int]) -> None:
        """Decide what runs together, and look up its memory."""
        self.row_of_tensor = row_of_tensor
        members = [i for i, row in enumerate(row_of_tensor) if row >= 0]
        lengths = [v.numel() for v in self.memory["param"]]
        limits = slicing.slice_on(self.device)
        if not self.reducing:
            work = list(flat_work(lengths, members, self.gathered, self._longest, limits))
        else:
            sized = zip(self.tensors, lengths, strict=True)
            shapes = [t.rows_and_columns if self.matrix else (n,) for t, n in sized]
            work = list(batched_work(shapes, members, self.matrix, self.gathered, limits[0]))
        with held(), torch.inference_mode(False):
            self.batches = [self._batch(each) for each in work]
            self._rows = [self._rows_of(each) for each in work]
        self._largest = max((each.block for each in work), default=0)

    @property
    def _longest(self) -> int:
        """Return how many elements of one tensor are updated at once."""
        return slicing.slice_on(self.device)[0]

    def _batch(self, work: Work) -> Batch:
        sizes = [self._typed(work.summed(*kind)) for kind in self.program.size_kinds]
        places = [tensor.position for tensor in self.tensors]
        return Batch(self.program, self.dtype, work, self.memory, sizes, self.streams, places)

    def _typed(self, number: float) -> Tensor:
        wide = torch.full((), float(number), dtype=torch.float64, device=self.device)
        return wide.to(self.dtype)  # which rounds what is too large to infinity, as elsewhere

    def ready(self, rows: Any, gradients: CheckedGradients) -> None:
        """Make the operations and their buffers."""
        self._made_ready = None  # buffers that no run has used, if there are any
        with torch.inference_mode(False), torch.no_grad():
            self._made_ready = self._evaluation(bool((rows[:, -1] != 1).any()))

    def run(self, rows: Any, gradients: CheckedGradients, control: None) -> None:
        """Run the passes and folds on each slice."""
        with torch.inference_mode(False), torch.no_grad(), np.errstate(invalid="ignore"):
            table = torch.from_numpy(rows).to(self.device)
            numbers = [row.unbind() for row in table]
            grads = [gradients.arrays[position] for position in self.positions]
            vectors = [None if grad is None else vector(grad) for grad in grads]
            of_rows = list(map(key_of, rows)) if self.streams else [(0, 0)] * len(rows)
            keys = [of_rows[row] for row in self.row_of_tensor]
            assert self._made_ready is not None
            (launches, evaluate), self._made_ready = self._made_ready, None
            for batch, rows_of in zip(self.batches, self._rows, strict=True):
                if isinstance(rows_of, int):
                    scalars: Sequence[Tensor] = numbers[rows_of]
                else:
                    scalars = self._scalars(batch.work, table, *rows_of)
                signs = self._random_signs(batch.work, rows)
                batch.update(launches, evaluate, scalars, vectors, keys, signs)

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

    def _random_signs(self, work: Work, rows: Any) -> dict[int, Tensor]:
        """Return the random signs that the rule asks for, of all tensors of some work, by their
        nodes' ids."""
        found = {}
        for node in self.signs:
            columns = [self.program.scalars.index(str(arg.name)) for arg in node.args]
            count = work.rows_and_columns[0 if node.per == "row" else 1]
            lines = [rows[self.row_of_tensor[piece.tensor]] for piece in work.pieces]
            signs = np.stack([random_signs(0, count, *line[columns]) for line in lines])
            of_work = torch.from_numpy(signs).to(self.device, self.dtype)
            found[id(node)] = of_work.reshape(work.shape_of(node.per))
        return found

    def _constants(self, each: Operations) -> list[Tensor]:
        if each not in self._made:
            self._made[each] = [self._typed(number) for number in each.constants]
        return self._made[each]

    def _evaluation(self, scaled: bool) -> tuple[list[Operations], Evaluate]:
        """Return the operations of this run, and what computes them one by one, in place."""
        launches = self.operations(scaled)
        plans = [in_place(each) for each in launches]
        constants = [self._constants(each) for each in launches]
        buffers = Buffers(plans, self._largest, self.dtype, self.device)

        def evaluate(k: int, given: Sequence[Tensor]) -> Sequence[Tensor]:
            memory = buffers.of(k, given[-1].shape)  # of the gradient
            return plans[k].function(*given, *constants[k], *memory)

        return launches, evaluate


def vector(array: Any) -> Tensor:
    """An array or tensor as a vector of reals over the same memory."""
    tensor: Tensor = array if isinstance(array, Tensor) else as_tensor(array)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor if tensor.ndim == 1 else tensor.reshape(-1)
