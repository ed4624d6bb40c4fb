"""adafactor_no_scale_parameter: fused update of float32 parameters with float32 gradients.

Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, arXiv:1804.04235,
Algorithm 4.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a tile: row of `rows` (negative: skip), rows, address of param, address of
grad, line of `tensors`, first row, first column.
A line of `rows` holds beta2, rest2, eps1, eps2, rho, d, weight_decay, grad_coefficient.
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


@njit(**options)
def maximum(a, b):
    return a if a != a else (b if b != b else (a if a > b else b))


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


@njit(**options)
def sum_as_row(values, sums):
    """Sum a vector in the fixed order of a sum along a row, into `sums[0]`."""
    chunks = (values.size + 1024 - 1) // 1024
    lanes = np.empty(256, float32)
    for chunk in range(chunks):
        part = values[chunk * 1024 : (chunk + 1) * 1024]
        width = lanes_for(part.size, 256)
        lanes[:width] = 0
        for start in range(0, part.size, 256):
            for lane in range(min(256, part.size - start)):
                lanes[lane] = lanes[lane] + part[uint64(start + lane)]
        sums[chunk] = fold(lanes, width)
    add_lines(sums[:chunks].reshape(chunks, 1))


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_pass0(table, rows, tensors, workspace, first, last):
    sum0_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 4]
        first_row, first_column = table[tile, 5], table[tile, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        sum0_at = tensors[tensor, 6]
        sum1_at = tensors[tensor, 7]
        eps1 = rows[row, 2]
        grad_coefficient = rows[row, 7]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for strip in range(0, height, 64):
            sum1_line = sum1_at + (first_row + strip) // 64 * columns + first_column
            for column in range(tile_width):
                workspace[uint64(sum1_line + column)] = float32(0)
            for r in range(strip, min(strip + 64, height)):
                for chunk in range(0, whole, 1024):
                    sum0_line = sum0_at + (first_column + chunk) // 1024 * size + first_row
                    for block in range(0, 256, 64):
                        for start in range(chunk + block, chunk + 1024, 256):
                            fetch_ahead(grads, r * columns + start + 512, 64)
                        for lane in range(block, block + 64):
                            sum0_lane = float32(0)
                            for start in range(chunk, chunk + 1024, 256):
                                column = start + lane
                                i = uint64(r * columns + column)
                                grad = grad_coefficient * grads[i]
                                square = grad * grad + eps1
                                workspace[uint64(sum1_line + column)] = workspace[uint64(sum1_line + column)] + square
                                sum0_lane = sum0_lane + square
                            sum0_lanes[lane] = sum0_lane
                    workspace[uint64(sum0_line + r)] = fold_chunk(sum0_lanes)
                if whole < tile_width:
                    sum0_line = sum0_at + (first_column + whole) // 1024 * size + first_row
                    sum0_lanes[:width] = 0
                    for start in range(whole, tile_width, 256):
                        count = min(256, tile_width - start)
                        fetch_ahead(grads, r * columns + start + 512, count)
                        for lane in range(count):
                            column = start + lane
                            i = uint64(r * columns + column)
                            grad = grad_coefficient * grads[i]
                            square = grad * grad + eps1
                            workspace[uint64(sum1_line + column)] = workspace[uint64(sum1_line + column)] + square
                            sum0_lanes[lane] = sum0_lanes[lane] + square
                    workspace[uint64(sum0_line + r)] = fold(sum0_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        strips = (size + 63) // 64
        chunks = (columns + 1023) // 1024
        exp_avg_sq_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sq_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        sum0_at = tensors[tensor, 6]
        sum1_at = tensors[tensor, 7]
        exp_avg_sq_row_at = tensors[tensor, 9]
        exp_avg_sq_col_at = tensors[tensor, 10]
        total0_at = tensors[tensor, 11]
        row_factor_at = tensors[tensor, 12]
        col_factor_at = tensors[tensor, 13]
        add_lines(workspace[sum0_at : sum0_at + chunks * size].reshape(chunks, size))
        add_lines(workspace[sum1_at : sum1_at + strips * columns].reshape(strips, columns))
        beta2 = rows[row, 0]
        rest2 = rows[row, 1]
        for r in range(size):
            exp_avg_sq_row = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[uint64(sum0_at + r)] / float32(columns))
            workspace[uint64(exp_avg_sq_row_at + r)] = exp_avg_sq_row
        for column in range(columns):
            exp_avg_sq_col = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[uint64(sum1_at + column)] / float32(size))
            workspace[uint64(exp_avg_sq_col_at + column)] = exp_avg_sq_col
            col_factor = float32(1) / sqrt(exp_avg_sq_col)
            workspace[uint64(col_factor_at + column)] = col_factor
        sum_as_row(workspace[exp_avg_sq_row_at : exp_avg_sq_row_at + size], workspace[total0_at:])
        total0 = workspace[total0_at]
        for r in range(size):
            row_factor = float32(1) / sqrt(workspace[uint64(exp_avg_sq_row_at + r)] / (total0 / float32(size)))
            workspace[uint64(row_factor_at + r)] = row_factor


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_pass1(table, rows, tensors, workspace, first, last):
    sum2_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 4]
        first_row, first_column = table[tile, 5], table[tile, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        sum2_at = tensors[tensor, 8]
        row_factor_at = tensors[tensor, 12]
        col_factor_at = tensors[tensor, 13]
        grad_coefficient = rows[row, 7]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for r in range(height):
            row_factor = workspace[uint64(row_factor_at + first_row + r)]
            for chunk in range(0, whole, 1024):
                sum2_line = sum2_at + (first_column + chunk) // 1024 * size + first_row
                for block in range(0, 256, 64):
                    for start in range(chunk + block, chunk + 1024, 256):
                        fetch_ahead(grads, r * columns + start + 512, 64)
                    for lane in range(block, block + 64):
                        sum2_lane = float32(0)
                        for start in range(chunk, chunk + 1024, 256):
                            column = start + lane
                            i = uint64(r * columns + column)
                            col_factor = workspace[uint64(col_factor_at + first_column + column)]
                            grad = grad_coefficient * grads[i]
                            direction = grad * row_factor * col_factor
                            sum2_lane = sum2_lane + direction * direction
                        sum2_lanes[lane] = sum2_lane
                workspace[uint64(sum2_line + r)] = fold_chunk(sum2_lanes)
            if whole < tile_width:
                sum2_line = sum2_at + (first_column + whole) // 1024 * size + first_row
                sum2_lanes[:width] = 0
                for start in range(whole, tile_width, 256):
                    count = min(256, tile_width - start)
                    fetch_ahead(grads, r * columns + start + 512, count)
                    for lane in range(count):
                        column = start + lane
                        i = uint64(r * columns + column)
                        col_factor = workspace[uint64(col_factor_at + first_column + column)]
                        grad = grad_coefficient * grads[i]
                        direction = grad * row_factor * col_factor
                        sum2_lanes[lane] = sum2_lanes[lane] + direction * direction
                workspace[uint64(sum2_line + r)] = fold(sum2_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_fold2(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        chunks = (columns + 1023) // 1024
        sum2_at = tensors[tensor, 8]
        total1_at = tensors[tensor, 14]
        step_size_at = tensors[tensor, 15]
        add_lines(workspace[sum2_at : sum2_at + chunks * size].reshape(chunks, size))
        rho = rows[row, 4]
        d = rows[row, 5]
        sum_as_row(workspace[sum2_at : sum2_at + size], workspace[total1_at:])
        total1 = workspace[total1_at]
        clip = maximum(sqrt(total1 / float32(size * columns)) / d, float32(1))
        step_size = rho / clip
        workspace[step_size_at] = step_size


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_pass2(table, rows, tensors, workspace, first, last):
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 4]
        first_row, first_column = table[tile, 5], table[tile, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        row_factor_at = tensors[tensor, 12]
        col_factor_at = tensors[tensor, 13]
        step_size_at = tensors[tensor, 15]
        rho = rows[row, 4]
        weight_decay = rows[row, 6]
        step_size = workspace[step_size_at]
        grad_coefficient = rows[row, 7]
        for r in range(height):
            row_factor = workspace[uint64(row_factor_at + first_row + r)]
            for start in range(0, tile_width, 256):
                count = min(256, tile_width - start)
                fetch_ahead(params, r * columns + start, count)
                fetch_ahead(grads, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    col_factor = workspace[uint64(col_factor_at + first_column + column)]
                    param = params[i]
                    grad = grad_coefficient * grads[i]
                    direction = grad * row_factor * col_factor
                    decay = rho * weight_decay
                    delta = step_size * direction + decay * finite_or_zero(param)
                    params[i] = param - delta


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_fold3(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        exp_avg_sq_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sq_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        exp_avg_sq_row_at = tensors[tensor, 9]
        exp_avg_sq_col_at = tensors[tensor, 10]
        for r in range(size):
            exp_avg_sq_rows[r] = workspace[uint64(exp_avg_sq_row_at + r)]
        for column in range(columns):
            exp_avg_sq_cols[column] = workspace[uint64(exp_avg_sq_col_at + column)]
