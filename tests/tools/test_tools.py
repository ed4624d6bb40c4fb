"""The command line."""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samestep as ss
from command_line import EXTRAS, call, call_base
from samestep.golden.format import EXTENSION, Golden, read, to_bytes
from samestep.install_command import install_command
from samestep.tools.cli import commands as cli
from samestep.tools.cli import console


@pytest.fixture(scope="module")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mpmath")
    folder = tmp_path_factory.mktemp("golden")
    for rule in ("sgd.float32", "signsgd.float32"):
        assert call("golden", "generate", "--rule", rule, "--out", folder) == 0
    return folder


# ---- commands


@pytest.mark.parametrize("target", ["c", "cuda", "numba"])
def test_show_prints_what_emit_returns(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "adamw", "--target", target) == 0
    assert capsys.readouterr().out == ss.emit("adamw", target)


def test_show_takes_dtypes_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--dtype", "bfloat16", "--grad-dtype", "float32")
    assert call("show", "rmsprop", *words, "--option", "momentum", "--option", "centered") == 0
    expected = ss.emit("rmsprop", "c", "bfloat16", "float32", momentum=True, centered=True)
    assert capsys.readouterr().out == expected


def test_backends_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("backends") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == list(ss.available_backends())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"samestep {ss.__version__}\n"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands by name."""
    found = {}
    groups = [("", cli.parser())]
    for prefix, parser in groups:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                groups += [(f"{prefix}{name} ", each) for name, each in action.choices.items()]
        if parser.get_default("run"):
            found[prefix.strip()] = parser
    return found


def test_all_commands_are_there() -> None:
    assert list(commands()) == [
        "backends", "show", "export", "demo", "population", "bench", "memory", "truth",
        "golden generate", "golden verify",
    ]  # fmt: skip


@pytest.mark.parametrize("name", commands())
def test_every_command_and_every_argument_has_help(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = commands()[name]
    run = parser.get_default("run")
    assert inspect.getdoc(run)
    taken = {action.dest for action in parser._actions} - {"help"}
    assert taken == set(inspect.signature(run).parameters)
    assert call(*name.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) < 80
    for action in parser._actions:
        assert action.help
        assert action.dest == "help" or action.help.partition(" [default")[0].endswith(".")
        assert all(flag in shown for flag in action.option_strings)


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from samestep.tools.cli.commands import main
try: main(["--help"])
except SystemExit: pass
print(sorted(set({EXTRAS[1:]}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show nope", "no rule 'nope'"),
        ("show nope:nope", "nope:nope: no module 'nope' in"),
        ("show numpy:nope", "numpy:nope: numpy has no rule 'nope'; it has none"),
        ("export samestep:AdamW", "samestep:AdamW is a type; expected a samestep.Rule"),
        ("golden generate --rule adammw", "no golden case adammw; did you mean 'adamw'"),
        ("show adamw --target fortran", "target='fortran'"),
        ("show adamw --dtype int8", "dtype='int8'"),
        ("show adamw --option nope", "no structural option ['nope']; it has ['amsgrad']"),
        ("golden verify --backend nope", "backend='nope'"),
        ("golden verify --directory /nowhere", "no golden files in /nowhere"),
        ("golden generate --rule nope", "no golden case nope"),
        (f"golden generate --out {__file__}", f"--out {__file__} is a file; expected a folder"),
        ("demo --backend nope", "backend='nope'"),
        ("demo --epochs 0", "--epochs must be at least 1, not 0"),
        ("demo --picture /nowhere/a.png", "there is no folder /nowhere"),
        ("bench --work nope", "--work nope"),
        ("bench --repeats 0", "--repeats must be at least 1, not 0"),
        ("bench --json /nowhere/a.json", "there is no folder /nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: str, message: str, capsys: pytest.CaptureFixture[str], golden_folder: Path
) -> None:
    if words == "golden verify --backend nope":
        words += f" --directory {golden_folder}"
    assert call(*words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("samestep: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    command = [
        sys.executable,
        "-c",
        "from samestep.tools.cli.commands import main; main()",
        "show",
        "adamw",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


# ---- words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "bench",
            dict(works=None, repeats=15, backends=None, json_path=None, plot_path=None, from_path=None,
                 quick=False, torch=False),
        ),
        (
            "bench --repeats 5 --work x --work y --json z --quick",
            dict(works=["x", "y"], repeats=5, backends=None, json_path=Path("z"), plot_path=None, from_path=None,
                 quick=True, torch=False),
        ),
        (
            "export lion -o lion.c --option clip_norm",
            dict(rule="lion", target="c", dtype="float32", grad_dtype=None, state_dtypes=None,
                 rounding=None, options=["clip_norm"], output=Path("lion.c"), with_check=False, force=False),
        ),
    ],
)  # fmt: skip
def test_words_become_arguments(words: str, expected: dict[str, Any]) -> None:
    given = vars(cli.parser().parse_args(words.split()))
    assert callable(given.pop("run"))
    assert given == expected


@pytest.mark.parametrize("words", ["", "nope", "golden", "show", "bench --repeats x", "demo --no"])
def test_wrong_words_are_refused_with_the_usage(words: str, capsys: Any) -> None:
    assert call(*words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: samestep")


# ---- the base installation


def test_base_installation_shows_and_verifies(golden_folder: Path) -> None:
    shown = call_base("show", "adamw", "--option", "amsgrad")
    assert (shown.returncode, shown.stdout) == (0, ss.emit("adamw", amsgrad=True))
    verified = call_base("golden", "verify", "--directory", golden_folder)
    assert verified.returncode == 0, verified.stderr
    assert "2 golden files, all with the same bits on numpy" in verified.stdout
    listed = call_base("backends")
    assert listed.returncode == 0
    assert install_command("numba") in listed.stdout


@pytest.mark.parametrize(("command", "extra"), [("demo", "demo"), ("bench", "cli,numba")])
def test_base_installation_names_the_extra(command: str, extra: str) -> None:
    done = call_base(command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert install_command(extra) in done.stderr


# ---- golden files


def test_verify_passes(golden_folder: Path, backend: str, capsys: Any) -> None:
    assert call("golden", "verify", "--backend", backend, "--directory", golden_folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[3:5]] == [
        ["sgd", "float32", "same", "same"],
        ["signsgd", "float32", "same", "same"],
    ]
    assert lines[-1] == f"2 golden files, all with the same bits on {backend}"


def test_verify_reports_one_wrong_bit(golden_folder: Path, tmp_path: Path, capsys: Any) -> None:
    golden = read(golden_folder / f"sgd.float32{EXTENSION}")
    name = "param.10.weight"
    array = golden.tensors[name].copy()
    array.view(np.uint32).reshape(-1)[-1] ^= 1
    wrong = Golden(golden.header, {**golden.tensors, name: array})
    (tmp_path / f"sgd.float32{EXTENSION}").write_bytes(to_bytes(wrong))
    assert call("golden", "verify", "--backend", "numpy", "--directory", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[:4] == ["sgd", "float32", "DIFFERENT", "same"]
    assert lines[4].startswith(f"sgd.float32: {name}: 1 of ")
    assert lines[-1] == "1 of 1 golden file with other bits on numpy"


# ---- tables


def test_a_table_is_plain_text_in_a_pipe_and_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    table = ("Title", ["name", "value"], [["a", "1.5"], ["[b]", "12.5"]])
    console.print_table(*table)
    assert capsys.readouterr().out == (
        "Title\nname  value\n----  -----\na       1.5\n[b]    12.5\n"
    )
    monkeypatch.setattr(console, "_rich_on", lambda terminal: True)
    console.print_table(*table)
    shown = capsys.readouterr().out
    assert "│ a    │   1.5 │" in shown
    assert "│ [b]  │  12.5 │" in shown  # not taken as markup
