"""README's programs run, and what it shows of printed source is what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import samestep as ss
import torch

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(
    ROOT / "docs" / "index.md"
)  # links to pages that are made: the site's build follows them
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_a_training_loop_with_weights_in_numpy():
    rng = np.random.default_rng(0)
    names = {
        "batches": [(rng.standard_normal((5, 784)), None)] * 3,
        "gradients": lambda w, b, images, labels: [images.T @ (images @ w), None],
    }
    exec(PROGRAMS[0], names)
    assert names["opt"].steps == [3, 0]
    assert names["opt"].param_groups[0]["lr"] == pytest.approx(1e-3 * 0.999**3)


def test_a_training_loop_with_all_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights, bias = np.ones((4, 3), np.float32), np.zeros(3, np.float16)
    names = {
        "weights": weights,
        "bias": bias,
        "batches": [(None, None)] * 7,
        "scaled_gradients": lambda scale, images, labels: {
            "weights": np.full((4, 3), scale / 1024, np.float32),
            "bias": None,
        },
    }
    exec(PROGRAMS[1], names)
    # four batches, and the last three by flush()
    assert (names["opt"].steps, names["opt"].micro_steps) == ([2, 0], 0)
    assert (weights < 1).all()
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_sparse_gradients():
    names: dict = {}
    exec(PROGRAMS[2], names)
    start = np.random.default_rng(0).standard_normal((100_000, 64))
    assert np.flatnonzero((names["table"] != start).any(axis=1)).tolist() == [4, 17]


def test_a_rule_of_ones_own(capsys):
    names = {"params": [np.ones((3, 4), np.float32)]}
    exec(PROGRAMS[3], names)
    names["opt"].step([np.ones((3, 4), np.float32)])
    assert (names["params"][0] < 1).all()
    assert "void softsign_update(" in capsys.readouterr().out


def test_the_printed_kernel():
    assert PROGRAMS[4] in ss.emit("adamw", "numba")


def test_reading_a_golden_file():
    names: dict = {}
    exec(PROGRAMS[5], names)
    assert names["golden"].header.rule == "adamw"


def test_a_training_loop_of_torch():
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    names = {"torch": torch, "model": model, "loss": lambda m: m(torch.ones(1, 3)).sum()}
    exec(PROGRAMS[6], names)
    assert not torch.equal(model.weight, before)
    assert names["optimizer"].param_groups[0]["lr"] != 1e-3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:core|backends|golden|tests|docs)/[\w./]*)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_test_command_is_the_one_that_ci_takes():
    found = re.search(r"<!-- the test command -->\n```\n(.*?)\n```\n", README)
    assert found is not None
    assert "pytest" in found[1]
    assert "the test command" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
