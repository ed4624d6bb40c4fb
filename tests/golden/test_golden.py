"""Golden files: every backend reproduces them, they are complete, and the checker can fail."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
import samestep as ss
from golden_files import GOLDEN, LABELS, NAMES, changed, load
from samestep import parts
from samestep.backends.numpy import passes
from samestep.golden import oracle
from samestep.golden.around import parts_cases
from samestep.golden.compare import assert_same_bits, same_bits, ulp_errors
from samestep.golden.composed import CASES, RULES, composed_cases
from samestep.golden.format import VALUES, Golden, read
from samestep.golden.formulas.parts import FORMULAS as OF_PARTS
from samestep.golden.generate import generate
from samestep.golden.replay import replay
from samestep.golden.verify import differences, errors, verify_one
from samestep.language import summation
from samestep.language.dtypes import numpy_dtype
from samestep.language.summation import LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS
from variants import DTYPES, every_variant

ROW_AND_COLUMN = ("exp_avg_sq_row", "exp_avg_sq_col")

# ---- the files


@pytest.mark.every("name")
@pytest.mark.parametrize("name", NAMES)
def test_backend_has_the_bits_of_the_file(name, any_backend):
    golden = load(name)
    result = verify_one(golden, RULES[golden.header.base], any_backend)
    assert result.same, result.differences[0]
    assert result.scalars_same
    if golden.header.truth is None:  # of what is rounded to fewer bits
        hyper = golden.header.hyperparameters
        assert hyper.get("state_dtype") or hyper["rounding"] == "stochastic"
    elif golden.header.truth["measure"] == "signs":
        assert (result.ulps, result.flipped) == (None, 0)
    else:
        assert result.flipped is None
        # roundings of ten steps; a library's products and decompositions may make others of them
        assert result.ulps <= 4 or result.tolerance is not None


@pytest.mark.every("name")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_near_its_truth(name):
    golden = load(name)
    found = errors(golden, golden.results())
    assert found.get("ulps", 0) <= 4
    assert found.get("flipped", 0) == 0


@pytest.mark.parametrize("label", LABELS)
def test_generating_gives_the_bytes_of_the_file(label, tmp_path):
    """Products of matrices have the bits of one library: what follows from them is within the
    tolerance."""
    names = [name for name in NAMES if name.startswith(f"{label}.")]
    seen = []
    paths = generate(names, tmp_path, seen.append)
    assert [path.stem for path in paths] == seen == names
    for path in paths:
        kept, made = read(VALUES / path.name), read(path)
        if kept.header.tolerance is None:
            assert path.read_bytes() == (VALUES / path.name).read_bytes(), path.name
        assert made.header == kept.header
        assert differences(kept, made.results()) == []
        assert made.tensors.keys() == kept.tensors.keys()
        for name in kept.tensors.keys() - kept.results().keys():
            assert_same_bits(made.tensors[name], kept.tensors[name], name)


def test_every_variant_and_dtype_is_in_a_file():
    """Of its own, or as that of the vectors in another one."""
    found = set()
    for name in NAMES:
        header = load(name).header
        if header.settings is not None or header.base != header.rule:  # parts around it
            continue
        rule = RULES[header.rule].variant(**header.options)
        assert name == f"{rule.label}.{header.dtype}"
        shapes = [load(name).tensors[f"param.0.{tensor}"].shape for tensor in header.tensors]
        found |= {(rule.for_shape(shape).label, header.dtype) for shape in shapes}
    composed = {(case.variant.label, case.dtype) for case in composed_cases()}
    assert found == {(rule.label, dtype) for rule in every_variant() for dtype in DTYPES} | composed
    assert {path.name for path in VALUES.iterdir()} == {f"{name}.safetensors" for name in NAMES}


def test_sums_go_around_their_lanes_and_over_several_strips():
    long = load("lars_no_momentum.float32").tensors["param.0.long"]
    assert long.size > LANES
    matrices = load("adafactor.float32").tensors
    assert matrices["param.0.tall"].shape[0] > STRIP_ROWS
    assert matrices["param.0.wide"].shape[1] > ROW_LANES
    assert load("adafactor_chunks.float16").tensors["param.0.wide"].shape[1] > 2 * ROW_CHUNK
    rows = len(load("adafactor_beta1_strips.float16").tensors["param.0.tall"])
    assert rows > max(2 * STRIP_ROWS, ROW_CHUNK)
    shapes = {name: matrices[f"state.1.kernel.{name}"].shape for name in ROW_AND_COLUMN}
    assert list(shapes.values()) == [(5,), (3, 2)]


@pytest.mark.parametrize(
    ("constant", "name", "tensor", "factor"),
    [
        ("STRIP_ROWS", "adafactor.float32", "tall", 0.5),
        ("STRIP_ROWS", "adafactor.float32", "tall", 2),
        ("ROW_LANES", "adafactor.float32", "wide", 0.5),
        ("ROW_LANES", "adafactor.float32", "wide", 2),
        ("ROW_CHUNK", "adafactor.float32", "wide", 0.5),
        ("ROW_CHUNK", "adafactor_chunks.float16", "wide", 2),
        ("ROW_CHUNK", "adafactor_beta1_strips.float16", "tall", 2),
        ("STRIP_ROWS", "adafactor_beta1_strips.float16", "tall", 2),
        ("LANES", "lars_no_momentum.float32", "long", 0.5),
    ],
)
def test_control_another_order_is_noticed(constant, name, tensor, factor, monkeypatch):
    for module in (passes, summation):
        if hasattr(module, constant):
            monkeypatch.setattr(module, constant, int(getattr(module, constant) * factor))
    result = verify_one(load(name), ss.rules.registry[name.split(".")[0].split("_")[0]], "numpy")
    assert result.differences
    assert all(f".{tensor}" in difference for difference in result.differences)


@pytest.mark.parametrize("name", ["adafactor_chunks.float16", "adafactor_beta1_strips.float16"])
def test_control_a_fold_by_halves_is_noticed(name, monkeypatch):
    for module in (passes, summation):
        if hasattr(module, "add_neighbours"):
            monkeypatch.setattr(module, "add_neighbours", summation.fold_by_halves)
    assert verify_one(load(name), ss.rules.registry["adafactor"], "numpy").differences


def test_every_built_in_rule_has_a_formula():
    found = {
        name
        for name, function in oracle.FORMULAS.items()
        if name not in OF_PARTS
        and inspect.isfunction(function)
        and [*inspect.signature(function).parameters] == [*"htpgs"]
    }
    of_estimates = {rule.hessian_rule for rule in ss.rules.registry.values()} - {None}
    assert found == set(ss.rules.registry) | {rule.name for rule in of_estimates}
    assert {*OF_PARTS} == RULES.keys() - found
    assert oracle.TAKES_A_SIGN.issubset(RULES)


def test_every_part_is_in_a_file():
    composed = [rule.name for rule, _, _ in CASES]
    composed += [case.variant.name for case in parts_cases()]
    called = {
        "averaged": "ema",
        "cautious_decay": "cautious_decay",
        "float32_master": "master",
        "split_master": "split",
    }
    for part in parts.__all__:
        prefix = called.get(part, part.removesuffix("_decay"))
        assert any(name.startswith(f"{prefix}_") for name in composed), part


def test_files_are_small():
    sizes = [path.stat().st_size for path in VALUES.iterdir()]
    assert max(sizes) < 90_000
    assert sum(sizes) / len(sizes) < 45_000


@pytest.mark.parametrize("label", LABELS)
def test_every_hyperparameter_and_every_change_matters(label):
    """Otherwise a backend could ignore one and still pass."""
    golden = load(f"{label}.float64")
    rule = RULES[golden.header.base]
    hyper, changes = golden.header.hyperparameters, golden.header.changes
    others = {}
    for name, value in hyper.items():
        if isinstance(value, list):
            for i in range(len(value)):
                moved = [x * 1.01 if i == k else x for k, x in enumerate(value)]
                others[f"{name}[{i}]"] = {"hyperparameters": {**hyper, name: moved}}
        elif getattr(rule.bounds.get(name), "whole", False):
            others[name] = {"hyperparameters": {**hyper, name: value + 1}}
        elif isinstance(value, float) and value:
            others[name] = {"hyperparameters": {**hyper, name: value * 1.01}}
        elif isinstance(value, bool) and name in RULES[golden.header.base].defaults:
            others[name] = {"hyperparameters": {**hyper, name: not value}}
    if "no_scale_parameter" in label:
        del others["eps[1]"]  # the least scale
    if label == "shampoo":
        del others["grafting_eps"]  # of what is grafted
    others["maximize"] = {"hyperparameters": {**hyper, "maximize": not hyper["maximize"]}}
    for name in changes["6"]:
        rest = {k: v for k, v in changes["6"].items() if k != name}
        others[f"change of {name}"] = {"changes": {"6": rest}}
    for name, value in (golden.header.settings or {}).items():
        moved = {"accumulation_steps": 3, "skip_nonfinite": False}.get(name)
        if name == "clip_global_norm":
            moved = 1.01 * value
        if name == "loss_scaler":
            moved = {**value, "growth_interval": 3}
        others[name] = {"settings": {**golden.header.settings, name: moved}}
    for what, fields in others.items():
        outcome = replay(changed(golden, **fields), rule, "numpy")
        stored = [k for k in outcome if k.startswith(("param.", "state."))]
        assert not all(same_bits(outcome[k], golden.tensors[k]) for k in stored), what


def test_cases_reach_both_branches():
    """RAdam turns adaptive and ASGD starts to average on the way; `bias` does so a step later.
    Adafactor's relative step is the smaller of two for a while, and its update is clipped."""

    def column(label, tensor, scalar):
        golden = load(f"{label}.float32")
        rows = (golden.tensors.get(f"scalars.{t}.{tensor}") for t in range(1, 11))
        index = golden.header.scalars.index(scalar)
        return [float(row[index]) for row in rows if row is not None]

    assert column("radam", "weight", "adaptive") == [0] * 5 + [1] * 5
    assert column("radam", "bias", "adaptive") == [0] * 5 + [1] * 4
    assert column("asgd", "weight", "mu") == [1] * 5 + [1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]
    assert column("adafactor", "weight", "rho") == [0.48] * 4 + [1 / 5**0.5] + [0.03] * 5
    assert column("adafactor_no_scale_parameter", "weight", "rho") == [0.48] * 5 + [0.03] * 5
    assert column("novograd", "weight", "keep")[:2] == [0, 0.8]


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_have_all_kinds_of_numbers(dtype):
    golden = load(f"adam.{dtype}")
    for kind in ("param.0", "grad.1"):
        special = golden.tensors[f"{kind}.special"].astype(np.float64)
        tiny = np.abs(golden.tensors["param.0.special"].astype(np.float64))
        assert {0.0, tiny[tiny > 0].min()} <= set(np.abs(special))
        assert np.signbit(special[special == 0]).any()
        assert not np.signbit(special[special == 0]).all()
        huge = golden.tensors[f"{kind}.huge"]
        with np.errstate(over="ignore"):
            assert np.isinf(huge * huge).sum() >= huge.size / 2
    last = golden.tensors["grad.5.huge"].astype(np.float64)
    assert np.isnan(last).any()
    assert {np.inf, -np.inf} <= set(last)


# ---- truth


@pytest.mark.parametrize("label", LABELS)
def test_float64_and_truth_agree(label):
    golden = load(f"{label}.float64")
    for name, array in oracle.truth(golden).items():
        assert_same_bits(array, golden.tensors[name], name)
        assert off(golden, name, array) < 1e-12, name


@pytest.mark.parametrize("label", [label for label in LABELS if label.split("_")[0] != "rprop"])
def test_control_another_hyperparameter_is_not_the_truth(label):
    golden = load(f"{label}.float64")
    hyper = dict(golden.header.hyperparameters)
    if golden.header.truth["measure"] == "ulps" and "betas" in hyper and label != "adamax":
        first, second, *others = hyper["betas"]
        hyper["betas"] = [first, second + 1e-6, *others]
    else:
        hyper["lr"] += 1e-6
    wrong = oracle.truth(changed(golden, hyperparameters=hyper, changes={}))
    name = f"truth.{golden.header.truth['steps'][0]}.param.weight"
    assert off(golden, name, oracle.truth(golden)[name]) < 1e-12
    name = f"truth.{golden.header.truth['steps'][-1]}.param.weight"
    assert off(golden, name, wrong[name]) > 1e-10


def off(golden: Golden, name: str, truth: np.ndarray) -> float:
    """The largest error of the stored bits, relative to the largest element: elements of a
    moving average cancel and have no relative accuracy of their own."""
    _, step, rest = name.split(".", 2)
    kind, tensor = rest.split(".", 1)
    values = golden.tensors[f"{kind}.{step}.{tensor}"]
    return float(np.max(np.abs(values - truth)) / (np.max(np.abs(truth)) or 1))


def test_formulas_share_no_code_with_the_rules():
    files = list((GOLDEN / "formulas").glob("*.py"))
    imported = set().union(*(imports_of(file.read_text()) for file in files))
    own = {".", *(f".{file.stem}" for file in files)}
    assert imported - own == {
        "__future__", "collections.abc", "types", "typing", "mpmath", "numpy"
    }  # fmt: skip
    assert imports_of("from ..parts import cautious\nimport samestep") == {"..parts", "samestep"}


def imports_of(text: str) -> set[str]:
    """Return the names of modules that a text imports."""
    tree, imported = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    return imported


def test_errors_in_ulps():
    one = np.float32(1)
    for value, truth, expected in [
        (1.0, 1.0, 0.0),
        (np.nextafter(one, np.float32(2)), 1.0, 1.0),
        (np.nextafter(one, np.float32(0)), 1.0, 0.5),  # the ulp is that of the truth's binade
        (-1.0, -1.0 - 2.0**-25, 0.25),
        (2.0**-149, 0.0, 1.0),
        (3 * 2.0**-149, 2.0**-149, 2.0),
        (0.0, 2.0**-127, 2.0**22),
        (np.inf, 1.0, np.inf),
        (np.nan, 1.0, np.inf),
    ]:
        assert ulp_errors(np.array(value, np.float32), np.array(truth)) == expected
    for dtype, ulp in zip(DTYPES, (2.0**-22, 2.0**-51, 2.0**-6, 2.0**-9), strict=True):
        values = np.array([2, 3]).astype(numpy_dtype(dtype))
        assert_same_bits(ulp_errors(values, np.array([2 + ulp, 3])), np.array([1.0, 0.0]))
