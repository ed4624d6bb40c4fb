"""The format of golden files, and the reader in C."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import samestep as ss
from golden_files import COMPILER, NAMES, changed, load, with_flipped_bit
from helpers import ROOT
from samestep.golden import oracle
from samestep.golden.cases import cases
from samestep.golden.compare import assert_same_bits
from samestep.golden.composed import RULES
from samestep.golden.format import VALUES, Golden, from_bytes, to_bytes
from samestep.golden.generate import make
from samestep.language.blockwise import BLOCKWISE
from samestep.language.codecs import stored_dtype
from samestep.language.dtypes import numpy_dtype
from samestep.parts.by_keyword import variant_of
from variants import DTYPES

READER = ROOT / "core/printing/files/golden_reader.c"

# ---- the format


@pytest.mark.parametrize("dtype", DTYPES)
def test_format_keeps_all_bits_but_those_of_nan(dtype):
    golden = load(f"radam_decoupled_weight_decay.{dtype}")
    again = from_bytes(to_bytes(golden))
    assert again.header == golden.header
    assert again.tensors.keys() == golden.tensors.keys()
    for name, array in again.tensors.items():
        assert array.tobytes() == golden.tensors[name].tobytes(), name
    number = np.array([1, np.nan]).astype(numpy_dtype(dtype))
    odd = number.copy()
    odd[1:].view(np.uint8)[0] ^= 1
    assert number.tobytes() != odd.tobytes()
    strided = np.stack([odd, odd], 1)[:, 1]
    files = {to_bytes(Golden(golden.header, {"a": a})) for a in (number, odd, strided)}
    assert len(files) == 1


def test_container_is_what_the_readme_says():
    data = (VALUES / "adam.bfloat16.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = data[8 : 8 + length]
    header = json.loads(text)
    assert length % 8 == 0
    assert json.dumps(header, separators=(",", ":")).encode() == text.rstrip(b" ")
    assert list(header.pop("__metadata__")) == ["samestep"]
    end = 0
    for name, entry in header.items():
        assert list(entry) == ["dtype", "shape", "data_offsets"]
        size = {"F64": 8, "F32": 4, "BF16": 2}[entry["dtype"]]
        begin, stop = entry["data_offsets"]
        assert begin == end, name
        assert begin % size == 0, name
        assert stop - begin == size * math.prod(entry["shape"]), name
        end = stop
    assert end == len(data) - 8 - length


def test_other_files_are_refused():
    golden = load("sgd.float32")
    with pytest.raises(ValueError, match="x has format version 3; this reads 2"):
        from_bytes(to_bytes(changed(golden, format_version=3)), "x")
    data = to_bytes(golden)
    for broken in (b"", data[:7], data[:-1], data.replace(b"samestep", b"samestop", 1)):
        with pytest.raises(ValueError, match="x is not a golden file"):
            from_bytes(broken, "x")


def test_header_says_what_the_optimizer_does():
    """Initial values and hyperparameters suffice for an implementation that has only the file."""
    for name in NAMES:
        golden = load(name)
        rule = RULES[golden.header.base]
        optimizer = ss.Optimizer(rule, golden.parameters(), **golden.header.hyperparameters)
        codecs = golden.header.hyperparameters.get("state_dtype", {})
        one_name = isinstance(codecs, str) and codecs in BLOCKWISE
        variant = variant_of(rule, optimizer.defaults)
        for tensor, state in zip(golden.header.tensors, optimizer.state, strict=True):
            if one_name:  # it is another codec where nothing is negative
                codecs = variant.for_shape(golden.tensors[f"param.0.{tensor}"].shape).storage
            arrays = [each for k in golden.header.states for each in (k, f"{k}_scale")]
            stored = [k for k in arrays if f"state.1.{tensor}.{k}" in golden.tensors]
            assert list(state) == stored
            for key, array in state.items():
                full = array.shape == golden.tensors[f"param.0.{tensor}"].shape
                if key not in golden.header.states:  # scales, of blocks of zeros
                    codec = (
                        codecs if isinstance(codecs, str) else codecs[key.removesuffix("_scale")]
                    )
                    count = BLOCKWISE[codec].count(golden.tensors[f"param.0.{tensor}"].size)
                    assert_same_bits(array, np.zeros(count, np.float32), key)
                    continue
                codec = codecs if isinstance(codecs, str) else codecs.get(key)
                codec = {"lost": "bfloat16", "remainder": "int16"}.get(key, codec)
                coded = codec and (full or codec in BLOCKWISE)  # two codes may be in a byte
                dtype = stored_dtype(codec) if coded else golden.header.compute_dtype
                assert array.dtype.name == golden.tensors[f"state.1.{tensor}.{key}"].dtype == dtype
                start = golden.header.initial_state[key]
                start = BLOCKWISE[codec].of_number(start)[0] if codec in BLOCKWISE else start
                expected = np.full(array.shape, start, array.dtype)
                assert_same_bits(array, expected, key)
        carry = optimizer.state_dict()["state"][0]
        assert {key: carry[key] for key in golden.header.carry} == golden.header.initial_carry


def test_reference_is_numpy_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("SAMESTEP_BACKEND", "abacus")
    case = next(case for case in cases() if case.name == "sgd.float32")
    assert to_bytes(make(case, oracle)) == (VALUES / f"{case.name}.safetensors").read_bytes()


# ---- the reader in C


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler here")
    program = tmp_path_factory.mktemp("reader") / "reader"
    flags = ["-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    source = str(READER)
    subprocess.run([COMPILER, *flags, source, "-o", str(program), "-lm"], check=True)
    return program


def run(program: Path, file: Path) -> tuple[int, str]:
    done = subprocess.run([program, file], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_reader_in_c(reader, tmp_path):
    golden = load("adamw.float32")
    values = sum(
        array.size for name, array in golden.results().items() if name.startswith(("param", "stat"))
    )
    file = VALUES / "adamw.float32.safetensors"
    assert run(reader, file) == (0, f"{values} values, 0 differ\n")
    for name in ("param.1.scale", "state.10.huge.exp_avg", "state.2.bias.exp_avg_sq"):
        corrupted = tmp_path / "corrupted.safetensors"
        corrupted.write_bytes(to_bytes(with_flipped_bit(golden, name)))
        assert run(reader, corrupted) == (1, f"{values} values, 1 differ\n"), name
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-4000])
    assert run(reader, cut)[0] == 2
    assert run(reader, VALUES / "adam.float32.safetensors")[0] == 2
    assert run(reader, READER) == (
        2,
        f"{READER}: is not a safetensors file\n",
    )
    assert run(reader, tmp_path / "absent")[0] == 2
