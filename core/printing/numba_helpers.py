"""Text that printed Numba modules begin with, and the helper functions they may need."""

POINTER = '''

@intrinsic
def pointer(typing, address, dtype):
    """An address as a pointer to elements of `dtype`."""
    signature = types.CPointer(dtype.dtype)(types.int64, dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, codegen
'''

HEADER = (
    '''"""{title}

{reference}

Printed by samestep from the rule's own text; do not edit.
{table}
{scalars}
"""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import {names}

options = dict(nogil=True, error_model="numpy", fastmath=False, cache=True)
sqrt = np.sqrt
'''
    + POINTER
)

READING = f"""
import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
{POINTER}

@njit
def word(address):
    return carray(pointer(address, np.int64), 1)[0]
"""

ADDRESSES = f'''"""Reads a field of many objects by their addresses: where arrays keep their data."""
{READING}

@njit("void(Array(int64, 1, 'C', readonly=True), int64, int64[::1])", cache=True)
def read_pointers(objects, offset, found):
    for i in range(objects.size):
        found[i] = word(objects[i] + offset)
'''

HELPERS = {
    "sign": """
@njit(**options)
def sign(x):
    return {compute}(1) if x > {compute}(0) else ({compute}(-1) if x < {compute}(0) else x)
""",
    "maximum": """
@njit(**options)
def maximum(a, b):
    return a if a != a else (b if b != b else (a if a > b else b))
""",
    "minimum": """
@njit(**options)
def minimum(a, b):
    return a if a != a else (b if b != b else (a if a < b else b))
""",
    "bfloat16": '''
@njit(**options)
def from_bfloat16(bits):
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@njit(**options)
def to_bfloat16(x):
    """Round to nearest even; NaN stays NaN."""
    bits = np.float32(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint16((bits >> np.uint32(16)) | np.uint32(0x40)) if x != x else np.uint16(rounded)
''',
    "float16": '''
@njit(**options)
def from_float16(bits):
    sign_bit = np.uint32(bits & np.uint16(0x8000)) << np.uint32(16)
    magnitude = np.uint32(np.uint32(bits & np.uint16(0x7FFF)) << np.uint32(13))
    x = np.uint32(magnitude).view(np.float32) * np.float32(2.0**112)  # exact, subnormals too
    exponent = np.uint32(0x7F800000) if magnitude >= np.uint32(0x0F800000) else np.uint32(0)
    return np.uint32(np.float32(x).view(np.uint32) | exponent | sign_bit).view(np.float32)


@njit(**options)
def to_float16(x):
    """Round to nearest even; NaN stays NaN."""
    bits = np.float32(x).view(np.uint32)
    magnitude = np.uint32(bits & np.uint32(0x7FFFFFFF))
    # adding 0.5 rounds what becomes subnormal, at float16's last place
    shifted = np.uint32(magnitude).view(np.float32) + np.float32(0.5)
    small = np.float32(shifted).view(np.uint32) - np.uint32(0x3F000000)
    odd = (magnitude >> np.uint32(13)) & np.uint32(1)
    normal = (magnitude + np.uint32(0xC8000FFF) + odd) >> np.uint32(13)
    large = np.uint32(0x7E00) if magnitude > np.uint32(0x7F800000) else np.uint32(0x7C00)
    half = small if magnitude < np.uint32(0x38800000) else normal
    half = large if magnitude >= np.uint32(0x47800000) else half
    return np.uint16(half | ((bits >> np.uint32(16)) & np.uint32(0x8000)))
''',
    "fetch_ahead": '''
@intrinsic
def prefetch(typing, address):
    """Ask for the cache line at an address. Nothing happens if there is no memory."""
    from llvmlite import ir

    def codegen(context, builder, signature, args):
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, keep, data = (ir.Constant(number, choice) for choice in (0, 3, 1))
        builder.call(function, [builder.inttoptr(args[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@njit(**options)
def fetch_ahead(array, first, count):
    """Ask for what follows soon after the `count` elements from `first` on: where few arrays are
    read, the processor's own prefetching leaves the memory idle part of the time."""
    for i in range(first + 512, first + 512 + count, 64 // array.itemsize):
        prefetch(array.ctypes.data + i * array.itemsize)
''',
    "fold": '''
@njit(**options)
def fold(lanes, width):
    """The sum of that many `lanes`, a power of two, by halves."""
    width //= 2
    while width > 0:
        for lane in range(width):
            lanes[lane] = lanes[lane] + lanes[lane + width]
        width //= 2
    return lanes[0]
''',
    "lanes_for": '''
@njit(**options)
def lanes_for(n, lanes):
    """How many of the lanes a sum of `n` elements needs: the others stay +0."""
    width = 1
    while width < n and width < lanes:
        width *= 2
    return width
''',
    "total": '''
@njit(**options)
def total_of_chunk(values):
    lanes = np.zeros(lanes_for(values.size, LANES), {compute})
    for start in range(0, values.size, LANES):
        for lane in range(min(LANES, values.size - start)):
            lanes[lane] = lanes[lane] + values[uint64(start + lane)]
    return fold(lanes, lanes.size)


@njit(**options)
def total(values):
    """The sum of a vector, in the fixed order of a sum over a tensor."""
    while values.size > CHUNK:
        sums = np.empty((values.size + CHUNK - 1) // CHUNK, values.dtype)
        for chunk in range(sums.size):
            sums[chunk] = total_of_chunk(values[chunk * CHUNK : (chunk + 1) * CHUNK])
        values = sums
    return total_of_chunk(values)
''',
    "fold_strips": '''
@njit(**options)
def fold_strips(strips):
    """Add up the lines of `strips` by halves, into line 0."""
    width = strips.shape[0]
    while width > 1:
        half = (width + 1) // 2
        for strip in range(width - half):
            for column in range(strips.shape[1]):
                strips[strip, column] = strips[strip, column] + strips[strip + half, column]
        width = half
''',
}

# what calls the helper, where that is not simply its own name
NEEDED_BY = {
    "bfloat16": ("from_bfloat16", "to_bfloat16"),
    "float16": ("from_float16", "to_float16"),
    "fold": ("fold", "total"),
    "lanes_for": ("lanes_for", "total"),
}
