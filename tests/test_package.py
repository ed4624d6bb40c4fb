"""The package as a whole: what an import brings, what a wheel holds, what is documented, and that
printed kernels do not depend on numbers."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import samestep as ss
from helpers import ROOT, run_python, sources
from variants import DTYPES, variants

FOLDERS = {"core": "samestep", "backends": "samestep/backends", "golden": "samestep/golden"}

# ---- importing

WHAT_CAME = """
import sys
before = set(sys.modules)
{statement}
came = {{name.split('.')[0] for name in set(sys.modules) - before}} - sys.stdlib_module_names
print(' '.join(sorted(name for name in came if not name.startswith('__editable__'))))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import samestep",
        "import samestep; samestep.available_backends()",
        "import samestep, numpy; p = numpy.ones(3); samestep.AdamW(p, backend='numpy').step(p + 1)",
        "import samestep; samestep.emit('adamw', 'c'); samestep.emit('lamb', 'numba')",
    ],
)
def test_importing_and_using_the_reference_brings_numpy_and_nothing_heavier(statement):
    came = set(run_python(WHAT_CAME.format(statement=statement)).split())
    assert "samestep" in came
    if "available_backends" in statement:  # where CuPy is installed, only it knows the driver
        came -= {"cupy", "cupy_backends", "cuda"}
    assert came <= {"samestep", "numpy"}, came - {"samestep", "numpy"}


WHAT_FOLDERS = (
    "print(*{name.split('.')[1] for name in sys.modules if name.startswith('samestep.')})"
)


@pytest.mark.parametrize("name", ["LBFGS", "minimize", "CheckpointError", "export", "schedules"])
def test_what_not_everybody_needs_is_imported_when_it_is_asked_for(name):
    later = {"quasi_newton", "checkpoint", "printing", "schedules", "tools"}
    start = "import sys, samestep"
    assert later.isdisjoint(run_python(f"{start}; {WHAT_FOLDERS}").split())
    assert not later.isdisjoint(run_python(f"{start}; samestep.{name}; {WHAT_FOLDERS}").split())


def test_there_is_one_class_for_each_rule():
    assert ss.AdamW is ss.AdamW
    assert type(ss.AdamW(np.ones(1))) is ss.AdamW
    assert {*ss.__all__} <= {*dir(ss)}
    with pytest.raises(AttributeError, match="module 'samestep' has no attribute 'AdamWX'"):
        ss.AdamWX  # noqa: B018 (raises)


def test_control_a_heavy_import_would_be_seen():
    came = set(run_python(WHAT_CAME.format(statement="import samestep, ml_dtypes")).split())
    assert came == {"samestep", "numpy", "ml_dtypes"}


def test_a_backend_that_was_named_and_is_missing_fails_the_tests():
    """``SAMESTEP_TEST_BACKENDS``: a failure, never a skip."""
    file = ROOT / "tests" / "optimizers" / "test_optimizer.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"{file}::test_none_stands_for_a_branch_or_for_everything"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "SAMESTEP_TEST": "whole", "SAMESTEP_TEST_BACKENDS": "numpy,vulkan"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no backend 'vulkan'" in done.stdout
    assert "1 passed, 1 error" in done.stdout


# ---- the wheel


def repository_files() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.mark.whole
def test_the_wheel_built_from_the_sdist_holds_the_tree(tmp_path):
    """A subpackage or data file that is not declared works in an editable install and is
    missing from the wheel."""
    files = repository_files()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    archives = [*(tmp_path / "dist").iterdir()]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *archives],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert len(archives) == done.stdout.count("PASSED") == 2
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.split("-")[1] == ss.__version__  # pyproject.toml has it, too
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = set()
    for name in files:
        folder, _, rest = name.partition("/")
        if folder in FOLDERS:
            expected.add(f"{FOLDERS[folder]}/{rest}")
    assert {"samestep/rules/adam.py", "samestep/optimizers/classes.pyi"} <= expected
    assert names == expected


# ---- printed kernels


def with_other_numbers(rule: ss.Rule) -> ss.Rule:
    """The same variant with other defaults for every hyperparameter."""

    def other(value):
        return tuple(map(other, value)) if isinstance(value, tuple) else 0.7 * value + 0.01

    changed = dataclasses.replace(
        rule,
        defaults={name: other(value) for name, value in rule.defaults.items()},
        factory=rule.factory and (lambda **options: changed if options else rule.factory()),
    )
    return changed


@pytest.mark.parametrize("target", ["numba", "c", "cuda"])
@pytest.mark.parametrize("rule", variants(), ids=lambda rule: rule.label)
def test_printed_text_is_the_same_whatever_the_numbers(rule, target):
    """Learning rates, betas and steps are arguments of a kernel: a schedule compiles nothing."""
    changed = with_other_numbers(rule)
    assert changed.defaults["lr"] != rule.defaults["lr"]
    for dtype in DTYPES if target == "c" else ["float32"]:
        text = ss.emit(rule, target, dtype, **rule.options)
        assert ss.emit(changed, target, dtype, **changed.options) == text


def test_control_a_number_baked_into_the_text_is_noticed():
    def baked(lr):
        def scalars(xp, step, carry, h):
            return dict(decay=h.decay), carry

        def update(xp, s, param, grad):
            return param - lr * grad - s.decay * param

        return ss.Rule("baked", scalars, update, defaults=dict(decay=0.1))

    assert ss.emit(baked(0.1), "c") == ss.emit(baked(0.1), "c")
    assert ss.emit(baked(0.1), "c") != ss.emit(baked(0.2), "c")


# ---- documentation in the code


def undocumented(source: str) -> list[str]:
    """The public functions and classes of a module that say nothing about themselves. A
    `Protocol` may let its methods speak."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
            if not ast.get_docstring(node) and not protocol:
                found.append(node.name)
    return found


def test_every_module_and_everything_public_in_it_has_a_docstring():
    missing = []
    for file in (file for folder in FOLDERS for file in sources(folder)):
        source = file.read_text(encoding="utf-8")
        if source and not ast.get_docstring(ast.parse(source)):
            missing.append(f"{file.relative_to(ROOT)}")
        if file.parent.name not in ("rules", "formulas"):  # where functions are as in the papers
            missing += [f"{file.relative_to(ROOT)}: {name}" for name in undocumented(source)]
    assert not missing, "\n".join(missing)
    for name in ss.__all__:
        assert inspect.getdoc(getattr(ss, name)), name


def test_control_a_missing_docstring_is_noticed():
    assert undocumented("def f():\n    return 1\nclass C:\n    pass\ndef _g(): pass") == ["f", "C"]


def test_all_lists_what_there_is():
    public = {n for n, v in vars(ss).items() if n[0] != "_" and not inspect.ismodule(v)}
    assert public <= set(ss.__all__)
    assert all(hasattr(ss, name) for name in ss.__all__)
    classes = {getattr(ss, name) for name in ss.__all__ if inspect.isclass(getattr(ss, name))}
    made = {c for c in classes if issubclass(c, ss.Optimizer)} - {ss.Optimizer}
    assert {c(np.ones((1, 1))).rule.name for c in made} == set(ss.rules.registry)
