"""A rule of fifteen lines, and a composition of three, have all that a built-in rule has: every
backend, C and CUDA, golden files and a page. Nothing but their file is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import exported_cuda
import pytest
from command_line import call
from helpers import ROOT
from samestep.tools.cli.rules import rule_named

sys.path.insert(0, str(ROOT / "docs" / "make"))
from equations import equations

RULE = """
import samestep as ss

def scalars(xp, step, carry, h):
    bias = 1 - xp.ipow(h.beta, step)
    return dict(beta=h.beta, rest=1 - h.beta, rate=h.lr / bias, decay=h.lr * h.weight_decay), carry

def delta(xp, s, param, grad, average):
    average = s.beta * average + s.rest * grad
    return s.rate * average / (1 + xp.abs(average)), average

def decay(xp, s, param, delta):
    return s.decay * xp.finite_or_zero(param)

defaults = dict(lr=0.1, beta=0.9, weight_decay=0.1)
soft = ss.Rule("soft", scalars, delta=delta, decay=decay, defaults=defaults)
"""
COMPOSITION = """
import samestep as ss
from fifteen import soft
careful = ss.parts.trust_ratio(ss.parts.cautious(soft))
"""
WORDS = ("fifteen:soft", "three:careful")
FAULT = ("s.rest * grad\n", "s.rest * grad * grad\n")


def in_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """Work in a folder that has the two files."""
    (folder / "fifteen.py").write_text(rule)
    (folder / "three.py").write_text(COMPOSITION)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", [str(folder), *sys.path])
    for module in ("fifteen", "three"):
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the two files and the golden files of their rules."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_a_folder(folder, monkeypatch, RULE)
        for word in WORDS:
            assert call("golden", "generate", "--rule", word, "--out", "golden") == 0
        yield folder


def run_of_c(word: str) -> subprocess.CompletedProcess[str]:
    """Build the exported C with its check, and run it on the golden file of float32."""
    assert call("export", word, "--with-check", "-o", "check.c", "--force") == 0
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "check.c", "-o", "check", "-lm"], check=True)
    return run_on_golden("./check", word)


def run_on_golden(program: str | Path, word: str) -> subprocess.CompletedProcess[str]:
    golden = f"golden/{rule_named(word).name}.float32.safetensors"
    return subprocess.run([program, golden], capture_output=True, text=True, check=False)


def test_they_are_as_long_as_is_said():
    for text, lines in ((RULE, 15), (COMPOSITION, 3)):
        assert len(text.strip().splitlines()) <= lines
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("word", WORDS)
def test_every_backend_gives_the_bits_of_the_golden_files(own, word, any_backend, capsys):
    words = ("--rule", word, "--directory", "golden", "--backend", any_backend)
    assert call("golden", "verify", *words) == 0
    assert f"4 golden files, all with the same bits on {any_backend}" in capsys.readouterr().out


@pytest.mark.parametrize("word", WORDS)
def test_printed_c_gives_them(own, word):
    done = run_of_c(word)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("values, 0 differ\n")


@pytest.mark.parametrize("word", WORDS)
def test_printed_cuda_gives_them(own, word):
    words = ("--target", "cuda", "--with-check", "-o", "check.cu", "--force")
    assert call("export", word, *words) == 0
    program = exported_cuda.build(Path("check.cu").read_text(), own)
    assert run_on_golden(program, word).stdout.endswith("values, 0 differ\n")


@pytest.mark.parametrize("word", WORDS)
def test_it_has_a_page_whose_program_runs(own, word):
    command = [sys.executable, ROOT / "docs" / "make" / "rule_pages.py", word]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page, rule = done.stdout, rule_named(word)
    assert page.startswith(f"# {rule.name}\n")
    assert equations(rule) in page
    for name, default in rule.defaults.items():
        assert f"| `{name}` | `{default}` |" in page
    assert f"| `{rule.label}` | average" in page
    exec(page.partition("```python\n")[2].partition("```")[0], {})


def test_control_another_operation_has_other_bits(own, tmp_path, monkeypatch, capsys):
    in_a_folder(tmp_path, monkeypatch, RULE.replace(*FAULT))
    (tmp_path / "golden").symlink_to(own / "golden")
    for word in WORDS:
        words = ("--rule", word, "--directory", "golden", "--backend", "numpy")
        assert call("golden", "verify", *words) == 1
        assert "with other bits on numpy" in capsys.readouterr().out
        assert run_of_c(word).returncode == 1


def test_control_a_word_without_a_module_has_no_page():
    command = [sys.executable, ROOT / "docs" / "make" / "rule_pages.py", "adamw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "adamw: expected module:name" in done.stderr
