"""The rule of an exported file, as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from ..language.passes import Program
from ..language.rule import Rule
from ..version import __version__
from .printer import Printer
from .target import Target


@dataclass(frozen=True)
class Exported:
    """The rule of a file, as it was asked for.

    ``family`` is the variant that was asked for and ``programs`` those that are printed of it: one,
    or that of matrices and that of tensors with fewer than two axes. ``command`` writes the file
    again, ``check`` is the text of its main program, or empty.
    """

    family: Rule
    programs: tuple[Program, ...]
    target: str
    dtype: str
    grad_dtype: str
    command: str
    check: str = ""
    version: str = __version__

    @property
    def label(self) -> str:
        """The name of the file and of what is in it."""
        return self.rules[0].label

    @property
    def reference(self) -> str:
        """The paper that the rule is from."""
        return self.rules[0].reference or "A rule of the user's own."

    @property
    def golden_file(self) -> str:
        """The name of a golden file of this rule and dtype."""
        clipped = self.label != self.family.label  # has a suffix of its own
        return "FILE.safetensors" if clipped else f"{self.family.label}.{self.dtype}.safetensors"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the programs."""
        return tuple(program.rule for program in self.programs)

    def printers(self, target: type[Target], prefix: str = "") -> list[Printer]:
        """Return a printer for each program."""
        return [Printer(p, self.dtype, self.grad_dtype, target, prefix) for p in self.programs]
