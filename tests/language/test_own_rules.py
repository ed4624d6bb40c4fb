"""Rules of one's own that went wrong once, silently or with an error of somebody else's: names,
what is changed in place, what is not in the vocabulary, what a `Rule` can be told at once."""

from __future__ import annotations

import inspect
import keyword
import re
import shutil
import subprocess

import interpreted_numba
import numpy as np
import pytest
import samestep as ss
from c_target import COptimizer
from exported_cuda import build
from helpers import off, on, step
from samestep.golden.compare import first_difference
from samestep.language import tracer as trace
from samestep.language.names import TAKEN, belongs_to_c
from samestep.language.passes import program
from samestep.optimizers.optimizer import Optimizer
from samestep.printing.c_names import KEYWORDS, field
from samestep.printing.cuda import Cuda
from samestep.printing.expressions import OWN_NAMES
from samestep.printing.printer import Printer
from test_random_rules import interpreted  # noqa: F401


def lr_only(xp, step, carry, h):
    return dict(lr=h.lr, decay=h.decay), carry


def rule(update, scalars=lr_only, name="own", **more):
    return ss.Rule(
        name, scalars, update, defaults=more.pop("defaults", dict(lr=0.1, decay=0.5)), **more
    )


def assert_agree(own, backend, folder, shape=(66, 5)):
    """The reference, a backend and printed C, over three steps."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape).astype(np.float32)
    reference, printed, ours = start.copy(), start.copy(), on(backend, start.copy())
    expected = ss.Optimizer(own, [reference], backend="numpy")
    optimizer, c = ss.Optimizer(own, [ours], backend=backend), COptimizer(own, printed, folder)
    for _ in range(3):
        grad = rng.standard_normal(shape).astype(np.float32)
        for each in (expected, optimizer):
            step(each, [grad])
        c.step(grad)
    for param, state in (
        (off(backend, ours), off(backend, optimizer.state[0])),
        (printed, c.state),
    ):
        assert first_difference(param, reference) is None
        for name, values in expected.state[0].items():
            assert first_difference(state[name], values) is None, name


# ---- names and values that changed what was computed


def a_scalar_s_name(xp, s, param, grad):
    decay = s.decay * param
    return param - (s.lr * grad + decay)


def a_scalar_s_name_conditionally(xp, s, param, grad):
    lr = xp.where(grad > 0, s.lr, 2 * s.lr)
    return param - lr * grad


def no_names(xp, s, param, grad):
    return param - s.lr * (grad / xp.norm(grad / xp.norm(grad)))


def whole_numbers_alone(xp, s, param, grad):
    return param - xp.where(grad > 0, 1, 2) / 3 * grad * -xp.where(param > 0, 0, 1) - 0.0 * -grad


def small_states_of_each_other(xp, s, param, grad, a, b, row, other, scale):
    total = xp.norm(grad)
    return (
        param - s.lr * grad,
        s.lr * b + total,
        s.decay * a,
        other + scale * row,
        row + 1,
        s.lr * a + scale,
    )


def a_sum_that_is_not_needed(xp, s, param, grad):
    unused = xp.sum(grad, per="row") / xp.sqrt(xp.size(grad, per="row"))  # noqa: F841
    return param - s.lr * grad / xp.norm(grad)


SMALL = dict(a="tensor", b="tensor", row="row", other="row", scale="tensor")
SILENT = [
    (a_scalar_s_name, {}),
    (a_scalar_s_name_conditionally, {}),
    (no_names, {}),
    (whole_numbers_alone, {}),
    (small_states_of_each_other, dict(per=SMALL, initial=dict(a=0.25, row=2.0, scale=1.5))),
    (a_sum_that_is_not_needed, {}),
]


@pytest.mark.parametrize(("update", "more"), SILENT, ids=[update.__name__ for update, _ in SILENT])
def test_targets_agree(update, more, any_backend, libraries):
    assert_agree(rule(update, **more), any_backend, libraries)


@pytest.mark.parametrize("per", ["tensor", "row", "column"])
def test_a_sum_may_have_any_name_that_printers_use(per, interpreted):  # noqa: F811
    """Printed Numba, run by Python, which minds where it writes; 66 rows, as it is in strips."""
    for name in sorted(OWN_NAMES - {"s"}):
        space = {}
        text = f"""def update(xp, s, param, grad):
            {name} = xp.sum(grad * grad, per={per!r})
            return param - s.lr * grad / ({name} + 1)"""
        exec(text, space)
        params = [np.linspace(-1, 1, 66 * 3).reshape(66, 3) for _ in range(2)]
        for param, backend in zip(params, ("numpy", "numba"), strict=True):
            ss.Optimizer(rule(space["update"]), [param], backend=backend).step([param + 0.5])
        assert first_difference(params[1], params[0]) is None, name


def hostile(reduces: bool, *names: str) -> ss.Rule:
    """A rule whose hyperparameters, scalars, locals and state all have these names."""
    sets = "".join(f"    {name} = 2 * h.{name}\n" for name in names)
    row = ", ".join(f"{name}={name}" for name in names)
    total = "".join(f"    {name} = {name} * s.{name} + param\n" for name in names)
    divisor = "xp.norm(grad)" if reduces else "2"
    text = (
        f"def scalars(xp, step, carry, h):\n{sets}    return dict({row}), carry\n"
        f"def update(xp, s, param, grad, {', '.join(names)}):\n{total}"
        f"    return param - grad / {divisor}, {', '.join(names)}\n"
    )
    space: dict = {}
    exec(text, space)
    return rule(space["update"], space["scalars"], "double", defaults=dict.fromkeys(names, 0.5))


HOSTILE = sorted(
    name
    for name in {
        *OWN_NAMES,
        *KEYWORDS,
        "NAN",
        "M_PIf",
        "cudaEventDefault",
        "clock64",
        "long_",
        "sum0_at",
        "none",
    }
    if not keyword.iskeyword(name) and name not in ("step", "s", "h", "carry", "grad_coefficient")
)
COMPILERS = [["gcc", "-E", "-dD"], ["g++", "-E", "-dD"], ["nvcc", "-E", "-Xcompiler", "-dD"]]


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda words: words[0])
def test_no_macro_of_a_compiler_or_header_is_printed_as_a_name(compiler, tmp_path):
    """What the compiler itself lists for the headers of an exported file; macros with arguments
    need parentheses behind them."""
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    target, suffix = ("cuda", "cu") if compiler[0] == "nvcc" else ("c", "c")
    headers = re.findall("^ *#include .*", ss.export("adamw", target, with_check=True), re.M)
    file = tmp_path / f"headers.{suffix}"
    file.write_text("\n".join(headers))
    done = subprocess.run([*compiler, file], capture_output=True, text=True, check=True)
    macros = set(re.findall(r"^#define (\w+)(?!\S)", done.stdout, re.M))
    assert macros >= ({"NAN", "cudaEventDefault"} if target == "cuda" else {"NAN"})
    printer = Printer(program(rule(no_names)), "float32", "float32", Cuda)
    for name in macros:
        if belongs_to_c(name):  # rules refuse it
            continue
        printer.begin()
        assert field(name) not in macros, name
        assert printer.new_name(name) not in macros, name


def test_hostile_names_are_printed_and_exported(tmp_path):
    for reduces in (False, True):
        own = hostile(reduces, *HOSTILE[reduces::2])
        source = tmp_path / "exported.c"
        source.write_text(ss.export(own, "c", with_check=True))
        for words in (["gcc"], ["g++", "-x", "c++"]):
            words += ["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
            done = subprocess.run([*words, source], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        build(ss.export(own, "cuda", with_check=True), tmp_path)
        module = interpreted_numba.load("hostile", ss.emit(own, "numba"))
        assert any(name.startswith("double") for name in vars(module))


def test_python_files_refuse_hyperparameters_that_hide_their_own_names():
    def scalars(xp, step, carry, h):
        return dict(lr=h.namespace), carry

    def update(xp, s, param, grad):
        return param - s.lr * grad

    own = rule(update, scalars, defaults=dict(namespace=0.1))
    for target in ("numpy", "numba"):
        with pytest.raises(ValueError, match="'namespace' is a name that the file itself needs"):
            ss.export(own, target)


# ---- what is refused before anything is changed


def in_place(xp, s, param, grad, m):
    grad += s.decay * param
    m *= s.lr
    m += grad
    return param - s.lr * m, m


REFUSED = [
    (in_place, r"\+= changes an array in place, maybe the caller's; write grad = grad \+ ..."),
    (lambda xp, s, param, grad, m: (param, np.tanh(m)), "numpy.tanh is not for rules"),
    (lambda xp, s, param, grad, m: (param, np.mean(m)), "numpy.mean is not for rules"),
    (lambda xp, s, param, grad, m: (param, xp.tanh(m)), "xp has no 'tanh'"),
    (
        lambda xp, s, param, grad, m: (param, xp.nrom(m)),
        r"xp has no 'nrom' \(did you mean 'norm'\?\)",
    ),
    (lambda xp, s, param, grad, m: (param, m**2), r"\*\* is not for values"),
    (lambda xp, s, param, grad, m: (param, m % 2), "% is not for values"),
    (lambda xp, s, param, grad, m: (param, m[0]), r"\[...\] is not for values"),
    (lambda xp, s, param, grad, m: (param, m.mean()), "a value has no attribute or method 'mean'"),
    (lambda xp, s, param, grad, m: (param, m > 0), "update returned a comparison"),
    (
        lambda xp, s, param, grad, m: (param, s.decy * m),
        r"scalars does not return \(did you mean 'decay'\?\)",
    ),
    (
        lambda xp, s, param, grad, m: (param - grad, None),
        "numbers and its arguments only, not None",
    ),
    (
        lambda xp, s, param, grad, m: (param, xp.where((m > 0) & (m < 1), m, 0)),
        "& is not for values",
    ),
]


@pytest.mark.parametrize(("update", "message"), REFUSED)
def test_what_is_not_in_the_vocabulary_is_refused_when_an_optimizer_is_made(
    update, message, any_backend
):
    param = on(any_backend, np.ones(3, np.float32))
    with pytest.raises(TypeError, match=f"rule 'own': .*{message}.*update may use its arguments"):
        ss.Optimizer(rule(update), [param], backend=any_backend)


@pytest.mark.parametrize(
    ("scalars", "message"),
    [
        (lambda xp, step, carry, h: (dict(lr=h.learning_rate), carry), "no hyperparameter 'learning"),
        (lambda xp, step, carry, h: (dict(lr=max(h.lr, 1)), carry), "no truth value"),
        (lambda xp, step, carry, h: (dict(lr=xp.log(h.lr)), carry), "xp has no 'log'"),
        (lambda xp, step, carry, h: (dict(lr=np.log(h.lr)), carry), "numpy.log is not for rules"),
        (lambda xp, step, carry, h: (dict(grad_coefficient=h.lr), carry), "means something else"),
        (lambda xp, step, carry, h: (dict(lr=h.lr, clip_norm=1), carry), "named 'clip_norm'"),
    ],
)  # fmt: skip
def test_scalars_are_looked_at_too(scalars, message, backend):
    own = rule(lambda xp, s, param, grad: param, scalars)
    with pytest.raises((TypeError, ValueError), match=f"rule 'own'.*{message}"):
        ss.Optimizer(own, np.ones(3), backend=backend)


def test_state_of_the_wrong_kind_is_refused_before_anything_moves(backend):
    own = rule(lambda xp, s, param, grad, kept: (param - grad, grad), per=dict(kept="row"))
    with pytest.raises(
        TypeError, match="kept is kept per row, but update returns one value per elem"
    ):
        ss.Optimizer(own, np.ones((2, 2)), backend=backend)


def test_a_rule_is_looked_at_once(monkeypatch):
    seen = []
    text = trace._with_local_names
    monkeypatch.setattr(trace, "_with_local_names", lambda *args: seen.append(args) or text(*args))
    own = rule(a_scalar_s_name)
    ss.Optimizer(own, [np.ones(3), np.ones(2)], backend="numpy")
    first = len(seen)
    ss.Optimizer(own, [np.ones(3)], backend="numpy").step([np.ones(3)])
    assert (first > 0, len(seen)) == (True, first)


def with_state(xp, s, param, grad, kept):
    return param, kept


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (dict(per=dict(kept="rows")), r"per\['kept'\] must be one of .*, not 'rows'"),
        (dict(initial=dict(kept="foo")), r"initial\['kept'\] must be a number or the name"),
        (dict(bounds=dict(foo=1)), r"bounds names unknown hyperparameters \['foo'\]"),
        (dict(bounds=dict(lr=1)), r"bounds\['lr'\] must be a samestep.Interval"),
        (dict(defaults=dict(lr="x")), "the default of lr must be a number"),
        (dict(defaults=dict(lr=0.1, maximize=0.0)), "hyperparameter cannot be called 'maximize'"),
        (dict(defaults=dict(lr=0.1, backend=0.0)), "hyperparameter cannot be called 'backend'"),
        (dict(defaults={"not one": 0.0}), "hyperparameter must be an identifier in ASCII"),
        (dict(defaults={"größe": 0.0}), "hyperparameter must be an identifier in ASCII"),
        (dict(carry=dict(step=0.0)), "carry cannot be called 'step'"),
        (dict(carry=dict(kept=0.0)), "carry cannot be called 'kept'"),
        (dict(name="lambda"), "a rule's name must be an identifier in ASCII, not 'lambda'"),
    ],
)
def test_a_rule_that_does_not_fit_together_cannot_be_made(more, message):
    with pytest.raises((TypeError, ValueError), match=message):
        rule(with_state, **more)


def test_no_hyperparameter_has_a_name_that_an_optimizer_takes():
    own = set(inspect.signature(Optimizer.__init__).parameters) - {"hyper"}
    assert own <= TAKEN


def test_a_rule_s_name_may_be_as_long_as_any(backend):
    """Files and rules that are made of it have longer ones."""

    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad):
        return param - s.lr * grad

    param = np.ones(3, np.float32)
    rule = ss.Rule("x" * 150, scalars, update, defaults=dict(lr=0.5))
    ss.Optimizer(rule, [param], backend=backend, clip_norm=10.0).step([np.ones(3, np.float32)])
    assert param.tolist() == [0.5] * 3
