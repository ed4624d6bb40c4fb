"""The checkers of golden files can fail, and say what they found."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import samestep as ss
from golden_files import load, with_flipped_bit
from helpers import run_python
from samestep.golden.cases import cases
from samestep.golden.compare import assert_same_bits, first_difference, same_bits
from samestep.golden.format import VALUES, Golden, read, to_bytes
from samestep.golden.generate import generate, generate_for
from samestep.golden.verify import verify, verify_one
from samestep.install_command import install_command
from samestep.language.dtypes import numpy_dtype
from variants import DTYPES

# ---- controls: the checker can fail


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64", "int32", "bool"])
def test_same_bits_sees_one_bit(dtype):
    array = np.ones((3, 4), numpy_dtype(dtype))
    for byte in range(array.dtype.itemsize):
        other = array.copy()
        other[2, 1:2].view(np.uint8)[byte] ^= 1
        assert not same_bits(other, array), byte
        assert "1 of 12 elements differ, first (2, 1)" in first_difference(other, array)
        with pytest.raises(AssertionError, match="weight: 1 of 12"):
            assert_same_bits(other, array, "weight")
    assert same_bits(array, array.copy())
    assert same_bits(array.T, array.T.copy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_on_nan_and_zeros(dtype):
    def numbers(*values):
        return np.array(values).astype(numpy_dtype(dtype))

    payload = numbers(np.nan)
    payload.view(np.uint8)[0] |= 1
    assert same_bits(payload, -numbers(np.nan))
    assert not same_bits(numbers(np.nan), numbers(1.0))
    assert not same_bits(numbers(1.0), numbers(np.nan))
    assert not same_bits(numbers(np.nan), numbers(np.inf))
    assert not same_bits(numbers(0.0), numbers(-0.0))


def test_same_bits_on_dtypes_and_shapes():
    array = np.arange(6, dtype=np.float32)
    assert first_difference(array, array.astype(np.float64)) == "dtype float32 instead of float64"
    assert first_difference(array, array.astype(">f4")) == "dtype float32 instead of >f4"
    assert first_difference(array.view(np.int32), array) == "dtype int32 instead of float32"
    assert first_difference(array.reshape(2, 3), array) == "shape (2, 3) instead of (6,)"
    assert first_difference(array[:1].reshape(()), array[:1]) == "shape () instead of (1,)"
    assert not same_bits(np.zeros((0, 2)), np.zeros((0, 3)))
    assert same_bits(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("param.2.bias", "param.2.bias: 1 of 13 elements differ, first (12,)"),
        ("param.10.special", "param.10.special: 1 of 32"),
        ("state.5.weight.exp_avg_sq", "state.5.weight.exp_avg_sq: 1 of 66"),
        ("scalars.7.scale", "scalars.7.scale: 1 of 9"),
        ("carry.10.bias", "carry.10.bias: 1 of 1"),
        ("grad.10.weight", "state.10.weight.exp_avg: "),
    ],
)
def test_verify_reports_one_flipped_bit(name, first, tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(to_bytes(with_flipped_bit(load("nadam.bfloat16"), name)))
    (result,) = verify(directory=tmp_path)
    assert not result.same
    assert result.differences[0].startswith(first)
    assert result.scalars_same == (not name.startswith(("scalars", "carry")))


def test_verify_reports_wrong_dtype_missing_and_surplus_tensors():
    golden = load("adamw.float32")
    tensors = dict(golden.tensors)
    tensors["param.1.weight"] = tensors["param.1.weight"].astype(np.float64)
    tensors["param.3.weight"] = tensors.pop("param.2.weight")
    result = verify_one(Golden(golden.header, tensors), ss.rules.registry["adamw"])
    assert result.differences == (
        "param.1.weight: dtype float32 instead of float64",
        "param.2.weight: is missing in the file",
        "param.3.weight: is in the file but does not come about",
    )


def test_verify_counts_errors_and_flipped_signs():
    golden = load("sgd.float32")
    truth = golden.tensors["truth.10.param.weight"].copy()
    truth[0, 0] = golden.tensors["param.10.weight"][0, 0] * (1 + 2.0**-10)
    tensors = {**golden.tensors, "truth.10.param.weight": truth}
    result = verify_one(Golden(golden.header, tensors), ss.rules.registry["sgd"])
    assert result.same
    assert 2**12 < result.ulps <= 2**14

    golden = load("lion.float32")
    truth = golden.tensors["truth.1.param.weight"].copy()
    truth[0, :3] += 2 * 0.05 * np.sign(golden.tensors["grad.1.weight"][0, :3])
    tensors = {**golden.tensors, "truth.1.param.weight": truth}
    assert verify_one(Golden(golden.header, tensors), ss.rules.registry["lion"]).flipped == 3


# ---- the interface


def test_names_choose_cases(tmp_path):
    for case in cases():
        if case.rule.name in ("adam", "adamw"):
            shutil.copy(VALUES / f"{case.name}.safetensors", tmp_path)
    seen = []
    results = verify("numpy", ["adam"], tmp_path, progress=seen.append)
    assert [result.name for result in results] == seen
    assert seen == sorted(f"adam{v}.{dtype}" for v in ("", "_amsgrad") for dtype in DTYPES)
    (result,) = verify("numpy", ["adam_amsgrad.float16"], tmp_path)
    assert (result.label, result.dtype, result.backend) == ("adam_amsgrad", "float16", "numpy")
    for function in (verify, generate):
        with pytest.raises(
            ValueError, match=r"no golden case adma; did you mean 'adam.*there are .*adam_amsgrad"
        ):
            function(names=["adam", "adma"])


def test_verify_needs_files_and_a_backend(tmp_path):
    with pytest.raises(ValueError, match="no golden files in"):
        verify(directory=tmp_path)
    with pytest.raises(ValueError, match="no such backend"):
        verify("abacus", ["sgd.float32"])
    (tmp_path / "a.safetensors").write_bytes(b"nonsense, and more of it")
    with pytest.raises(ValueError, match=r"a\.safetensors is not a golden file"):
        verify(directory=tmp_path)


def test_rule_of_ones_own(tmp_path, backend):
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr / xp.sqrt(step)), carry

    def update(xp, s, param, grad, largest):
        largest = xp.maximum(largest, xp.abs(grad))
        return param - s.lr * (grad / largest), largest

    rule = ss.Rule("mine", scalars, update, dict(lr=0.1), initial=dict(largest=1e-3))
    path = generate_for(rule, "bfloat16", tmp_path, changes={3: dict(lr=1)}, lr=np.float32(0.5))
    golden = read(path)
    assert path.name == "mine.bfloat16.safetensors"
    assert golden.header.truth is None
    assert golden.header.initial_state == {"largest": 1e-3}
    assert golden.header.changes == {"3": {"lr": 1.0}}
    (result,) = verify(backend, directory=tmp_path, rules={"mine": rule})
    assert result.same
    assert (result.ulps, result.flipped) == (None, None)
    with pytest.raises(
        ValueError,
        match=r"mine.bfloat16 is of 'mine', which is no .*: rules=\{'mine': rule\}, or --rule module:",
    ):
        verify(backend, directory=tmp_path)
    with pytest.raises(ValueError, match="dtype='int8': expected one of float32"):
        generate_for(rule, "int8", tmp_path)
    with pytest.raises(TypeError, match="no hyperparameter 'speed'"):
        generate_for(rule, "float32", tmp_path, speed=1)
    assert [path] == list(tmp_path.iterdir())


def test_only_the_truth_needs_mpmath(tmp_path):
    printed = run_python(
        f"""
import sys
sys.modules["mpmath"] = None
from samestep.golden.generate import generate, generate_for
from samestep.golden.verify import verify
try:
    generate(["sgd"], {str(tmp_path)!r})
except ImportError as error:
    print(error)
generate_for("sgd", "float32", {str(tmp_path)!r})
print([result.same for result in verify("numpy", ["sgd.float32"])])
"""
    )
    remedy = install_command("oracle")
    assert printed == f"the truth in golden files needs mpmath: {remedy}\n[True]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sgd.float32.safetensors"]
