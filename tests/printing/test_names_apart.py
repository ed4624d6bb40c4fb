"""What a rule calls its values and functions is kept apart from what printed text calls its own.

The names that are tried are those that stand in the printed text. C and CUDA have to compile, C
without a name that hides another one; an exported Python file has to give the bits that it gives
with other names.
"""

from __future__ import annotations

import builtins
import importlib.util
import itertools
import keyword
import re
import subprocess

import exported_cuda
import interpreted_numba
import ml_dtypes
import numpy as np
import pytest
import samestep as ss
from samestep.language.names import is_printable
from samestep.printing import expressions
from sampling import half

FLAT, MATRIX = "flat", "matrix"
KINDS = {
    "plain": (FLAT, {}),
    "4 bits": (FLAT, dict(state_dtype="int4")),
    "by chance": (FLAT, dict(dtype="float16", state_dtype=dict(m="udynamic8", v="float16"),
                             rounding="stochastic")),
    "two sizes of blocks": (FLAT, dict(state_dtype=dict(m="udynamic8", v="uint8"))),
    "split": (FLAT, dict(dtype="bfloat16", master="split", average="ema")),
    "copies": (FLAT, dict(average=2, copy_to="bfloat16", clip_norm=True, clip_value=True)),
    "of matrices": (MATRIX, {}),
    "4 bits of matrices": (MATRIX, dict(state_dtype="int4")),
    "matrices by chance": (MATRIX, dict(dtype="bfloat16", state_dtype=dict(m="uint8", v="bfloat16"),
                                        rounding="stochastic")),
}  # fmt: skip
PLACES = ("local", "scalar", "hyper", "carry", "of_scalars", "function", "constant")
# names of types, which no function needs once its arguments are declared: to hide them is harmless
HARMLESS = re.compile(r".*_(hyper|scalars|carry)")
COUNT = itertools.count()
TEXTS = {
    FLAT: """
def update(xp, s, param, grad, m, v):
    m = 0.5 * m + grad * grad
    v = 0.5 * v + grad * grad
    d = grad / (xp.sqrt(v) + 1) + xp.sign(m) * xp.cube_root(v)
""",
    MATRIX: """
def update(xp, s, param, grad, m, v, across, down, all_):
    m = 0.5 * m + xp.abs(grad * xp.random_signs(grad, s.draw, s.again, per="column"))
    v = 0.5 * v + grad * grad
    across = 0.5 * across + xp.mean(v, per="row")
    down = 0.5 * down + xp.sum(v, per="column")
    all_ = 0.5 * all_ + xp.norm(m)
    d = grad / (xp.sqrt(across) + down + all_) + xp.where(m > 1, xp.maximum(m, v), v)
""",
}


def made(shape, place, names, folder, other=False):
    """A rule with these names in a place, or with ``other`` ones."""
    names = [f"q{k}_" if other else name for k, name in enumerate(names)]
    of: dict[str, list[str]] = {each: [] for each in PLACES} | {place: names}
    text = "".join(f"def {n}(x):\n    return x * 1.0625\n\n\n" for n in of["function"])
    text += "".join(f"{name} = 1.0625\n" for name in of["constant"])
    text += "def scalars(xp, step, carry, h):\n    rate = h.lr\n"
    text += "".join(f"    rate = {name}(rate)\n" for name in of["function"])
    factors = [*of["constant"], *(f"h.{n}" for n in of["hyper"])]
    factors += [f"carry.{n}" for n in of["carry"]]
    text += "".join(f"    rate = rate * {factor}\n" for factor in factors)
    for before, name in itertools.pairwise(["rate", *of["of_scalars"]]):
        text += f"    {name} = xp.sqrt({before}) + {before}\n"
    row = "".join(f", {name}=rate * 0.5" for name in of["scalar"])
    carry = "".join(f"{name}=carry.{name} * 0.5 + 0.5, " for name in of["carry"])
    last = ["rate", *of["of_scalars"]][-1]
    text += f"    return dict(rate={last}, draw=1, again=2{row}), dict({carry})\n\n"
    text += TEXTS[shape]
    text += "".join(f"    d = d + s.{name} * v\n" for name in of["scalar"])
    for before, name in itertools.pairwise(["d", *of["local"]]):
        text += f"    {name} = {before} * 0.5 + xp.sqrt(v)\n    d = d + {name} * {name} * 0.0625\n"
    states = "m, v, across, down, all_" if shape == MATRIX else "m, v"
    text += f"    return param - s.rate * d, {states}\n"
    file = folder / f"own{next(COUNT)}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    smaller = dict(across="row", down="column", all_="tensor") if shape == MATRIX else {}
    return ss.Rule(
        "own", module.scalars, module.update, per=smaller,
        defaults={"lr": 0.01, **dict.fromkeys(of["hyper"], 1 + 1 / 128)},
        carry=dict.fromkeys(of["carry"], 0.75),
    )  # fmt: skip


def names_in(texts):
    """The names of all printed texts, and those that C's helper functions have in exported
    files."""
    code = "\n".join(re.sub(r'/\*.*?\*/|"""[\s\S]*?"""', " ", text, flags=re.S) for text in texts)
    found = {*re.findall(r"[A-Za-z_]\w*", code)} - {*keyword.kwlist}
    own = {"xp", "s", "param", "grad", "m", "v", "d", "across", "down", "all_", "step", "carry", "h",
           "rate", "lr", "dict", "draw", "again", "scalars", "update", "x"}  # fmt: skip
    own |= {"blockIdx", "blockDim", "gridDim", "threadIdx"}  # macros where CUDA runs on the CPU
    return sorted(n for n in found - own if is_printable(n) and not HARMLESS.fullmatch(n))


def compiled(rule, options, folder):
    file = folder / "text.c"
    for print_text in (ss.emit, ss.export):
        file.write_text(print_text(rule, "c", **options), encoding="utf-8")
        command = [
            "gcc",
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Wshadow",
            "-Werror",
            "-fsyntax-only",
            file,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    exported_cuda.build(f"{ss.export(rule, 'cuda', **options)}\nint main() {{}}\n", folder)


def bits(rule, target, options):
    """Parameter and state after steps of the exported file; what it refuses, it refuses by name."""
    text = ss.export(rule, target, **options)
    file = interpreted_numba.load("exported", text)
    name = options.get("dtype", "float32")
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    rng = np.random.default_rng(0)
    params = [rng.standard_normal((3, 50)).astype(dtype)]
    state = file.init(params)
    for _ in range(2):
        file.step(params, [rng.standard_normal((3, 50)).astype(dtype)], state)
    return b"".join(map(bytes, (params[0].tobytes(), *(np.array(v) for v in state[0].values()))))


def accepted(kind, place, names, folder):
    """Those of the names that a rule may have in that place, and that all files can have there;
    others are refused by name."""
    (shape, options), names = KINDS[kind], list(names)
    while True:
        try:
            rule = made(shape, place, names, folder)
            ss.emit(rule, "c", **options)
            for target in ("numpy", "numba"):
                ss.export(rule, target, **options)
            return names
        except ValueError as error:
            refused = next((name for name in names if repr(name) in str(error)), None)
            if refused is None:
                raise
            names.remove(refused)


def check(kind, place, names, folder):
    shape, options = KINDS[kind]
    ours, other = (made(shape, place, names, folder, other) for other in (False, True))
    if place in ("local", "scalar"):
        compiled(ours, options, folder)
    targets = (
        ("numpy",) if "int4" in str(options) else ("numpy", "numba")
    )  # int8 of Python's numbers
    for target in targets:
        assert bits(ours, target, options) == bits(other, target, options)


@pytest.fixture(scope="module")
def names_of_kind():
    found: dict[str, list[str]] = {}

    def names(kind, folder):
        if kind not in found:
            shape, options = KINDS[kind]
            rule = made(shape, "local", [], folder)
            texts = [ss.emit(rule, target, **options) for target in ("numba", "c", "cuda")]
            texts += [ss.export(rule, target, **options) for target in ("c", "numpy", "numba")]
            found[kind] = names_in(texts)
        return found[kind]

    return names


@pytest.mark.whole
@pytest.mark.parametrize("tried", half([f"{kind}.{place}" for kind in KINDS for place in PLACES]))
def test_names_of_printed_text_may_be_those_of_a_rule(tried, names_of_kind, tmp_path):
    kind, place = tried.split(".")
    names = names_of_kind(kind, tmp_path)
    if place in ("function", "constant"):
        own = {*keyword.kwlist, "dict"}  # which the rule's own text calls
        names = sorted({*names, *filter(is_printable, dir(builtins))} - own)
    names = accepted(kind, place, names, tmp_path)
    assert len(names) > 50
    check(kind, place, names, tmp_path)


def test_a_scalar_may_be_called_like_a_loop_s_variable(backend):
    """Blocks of two sizes are stored in parts: this overwrote the scalar, and results were
    others."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr, part=0.5), carry

    def update(xp, s, param, grad, m, v):
        m = s.part * m + grad
        v = s.part * v + grad * grad
        return param - s.lr * m / (xp.sqrt(v) + 1), m, v

    rule = ss.Rule("parted", scalars, update, defaults=dict(lr=0.1))
    ours, expected = np.linspace(-1, 1, 1000, dtype=np.float32), []
    for each in (backend, "numpy"):
        param = ours.copy()
        codecs = dict(m="dynamic8", v="uint8")
        optimizer = ss.Optimizer(rule, [param], backend=each, state_dtype=codecs)
        for number in (1.0, 2.0, 3.0):
            optimizer.step([np.cos(np.arange(1000) * number).astype(np.float32)])
        expected.append(param.tobytes())
    assert expected[0] == expected[1]


def test_control_a_name_that_is_not_kept_apart_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(expressions, "OWN_NAMES", frozenset())
    with pytest.raises(AssertionError, match="shadow"):
        check("by chance", "local", ["count", "start"], tmp_path)
