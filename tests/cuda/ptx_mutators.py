"""Systematic small changes of a kernel's PTX: what a wrong printer, a wrong compiler or a wrong
option could have made of it."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator

from ptx import Instruction, Kernel

OTHER = {
    "add": "sub", "sub": "add", "mul": "add", "div": "mul", "rcp": "sqrt", "sqrt": "rcp",
    "min": "max", "max": "min", "and": "or", "or": "and", "xor": "or", "shl": "shr", "shr": "shl",
    "abs": "neg", "neg": "abs",
    "lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq",
    "ltu": "leu", "leu": "ltu", "gtu": "geu", "geu": "gtu", "equ": "neu", "neu": "equ",
    "nan": "num", "num": "nan",
}  # fmt: skip
IMMEDIATE = re.compile(r"-?\d+U?")
Mutation = tuple[str, list[Instruction]]  # its kind, and the instructions in place of one


def mutations(instruction: Instruction, registers: list[str]) -> Iterator[Mutation]:
    """Everything that is done to one instruction. ``registers`` are those written before it."""
    name, *parts = instruction.opcode
    operands = instruction.operands
    yield "left out", []
    for place, part in enumerate(instruction.opcode):
        is_operation = place == 0 or (name == "setp" and place == 1)
        if is_operation and part in OTHER:
            changed = list(instruction.opcode)
            changed[place] = OTHER[part]
            yield "another operation", [_with(instruction, opcode=tuple(changed))]
    if instruction.guard:
        yield "guard negated", [_with(instruction, negated=not instruction.negated)]
        yield "guard left out", [_with(instruction, guard="", negated=False)]
    if name in ("sub", "div", "setp", "selp", "shl", "shr") and len(operands) > 2:
        swapped = (operands[0], operands[2], operands[1], *operands[3:])
        if swapped != operands and operands[2].startswith("%"):
            yield "operands swapped", [_with(instruction, operands=swapped)]
    for place in range(1, len(operands)):
        if IMMEDIATE.fullmatch(operands[place]) and name != "bar":
            number = str(int(operands[place].rstrip("U")) + 1)
            yield "another constant", [_replaced(instruction, place, number)]
        elif operands[place] in registers and len(registers) > 1:
            where = registers.index(operands[place])
            yield "another register", [_replaced(instruction, place, registers[where - 1])]
    if name in ("ld", "st") and "param" not in parts:
        place = 1 if name == "ld" else 0
        base, offset = re.fullmatch(r"\[([%\w$]+)(?:\+(-?\d+))?\]", operands[place]).groups()
        moved = f"[{base}+{int(offset or 0) + instruction.bytes}]"
        yield "another address", [_replaced(instruction, place, moved)]
    if name == "ld" and "global" in parts and "nc" not in parts:
        constant = ("ld", "global", "nc", *parts[1:])
        yield "read as constant", [_with(instruction, opcode=constant)]
    if "rn" in parts and name != "cvt":
        yield (
            "not rounded",
            [_with(instruction, opcode=tuple(x for x in instruction.opcode if x != "rn"))],
        )


def mutants(kernel: Kernel) -> Iterator[tuple[str, int, Kernel]]:
    """Each mutant of ``kernel``: the kind of the change, the instruction's place, and itself."""
    written: dict[str, list[str]] = {}  # by their type: a compiler would refuse another one
    for place, instruction in enumerate(kernel.code):
        target = instruction.operands[0] if instruction.operands else ""
        known = written.setdefault(_type(_a_source(instruction, kernel)), [])
        for kind, instead in mutations(instruction, known):
            mutant = copy.copy(kernel)
            mutant.code = [*kernel.code[:place], *instead, *kernel.code[place + 1 :]]
            shift = len(instead) - 1
            mutant.labels = {
                label: at + shift * (at > place) for label, at in kernel.labels.items()
            }
            yield kind, place, mutant
        if target in kernel.registers:
            written.setdefault(_type(target), []).append(target)


def _type(register: str) -> str:
    """What a register's name tells of its type: ``%rd`` of ``%rd12``."""
    return register.rstrip("0123456789")


def _a_source(instruction: Instruction, kernel: Kernel) -> str:
    """The first source operand that is a register."""
    return next((o for o in instruction.operands[1:] if o in kernel.registers), "")


def _replaced(instruction: Instruction, place: int, operand: str) -> Instruction:
    operands = instruction.operands
    return _with(instruction, operands=(*operands[:place], operand, *operands[place + 1 :]))


def _with(instruction: Instruction, **changes) -> Instruction:
    changed = dataclasses.replace(instruction, **changes)
    guard = f"@{'!' * changed.negated}{changed.guard} " if changed.guard else ""
    text = f"{guard}{'.'.join(changed.opcode)} {', '.join(changed.operands)}"
    return dataclasses.replace(changed, text=text)
