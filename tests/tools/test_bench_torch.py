"""`samestep bench --torch`: its rows, what is counted, and that all of them take the same step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from command_line import call
from samestep.tools.bench import torch_table as bench_torch
from samestep.tools.bench.work import normal

EAGER = ("samestep forloop", "samestep foreach", "samestep fused", "samestep.torch.AdamW")


def stepped(row, shapes):
    params, sets = normal(shapes, 0), [normal(shapes, 1)]
    contender = row.make(params, sets)
    for _ in range(2):
        contender.give(0)
        contender.step()
    return contender


def test_all_rows_take_the_same_step():
    shapes = ((1000,), (40_000,), (3, 5))
    rows = bench_torch.contenders(compiles=False)
    rows.pop("samestep compiled")  # compiled text is tested elsewhere
    found = {name: stepped(row, shapes).params for name, row in rows.items()}
    for name, params in found.items():
        for param, expected in zip(params, found["torch for-loop"], strict=True):
            torch.testing.assert_close(param, expected, rtol=1e-5, atol=1e-6, msg=name)
    for name in EAGER:
        assert all(map(torch.equal, found[name], found["samestep fused"]))


def test_a_population_takes_the_same_step_as_vmap():
    shapes = bench_torch.NETWORK * bench_torch.COPIES
    rows = bench_torch.population()
    ours = stepped(rows["samestep fused"], shapes).params
    stacked = stepped(rows["torch.func.vmap"], shapes).params
    size = len(bench_torch.NETWORK)
    for i, param in enumerate(stacked):
        expected = torch.stack(ours[i::size]).detach()
        np.testing.assert_allclose(param, expected, rtol=1e-5, atol=1e-6)


def test_what_is_counted():
    """Of AdamW: 15 operations, 10 of them on one array, into memory that is there."""
    small, large = ((1000,),) * 10, ((1 << 16,),)
    rows = bench_torch.contenders(compiles=False)
    arrays = [(normal(shapes, 0), [normal(shapes, 1)]) for shapes in (small, large)]
    counts = {name: [row.count(row.make, *a) for a in arrays] for name, row in rows.items()}
    assert counts.pop("samestep compiled") == [None, None]
    moved = {name: tuple(moved for _, moved in found) for name, found in counts.items()}
    assert moved["samestep fused"] == (28, 28)
    scalars = 7 * 4  # bytes of the numbers that each tensor, or each slice, is multiplied by
    large_scalars = scalars / (1 << 16)
    assert moved["samestep forloop"] == pytest.approx((140 + scalars / 1000, 140 + large_scalars))
    gathered = 140 + 7 * 8  # 4 arrays are gathered, 3 put back
    gathered_scalars = scalars / 10_000
    assert moved["samestep foreach"] == pytest.approx(
        (gathered + gathered_scalars, 140 + large_scalars)
    )
    steps = 12  # bytes of each tensor's step count: read twice, written once
    assert moved["torch fused"] == pytest.approx((28 + steps / 1000, 28 + steps / (1 << 16)))
    operations = {name: counts[name][0][0] for name in EAGER}
    assert operations == {
        "samestep forloop": 150, "samestep foreach": 15 + 4 + 3 * 10, "samestep fused": 1,
        "samestep.torch.AdamW": 1,
    }  # fmt: skip


def test_the_command_prints_tables(capsys):
    assert call("bench", "--torch", "--quick", "--work", "thousand") == 0
    shown = capsys.readouterr().out
    assert all(shown.count(name) >= 2 for name in bench_torch.contenders(compiles=False))
    assert "other gradients at every step" in shown
    assert all(text in shown for text in bench_torch.EXPLAINED)


@pytest.mark.parametrize("words", ["--work nope", "--repeats 0"])
def test_wrong_arguments_are_refused(words):
    assert call("bench", "--torch", *words.split()) == 2
