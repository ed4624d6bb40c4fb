"""Compiled kernels: compiled once, kept on disk where nobody else can write, never compiled
again because a number changed."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import samestep as ss
from helpers import random_like, run_python

if not ss.available_backends()["numba"].available:
    pytest.skip("only the numba backend compiles at run time", allow_module_level=True)

from numba.core import event
from samestep.backends.launching import source_cache
from samestep.language.hyperparameters import is_count
from variants import fitting

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")


class Compilations:
    """Counts what Numba compiles and what is asked of the source cache in a ``with`` block."""

    def __init__(self, monkeypatch):
        self.loads = 0
        load = source_cache.load

        def counted(*args):
            self.loads += 1
            return load(*args)

        monkeypatch.setattr(source_cache, "load", counted)

    def __enter__(self):
        self.loads = 0
        self._recorder = event.install_recorder("numba:compile")
        self._record = self._recorder.__enter__()
        return self

    def __exit__(self, *error):
        self._recorder.__exit__(*error)
        self.compiled = len(self._record.buffer)


@pytest.mark.parametrize("rule", ss.rules.registry)
def test_nothing_is_compiled_or_loaded_after_the_first_step(rule, monkeypatch):
    """Not for other steps, learning rates, betas, directions, fresh, strided or missing
    gradients, frozen groups or a loaded state."""
    params = fitting(rule, [np.ones((4, 3), np.float32), np.ones(5, np.float32)])
    optimizer = ss.Optimizer(rule, params, backend="numba")
    optimizer.step(random_like(params, 0))
    group = optimizer.param_groups[0]
    numbers = {
        name: tuple(0.9 * v for v in value) if isinstance(value, tuple) else 0.9 * value
        for name, value in optimizer.rule.defaults.items()
        if not isinstance(value, bool) and not is_count(optimizer.rule.options.get(name))
    }
    numbers |= {"etas": (0.4, 1.3)} if rule == "rprop" else {}
    bounds = optimizer.rule.bounds
    whole = [name for name in numbers if getattr(bounds.get(name), "whole", False)]
    numbers |= {name: optimizer.rule.defaults[name] + 1 for name in whole}
    with Compilations(monkeypatch) as seen:
        optimizer.step(random_like(params, 1))
        for name, value in numbers.items():
            group[name] = value
            optimizer.step(random_like(params, 2))
        group["maximize"] = True
        optimizer.step(random_like(params, 3))
        optimizer.step([None, random_like(params, 4)[1]])
        optimizer.step([np.asfortranarray(g) for g in random_like(params, 5)])
        group["frozen"] = True
        optimizer.step(random_like(params, 6))
        group["frozen"] = False
        optimizer.step(random_like(params, 7))
    assert seen.compiled == 0
    assert seen.loads == 0
    with Compilations(monkeypatch) as seen:
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step(random_like(params, 8))
    assert seen.compiled == 0


def test_control_a_new_variant_is_loaded_and_new_text_is_compiled(monkeypatch, tmp_path):
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad):
        return param - s.lr * grad * 0.123456

    rule = ss.Rule("never_seen_before", scalars, update, defaults=dict(lr=0.1))
    monkeypatch.setenv("SAMESTEP_CACHE_DIR", str(tmp_path / "kernels"))
    optimizer = ss.Optimizer(rule, [np.ones(3)], backend="numba")
    with Compilations(monkeypatch) as seen:
        optimizer.step([np.ones(3)])
    assert seen.compiled > 0
    assert seen.loads == 1


def test_two_optimizers_with_different_numbers_share_one_kernel(monkeypatch):
    ss.AdamW([np.ones(3)], lr=0.1, backend="numba").step([np.ones(3)])
    modules = len(source_cache._modules)
    with Compilations(monkeypatch) as seen:
        other = ss.AdamW([np.ones((2, 2)), np.ones(1)], lr=0.2, betas=(0.5, 0.6), backend="numba")
        other.step([np.ones((2, 2)), np.ones(1)])
    assert seen.compiled == 0
    assert len(source_cache._modules) == modules


# ---- the cache directory

PROCESS = """
import numpy as np, samestep as ss
from numba.core import event
with event.install_recorder("numba:compile") as record:
    for rule in ("sgd", "lamb"):
        ss.Optimizer(rule, np.ones(5, np.float32), backend="numba").step(np.ones(5, np.float32))
print(len(record.buffer))
"""


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    files = [f for f in folder.rglob("*") if f.is_file()]
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.stat().st_size) for f in files}


def test_kernels_survive_the_process_and_the_second_one_compiles_nothing(tmp_path):
    cache = tmp_path / "cache"
    # NUMBA_CACHE_DIR, if it is set where tests are started, is where compiled code would go
    chosen = dict(SAMESTEP_CACHE_DIR=str(cache), NUMBA_CACHE_DIR="")
    compiled = int(run_python(PROCESS, **chosen))
    assert compiled > 0
    before = contents(cache)
    assert {name.split("_")[0] for name in before if name.endswith(".py")} == {
        "sgd",
        "lamb",
        "addresses",
    }
    assert any(name.endswith(".nbc") for name in before)
    assert int(run_python(PROCESS, **chosen)) == 0
    assert contents(cache) == before


def load_in(folder, monkeypatch, source="x = 1\n"):
    monkeypatch.setenv("SAMESTEP_CACHE_DIR", str(folder))
    monkeypatch.setattr(source_cache, "_modules", {})
    return source_cache.load("nothing", source)


@posix
def test_the_directory_is_made_for_its_owner_alone(tmp_path, monkeypatch):
    before = os.umask(0)
    try:
        module = load_in(tmp_path / "a" / "cache", monkeypatch)
    finally:
        os.umask(before)
    assert module.x == 1
    assert stat.S_IMODE((tmp_path / "a" / "cache").stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_may_write_to_is_refused(mode, tmp_path, monkeypatch):
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="others may write to it; chmod 700 it or set SAMEST"):
        load_in(tmp_path, monkeypatch)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o755)
    assert load_in(tmp_path, monkeypatch).x == 1


@posix
def test_a_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to another user; set SAMESTEP_CACHE_DIR to"):
        load_in(tmp_path, monkeypatch)


def test_a_directory_that_cannot_be_written_to_is_an_error_if_it_was_asked_for(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match=r"SAMESTEP_CACHE_DIR=.*file: cannot write there"):
        load_in(tmp_path / "file", monkeypatch)


def test_without_a_home_to_write_to_a_temporary_directory_serves(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("SAMESTEP_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="compiled again by every process.*SAMESTEP_CACHE_DIR"):
        folder = source_cache.cache_directory()
    assert folder.is_dir()
    assert tmp_path not in folder.parents


WITHOUT_HOME = """
import pathlib, pwd, warnings
import numpy as np, samestep as ss
def home():
    raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = home
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    ss.SGD(np.ones(5, np.float32), backend="numba").step(np.ones(5, np.float32))
print({str(w.message) for w in seen})
"""


def test_a_user_without_a_home_is_told_in_a_line():
    printed = run_python(WITHOUT_HOME, XDG_CACHE_HOME="", LOCALAPPDATA="", SAMESTEP_CACHE_DIR="")
    assert printed.count("Could not determine home directory") == 1


DAMAGED = """
import warnings
import numpy as np, samestep as ss
param = np.ones(5, np.float32)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    ss.SGD(param, lr=0.5, backend="numba").step(np.ones(5, np.float32))
assert (param == 0.5).all()
print(len([w for w in seen if "a damaged kernel was compiled again" in str(w.message)]))
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache with a kernel in it."""
    folder = tmp_path_factory.mktemp("kept")
    assert run_python(DAMAGED, SAMESTEP_CACHE_DIR=str(folder), NUMBA_CACHE_DIR="") == "0\n"
    return folder


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        (".nbi", b"", 1),
        (".nbc", b"", 1),
        (".nbi", b"\x80", 1),
        (".nbc", b"no pickle", 1),
        (".pyc", b"", 0),  # Python makes it again
        (".py", b"\xff\xfe", 0),  # it is written anew, as one that was tampered with
        (".py", b"", 0),
    ],
)
def test_a_damaged_entry_is_compiled_again(suffix, content, told, kept, tmp_path):
    folder = shutil.copytree(kept, tmp_path / "cache")  # with its times, which Numba looks at
    for file in folder.rglob(f"sgd*{suffix}"):
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        file.write_bytes(content)
        os.utime(file, ns=times)
    chosen = dict(SAMESTEP_CACHE_DIR=str(folder), NUMBA_CACHE_DIR="")
    assert run_python(DAMAGED, **chosen) == f"{told}\n"
    assert run_python(DAMAGED, **chosen) == "0\n"


def test_a_full_disk_falls_back(tmp_path, monkeypatch):
    write = source_cache.write

    def full(path, content):
        if tmp_path in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(source_cache, "write", full)
    with pytest.warns(RuntimeWarning, match="cannot be kept.*No space left"):
        module = load_in(tmp_path, monkeypatch)
    assert module.x == 1


def test_a_file_that_was_tampered_with_is_written_anew(tmp_path, monkeypatch):
    load_in(tmp_path, monkeypatch)
    (file,) = tmp_path.glob("*.py")
    file.write_text("x = 2\n")
    assert load_in(tmp_path, monkeypatch).x == 1
    assert file.read_text() == "x = 1\n"


def test_a_module_that_fails_to_load_leaves_no_trace(tmp_path, monkeypatch):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_in(tmp_path, monkeypatch, "1 / 0\n")
    assert source_cache._modules == {}


def test_a_schedule_does_not_make_gradients_be_looked_at_again(monkeypatch):
    """A learning rate that changes at every step leaves the fast path for known arrays open."""
    params, grads = [np.ones(3)], [np.ones(3)]
    optimizer = ss.AdamW(params, backend="numba")
    for _ in range(3):
        optimizer.step(grads)
    looks = []
    checker = optimizer._run.stepping._checker
    check = checker._check
    monkeypatch.setattr(checker, "_check", lambda leaves: looks.append(1) or check(leaves))
    for lr in (0.1, 0.2, 0.3):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(grads)
    assert not looks
    optimizer.step([np.ones(3)])
    assert looks


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("sizes", [[1000] * 1000, [10_000_000], [3], [40_000, 0, 40_000], []])
def test_ranges_cover_the_table_with_neither_too_little_nor_too_much_each(sizes, threads):
    """Every line once; at least 32,768 elements a range less a chunk, or all there are; at most
    2**20 and a chunk; of many threads none gets more than its share."""
    params = [np.zeros(size, np.float32) for size in [*sizes, 1]]
    optimizer = ss.SGD(params, backend="numba")
    optimizer.step([np.zeros_like(p) for p in params])
    (bucket,) = optimizer._run.stepping._work.updates
    table = bucket._launch.launch_table
    cuts = table.ranges(threads, 1 << 15, 1 << 20)
    assert cuts == sorted(set(cuts))
    assert (cuts[0], cuts[-1]) == (0, len(table.table))
    lengths = table.table[:, 1]
    work = [int(lengths[a:b].sum()) for a, b in itertools.pairwise(cuts)]
    assert sum(work) == sum(sizes) + 1
    share = max(-(-sum(work) // threads), 1 << 15)
    assert max(work) < min(share, 1 << 20) + (1 << 16) + (1 << 15)
    if len(work) > 1:  # cut between two chunks, so up to a chunk less
        assert min(work) > (1 << 15) - int(lengths.max())
