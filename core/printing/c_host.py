"""A rule's scalars as C that runs on the host: structures, their initial values, and the function
that computes a row, printed from the rule's own ``scalars``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ..language.passes import Step, reachable, statements
from ..language.rounding import KEY
from ..language.tracer import trace_scalars
from .c_family import C_TYPE, CFamily, function
from .c_names import field
from .expressions import Expressions
from .maps import store_name
from .printer import Printer
from .target import Lines

API = "SAMESTEP_API"
HOST = CFamily("float64")


def structures(p: Printer) -> str:
    """Return the types of the hyperparameters, the carry and a row of scalars."""
    label, carry = p.rule.label, p.rule.carry
    hyper = [
        f"{field(name)}[{len(value)}]" if isinstance(value, tuple) else field(name)
        for name, value in p.rule.numbers.items()
    ]
    structs = [_structure("double", hyper or ["none"], f"{label}_hyper")]  # C has no empty ones
    if carry:
        starts = ", ".join(f"{name} = {value:g}" for name, value in carry.items())
        structs.append(
            _structure("double", map(field, carry), f"{label}_carry", f" /* start at {starts} */")
        )
    structs.append(_structure(p.target.real, map(field, p.scalars), f"{label}_scalars"))
    return "\n".join(structs)


def _structure(real: str, fields: Iterable[str], name: str, comment: str = "") -> str:
    indent = " " * 4
    body = textwrap.fill(
        f"{real} {', '.join(fields)};", 98, initial_indent=indent, subsequent_indent=2 * indent
    )
    return f"typedef struct {{\n{body}\n}} {name};{comment}\n"


def defaults(p: Printer) -> str:
    """Return the function that returns the default hyperparameters."""
    kind = f"{p.rule.label}_hyper"
    lines = [
        f"h.{place} = {HOST.typed_constant(float(value))};" for place, _, _, value in numbers(p)
    ]
    lines = [f"{kind} h;", *(lines or ["h.none = 0;"]), "return h;"]
    return function(f"{API} {kind} {p.rule.label}_defaults", [], lines)


def numbers(p: Printer) -> list[tuple[str, str, int, float]]:
    """Return for each number of the hyperparameters its member of the structure, and its name,
    index, and default."""
    found = []
    for name, value in p.rule.numbers.items():
        for i, number in enumerate(value if isinstance(value, tuple) else [value]):
            place = f"{field(name)}[{i}]" if isinstance(value, tuple) else field(name)
            found.append((place, name, i, number))
    return found


def initial_carry(p: Printer) -> str:
    """Return the function that returns the carry before the first step."""
    kind = f"{p.rule.label}_carry"
    lines = [
        f"carry.{field(name)} = {HOST.typed_constant(float(value))};"
        for name, value in p.rule.carry.items()
    ]
    head = f"{API} {kind} {p.rule.label}_initial_carry"
    return function(head, [], [f"{kind} carry;", *lines, "return carry;"])


def scalars_function(p: Printer) -> str:
    """Return the rule's ``scalars``, in double, each result rounded once."""
    label, host = p.rule.label, CFamily("float64")
    host.prefix = p.target.prefix
    values = Expressions(p.program, host)
    row, carry = trace_scalars(p.rule)
    carry = {name: expr for name, expr in carry.items() if expr.op != "input"}
    roots = tuple(row.items()) + tuple(carry.items())
    step = Step(nodes=tuple(reachable(e for _, e in roots)), loads=(), stores=roots)
    values.begin()
    for node in step.nodes:
        if node.op == "input":
            structure, dot, member = str(node.name).partition(".")
            values.text_of[id(node)] = f"{structure}->{_member(member)}" if dot else structure
            values.use(structure)
    lines = values.assignments(statements(step), step)
    lines += [
        f"result.{field(name)} = ({p.target.real})({values.text(e)});" for name, e in row.items()
    ]
    if p.rule.stochastic:  # the key of random bits
        lines += _key_lines(p)
        values.use("h step")
    lines += [f"carry->{field(name)} = {values.text(e)};" for name, e in carry.items()]
    p.called |= values.called
    arguments = ["double step", f"const {label}_hyper *h"]
    if p.rule.carry:
        arguments.insert(1, f"{label}_carry *carry")
    lines = [
        f"{label}_scalars result;",
        *lines,
        "result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */",
        "return result;",
    ]
    head = f"{API} {label}_scalars {label}_compute_scalars"
    about = "/* What is equal for all elements of a parameter; step counts from 1. */\n"
    return about + function(head, arguments, lines, values.used | ({"carry"} if carry else set()))


def _key_lines(p: Printer) -> Lines:
    """Return statements that store the words of a step's key by halves."""
    words = ("(uint32_t)h->seed", "(uint32_t)(int64_t)step")
    values = [f"({word} {half})" for word in words for half in ("& 0xFFFF", ">> 16")]
    return [
        f"result.{name} = ({p.target.real}){value};"
        for name, value in zip(KEY, values, strict=True)
    ]


def _member(leaf: str) -> str:
    """Return a member in C of ``name`` or ``name[i]``, as traced scalars are called."""
    name, bracket, index = leaf.partition("[")
    return f"{field(name)}{bracket}{index}"


# ---- state


def states(p: Printer) -> tuple[str, ...]:
    """Return the names of the rule's state arrays in the order of arguments."""
    return tuple(a for a in p.program.arrays if a in p.rule.arrays) + p.program.small


def sizes(p: Printer) -> Lines:
    """Return the arguments that say how large a tensor is."""
    if not p.layout.reducing:
        return ["n"]
    return ["size", "columns"] if p.layout.matrix else ["size"]


def count(p: Printer, name: str) -> str:
    """Return how many numbers a state array has."""
    full = " * ".join(sizes(p))
    counts = {"row": "size", "column": "columns", "tensor": "1"}
    if block := p.layout.block.get(name):
        return f"({full} + {block - 1}) / {block}"
    return counts.get(p.rule.per.get(name, ""), full)


def first_blocks(p: Printer) -> Lines:
    """Return the declarations of the code and the scale that states with blocks start with, where
    that is not 0."""
    lines: Lines = []
    for name, codec in p.blocks.items():
        if _start(p, name) != "0":
            places = [f"&{name}_first", "1", f"(uint8_t *)&{name}_code", f"&{name}_scale"]
            stored = p.helper(store_name(codec), *places, p.code(codec), f"{codec.mask:#x}")
            lines += [
                f"const float {name}_first = {_start(p, name)};",
                f"{C_TYPE[codec.dtype]} {name}_code;",
                f"float {name}_scale;",
                f"{stored};",
            ]
            if codec.bits == 4:
                lines.append(f"{name}_code = (uint8_t)((int)({name}_code & 15) * 17);")
    return lines


def initial_value(p: Printer, name: str) -> str:
    """Return the number that a state array is filled with, as it is stored."""
    state = p.rule.scales.get(name, name)
    text = _start(p, state)
    if state in p.blocks and text != "0":
        return f"{name}_code" if name == state else name
    if name in p.blocks:
        return str(p.blocks[name].zero)
    codec = p.rule.storage.get(name)
    return text if codec is None or text == "0" else p.helper(f"to_{codec}", text)


def _start(p: Printer, state: str) -> str:
    """Return the number that a state starts at."""
    value = p.rule.initial.get(state, 0.0)
    if isinstance(value, str):
        return f"({p.target.real})h->{field(value)}"
    return p.target.constant(value)


def needs_hyper(p: Printer) -> set[str]:
    """Return the argument ``h`` if a state starts at a hyperparameter."""
    return {"h"} if any(isinstance(value, str) for value in p.rule.initial.values()) else set()


def array_type(p: Printer, name: str) -> str:
    """Return the type of an array's elements."""
    const = "const " if name == "grad" else ""
    return f"{const}{C_TYPE[p.dtype_of(name)]}"
