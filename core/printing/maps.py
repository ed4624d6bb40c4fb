"""The maps of codecs in printed source: constant arrays that helper functions search."""

from __future__ import annotations

import textwrap

from ..language.blockwise import BLOCKWISE, Blockwise

STORES = ("store_block", "store_mapped_block")  # helpers that store a block: of roots, of a map


def map_texts(begin: str, suffix: str, end: str) -> dict[str, str]:
    """Return the declaration of each map by its name, which stands for NAME in ``begin``. Numbers
    are written with as many digits as float32 needs, and the ``suffix``."""
    return {
        name_of_map(name): f"\n{begin.replace('NAME', name_of_map(name))}\n"
        + textwrap.fill(
            ", ".join(f"{value!s}{suffix}" for value in codec.map),
            98,
            initial_indent="    ",
            subsequent_indent="    ",
        )
        + f"\n{end}\n"
        for name, codec in BLOCKWISE.items()
        if codec.most is None
    }


def name_of_map(codec: str) -> str:
    """Return the name of a codec's map."""
    return f"{codec}_map"


def store_name(codec: Blockwise) -> str:
    """Return the name of the helper that stores a block."""
    return STORES[codec.most is None]
