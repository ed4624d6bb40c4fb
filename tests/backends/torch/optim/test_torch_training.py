"""Training with torch: a tiny transformer, and two processes that share their gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import samestep.torch as ours
import torch
import two_processes
from helpers import run_python, run_two_processes
from tiny_transformer import STEPS, Training, settings

# of the losses: each depends on all parameters, so rounding feeds back into the gradients
TOLERANCE = 1e-12
GO_ON = """
import sys
import samestep.torch
from tiny_transformer import STEPS, Training, settings
with settings():
    training = Training(samestep.torch.AdamW, backend={backend!r}).load({start!r})
    assert len(training.losses) == {steps}
    training.run(STEPS).save({end!r})
"""


@pytest.fixture(scope="module")
def uninterrupted():
    with settings():
        return Training(ours.AdamW).run(STEPS)


def relative_difference(losses, others):
    return float(np.max(np.abs(np.array(losses) / np.array(others) - 1)))


def test_the_loss_curve_is_torch_s(uninterrupted):
    with settings():
        theirs = Training(torch.optim.AdamW).run(STEPS)
    assert theirs.losses[-1] < 0.3 * theirs.losses[0]  # it does learn
    assert relative_difference(uninterrupted.losses, theirs.losses) <= TOLERANCE


def test_control_a_slightly_wrong_epsilon_is_noticed(uninterrupted):
    with settings():
        wrong = Training(torch.optim.AdamW, eps=1.01e-8).run(STEPS)
    assert relative_difference(uninterrupted.losses, wrong.losses) > TOLERANCE


@pytest.mark.whole
@pytest.mark.parametrize("backend", [None, "torch:foreach"])
def test_interrupted_and_resumed_in_another_process(uninterrupted, backend, tmp_path):
    """Bit for bit the uninterrupted run, also where the two have other implementations."""
    start, end, steps = str(tmp_path / "start.pt"), str(tmp_path / "end.pt"), 77
    with settings():
        Training(ours.AdamW).run(steps).save(start)
    script = GO_ON.format(backend=backend, start=start, end=end, steps=steps)
    run_python(script, folder=Path(__file__).parent)
    saved = torch.load(end, weights_only=True)
    assert saved["losses"] == uninterrupted.losses
    for name, value in uninterrupted.model.state_dict().items():
        assert torch.equal(saved["model"][name], value)
    for i, entry in uninterrupted.optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            assert torch.equal(saved["optimizer"]["state"][i][name], value)


def test_control_a_run_without_its_optimizer_s_state_is_another_one(uninterrupted, tmp_path):
    with settings():
        training = Training(ours.AdamW).run(20)
        training.optimizer.state.clear()
        training.run(30)
    assert training.losses[:21] == uninterrupted.losses[:21]
    assert training.losses[21:] != uninterrupted.losses[21:30]


@pytest.mark.whole
def test_two_processes_that_average_their_gradients(tmp_path):
    """Both have the bits of one process that is given the averaged gradients."""
    run_two_processes(two_processes.__file__, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    model = two_processes.network()
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    own = []
    for step, averaged in enumerate(first["gradients"]):
        each = []
        for rank in range(2):
            optimizer.zero_grad()
            two_processes.loss_of(model, rank, step).backward()
            each.append([p.grad.clone() for p in model.parameters()])
        own.append(each[0])
        for param, a, b, mean in zip(model.parameters(), *each, averaged, strict=True):
            torch.testing.assert_close((a + b) / 2, mean)
            param.grad = mean
        optimizer.step()
    for param, mine, other in zip(
        model.parameters(), first["params"], second["params"], strict=True
    ):
        assert torch.equal(param, mine)
        assert torch.equal(param, other)
    assert not torch.equal(own[0][0], first["gradients"][0][0])  # they were averaged
