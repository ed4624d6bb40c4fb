"""Compiled code that reads what many tensors are and where they lie in their own structs."""

from __future__ import annotations

from ...printing.numba import READING
from .structs import Structs

OBJECTS = "Array(int64, 1, 'C', readonly=True)"
ROWS = "Array(int64, 2, 'C', readonly=True)"
TYPE = object.__basicsize__ - 8  # where an object says of which type it is

TENSORS = '''"""Reads what many tensors are and where they lie, in their own structs; see `structs`."""
{reading}

@njit("void({objects}, int64[:,::1])", cache=True)
def read_kinds(objects, found):
    for i in range(objects.size):
        tensor = word(objects[i] + {where.tensor})
        found[i, 0] = word(objects[i] + {type})
{read}


@njit("boolean({objects}, {rows}, int32[::1], int64[::1])", cache=True)
def look(objects, rows, index, found):
    for i in range(objects.size):
        row = rows[index[i]]
        if word(objects[i] + {type}) != row[0]:
            return False
        tensor = word(objects[i] + {where.tensor})
        differs = 0
{compare}
        if differs != 0:
            return False
        data = word(word(tensor + {where.storage}) + {where.address})
        found[i] = data + word(tensor + {where.first}) * row[1]
    return True

'''


def source(where: Structs) -> str:
    """Return the text of a module for structs like these. Column 0 of a kind is the type, 1 the
    item size, which the caller writes; then come the words of `Structs.kind`."""
    words = [
        f"word(tensor + {offset})" + (f" & {mask}" if mask + 1 < 1 << 64 else "")
        for offset, mask in where.kind
    ]
    return TENSORS.format(
        reading=READING,
        objects=OBJECTS,
        rows=ROWS,
        type=TYPE,
        where=where,
        read="\n".join(f"        found[i, {k + 2}] = {w}" for k, w in enumerate(words)),
        compare="\n".join(f"        differs |= ({w}) ^ row[{k + 2}]" for k, w in enumerate(words)),
    )
