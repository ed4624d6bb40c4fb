"""Stochastic rounding: the generator's published answers, and what becomes of each number."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from samestep.language.dtypes import numpy_dtype
from samestep.language.rounding import (
    KEY,
    ROUNDED,
    checked_rounding,
    checked_seed,
    halves,
    key_of,
    key_scalars,
    philox,
    rounded_bits,
)
from samestep.printing.c_family import CFamily

# counter, key, words: philox4x32-10 in the file kat_vectors of Random123
ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def of_numpy(number: int):
    return np.array([number], np.int64)


def of_torch(number: int):
    return pytest.importorskip("torch").tensor([number])


@pytest.mark.parametrize(("counter", "key", "expected"), ANSWERS)
@pytest.mark.parametrize("made", [int, of_numpy, of_torch])
def test_the_published_answers(counter, key, expected, made):
    found = philox([*map(made, words(counter))], [*map(made, words(key))])
    assert [int(word if made is int else word[0]) for word in found] == words(expected)


@pytest.mark.parametrize("target", ["numba", "c"])
@pytest.mark.parametrize(("counter", "key", "expected"), ANSWERS)
def test_the_published_answers_of_printed_source(counter, key, expected, target, tmp_path):
    (low, high, position, stream), (seed, step) = words(counter), words(key)
    call = low | high << 32
    call -= (high >> 31) << 64  # a call is a signed integer
    arguments = (seed, step, position, stream, call)
    if target == "numba":
        from samestep.printing.numba import TEXTS

        pytest.importorskip("numba")
        names: dict = {}
        text = f"import numpy as np\nfrom numba import njit\noptions = {{}}\n{TEXTS['philox']}"
        exec(text, names)
        assert [int(word) for word in names["philox"](*arguments)] == words(expected)
        return
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    text = CFamily("float32").helper_texts({"random_of"})
    shown = "%08x %08x %08x %08x"
    given = ", ".join(f"INT64_C({number})" for number in arguments)
    main = f'int main(void) {{ uint32_t w[4]; philox(w, {given}); printf("{shown}", w[0], w[1], w[2], w[3]); }}'
    (tmp_path / "philox.c").write_text(f"#include <stdint.h>\n#include <stdio.h>\n{text}\n{main}\n")
    program = tmp_path / "philox"
    subprocess.run(["gcc", tmp_path / "philox.c", "-o", program], check=True)
    assert subprocess.check_output([program], text=True) == expected


def rounded(numbers: np.ndarray, random: np.ndarray, dtype: str) -> np.ndarray:
    bits = numbers.astype(np.float32).view(np.int32).astype(np.int64)
    return rounded_bits(bits, random, dtype).astype(np.uint16).view(numpy_dtype(dtype))


def examples(dtype: str) -> np.ndarray:
    """Numbers of all exponents, and those at the ends of the dtype's range."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 0x7F800000, 200, dtype=np.int64)
    ends = [0.0, 1.0, 2.0**-14, 2.0**-17, 2.0**-24, 65503.9, 65504.0, 65535.9, 3.38e38, 1e-40]
    some = np.concatenate([bits.astype(np.int32).view(np.float32), np.float32(ends)])
    return np.concatenate([some, -some])


@pytest.mark.parametrize("dtype", ROUNDED)
def test_the_mean_over_all_random_bits_is_the_number(dtype):
    """Of all 65,536 values of the random bits, as many round up as the distance says, exactly; only
    float16 below 2**-17 is off, by less than 2**-40."""
    random, largest = np.arange(65536), float(np.finfo(np.float32).max)
    if dtype == "float16":
        largest = 65504.0
    for number in examples(dtype):
        found = rounded(np.broadcast_to(number, random.shape), random, dtype).astype(np.float64)
        if abs(number) >= 65536 and dtype == "float16":
            assert np.isinf(found).all()
            continue
        values, counts = np.unique(found, return_counts=True)
        assert len(values) <= 2
        assert np.isfinite(values).all()
        mean = (
            sum(Fraction(v) * int(c) for v, c in zip(values.tolist(), counts.tolist(), strict=True))
            / 65536
        )
        if abs(number) > largest or (dtype == "bfloat16" and abs(number) > 3.3895e38):
            assert abs(mean) <= abs(Fraction(float(number)))
        elif dtype == "float16" and abs(number) < 2**-17:
            assert abs(mean - Fraction(float(number))) < Fraction(1, 2**40)
        else:
            assert mean == Fraction(float(number))


@pytest.mark.parametrize("dtype", ROUNDED)
def test_what_is_no_number_stays_so(dtype):
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)
    loud = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    for random in (0, 0x8000, 0xFFFF):
        found = rounded(special, np.full(5, random), dtype).astype(np.float32)
        assert found.tobytes()[:8] == special.tobytes()[:8]
        assert np.isnan(found[2])
        assert found.tobytes()[12:] == special.tobytes()[12:]
        assert np.isnan(rounded(loud, np.full(3, random), dtype).astype(np.float32)).all()


def test_neighbours_share_a_call():
    found = halves([0x00020001, 0x00040003, 0x00060005, 0x00080007])
    assert found == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_key_goes_through_a_row_of_scalars():
    for seed, step in [(0, 1), (2**32 - 1, 2**32 - 1), (0x12345678, 0x9ABCDEF0)]:
        key = key_scalars(seed, step)
        assert len(key) == len(KEY)
        assert key_of(np.array([0.5, *key, 1.0], np.float32)) == (seed, step)
    assert key_of([*key_scalars(3, 2**32 + 5), 1.0]) == (3, 5)


def test_the_mean_of_a_million_roundings():
    """Off by less than four standard errors, with the bits that an optimizer takes."""
    number, count = np.float32(1 + 0.3 * 2**-7), 1_000_000
    call = np.arange(count // 8)
    random = np.stack(halves(philox((call, 0, 0, 0), (7, 1))), -1).reshape(-1)
    assert abs(random.mean() - 32767.5) < 4 * 65536 / np.sqrt(12 * count)
    up = (rounded(np.broadcast_to(number, count), random, "bfloat16") > 1).mean()
    chance = float((number - 1) * 2**7)
    assert abs(up - chance) < 4 * np.sqrt(chance * (1 - chance) / count)


@pytest.mark.parametrize("value", [None, 1, True, ["nearest"]])
def test_a_rounding_is_a_name(value):
    with pytest.raises(
        TypeError, match=r"group 1: rounding is .*expected one of nearest, stochastic"
    ):
        checked_rounding(value, "group 1: ")


def test_an_unknown_rounding():
    with pytest.raises(ValueError, match="rounding is 'up'; expected one of nearest, stochastic"):
        checked_rounding("up")


@pytest.mark.parametrize("value", [-1, 2**32, 0.5, float("nan"), float("inf")])
def test_a_seed_out_of_range(value):
    with pytest.raises(ValueError, match=r"seed is .*; expected a whole number from 0 to 2\*\*32"):
        checked_seed(value)


@pytest.mark.parametrize("value", [None, True, "1", [1]])
def test_a_seed_that_is_no_number(value):
    with pytest.raises(TypeError, match=r"seed is .*; expected a whole number"):
        checked_seed(value)


def test_seeds():
    assert [checked_seed(value) for value in (0, 7.0, np.int64(9), 2**32 - 1)] == [
        0,
        7,
        9,
        2**32 - 1,
    ]
