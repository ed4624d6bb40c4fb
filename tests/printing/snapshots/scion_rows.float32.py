"""scion_rows: fused update of float32 parameters with float32 gradients.

Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, arXiv:2502.07529,
Algorithms 1 and 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a tile: row of `rows` (negative: skip), rows, address of param, address of
grad, address of momentum_buffer, line of `tensors`, first row, first column.
A line of `rows` holds step_size, decay, alpha, rest, eps, grad_coefficient.
"""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import float32, uint64

options = dict(nogil=True, error_model="numpy", fastmath=False, cache=True)
sqrt = np.sqrt


@intrinsic
def pointer(typing, address, dtype):
    """An address as a pointer to elements of `dtype`."""
    signature = types.CPointer(dtype.dtype)(types.int64, dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, codegen


@njit(**options)
def finite_or_zero(x):
    return x if x - x == float32(0) else float32(0)


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


@njit(**options)
def fold(lanes, width):
    """The sum of that many `lanes`, a power of two, by halves; two times at once."""
    while width >= 4:
        width //= 4
        for i in range(width):
            lower, upper = lanes[i] + lanes[i + 2 * width], lanes[i + width] + lanes[i + 3 * width]
            lanes[i] = lower + upper
    return lanes[0] + lanes[1] if width == 2 else lanes[0]


@njit(**options)
def fold_four(lanes, i, width):
    """The sum of four lanes that are so far apart, by halves."""
    return (lanes[i] + lanes[i + 2 * width]) + (lanes[i + width] + lanes[i + 3 * width])


@njit(**options)
def fold_chunk(lanes):
    """The sum of the 256 lanes of a whole chunk of a row, by halves; four times at once. Their number
    is known, so that this is SIMD code without a loop."""
    for i in range(16):
        a, b = fold_four(lanes, i, 64), fold_four(lanes, i + 16, 64)
        c, d = fold_four(lanes, i + 32, 64), fold_four(lanes, i + 48, 64)
        lanes[i] = (a + c) + (b + d)
    for i in range(8):
        lanes[i] = lanes[i] + lanes[i + 8]
    for i in range(4):
        lanes[i] = lanes[i] + lanes[i + 4]
    return fold_four(lanes, 0, 1)


@njit(**options)
def lanes_for(n, lanes):
    """How many of the lanes a sum of `n` elements needs: the others stay +0."""
    width = 1
    while width < n and width < lanes:
        width *= 2
    return width


@njit(**options)
def add_lines(lines):
    """Add up `lines` by neighbours, into line 0."""
    count, width = lines.shape
    step = 1
    while step < count:
        for line in range(0, count - step, 2 * step):
            for i in range(width):
                lines[line, i] = lines[line, i] + lines[line + step, i]
        step *= 2


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def scion_rows_pass0(table, rows, tensors, workspace, first, last):
    sum0_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 5]
        first_row, first_column = table[tile, 6], table[tile, 7]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        momentum_buffers = carray(pointer(table[tile, 4], np.float32), (height - 1) * columns + tile_width)
        sum0_at = tensors[tensor, 4]
        alpha = rows[row, 2]
        rest = rows[row, 3]
        grad_coefficient = rows[row, 5]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for r in range(height):
            for chunk in range(0, whole, 1024):
                sum0_line = sum0_at + (first_column + chunk) // 1024 * size + first_row
                for block in range(0, 256, 32):
                    for start in range(chunk + block, chunk + 1024, 256):
                        fetch_ahead(grads, r * columns + start + 512, 32)
                        fetch_ahead(momentum_buffers, r * columns + start + 512, 32)
                    for lane in range(block, block + 32):
                        sum0_lane = float32(0)
                        for start in range(chunk, chunk + 1024, 256):
                            column = start + lane
                            i = uint64(r * columns + column)
                            grad = grad_coefficient * grads[i]
                            momentum_buffer = momentum_buffers[i]
                            momentum_buffer = rest * momentum_buffer + alpha * grad
                            momentum_buffers[i] = momentum_buffer
                            sum0_lane = sum0_lane + momentum_buffer * momentum_buffer
                        sum0_lanes[lane] = sum0_lane
                workspace[uint64(sum0_line + r)] = fold_chunk(sum0_lanes)
            if whole < tile_width:
                sum0_line = sum0_at + (first_column + whole) // 1024 * size + first_row
                sum0_lanes[:width] = 0
                for start in range(whole, tile_width, 256):
                    count = min(256, tile_width - start)
                    fetch_ahead(grads, r * columns + start + 512, count)
                    fetch_ahead(momentum_buffers, r * columns + start + 512, count)
                    for lane in range(count):
                        column = start + lane
                        i = uint64(r * columns + column)
                        grad = grad_coefficient * grads[i]
                        momentum_buffer = momentum_buffers[i]
                        momentum_buffer = rest * momentum_buffer + alpha * grad
                        momentum_buffers[i] = momentum_buffer
                        sum0_lanes[lane] = sum0_lanes[lane] + momentum_buffer * momentum_buffer
                workspace[uint64(sum0_line + r)] = fold(sum0_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def scion_rows_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        chunks = (columns + 1023) // 1024
        sum0_at = tensors[tensor, 4]
        length_at = tensors[tensor, 5]
        value_at = tensors[tensor, 6]
        add_lines(workspace[sum0_at : sum0_at + chunks * size].reshape(chunks, size))
        eps = rows[row, 4]
        for r in range(size):
            length = sqrt(workspace[uint64(sum0_at + r)]) * sqrt(float32(columns))
            workspace[uint64(length_at + r)] = length
            value = length + eps
            workspace[uint64(value_at + r)] = value


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def scion_rows_pass1(table, rows, tensors, workspace, first, last):
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 5]
        first_row, first_column = table[tile, 6], table[tile, 7]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        momentum_buffers = carray(pointer(table[tile, 4], np.float32), (height - 1) * columns + tile_width)
        value_at = tensors[tensor, 6]
        step_size = rows[row, 0]
        decay = rows[row, 1]
        for r in range(height):
            value = workspace[uint64(value_at + first_row + r)]
            for start in range(0, tile_width, 256):
                count = min(256, tile_width - start)
                fetch_ahead(params, r * columns + start, count)
                fetch_ahead(momentum_buffers, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    param = params[i]
                    momentum_buffer = momentum_buffers[i]
                    delta = step_size * (momentum_buffer / value)
                    params[i] = param - (delta + decay * finite_or_zero(param))
