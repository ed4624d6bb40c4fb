"""adafactor_no_scale_parameter_beta1: fused update of float32 parameters with float32 gradients.

Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, arXiv:1804.04235,
Algorithm 4.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), rows, address of param, address of
grad, address of exp_avg, line of `tensors`, index in its tensor.
A line of `rows` holds beta2, rest2, eps1, eps2, rho, d, weight_decay, beta1, rest1,
grad_coefficient.
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
    """The sum of that many `lanes`, a power of two, by halves."""
    width //= 2
    while width > 0:
        for lane in range(width):
            lanes[lane] = lanes[lane] + lanes[lane + width]
        width //= 2
    return lanes[0]


@njit(**options)
def lanes_for(n, lanes):
    """How many of the lanes a sum of `n` elements needs: the others stay +0."""
    width = 1
    while width < n and width < lanes:
        width *= 2
    return width


@njit(**options)
def total_of_chunk(values):
    lanes = np.zeros(lanes_for(values.size, 2048), float32)
    for start in range(0, values.size, 2048):
        for lane in range(min(2048, values.size - start)):
            lanes[lane] = lanes[lane] + values[uint64(start + lane)]
    return fold(lanes, lanes.size)


@njit(**options)
def total(values):
    """The sum of a vector, in the fixed order of a sum over a tensor."""
    while values.size > 65536:
        sums = np.empty((values.size + 65536 - 1) // 65536, values.dtype)
        for chunk in range(sums.size):
            sums[chunk] = total_of_chunk(values[chunk * 65536 : (chunk + 1) * 65536])
        values = sums
    return total_of_chunk(values)


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


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_pass0(table, rows, tensors, workspace, first, last):
    sum0_lanes = np.empty(256, float32)
    for chunk in range(first, last):
        row, height = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        tensor, index = table[chunk, 5], table[chunk, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        grads = carray(pointer(table[chunk, 3], np.float32), height * columns)
        sum0_at = tensors[tensor, 6]
        sum1_at = tensors[tensor, 7]
        eps1 = rows[row, 2]
        grad_coefficient = rows[row, 9]
        first_row = index * 64
        width = lanes_for(columns, 256)
        for column in range(columns):
            workspace[uint64(sum1_at + index * columns + column)] = float32(0)
        for r in range(height):
            sum0_lanes[:width] = 0
            for start in range(0, columns, 256):
                count = min(256, columns - start)
                fetch_ahead(grads, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    grad = grad_coefficient * grads[i]
                    square = grad * grad + eps1
                    sum0_lanes[lane] = sum0_lanes[lane] + square
                    workspace[uint64(sum1_at + index * columns + column)] = workspace[uint64(sum1_at + index * columns + column)] + square
            sum0 = fold(sum0_lanes, width)
            workspace[uint64(sum0_at + first_row + r)] = sum0


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns, chunks = tensors[tensor, 2], tensors[tensor, 3]
        if row < 0:
            continue
        exp_avg_sq_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sq_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        sum0_at = tensors[tensor, 6]
        sum1_at = tensors[tensor, 7]
        row_factor_at = tensors[tensor, 9]
        col_factor_at = tensors[tensor, 10]
        exp_avg_sq_row_at = tensors[tensor, 12]
        exp_avg_sq_col_at = tensors[tensor, 13]
        beta2 = rows[row, 0]
        rest2 = rows[row, 1]
        fold_strips(workspace[sum1_at : sum1_at + chunks * columns].reshape(chunks, columns))
        for r in range(size):
            workspace[uint64(exp_avg_sq_row_at + r)] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[uint64(sum0_at + r)] / float32(columns))
        for column in range(columns):
            workspace[uint64(exp_avg_sq_col_at + column)] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[uint64(sum1_at + column)] / float32(size))
        value = total(workspace[exp_avg_sq_row_at : exp_avg_sq_row_at + size])
        for r in range(size):
            workspace[uint64(row_factor_at + r)] = float32(1) / sqrt(workspace[uint64(exp_avg_sq_row_at + r)] / (value / float32(size)))
        for column in range(columns):
            workspace[uint64(col_factor_at + column)] = float32(1) / sqrt(workspace[uint64(exp_avg_sq_col_at + column)])


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_pass1(table, rows, tensors, workspace, first, last):
    sum2_lanes = np.empty(256, float32)
    for chunk in range(first, last):
        row, height = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        tensor, index = table[chunk, 5], table[chunk, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        grads = carray(pointer(table[chunk, 3], np.float32), height * columns)
        sum2_at = tensors[tensor, 8]
        row_factor_at = tensors[tensor, 9]
        col_factor_at = tensors[tensor, 10]
        grad_coefficient = rows[row, 9]
        first_row = index * 64
        width = lanes_for(columns, 256)
        for r in range(height):
            row_factor = workspace[uint64(row_factor_at + first_row + r)]
            sum2_lanes[:width] = 0
            for start in range(0, columns, 256):
                count = min(256, columns - start)
                fetch_ahead(grads, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    col_factor = workspace[uint64(col_factor_at + column)]
                    grad = grad_coefficient * grads[i]
                    direction = grad * row_factor * col_factor
                    sum2_lanes[lane] = sum2_lanes[lane] + direction * direction
            sum2 = fold(sum2_lanes, width)
            workspace[uint64(sum2_at + first_row + r)] = sum2


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_fold2(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns, chunks = tensors[tensor, 2], tensors[tensor, 3]
        if row < 0:
            continue
        sum2_at = tensors[tensor, 8]
        step_size_at = tensors[tensor, 11]
        rho = rows[row, 4]
        d = rows[row, 5]
        sum2 = total(workspace[sum2_at : sum2_at + size])
        clip = maximum(sqrt(sum2 / float32(size * columns)) / d, float32(1))
        step_size = rho / clip
        workspace[step_size_at] = step_size


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_pass2(table, rows, tensors, workspace, first, last):
    for chunk in range(first, last):
        row, height = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        tensor, index = table[chunk, 5], table[chunk, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        params = carray(pointer(table[chunk, 2], np.float32), height * columns)
        grads = carray(pointer(table[chunk, 3], np.float32), height * columns)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), height * columns)
        row_factor_at = tensors[tensor, 9]
        col_factor_at = tensors[tensor, 10]
        step_size_at = tensors[tensor, 11]
        rho = rows[row, 4]
        weight_decay = rows[row, 6]
        beta1 = rows[row, 7]
        rest1 = rows[row, 8]
        step_size = workspace[step_size_at]
        grad_coefficient = rows[row, 9]
        first_row = index * 64
        for r in range(height):
            row_factor = workspace[uint64(row_factor_at + first_row + r)]
            for start in range(0, columns, 256):
                count = min(256, columns - start)
                fetch_ahead(params, r * columns + start, count)
                fetch_ahead(grads, r * columns + start, count)
                fetch_ahead(exp_avgs, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    col_factor = workspace[uint64(col_factor_at + column)]
                    param = params[i]
                    grad = grad_coefficient * grads[i]
                    exp_avg = exp_avgs[i]
                    direction = grad * row_factor * col_factor
                    decay = rho * weight_decay
                    exp_avg = beta1 * exp_avg + rest1 * (step_size * direction)
                    params[i] = param - (exp_avg + decay * param)
                    exp_avgs[i] = exp_avg


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adafactor_no_scale_parameter_beta1_fold3(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns, chunks = tensors[tensor, 2], tensors[tensor, 3]
        if row < 0:
            continue
        exp_avg_sq_rows = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sq_cols = carray(pointer(tensors[tensor, 5], np.float32), columns)
        sum0_at = tensors[tensor, 6]
        sum1_at = tensors[tensor, 7]
        exp_avg_sq_row_at = tensors[tensor, 12]
        exp_avg_sq_col_at = tensors[tensor, 13]
        beta2 = rows[row, 0]
        rest2 = rows[row, 1]
        for r in range(size):
            workspace[uint64(exp_avg_sq_row_at + r)] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[uint64(sum0_at + r)] / float32(columns))
        for column in range(columns):
            workspace[uint64(exp_avg_sq_col_at + column)] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[uint64(sum1_at + column)] / float32(size))
        for r in range(size):
            exp_avg_sq_rows[r] = workspace[uint64(exp_avg_sq_row_at + r)]
        for column in range(columns):
            exp_avg_sq_cols[column] = workspace[uint64(exp_avg_sq_col_at + column)]
