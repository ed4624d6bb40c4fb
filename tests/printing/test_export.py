"""``samestep export`` and `samestep.printing.export`: files and mistakes."""

from __future__ import annotations

import re

import pytest
import samestep as ss
from command_line import call, call_base


def test_export_prints_or_writes(tmp_path, capsys):
    for words in ((), ("-o", "-"), ("--output", "-")):
        assert call("export", "adamw", *words) == 0
        assert capsys.readouterr().out == ss.export("adamw")
    file = tmp_path / "adamw.h"
    assert call("export", "adamw", "-o", file) == 0
    assert capsys.readouterr().out == f"wrote {file}; the comment on top says how to use it\n"
    assert file.read_text() == ss.export("adamw")


def test_a_file_is_overwritten_only_by_force(tmp_path, capsys):
    file = tmp_path / "lion.h"
    file.write_text("mine")
    assert call("export", "lion", "-o", file) == 2
    assert capsys.readouterr().err == f"samestep: {file} exists; --force overwrites it\n"
    assert file.read_text() == "mine"
    assert call("export", "lion", "-o", file, "--force") == 0
    assert file.read_text() == ss.export("lion")


def test_options_go_on_and_off(capsys):
    words = ("--dtype", "bfloat16", "--grad-dtype", "float32", "--rounding", "stochastic")
    words += ("--option", "no_scale_parameter", "--option", "beta1", "--option", "clip_norm")
    assert call("export", "adafactor", *words) == 0
    options = dict(scale_parameter=False, beta1=True, clip_norm=True)
    text = ss.export("adafactor", "c", "bfloat16", "float32", rounding="stochastic", **options)
    assert capsys.readouterr().out == text
    command = re.search(r"(samestep export .*) --with-check", text.replace("\n *", ""))
    assert command is not None
    assert command[1] == (
        "samestep export adafactor --target c --dtype bfloat16 --grad-dtype float32 "
        "--rounding stochastic --option no_scale_parameter --option beta1 --option clip_norm"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nope", "no rule 'nope'; there are sgd, adam, "),
        ("adamw --target fortran", "target='fortran': expected one of c, cuda, numpy, numba"),
        ("adamw --dtype int8", "dtype='int8': expected one of "),
        ("adamw --dtype float16 --rounding up", "rounding is 'up'; expected one of nearest, stoch"),
        ("adamw --rounding stochastic", "nothing of float32 parameters is stored in 16 bits"),
        ("adamw --option nope", "no structural option ['nope']"),
        ("adamw --dtype bfloat16 --grad-dtype float32 --with-check", "golden files have gradients"),
        ("adamw -o /nowhere/adamw.h", "--output /nowhere/adamw.h: there is no folder /nowhere"),
        ("adamw --force -o /", "--output / is a folder; expected the name of a file"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert call("export", *words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("samestep: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_the_base_installation_exports(tmp_path):
    done = call_base("export", "adamw", "--with-check", "-o", tmp_path / "adamw.c")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "adamw.c").read_text() == ss.export("adamw", with_check=True)


def test_a_rule_of_ones_own():
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad):
        return param - s.lr * xp.sign(grad)

    text = ss.export(ss.Rule("signs", scalars, update, defaults=dict(lr=1e-3)), "c")
    assert "params[i] = param - lr * signs_sign(grad);" in text
    assert "A rule of the user's own." in text
