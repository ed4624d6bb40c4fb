"""What the tests of golden files share."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
from samestep.golden.around import all_cases
from samestep.golden.format import VALUES, Golden, read
from samestep.language.stages import stages

GOLDEN = VALUES.parent
NAMES = [case.name for case in all_cases()]
# of rules that can be printed
PRINTED = [case.name for case in all_cases() if not stages(case.variant).calls]
# of rules whose steps alone, printed, take golden files
STEPPED = [c.name for c in all_cases() if c.name in PRINTED and not c.variant.hessian_rule]
# one tensor at a time
EXPORTED = [c.name for c in all_cases() if c.name in STEPPED and not c.variant.shared]
LABELS = [name.removesuffix(".float64") for name in NAMES if name.endswith(".float64")]
COMPILER = shutil.which("gcc") or shutil.which("cc")


def load(name: str) -> Golden:
    return read(VALUES / f"{name}.safetensors")


def changed(golden: Golden, **fields) -> Golden:
    """The same file with other header fields."""
    return Golden(dataclasses.replace(golden.header, **fields), golden.tensors)


def with_flipped_bit(golden: Golden, name: str) -> Golden:
    """The same file with the lowest bit of the last element of one tensor flipped."""
    array = golden.tensors[name].copy()
    array.reshape(-1)[-1:].view(np.uint8)[0] ^= 1
    return Golden(golden.header, {**golden.tensors, name: array})
