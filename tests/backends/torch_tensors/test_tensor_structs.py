"""Tensors are looked at in their own structs: what is read there is what PyTorch tells."""

from __future__ import annotations

import random

import numpy as np
import pytest
import samestep as ss
import test_torch_tensors
import torch
import torch._subclasses.fake_tensor
from samestep.backends.torch_tensors import reader as tensor_reader
from samestep.backends.torch_tensors import structs as tensor_structs
from samestep.backends.torch_tensors.view import change_marker


def numba_reader(tensors):
    return ss.get_backend("numba").reader(tensors)


def test_addresses_read_from_structs_are_those_that_torch_tells(monkeypatch):
    base = torch.arange(1000.0)
    tensors = [base[7:], base.view(20, 50)[3:].T, torch.nn.Parameter(base[1:2]),
               torch.ones(3).bfloat16()[1:], torch.ones(3, dtype=torch.complex128)[2:]]  # fmt: skip
    read, told = numba_reader(tensors), tensor_reader.ByTorch()
    assert isinstance(read, tensor_reader.ByStructs)
    found = read.look(tensors, read.kinds(tensors))
    assert (found == told.look(tensors, told.kinds(tensors))).all()
    assert isinstance(numba_reader([torch.ones((1,) * 6)]), tensor_reader.ByTorch)
    monkeypatch.setattr(tensor_reader, "structs", lambda: None)
    assert isinstance(numba_reader(tensors), tensor_reader.ByTorch)
    test_torch_tensors.test_a_parameter_that_is_given_other_memory_is_followed("numba")
    test_torch_tensors.test_a_tensor_that_changes_over_the_same_memory_is_noticed("numba")


KINDS = {
    "shape": lambda: torch.ones(4, 3),
    "fewer axes": lambda: torch.ones(12),
    "strides": lambda: torch.ones(4, 3).T,
    "dtype": lambda: torch.ones(3, 4).double(),
    "integers of that size": lambda: torch.ones(3, 4, dtype=torch.int32),
    "negative": lambda: torch._neg_view(torch.ones(3, 4)),
    "device": lambda: torch.ones(3, 4, device="meta"),
    "layout": lambda: torch.ones(3, 4).to_sparse(),
    "type": lambda: torch.nn.Parameter(torch.ones(3, 4)),
    "None": lambda: None,
    "an array": lambda: np.ones((3, 4), np.float32),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_tensors_are_told_apart(name):
    tensors, other = [torch.ones(3, 4), torch.ones(3, 4)], KINDS[name]()
    for read in (numba_reader(tensors), tensor_reader.ByTorch()):
        kinds = read.kinds(tensors)
        assert read.look([torch.zeros(5, 4)[2:].requires_grad_(), tensors[0]], kinds) is not None
        assert read.look([tensors[0], other], kinds) is None
    pair = torch.ones(2, dtype=torch.complex64)
    for read in (numba_reader([pair]), tensor_reader.ByTorch()):
        assert read.look([pair.conj()], read.kinds([pair])) is None


def test_what_is_left_in_used_memory_makes_no_other_kind():
    """Of unused bits in the structs, about one in a hundred is set."""
    rng, used, tensors = random.Random(0), [], []
    for _ in range(2000):
        used.append(torch.ones([rng.randint(1, 3) for _ in range(rng.randint(0, 6))])
                    if rng.random() < 0.5 else torch._neg_view(torch.ones(3)))  # fmt: skip
        if len(used) > 100:
            used.pop(rng.randrange(100))
        tensors.append(torch.ones(3, 4))
    param = torch.ones(3, 4, requires_grad=True)
    for result in ((param * param).sum(), (param[:1] * 2).sum()):
        tensors += torch.autograd.grad(result, param)
    (param @ torch.ones(4, 5)).sum().backward()
    read = numba_reader(tensors)
    rows, _ = read.kinds([*tensors, param.grad])
    assert len(rows) == 1
    assert read.look(tensors, read.kinds(tensors)) is not None


def test_autograd_is_told_of_changes():
    tensors = [torch.ones(3), torch.nn.Parameter(torch.ones(2)), torch.ones(3)[1:]]
    before = [t._version for t in tensors]
    adopted = [ss.get_backend("numba").adopt("param", t) for t in [*tensors, np.ones(2)]]
    change_marker([*adopted, adopted[0]])()
    assert [t._version - b for t, b in zip(tensors, before, strict=True)] == [2, 1, 1]
    assert tensors[0].detach()._version == tensors[0]._version


def test_control_a_struct_without_the_value_is_not_taken_for_one(monkeypatch):
    tensors = [torch.ones(3)[1:], torch.ones(5)[2:]]
    cells = [t._cdata for t in tensors]
    storages = [t.untyped_storage()._cdata for t in tensors]
    assert tensor_structs._where(cells, storages, 20) is not None
    with pytest.raises(LookupError):
        tensor_structs._where(cells, storages[::-1], 20)
    assert tensor_structs._kind(torch)
    monkeypatch.setattr(
        tensor_structs, "TENSOR", 20
    )  # without the last words, which have the dtype
    with pytest.raises(LookupError):
        tensor_structs._kind(torch)
    tensor_structs._found.cache_clear()
    assert tensor_structs.structs() is None
    tensor_structs._found.cache_clear()


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (lambda: torch.device("meta"), True),
        (torch.inference_mode, True),
        (torch.no_grad, True),
        (torch._subclasses.fake_tensor.FakeTensorMode, False),
    ],
)
def test_structs_are_found_whatever_the_caller_has_set(mode, found):
    tensor_structs._found.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        with mode():
            assert (tensor_structs.structs() is not None) == found
    finally:
        torch.set_default_dtype(torch.float32)
    assert tensor_structs.structs() is not None
