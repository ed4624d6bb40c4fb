"""Printed statements that load and store states in blocks with a scale."""

from __future__ import annotations

from ..language.blockwise import BLOCKWISE, Blockwise, scales_of
from ..language.codecs import stored_dtype
from ..language.passes import Program, Step
from .maps import name_of_map, store_name
from .random_bits import RandomBits
from .target import Lines, Target


class Blocks(RandomBits):
    """The states of one program that have blocks, ``blocks``: the codec of each by its name.

    ``stored`` are the dtypes of the arrays of the parameter's size, by name. ``scale_name`` has the
    scale of the block in hand, by state, ``new_values`` the array of its new values,
    ``codes_of_block`` that of its codes where they are two in a byte, and ``placed`` the elements
    that do not stand at index ``i`` of their array. ``codes`` are the arrays of codes of the
    function in hand, with their sizes.
    """

    def __init__(self, program: Program, target: Target, param_dtype: str, grad_dtype: str) -> None:
        super().__init__(program, target, param_dtype)
        self.stored = dict.fromkeys(program.arrays, self.compute)
        self.stored |= {n: stored_dtype(codec) for n, codec in self.rule.storage.items()}
        self.stored |= {"param": param_dtype, "grad": grad_dtype}
        self.blocks = {n: BLOCKWISE[c] for n, c in self.rule.storage.items() if c in BLOCKWISE}

    def begin(self) -> None:
        """Start a new function."""
        super().begin()
        self.scale_name = {name: self.new_name(scales_of(name)) for name in self.blocks}
        self.new_values = {name: self.new_name(f"new_{name}") for name in self.blocks}
        packed = [name for name, codec in self.blocks.items() if codec.bits == 4]
        self.codes_of_block = {name: self.new_name(f"{name}_codes") for name in packed}
        self.codes: dict[str, int] = {}
        self.placed: dict[str, str] = {}

    def in_order(self, step: Step) -> bool:
        """Return true if a step goes over the elements of a matrix in their order, not by rows:
        blocks that it stores need not end where a row or a tile does."""
        return self.program.matrix and any(name in self.blocks for name, _ in step.stores)

    def of_tensor(self, step: Step, array: str) -> bool:
        """Return true if a step has an array from the tensor's first element on, not from a
        tile's."""
        return self.in_order(step) or array in self.layout.block

    def longest_block(self, step: Step) -> int:
        """Return the number of elements of the longest block that a step reads or writes."""
        return max(codec.size for codec in self.blocks_of(step).values())

    def blocks_of(self, step: Step) -> dict[str, Blockwise]:
        """Return the codecs of the states with blocks that a step reads or writes, by name."""
        return {name: self.blocks[name] for name in self.touched(step) if name in self.blocks}

    def touched(self, step: Step) -> Lines:
        """Return the names of the arrays of the parameter's size that a step reads or writes, and
        of their scales."""
        found = {*step.loads, *dict(step.stores)}
        return [a for a in self.program.arrays if self.rule.scales.get(a, a) in found]

    def code(self, codec: Blockwise) -> str:
        """Return what a codec's codes are read by: the largest one, or its map."""
        if codec.most is not None:
            return self.target.typed_constant(codec.most)
        self.called.add(name_of_map(codec.name))
        return f"{self.target.prefix}{name_of_map(codec.name)}"

    def new_value(self, array: str) -> str:
        """Return the place where an element's new value waits for those of its block."""
        place = self.placed.get(array)
        position = f"[{self.subscript('lane')}]" if place is None else place[place.index(".") :]
        return self.new_values[array] + position

    def block_scales(self, step: Step, longest: int, place: str) -> Lines:
        """Return statements for the loop over a block, the ``longest`` of the step: scales, and
        room for new values before it, at ``start``; within it the scales of codecs whose blocks are
        shorter."""
        lines: Lines = []
        for name, codec in self.blocks_of(step).items():
            if name in step.loads and (place == "start") == (codec.size == longest):
                block = self.subscript(f"{place}{self.target.quotient}{codec.size}")
                scale = f"{self.arrays[scales_of(name)]}[{block}]"
                lines.append(self.target.let(self.scale_name[name], scale))
            if place != "start":
                continue
            if name in dict(step.stores):
                lines += self.target.room(self, self.new_values[name], longest)
            if codec.bits == 4:
                lines += self.target.codes(self, self.codes_of_block[name], longest)
        return lines

    def flip(self, array: str) -> str:
        """Return what helpers turn a code of 4 bits by: 8 where it has a sign, else 0."""
        return "8" if self.blocks[array].signed else "0"

    def unpacked_codes(self, step: Step) -> Lines:
        """Return statements before the loop over a block: codes that are two in a byte, each on its
        own."""
        lines: Lines = []
        for name, codec in self.blocks_of(step).items():
            if name in step.loads and codec.bits == 4:
                places = self.target.packed(self.arrays[name], "start")
                codes = self.codes_of_block[name]
                call = self.helper("unpack", *places, "count", codes, self.flip(name))
                lines.append(f"{call}{self.target.end}")
        return lines

    def in_tile(self, step: Step, array: str) -> Lines:
        """Return declarations for a tile's element of a state with blocks, which may begin outside
        it: its scale, and its code where two are in a byte. Nothing for other arrays, or in a step
        that goes block by block."""
        if array not in self.blocks or not self.program.matrix or self.in_order(step):
            return []
        self.use("columns column tile_start")
        element = "(tile_start + r * columns + column)"
        block = self.subscript(f"{element}{self.target.quotient}{self.blocks[array].size}")
        let, scale = self.target.let, f"{self.arrays[scales_of(array)]}[{block}]"
        lines = [let(self.scale_name[array], scale)]
        if array in self.codes_of_block and array not in self.placed:
            self.placed[array] = self.new_name(f"{array}_code")
            code = self.code_of(array, element.strip("()"))
            lines.append(let(self.placed[array], code, index=True))
        return lines

    def code_of(self, array: str, element: str) -> str:
        """Return the code of one of the tensor's elements, of an array with two codes in a byte."""
        return self.helper("code_of", self.arrays[array], element, self.flip(array))

    def tile_start(self) -> Lines:
        """Return the declaration of which of the tensor's elements is a tile's first one."""
        return self.integer(
            "tile_start", "first_row * columns + first_column", "first_row columns first_column"
        )

    def stored_blocks(self, step: Step, longest: int) -> Lines:
        """Return statements behind the loop over a block: its new values become codes and scales,
        of codecs whose blocks are shorter ``part`` by part."""
        lines: Lines = []
        for name, codec in self.blocks_of(step).items():
            if name in dict(step.stores):
                codes = self.codes_of_block.get(name)
                places = self.new_values[name], self.arrays[name], self.arrays[scales_of(name)]
                part = "part" if codec.size < longest else ""
                given = self.target.block_arguments(*places, codec, self.code(codec), part, codes)
                stored = [f"{self.helper(store_name(codec), *given)}{self.target.end}"]
                lines += self.loop("part", "count", stored, codec.size) if part else stored
                if codes:
                    packed = self.target.packed(self.arrays[name], "start")
                    call = self.helper("pack", codes, "count", *packed)
                    lines.append(f"{call}{self.target.end}")
        return lines
