"""Rules of one's own on the command line: ``module:name``, in the current folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import call, call_base
from printing import write_snapshots
from samestep.golden import format as golden_format
from samestep.golden import generate

MODULE = """
import samestep as ss


def scalars(xp, step, carry, h):
    return dict(lr=h.lr / (1 + h.decay * step)), carry


def update(xp, s, param, grad, average):
    return param - s.lr * average, average + grad


lagged = ss.Rule("lagged", scalars, update, defaults=dict(lr=1e-3, decay=0.0))
"""


@pytest.fixture
def _in_a_folder_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rules.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))


@pytest.mark.usefixtures("_in_a_folder_of_one_s_own")
def test_a_rule_of_one_s_own_is_shown_exported_and_gets_golden_files(capsys) -> None:
    assert call("show", "my_rules:lagged") == 0
    assert "lagged" in capsys.readouterr().out
    assert call("export", "my_rules:lagged", "--target", "numpy", "-o", "l.py") == 0
    assert "samestep export my_rules:lagged --target numpy" in Path("l.py").read_text()
    words = ("--rule", "my_rules:lagged")
    capsys.readouterr()
    assert call("golden", "generate", *words, "--out", "files") == 0
    assert capsys.readouterr().out == "4 golden files in files\n"
    assert call("golden", "verify", *words, "--directory", "files", "--backend", "numpy") == 0
    assert "4 golden files, all with the same bits on numpy" in capsys.readouterr().out


@pytest.mark.usefixtures("_in_a_folder_of_one_s_own")
def test_a_word_that_finds_no_rule_is_told_why(capsys) -> None:
    messages = {
        "my_rules.py:lagged": "leave out .py: my_rules:lagged",
        "my_rule:lagged": f"no module 'my_rule' in {Path.cwd()}, nor among those installed",
        "my_rules:laged": "my_rules has no rule 'laged'; did you mean 'lagged'?",
        "my_rules:update": "is a function; expected a samestep.Rule",
    }
    for word, message in messages.items():
        assert call("show", word) == 2
        assert message in capsys.readouterr().err
    Path("broken.py").write_text("import nowhere_to_be_found\n")
    assert call("show", "broken:rule") == 2
    assert "broken: No module named 'nowhere_to_be_found'" in capsys.readouterr().err


@pytest.mark.usefixtures("_in_a_folder_of_one_s_own")
def test_files_of_a_rule_of_one_s_own_are_looked_for_where_it_says(capsys) -> None:
    assert call("golden", "verify", "--rule", "my_rules:lagged", "--backend", "numpy") == 2
    expected = (
        f"no golden file of 'lagged' in {golden_format.VALUES}; golden files of rules of your own "
    )
    said = capsys.readouterr().err
    assert expected in said
    assert "samestep golden generate --rule my_rules:lagged --out golden" in said
    assert "--directory golden" in said


@pytest.mark.usefixtures("_in_a_folder_of_one_s_own")
def test_the_base_installation_takes_it_too() -> None:
    shown = call_base("show", "my_rules:lagged", "--target", "cuda")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "lagged" in shown.stdout


def test_an_installation_is_not_written_to(tmp_path, monkeypatch) -> None:
    installed = tmp_path / "samestep" / "golden" / "values"
    for module in ("samestep.tools.cli.golden", "samestep.golden.generate"):
        monkeypatch.setattr(f"{module}.VALUES", installed)
    assert call("golden", "generate", "--rule", "sgd.float32") == 2
    with pytest.raises(ValueError, match="is of an installation; say which folder to write to"):
        generate.generate(["sgd.float32"])
    assert not installed.exists()
    assert golden_format.own_folder(golden_format.VALUES) == golden_format.VALUES


def test_snapshots_are_written_beside_folders(tmp_path) -> None:
    folder = tmp_path / "snapshots"
    shutil.copytree(write_snapshots.FOLDER, folder)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "of_before.c").write_text("")
    write_snapshots.write(folder)
    files = {file.name for file in folder.iterdir() if file.is_file()}
    assert files == set(write_snapshots.snapshots())
    assert (folder / "__pycache__").is_dir()
