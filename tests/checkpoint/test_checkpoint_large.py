"""Headers with many entries: whatever is wrong with one, it is refused in linear time."""

from __future__ import annotations

import gc
import json
import sys
import time

import numpy as np
import pytest
import samestep as ss
from checkpoint_cases import written
from checkpoint_mutators import header_of, sealed, with_header
from samestep.checkpoint import CheckpointError

MANY = 30_000
FEWER = 4  # times; a quadratic count takes 16 times as long then, a linear one 4
SECONDS = 15  # of the processor; a long name that is copied for each entry takes more


def many(prefix="name"):
    return (f"{prefix}{i}" for i in range(MANY))


def tensor(start):
    return {"dtype": "F32", "shape": [0], "data_offsets": [start, start]}


def a_name_twice(fields, tree):
    """The last of many, so that all have to be looked at."""
    entries = ",".join(f'"{name}":0' for name in many())
    return fields, f'{{{entries},"name{MANY - 1}":0}}'


def names_of_nobody(fields, tree):
    return fields, json.dumps({**tree, "names": list(many())})


def state_of_nobody(fields, tree):
    state = {**tree["state"], **{name: {"step": 1} for name in many()}}
    return fields, json.dumps({**tree, "state": state})


def tensors_of_nobody(fields, tree):
    start = fields["checksum"]["data_offsets"][0]
    return {**fields, **{name: tensor(start) for name in many()}}, json.dumps(tree)


def below_a_long_name(fields, tree):
    """Each of many entries has a place, whose name begins with a long one."""
    entries = {"x" * 3_000_000: {name: [[]] for name in many()}}
    return fields, json.dumps({**entries, **tree, "names": []})


def many_groups(fields, tree):
    return fields, json.dumps({**tree, "param_groups": tree["param_groups"] * MANY})


def many_params_in_a_group(fields, tree):
    (group,) = tree["param_groups"]
    group = {**group, "params": list(range(MANY)), "weight_decay_mask": [True] * MANY}
    return fields, json.dumps({**tree, "param_groups": [group]})


CASES = (
    a_name_twice, names_of_nobody, state_of_nobody, tensors_of_nobody, below_a_long_name,
    many_groups, many_params_in_a_group,
)  # fmt: skip


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_many_entries_are_refused_in_linear_time(spoil, tmp_path, monkeypatch):
    took = seconds(spoil, tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "MANY", MANY // FEWER)
    assert took < min(SECONDS, 2 * FEWER * seconds(spoil, tmp_path) + 0.5)


def seconds(spoil, tmp_path):
    """Return how long a file with so many entries takes to be refused, on the processor."""
    path = tmp_path / "run.safetensors"
    written(path)
    data = path.read_bytes()
    fields = json.loads(header_of(data)[0])
    fields, text = spoil(fields, json.loads(fields["__metadata__"]["samestep"]))
    header = json.dumps({**fields, "__metadata__": {"samestep": text}}).encode()
    path.write_bytes(sealed(with_header(data, header + b" " * (-len(header) % 8))))
    params = [np.zeros(3)]
    gc.disable()  # it looks through all that other tests have left
    try:
        began = time.process_time()
        with pytest.raises(CheckpointError) as caught:
            ss.Optimizer.load(path, params, backend="numpy")
        took = time.process_time() - began
    finally:
        gc.enable()
    assert len(str(caught.value)) < 2000
    assert not params[0].any()
    return took
