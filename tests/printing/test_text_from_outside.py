"""What the author of a rule wrote, its reference, names and numbers, never leaves the comment,
docstring, literal or name that it is printed as.

``SAMESTEP_TEST=everything`` tries for ten minutes; ``SAMESTEP_TEST_SEED`` is the first seed.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import math
import os
import random
import re
import subprocess
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import samestep as ss
from samestep.language import names
from samestep.language.passes import program
from samestep.language.text_checks import check
from samestep.printing import c, c_family, quoting
from samestep.printing.printer import Printer
from samestep.printing.quoting import literal
from sampling import EVERYTHING

FIRST = int(os.environ.get("SAMESTEP_TEST_SEED", "0"))
SECONDS = 120 if EVERYTHING else 1  # for each of five tests
PIECES = [
    "*/", "/*", "*", "/", "//", "\\", "\\\n", "??/", '"""', "'''", '"', "'", "\n", "\n\n", " ", "    ",
    r"$\xi$", r"\N{DASH}", r"\u12", "#", "{", "}", "{reference}", "@LABEL", "@", "%s", "é", "a" * 120,
    '"""; import os; """', "*/ int evil = 1; /*", "#include <stdio.h>", "Kingma & Ba, arXiv:1412.6980.",
]  # fmt: skip
NAMES = [
    "_Bool", "__int128", "__asm__", "_Float16", "_Pragma", "__LINE__", "__func__", "__debug__", "__x",
    "a__b", "_", "_x", "x_", "linux", "i386", "typeof", "typeof_unqual", "nullptr", "asm", "class",
    "bool", "vector", "printf", "max", "exp2", "fma", "M_PI", "NAN", "I", "main", "None", "match",
    "print", "np", "h", "s", "step", "carry", "result", "x" * 63, "x" * 64, "x" * 300, "a b", "a;b",
    "a\n", "é", "1a", "", "x=0;y", "self", "rule", "lambda", "errno", "uint8_t", "float4", "dim3",
]  # fmt: skip


AROUND: list[dict[str, Any]] = [
    {},
    dict(average=2, clip_norm=True),
    dict(dtype="bfloat16", rounding="stochastic"),
    dict(dtype="bfloat16", master="split", average="ema", state_dtype="int4"),
    dict(dtype="float16", compensated=True),
]


def scalars(xp, step, carry, h):
    return dict(lr=h.lr), carry


def update(xp, s, param, grad):
    return param - s.lr * grad


def rule(**changed) -> ss.Rule:
    return ss.Rule(
        **{"name": "own", "scalars": scalars, "update": update, "defaults": dict(lr=0.1), **changed}
    )


def printed(rule: ss.Rule, **around: Any) -> dict[str, str]:
    """Everything that can be printed of it, with these parts around it."""
    texts = {f"emit {target}": ss.emit(rule, target, **around) for target in ("numba", "c", "cuda")}
    for target in ("c", "cuda", "numpy", "numba"):
        texts[f"export {target}"] = ss.export(rule, target, with_check=True, **around)
    return texts


def is_python(where: str) -> bool:
    return where.endswith(("numba", "numpy"))


def words(where: str, text: str) -> tuple[str, str]:
    """The code, and the first comment or docstring, without blanks."""
    if is_python(where):
        tree = ast.parse(text)
        return ast.dump(ast.Module(tree.body[1:], [])), "".join(
            str(ast.get_docstring(tree)).split()
        )
    joined = text.replace("??/", "\\").replace("\\\n", "")  # as a compiler joins lines
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    code = re.sub(pattern, lambda m: " " if m[0][0] == "/" else m[0], joined, flags=re.DOTALL)
    top = re.sub(r"\n \*(?=[ \n])", "\n", text[: text.index("*/")])
    return " ".join(code.split()), "".join(top.split())


def differences(seed: int) -> list[str]:
    """What is printed otherwise than with an ordinary reference, but for its comment."""
    pick = random.Random(seed)
    reference = "".join(pick.choices(PIECES, k=pick.randint(1, 6)))
    around = pick.choice(AROUND)
    usual, found = printed(rule(reference="A paper."), **around), []
    try:
        texts = printed(rule(reference=reference), **around)
    except SyntaxError:  # an export reads what it has written
        return ["export"]
    for where, text in texts.items():
        try:
            code, top = words(where, text)
        except SyntaxError:
            return [where]
        said = "".join((reference if is_python(where) else quoting.in_comment(reference)).split())
        if code != words(where, usual[where])[0] or said not in top:
            found.append(where)
    return found


def seeds():
    """Numbers from the first seed on, for as long as there is time."""
    end, seed = time.monotonic() + SECONDS, FIRST
    while time.monotonic() < end or seed < FIRST + 10:
        yield seed
        seed += 1


def test_a_reference_stays_in_its_comment():
    for seed in seeds():
        assert not differences(seed), seed


@pytest.mark.parametrize("function", ["in_comment", "in_docstring"])
def test_control_a_reference_that_leaves_is_noticed(function, monkeypatch):
    from samestep.printing import numba
    from samestep.printing.files import python

    for module in (c_family, numba, python):
        monkeypatch.setattr(module, function, lambda text: text, raising=False)
    assert any(differences(seed) for seed in range(30))


@pytest.mark.parametrize("character", ["\0", "\r", "\t", "\x1b", "\u202e", "\u2028", "\ud800"])
def test_a_reference_is_printable(character):
    with pytest.raises(ValueError, match="reference must be of printable characters and line ends"):
        rule(reference=f"A {character} paper.")
    with pytest.raises(TypeError, match="reference must be a text, not 3"):
        rule(reference=3)


def named(name: str) -> list[ss.Rule]:
    """Rules with this name in each place that takes it."""
    attempts = [
        dict(name=name),
        dict(defaults={"lr": 0.1, name: 0.5}),
        dict(options={name: True}),
        dict(scalars=lambda xp, step, carry, h: ({"lr": h.lr, name: h.lr}, carry)),
        dict(scalars=lambda xp, step, carry, h: (dict(lr=h.lr), {name: h.lr}), carry={name: 1.0}),
    ]
    for text in (
        "def update(xp, s, param, grad, {0}):\n    return param - s.lr * {0}, {0} + grad\n",
        "def update(xp, s, param, grad):\n    {0} = s.lr * grad\n    return param - {0} * {0}\n",
    ):
        space: dict = {}
        with contextlib.suppress(SyntaxError):
            exec(text.format(name) if name.isidentifier() else "1a", space)
            attempts.append(dict(update=space["update"]))
    found = []
    for changed in attempts:
        with contextlib.suppress(ValueError, TypeError):
            accepted = rule(**changed)
            check(accepted)
            found.append(accepted)
    return found


def compiles(of: Iterable[str], folder) -> int:
    """Printed Python is compiled by Python, C by a C and a C++ compiler. Returns how many rules."""
    rules = [each for name in of for each in named(name)]
    for number, each in enumerate(rules):
        if each.name == "own":
            rules[number] = dataclasses.replace(each, name=f"own{number}")
        compile(ss.emit(rules[number], "numba"), "numba", "exec")
    source = folder / "rules.c"
    printers = [Printer(program(each), "float32", "float32", c.C) for each in rules]
    source.write_text(c.file(printers, "") if rules else "int empty;", encoding="utf-8")
    for command in (["gcc", "-std=c99"], ["gcc", "-std=gnu17"], ["g++", "-xc++"]):
        done = subprocess.run(
            [*command, "-fsyntax-only", source], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return len(rules)


def test_a_name_is_refused_or_compiles(tmp_path):
    assert compiles(NAMES, tmp_path) > len(NAMES)


def test_random_names_are_refused_or_compile(tmp_path):
    for seed in seeds():
        pick = random.Random(seed)
        random_names = {
            "".join(pick.choices("_aAzé9 ;\n*", k=pick.randint(1, 5))) for _ in range(9)
        }
        compiles(random_names, tmp_path)


def test_control_a_name_of_c_does_not_compile(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "belongs_to_c", lambda name: False)
    with pytest.raises(AssertionError, match="__int128"):
        compiles(["__int128"], tmp_path)


@pytest.mark.parametrize("name", ["_Bool", "__int128", "__asm__", "x" * 300])
def test_names_of_c_and_long_ones_are_refused_with_the_reason(name):
    reason = r"at most \d+ characters" if len(name) > 63 else r"names that C and C\+\+ keep"
    for changed in (dict(name=name), dict(defaults={name: 0.1}), dict(options={name: True})):
        with pytest.raises(ValueError, match=reason):
            rule(**changed)
    with pytest.raises(ValueError, match="name with all options must have at most 150 characters"):
        rule(options={letter * 50: True for letter in "xyz"})


def test_literals_are_read_back_as_they_were():
    for seed in seeds():
        pick = random.Random(seed)
        text = "".join(pick.choices([*PIECES, "\0", "\u2028", "\ud800", "😀"], k=4))
        number = pick.choice([math.inf, -math.inf, 0.1, -0.0, 1e300, True, -3, np.float64(0.1)])
        value = (text, number, (text,), {text: number})
        assert eval(literal(value), {"float": float}) == value, seed
        assert literal(value).isascii()


def test_numbers_of_numpy_and_infinite_ones_are_printed_as_python_s_own():
    odd = rule(
        defaults=dict(lr=np.float64(0.1), limit=math.inf),
        carry=dict(kept=-math.inf),
        scalars=lambda xp, step, carry, h: (dict(lr=h.lr), carry),
    )
    assert type(odd.defaults["lr"]) is float
    text = ss.emit(odd, "c")
    assert "kept = -inf" in text
    assert "np.float64" not in "".join(ss.emit(odd, target) for target in ("c", "numba", "cuda"))
