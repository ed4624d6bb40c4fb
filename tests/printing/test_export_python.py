"""Exported Python: one file with NumPy alone, or with Numba, that gives the golden files' bits."""

from __future__ import annotations

import importlib.util
import linecache
import os
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import numpy as np
import pytest
import samestep as ss
from golden_files import EXPORTED, load, with_flipped_bit
from samestep.golden.around import all_cases
from samestep.golden.compare import first_difference
from samestep.golden.format import VALUES, to_bytes
from samestep.language.dtypes import numpy_dtype
from samestep.language.rule import CLIPS
from samestep.printing.files.rule_text import function_text
from variants import DTYPES, exported_variants, options_of, values

CASES = [case for case in all_cases() if case.name in EXPORTED and not case.settings]
# what host code has to tell apart: with and without state, carry, clipping; reducing flat and by
# rows and columns; all dtypes. The kernels' text is that of the backend, whatever the rule.
WITH_NUMBA = [
    "sgd.float32", "adamw.float64", "adamw.bfloat16", "rprop.float16", "nadam.float32",
    "sgd_momentum_clip_value.float32", "adamw_amsgrad_clip_norm.bfloat16", "lamb.float32",
    "novograd.float16", "adafactor.float32", "adafactor_beta1.bfloat16",
    "adafactor_beta1_states_mixed.float32", "came_states_4_bits_of_matrices.float32",
]  # fmt: skip


def exported(case, target: str) -> str:
    clips = {name: True for name in CLIPS if name in case.hyper}
    return ss.export(case.variant, target, case.dtype, with_check=True, **clips)


def module(text: str, folder, name: str = "exported") -> ModuleType:
    """``text`` imported from a file, as users do."""
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"exported_{folder.name}_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # Numba's cache finds functions by module name
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_numpy_alone_gives_the_bits_of_the_golden_file(case, tmp_path, capsys):
    check = module(exported(case, "numpy"), tmp_path).check
    assert check(VALUES / f"{case.name}.safetensors") == 0
    results = sum(array.size for array in load(case.name).results().values())
    assert capsys.readouterr().out == f"{results} values, 0 differ\n"


@pytest.mark.parametrize("name", WITH_NUMBA)
def test_numba_gives_the_bits_of_the_golden_file(name, tmp_path, capsys, monkeypatch):
    case = next(case for case in CASES if case.name == name)
    found = module(exported(case, "numba"), tmp_path)
    results = sum(array.size for array in load(case.name).results().values())
    for small_work, threads in ((1 << 15, "1"), (0, "2")):
        found.SMALL_WORK = small_work
        monkeypatch.setenv("SAMESTEP_THREADS", threads)
        assert found.check(VALUES / f"{name}.safetensors") == 0
        assert capsys.readouterr().out == f"{results} values, 0 differ\n"


def test_a_step_is_whole_where_the_system_starts_fewer_threads(tmp_path, monkeypatch):
    found = module(ss.export("lamb", "numba"), tmp_path)
    found.SMALL_WORK = 0
    monkeypatch.setenv("SAMESTEP_THREADS", "3")
    start, alive = threading.Thread.start, threading.active_count()

    def limited(self):
        if threading.active_count() >= alive + most:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    ours = [np.ones(200_000, np.float32)]
    ss.LAMB(ours, backend="numpy").step([np.ones(200_000, np.float32)])
    for most in range(4):
        other = [np.ones(200_000, np.float32)]
        found.step(other, [np.ones(200_000, np.float32)], found.init(other))
        assert first_difference(other[0], ours[0]) is None
        assert threading.active_count() == alive + most
        if most:
            found.pool(most).shutdown()
        found.pool.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numba_s_kernels_are_those_of_the_backend(dtype):
    for rule in exported_variants():
        text = ss.export(rule, "numba", dtype)
        printed = ss.emit(rule, "numba", dtype)
        kernels = printed[printed.index('@njit("void(') :]
        assert kernels in text, rule.label


@pytest.mark.parametrize("target", ["numpy", "numba"])
@pytest.mark.parametrize("rule", ["adamw", "adafactor"])
def test_larger_arrays_than_a_block_or_a_chunk(rule, target, tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(300, 701), (70_000,), (), (0, 3)]
    start = [values(rng, shape, np.float32, 0.01) for shape in shapes]
    ours, other = ([array.copy() for array in start] for _ in range(2))
    optimizer = ss.Optimizer(rule, ours, backend="numpy", lr=0.01)
    found = module(ss.export(rule, target), tmp_path)
    state = found.init(other, lr=0.01)
    for k in range(2):
        grads = [values(rng, shape, np.float32, 0.01) for shape in shapes]
        grads[2] = None if k else grads[2]
        optimizer.step(grads)
        found.step(other, grads, state, lr=0.01)
    assert [entry["step"] for entry in state] == optimizer.steps == [2, 2, 1, 2]
    for i, array in enumerate(ours):
        assert first_difference(other[i], array) is None, i
        for name, expected in optimizer.state[i].items():
            assert first_difference(state[i][name], expected) is None, (i, name)


def test_no_file_needs_this_package(tmp_path):
    for target in ("numpy", "numba"):
        (tmp_path / "adamw.py").write_text(ss.export("adamw", target, "bfloat16", with_check=True))
        script = textwrap.dedent(f"""
            import sys
            sys.modules.update(dict.fromkeys(["samestep", "safetensors", "ml_dtypes"]))
            if {target == "numpy"}:
                sys.modules["numba"] = None
            sys.path.insert(0, {str(tmp_path)!r})
            import adamw
            sys.exit(adamw.check({str(VALUES / "adamw.bfloat16.safetensors")!r}))
        """)
        done = subprocess.run([sys.executable, "-W", "error", "-c", script], check=False)
        assert done.returncode == 0, target


def test_the_check_as_a_program(tmp_path):
    file = tmp_path / "lion.py"
    text = ss.export("lion", "numpy", with_check=True)
    file.write_text(text)
    golden = VALUES / "lion.float32.safetensors"

    def run(*words) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", file, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run(golden)[0] == 0
    assert run() == (1, f"usage: python {file} FILE.safetensors\n")
    assert run(file)[1] == f"{file}: is not a golden file\n"
    status, said = run(VALUES / "adamw.float32.safetensors")
    expected = "rule: this program checks 'lion'; the file holds 'adamw'\n"
    assert (status, said.partition(": ")[2]) == (2, expected)
    corrupted = tmp_path / "corrupted.safetensors"
    corrupted.write_bytes(to_bytes(with_flipped_bit(load("lion.float32"), "state.2.huge.exp_avg")))
    assert run(corrupted)[0] == 1
    assert run(corrupted)[1].startswith("state.2.huge.exp_avg: 1 of 16 differ\n")
    file.write_text(text.replace("s.lr * ", "s.lr * 1.0000001 * "))
    assert file.read_text() != text
    assert run(golden)[0] == 1


@pytest.mark.parametrize("target", ["numpy", "numba"])
def test_mistakes_change_nothing(target, tmp_path):
    found = module(ss.export("adamw", target), tmp_path)
    params = [np.ones((2, 3), np.float32), np.ones(4, np.float32)]
    state = found.init(params)
    for wrong, error, message in [
        (np.ones(4), TypeError, "gradient 1 is float64; expected float32"),
        (np.ones(3, np.float32), ValueError, r"gradient 1 has shape \(3,\); expected \(4,\)"),
        (np.ones(8, np.float32)[::2], ValueError, "gradient 1 is not C-contiguous"),
    ]:
        with pytest.raises(error, match=message):
            found.step(params, [np.ones((2, 3), np.float32), wrong], state)
        assert [entry["step"] for entry in state] == [0, 0]
        assert (params[0] == 1).all()
    with pytest.raises(TypeError, match="momentum"):
        found.step(params, [None, None], state, momentum=1)


def test_files_are_formatted_and_read_well(tmp_path):
    for case in CASES[:: len(DTYPES)]:
        (tmp_path / f"{case.label}.py").write_text(exported(case, "numpy"))
    command = [sys.executable, "-m", "ruff", "--isolated"]
    for words in (
        ["format", "--check", "--line-length", "100"],
        ["check", "--select", "E,F", "--ignore", "E501"],
    ):
        done = subprocess.run([*command[:3], *words, "--isolated", tmp_path], check=False)
        assert done.returncode == 0, words


def test_rules_of_ones_own(tmp_path):
    rate = 0.5

    def halved(x):
        return rate * x

    def scalars(xp, step, carry, h):
        return dict(lr=halved(h.lr)), carry

    def step(xp, s, param, grad):  # named like a function of the file
        return param - s.lr * grad

    rule = ss.Rule("halved", scalars, step, defaults=dict(lr=1.0))
    param = np.ones(3, np.float32)
    found = module(ss.export(rule, "numpy"), tmp_path)
    found.step([param], [np.ones(3, np.float32)], found.init([param]))
    assert (param == 0.5).all()
    thing = object()

    def unusual(xp, step, carry, h):
        return dict(lr=h.lr if thing else 0), carry

    rule = ss.Rule("unusual", unusual, step, defaults=dict(lr=1.0))
    with pytest.raises(ValueError, match="unusual refers to thing, a object, which cannot"):
        ss.export(rule, "numpy")
    rule = ss.Rule("made", scalars, eval("lambda xp, s, param, grad: param"), defaults=dict(lr=1.0))
    with pytest.raises(ValueError, match=r"cannot be (read|exported)"):
        ss.export(rule, "numpy")


BETA = 0.5


def _power(x, n):
    return x if n == 1 else x * _power(x, n - 1)


def scaled(x, by=BETA, *, again=2 * BETA):
    return x * by * again


def root(library, x):  # what is called xp elsewhere
    return library.sqrt(x * x)


def to_root(x):  # as a helper function of printed kernels
    return 2 * x


def zip(x):
    return 3 * x


def of_other_modules():
    """Functions of modules that call others by the names that files have."""
    found = []
    texts = (
        "import cmath as np\ndef f(x): return np.e * x",
        "import math as step\nfrom math import pi as e\ndef f(x): return step.pi * x * e",
        "import math as np\ndef e(x): return np.pi * x\ndef f(x): return e(x)",
        "def e(x): return 5 * x\ndef f(x): return e(x)",
    )
    for number, text in enumerate(texts):
        module = ModuleType(f"other{number}")
        linecache.cache[module.__name__] = len(text), None, text.splitlines(True), module.__name__
        exec(compile(text, module.__name__, "exec"), vars(module))
        found.append(module.f)
    return found


FIRST, SECOND, THIRD, FOURTH = of_other_modules()


def scalars_of_all(xp, step, carry, h):
    lr = scaled(_power(h.lr, 3)) + root(xp, to_root(zip(h.lr)))
    return dict(lr=lr + FIRST(h.lr) + SECOND(h.lr) + THIRD(h.lr) + FOURTH(h.lr)), carry


def update_of_all(xp, s, param, grad, m):
    m = scaled(m) + to_root(zip(grad))
    return param - s.lr * root(xp, _power(m, 3)), m


@pytest.mark.parametrize("target", ["numpy", "numba"])
@pytest.mark.parametrize("codec", [None, "int8"])
def test_a_rule_s_functions_keep_their_meaning(codec, target, tmp_path):
    """They call themselves, have defaults that are names, and names that the file has for
    others."""
    rule = ss.Rule("own", scalars_of_all, update_of_all, defaults=dict(lr=0.1))
    text = ss.export(rule, target, state_dtype=codec)
    found = module(text, tmp_path)
    ours, expected = [np.ones(300, np.float32)], [np.ones(300, np.float32)]
    state = found.init(ours)
    optimizer = ss.Optimizer(rule, expected, backend="numpy", state_dtype=codec)
    for number in (1.0, 2.0):
        grad = [np.cos(np.arange(300) * number).astype(np.float32)]
        found.step(ours, grad, state)
        optimizer.step(grad)
    assert first_difference(ours[0], expected[0]) is None


FORKED = """
import importlib.util, os, signal, sys, warnings
import numpy as np

spec = importlib.util.spec_from_file_location("exported", sys.argv[1])
exported = sys.modules["exported"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
params, grads = [np.ones(200_000, np.float32)], [np.ones(200_000, np.float32)]
state = exported.init(params)
exported.step(params, grads, state)  # threads have started
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
if child == 0:
    signal.alarm(60)  # which ends it if it waits for threads that are not there
    exported.step(params, grads, state)
    os._exit(0)
print("child exited with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_step(tmp_path):
    file = tmp_path / "exported.py"
    file.write_text(ss.export("sgd", "numba"))
    environment = {**os.environ, "SAMESTEP_THREADS": "3"}
    command = [sys.executable, "-c", FORKED, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "child exited with 0\n", done.stderr


def one_line(x: int, y: float = 2, *z: list[int], k: str = "a = b", **w: dict[str, int]) -> dict[int, int]:  # fmt: skip
    return x


def many_lines(
    x: int,  # a comment: kept
    größe: float | None = 1.5,
) -> None:
    """x: int, as a text."""
    half: float = x / 2
    return half


# fmt: off
def in_parentheses(x: (int), y: float = (3)) -> (float):
    return x  # what is written so is printed anew
# fmt: on


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (one_line, 'def one_line(x, y=2, *z, k="a = b", **w):  # fmt: skip\n    return x'),
        (
            many_lines,
            "def many_lines(\n    x,  # a comment: kept\n    größe=1.5,\n):\n"
            '    """x: int, as a text."""\n    half: float = x / 2\n    return half',
        ),
        (in_parentheses, "def in_parentheses(x, y=3):\n    return x"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_types_are_cut_out_of_a_functions_head(function, text):
    assert function_text(function) == text


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_in_the_compute_dtype(dtype, tmp_path):
    rng = np.random.default_rng(1)
    start, grad = (values(rng, (50,), numpy_dtype(dtype), 0.0) for _ in range(2))
    grad = grad.astype(np.float64 if dtype == "float64" else np.float32)
    ours, other = start.copy(), start.copy()
    ss.Optimizer(
        "rmsprop", [ours], backend="numpy", **options_of(ss.rules.registry["rmsprop"])
    ).step([grad])
    found = module(ss.export("rmsprop", "numpy", dtype, grad.dtype.name), tmp_path)
    found.step([other], [grad], found.init([other]))
    assert first_difference(other, ours) is None
