"""States of bitsandbytes and torchao are states in ``dynamic8``, code for code.

``dynamic8_of_others.npz`` is what bitsandbytes 0.50.2 and torchao 0.18.0 with PyTorch 2.13 kept
after three steps of their AdamW8bit on a CPU: the beginnings of the states, under the names they
have there, and the ``values`` that their own functions load; and numbers that are ``given`` to
torchao's ``quantize_8bit_with_qmap`` with what it ``stored``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import samestep as ss
from helpers import on, snapshot
from samestep.golden.compare import first_difference
from samestep.language.blockwise import BLOCKWISE

CODECS = {"exp_avg": "dynamic8", "exp_avg_sq": "udynamic8"}
THEIRS = {  # codes, scales, the map, and the values, of each of our states
    "bitsandbytes": {
        "exp_avg": ("state1", "absmax1", "qmap1", "values1"),
        "exp_avg_sq": ("state2", "absmax2", "qmap2", "values2"),
    },
    "torchao": {
        name: tuple(f"{name}.{part}" for part in ("codes", "scale", "qmap", "values"))
        for name in CODECS
    },
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("dynamic8_of_others.npz")) as file:
        return dict(file)


@pytest.mark.parametrize("library", THEIRS)
def test_their_states_load_and_come_back_as_they_were(any_backend, library, recorded):
    names = THEIRS[library]
    count = len(recorded[names["exp_avg"][0]])
    params = on(any_backend, [np.zeros(count, np.float32)])
    ours = ss.AdamW(params, backend=any_backend, state_dtype=CODECS)
    exact = ss.AdamW(params, backend=any_backend)
    state = {"step": 3}
    for name, (codes, scales, _, _) in names.items():
        state |= {name: recorded[codes], f"{name}_scale": recorded[scales]}
    saved = ours.state_dict()
    saved["state"][0] = state
    for optimizer in (ours, exact):
        optimizer.load_state_dict(saved)
    for name, (codes, scales, values_map, values) in names.items():
        assert first_difference(BLOCKWISE[CODECS[name]].map, recorded[values_map]) is None
        assert first_difference(snapshot(ours)[f"{name} 0"], recorded[codes]) is None
        assert first_difference(snapshot(ours)[f"{name}_scale 0"], recorded[scales]) is None
        assert first_difference(snapshot(exact)[f"{name} 0"], recorded[values]) is None


@pytest.mark.parametrize("name", CODECS)
def test_what_torchao_stores_is_stored_in_the_same_codes(name, recorded):
    codes, scales = BLOCKWISE[CODECS[name]].store(recorded[f"{name}.given"])
    assert first_difference(codes, recorded[f"{name}.stored"]) is None
    assert first_difference(scales, recorded[f"{name}.scales"]) is None
