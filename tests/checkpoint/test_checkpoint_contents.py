"""Checkpoints whose checksum is right and whose header or contents are not."""

from __future__ import annotations

import json

import pytest
from checkpoint_cases import assert_file_refused, written
from checkpoint_mutators import header_of, sealed, with_header
from safetensors import deserialize

PARAM = "param/group[0][0]"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def with_fields(data, change):
    fields = json.loads(header_of(data)[0])
    change(fields)
    return sealed(with_header(data, json.dumps(fields).encode()))


def with_tree(data, change):
    def inner(fields):
        tree = json.loads(fields["__metadata__"]["samestep"])
        change(tree)
        fields["__metadata__"]["samestep"] = json.dumps(tree)

    return with_fields(data, inner)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[PARAM].update(shape=[2]), r"'shape': \[2\], .*; expected {.*, 16\]}"),
        (lambda f: f[PARAM].update(shape=[-3]), "no valid shape"),
        (lambda f: f[PARAM].update(shape=[3.0]), "no valid shape"),
        (lambda f: f[PARAM].update(shape=[True, 3]), "no valid shape"),
        (lambda f: f[PARAM].update(shape=[3] + [1] * 64), "no valid shape"),
        (lambda f: f[PARAM].update(shape=[2**70]), "no valid shape"),
        (lambda f: f[PARAM].update(dtype="I64"), "has dtype 'I64'"),
        (lambda f: f[PARAM].update(dtype=[]), r"has dtype \[\]"),
        (lambda f: f[PARAM].update(data_offsets=[24, 0]), r"\[24, 0\]}; expected {"),
        (lambda f: f[PARAM].update(data_offsets=[48, 72]), r"48\]}; expected {.*\[0, 24\]}"),
        (lambda f: f[PARAM].update(data_offsets=[0, 2**62]), r"; expected {.*, 24\]}"),
        (lambda f: f[PARAM].update(extra=1), r"'extra': 1}; expected {"),
        (lambda f: f.pop(PARAM), r"\[24, 48\]}; expected {.*\[0, 24\]}"),
        (lambda f: f.pop("checksum"), "has no 'checksum'"),
        (lambda f: f.update({"more": dict(f[PARAM])}), r"'more' is .*\[0, 24\]}; expected {"),
        (lambda f: f.update({"more": dict(f[PARAM], data_offsets=[0, 0], shape=[0])}), "belong to"),
        (lambda f: f["__metadata__"].update(samestep="{}"), "has no 'format_version'"),
        (lambda f: f["__metadata__"].update(samestep="[" * 5000), "recursion|Expecting value"),
        (lambda f: f["__metadata__"].update(samestep=3), "is not a string"),
        (lambda f: f.pop("__metadata__"), "not that of one|has no '__metadata__'"),
    ],
)
def test_a_header_with_a_right_checksum_is_not_believed(change, message, path):
    written(path)
    path.write_bytes(with_fields(path.read_bytes(), change))
    assert_file_refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t["param_groups"][0].update(state_dtype=0.5),
            "state_dtype is 0.5; expected one of",
        ),
        (lambda t: t["param_groups"][0].update(rounding="up"), "rounding is 'up'; expected"),
        (lambda t: t["param_groups"][0].update(average="F64"), "average is 'F64'; expected"),
        (
            lambda t: t["param_groups"][0].update(compensated=0.5),
            "compensated must be True or False",
        ),
        (
            lambda t: t["param_groups"][0].update(master="float32", compensated=True),
            "compensated goes with no master",
        ),
        (lambda t: t["param_groups"][0].update(average=2**31), "a whole number from 1 to 1000"),
        (lambda t: t["param_groups"][0].update(average=1000), "has no average_0; expected 1000"),
        (lambda t: t["param_groups"][0].update(options=None), "'NoneType' object is not iter"),
        (
            lambda t: t["param_groups"][0].update(master="split"),
            "is of float64; master='split' is for",
        ),
        (
            lambda t: t["param_groups"][0].update(state_dtype="int4"),
            "state_dtype='int4' is for real",
        ),
        (
            lambda t: t.update(format_version=3),
            "has format version 3, written by .*; this reads 1 and 2",
        ),
        (lambda t: t.update(rule="sgd"), "sgd has no hyperparameter 'betas'"),
        (lambda t: t.update(rule="nothing"), "no rule 'nothing'"),
        (lambda t: t.update(rule=["nadam"]), "a rule is"),
        (lambda t: t.update(names=[]), "does not have one entry"),
        (lambda t: t.pop("state"), "belong to nothing: state/"),
        (lambda t: t.pop("defaults"), "has no 'defaults'"),
        (lambda t: t["state"]["group[0][0]"].update(step=-1), "step is -1"),
        (lambda t: t["state"]["group[0][0]"].update(step=10**400), "expected a number"),
        (lambda t: t["state"]["group[0][0]"].pop("mu_product"), "expected"),
        (lambda t: t["state"]["group[0][0]"].pop("exp_avg"), "belong to nothing"),
        (lambda t: t["param_groups"][0].update(lr=-1.0), "lr must be in"),
        (lambda t: t["param_groups"][0].update(lr={"$float": "inf"}), "lr must be finite"),
        (lambda t: t["param_groups"][0].update(lr={"$schedule": {"kind": "nothing"}}), "schedule"),
        (lambda t: t["param_groups"][0].update(extra=0.5), "no hyperparameter 'extra'"),
        (lambda t: t["param_groups"].append({}), "has 2 parameter groups; 1"),
        (lambda t: t["defaults"].update(lr="much"), "lr must be a number"),
        (lambda t: t["param"].update({"group[0][0]": {"$tensor": "float32"}}), "cannot be float32"),
        (lambda t: t["param"].update({"group[0][0]": {"$tensor": "complex128"}}), "not a pair"),
    ],
)
def test_contents_with_a_right_checksum_are_not_believed(change, message, path):
    written(path)
    path.write_bytes(with_tree(path.read_bytes(), change))
    assert_file_refused(path, message)


def test_names_that_are_there_twice_are_refused(path):
    """The safetensors package keeps the last one and says nothing."""
    written(path)
    data = path.read_bytes()
    header, _ = header_of(data)
    entry = json.dumps(json.loads(header)[PARAM]).encode()
    again = b"{" + json.dumps(PARAM).encode() + b":" + entry + b"," + header[1:]
    path.write_bytes(sealed(with_header(data, again)))
    assert len(deserialize(path.read_bytes())) == len(json.loads(header)) - 1
    assert_file_refused(path, "is there twice")
    text = json.loads(header)["__metadata__"]["samestep"].replace(
        '"rule":', '"rule":"sgd","rule":', 1
    )
    path.write_bytes(with_fields(data, lambda f: f["__metadata__"].update(samestep=text)))
    assert_file_refused(path, "the name 'rule' is there twice")
