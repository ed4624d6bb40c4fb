"""sm3: fused update of float32 parameters with float32 gradients.

Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm SM3-II.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a tile: row of `rows` (negative: skip), rows, address of param, address of
grad, address of exp_avg, line of `tensors`, first row, first column.
A line of `rows` holds lr, beta2, rest2, eps, momentum, undamped, grad_coefficient.
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
def minimum(a, b):
    return a if a != a else (b if b != b else (a if a < b else b))


@njit(**options)
def larger(a, b):
    """The larger one of two numbers that are not negative; NaN if either is. Where two of these take the
    same `a`, no comparison is the same: LLVM would make a branch of it."""
    return b if b >= a else (b if b != b else a)


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
def lanes_for(n, lanes):
    """How many of the lanes a sum of `n` elements needs: the others stay +0."""
    width = 1
    while width < n and width < lanes:
        width *= 2
    return width


@njit(**options)
def largest_lane(lanes, width):
    """The largest of that many `lanes`, none of which is negative."""
    while width > 1:
        width //= 2
        for i in range(width):
            lanes[i] = larger(lanes[i + width], lanes[i])
    return lanes[0]


@njit(**options)
def largest_lines(lines):
    """The largest of `lines`, none of which is negative, into line 0."""
    count, width = lines.shape
    for line in range(1, count):
        for i in range(width):
            lines[0, i] = larger(lines[line, i], lines[0, i])


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def sm3_fold0(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        accumulator_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        accumulator_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        accumulator_row_at = tensors[tensor, 8]
        accumulator_col_at = tensors[tensor, 9]
        for r in range(size):
            accumulator_row = accumulator_rows[r]
            workspace[uint64(accumulator_row_at + r)] = accumulator_row
        for column in range(columns):
            accumulator_col = accumulator_cols[column]
            workspace[uint64(accumulator_col_at + column)] = accumulator_col


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def sm3_pass0(table, rows, tensors, workspace, first, last):
    row_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 5]
        first_row, first_column = table[tile, 6], table[tile, 7]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        exp_avgs = carray(pointer(table[tile, 4], np.float32), (height - 1) * columns + tile_width)
        row_at = tensors[tensor, 6]
        col_at = tensors[tensor, 7]
        accumulator_row_at = tensors[tensor, 8]
        accumulator_col_at = tensors[tensor, 9]
        lr = rows[row, 0]
        beta2 = rows[row, 1]
        rest2 = rows[row, 2]
        eps = rows[row, 3]
        momentum = rows[row, 4]
        undamped = rows[row, 5]
        grad_coefficient = rows[row, 6]
        for strip in range(0, height, 64):
            col_line = col_at + (first_row + strip) // 64 * columns + first_column
            for column in range(tile_width):
                workspace[uint64(col_line + column)] = float32(0)
            for r in range(strip, min(strip + 64, height)):
                accumulator_row = workspace[uint64(accumulator_row_at + first_row + r)]
                for chunk in range(0, tile_width, 1024):
                    row_line = row_at + (first_column + chunk) // 1024 * size + first_row
                    end = min(chunk + 1024, tile_width)
                    width = lanes_for(end - chunk, 256)
                    row_lanes[:width] = 0
                    for start in range(chunk, end, 256):
                        count = min(256, end - start)
                        fetch_ahead(params, r * columns + start + 512, count)
                        fetch_ahead(grads, r * columns + start + 512, count)
                        fetch_ahead(exp_avgs, r * columns + start + 512, count)
                        for lane in range(count):
                            column = start + lane
                            i = uint64(r * columns + column)
                            accumulator_col = workspace[uint64(accumulator_col_at + first_column + column)]
                            param = params[i]
                            grad = grad_coefficient * grads[i]
                            exp_avg = exp_avgs[i]
                            previous = minimum(accumulator_row, accumulator_col)
                            accumulator = beta2 * previous + rest2 * (grad * grad)
                            direction = grad / sqrt(accumulator + eps)
                            exp_avg = momentum * exp_avg + undamped * direction
                            delta = lr * exp_avg
                            params[i] = param - delta
                            exp_avgs[i] = exp_avg
                            workspace[uint64(col_line + column)] = larger(abs(accumulator), workspace[uint64(col_line + column)])
                            row_lanes[lane] = larger(abs(accumulator), row_lanes[lane])
                    workspace[uint64(row_line + r)] = largest_lane(row_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def sm3_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        strips = (size + 63) // 64
        chunks = (columns + 1023) // 1024
        accumulator_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        accumulator_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        row_at = tensors[tensor, 6]
        col_at = tensors[tensor, 7]
        largest_lines(workspace[row_at : row_at + chunks * size].reshape(chunks, size))
        largest_lines(workspace[col_at : col_at + strips * columns].reshape(strips, columns))
        for r in range(size):
            accumulator_rows[r] = workspace[uint64(row_at + r)]
        for column in range(columns):
            accumulator_cols[column] = workspace[uint64(col_at + column)]
