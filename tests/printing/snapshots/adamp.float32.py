"""adamp: fused update of float32 parameters with float32 gradients.

Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights,
arXiv:2006.08217, Algorithm 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a tile: row of `rows` (negative: skip), rows, address of param, address of
grad, address of exp_avg, address of exp_avg_sq, line of `tensors`, first row, first column.
A line of `rows` holds beta1, rest1, beta2, rest2, step_size, scaled_eps, delta, wd_ratio, least,
of_mean, of_grad, decay, grad_coefficient.
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
def adamp_pass0(table, rows, tensors, workspace, first, last):
    product_lanes = np.empty(256, float32)
    grad_square_lanes = np.empty(256, float32)
    square_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 6]
        first_row, first_column = table[tile, 7], table[tile, 8]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        product_at = tensors[tensor, 4]
        grad_square_at = tensors[tensor, 5]
        square_at = tensors[tensor, 6]
        grad_coefficient = rows[row, 12]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for r in range(height):
            for chunk in range(0, whole, 1024):
                product_line = product_at + (first_column + chunk) // 1024 * size + first_row
                grad_square_line = grad_square_at + (first_column + chunk) // 1024 * size + first_row
                square_line = square_at + (first_column + chunk) // 1024 * size + first_row
                for block in range(0, 256, 32):
                    for start in range(chunk + block, chunk + 1024, 256):
                        fetch_ahead(params, r * columns + start + 512, 32)
                        fetch_ahead(grads, r * columns + start + 512, 32)
                    for lane in range(block, block + 32):
                        product_lane = float32(0)
                        grad_square_lane = float32(0)
                        square_lane = float32(0)
                        for start in range(chunk, chunk + 1024, 256):
                            column = start + lane
                            i = uint64(r * columns + column)
                            param = params[i]
                            grad = grad_coefficient * grads[i]
                            finite = finite_or_zero(param)
                            product_lane = product_lane + finite * grad
                            grad_square_lane = grad_square_lane + grad * grad
                            square_lane = square_lane + finite * finite
                        product_lanes[lane] = product_lane
                        grad_square_lanes[lane] = grad_square_lane
                        square_lanes[lane] = square_lane
                workspace[uint64(product_line + r)] = fold_chunk(product_lanes)
                workspace[uint64(grad_square_line + r)] = fold_chunk(grad_square_lanes)
                workspace[uint64(square_line + r)] = fold_chunk(square_lanes)
            if whole < tile_width:
                product_line = product_at + (first_column + whole) // 1024 * size + first_row
                grad_square_line = grad_square_at + (first_column + whole) // 1024 * size + first_row
                square_line = square_at + (first_column + whole) // 1024 * size + first_row
                product_lanes[:width] = 0
                grad_square_lanes[:width] = 0
                square_lanes[:width] = 0
                for start in range(whole, tile_width, 256):
                    count = min(256, tile_width - start)
                    fetch_ahead(params, r * columns + start + 512, count)
                    fetch_ahead(grads, r * columns + start + 512, count)
                    for lane in range(count):
                        column = start + lane
                        i = uint64(r * columns + column)
                        param = params[i]
                        grad = grad_coefficient * grads[i]
                        finite = finite_or_zero(param)
                        product_lanes[lane] = product_lanes[lane] + finite * grad
                        grad_square_lanes[lane] = grad_square_lanes[lane] + grad * grad
                        square_lanes[lane] = square_lanes[lane] + finite * finite
                workspace[uint64(product_line + r)] = fold(product_lanes, width)
                workspace[uint64(grad_square_line + r)] = fold(grad_square_lanes, width)
                workspace[uint64(square_line + r)] = fold(square_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adamp_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        chunks = (columns + 1023) // 1024
        product_at = tensors[tensor, 4]
        grad_square_at = tensors[tensor, 5]
        square_at = tensors[tensor, 6]
        total0_at = tensors[tensor, 8]
        total1_at = tensors[tensor, 9]
        norms_at = tensors[tensor, 10]
        in_row_at = tensors[tensor, 11]
        value_at = tensors[tensor, 12]
        total2_at = tensors[tensor, 13]
        total3_at = tensors[tensor, 14]
        value_at_2 = tensors[tensor, 15]
        x_at = tensors[tensor, 16]
        value_at_3 = tensors[tensor, 20]
        add_lines(workspace[product_at : product_at + chunks * size].reshape(chunks, size))
        add_lines(workspace[grad_square_at : grad_square_at + chunks * size].reshape(chunks, size))
        add_lines(workspace[square_at : square_at + chunks * size].reshape(chunks, size))
        delta = rows[row, 6]
        least = rows[row, 8]
        for r in range(size):
            norms = maximum(sqrt(workspace[uint64(grad_square_at + r)]), least) * maximum(sqrt(workspace[uint64(square_at + r)]), least)
            workspace[uint64(norms_at + r)] = norms
            in_row = float32(1) if abs(workspace[uint64(product_at + r)] / norms) < delta / sqrt(float32(columns)) else float32(0)
            workspace[uint64(in_row_at + r)] = in_row
            value = float32(1) - in_row
            workspace[uint64(value_at + r)] = value
            x = sqrt(workspace[uint64(square_at + r)]) + least
            workspace[uint64(x_at + r)] = x
        wd_ratio = rows[row, 7]
        decay = rows[row, 11]
        sum_as_row(workspace[product_at : product_at + size], workspace[total0_at:])
        total0 = workspace[total0_at]
        whole_product = total0
        sum_as_row(workspace[square_at : square_at + size], workspace[total1_at:])
        total1 = workspace[total1_at]
        whole_square = total1
        sum_as_row(workspace[value_at : value_at + size], workspace[total2_at:])
        total2 = workspace[total2_at]
        in_all_rows = float32(1) if total2 == float32(0) else float32(0)
        sum_as_row(workspace[grad_square_at : grad_square_at + size], workspace[total3_at:])
        total3 = workspace[total3_at]
        grad_square = total3
        norms_2 = maximum(sqrt(grad_square), least) * maximum(sqrt(whole_square), least)
        in_whole = float32(1) if abs(whole_product / norms_2) < delta / sqrt(float32(size * columns)) else float32(0)
        in_any = maximum(in_all_rows, in_whole)
        value_2 = in_any == float32(1)
        workspace[value_at_2] = value_2
        ratio = wd_ratio if in_any == float32(1) else float32(1)
        value_3 = decay * ratio
        workspace[value_at_3] = value_3


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adamp_pass1(table, rows, tensors, workspace, first, last):
    along_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 6]
        first_row, first_column = table[tile, 7], table[tile, 8]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        exp_avgs = carray(pointer(table[tile, 4], np.float32), (height - 1) * columns + tile_width)
        exp_avg_sqs = carray(pointer(table[tile, 5], np.float32), (height - 1) * columns + tile_width)
        along_at = tensors[tensor, 7]
        value_at_2 = tensors[tensor, 15]
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        scaled_eps = rows[row, 5]
        of_mean = rows[row, 9]
        of_grad = rows[row, 10]
        value = workspace[value_at_2]
        grad_coefficient = rows[row, 12]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for r in range(height):
            for chunk in range(0, whole, 1024):
                along_line = along_at + (first_column + chunk) // 1024 * size + first_row
                for block in range(0, 256, 32):
                    for start in range(chunk + block, chunk + 1024, 256):
                        fetch_ahead(params, r * columns + start + 512, 32)
                        fetch_ahead(grads, r * columns + start + 512, 32)
                        fetch_ahead(exp_avgs, r * columns + start + 512, 32)
                        fetch_ahead(exp_avg_sqs, r * columns + start + 512, 32)
                    for lane in range(block, block + 32):
                        along_lane = float32(0)
                        for start in range(chunk, chunk + 1024, 256):
                            column = start + lane
                            i = uint64(r * columns + column)
                            param = params[i]
                            grad = grad_coefficient * grads[i]
                            exp_avg = exp_avgs[i]
                            exp_avg_sq = exp_avg_sqs[i]
                            exp_avg = beta1 * exp_avg + rest1 * grad
                            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
                            denom = sqrt(exp_avg_sq) + scaled_eps
                            direction = (of_mean * exp_avg + of_grad * grad) / denom
                            finite = finite_or_zero(param)
                            along_lane = along_lane + (finite * direction if value else float32(0))
                        along_lanes[lane] = along_lane
                workspace[uint64(along_line + r)] = fold_chunk(along_lanes)
            if whole < tile_width:
                along_line = along_at + (first_column + whole) // 1024 * size + first_row
                along_lanes[:width] = 0
                for start in range(whole, tile_width, 256):
                    count = min(256, tile_width - start)
                    fetch_ahead(params, r * columns + start + 512, count)
                    fetch_ahead(grads, r * columns + start + 512, count)
                    fetch_ahead(exp_avgs, r * columns + start + 512, count)
                    fetch_ahead(exp_avg_sqs, r * columns + start + 512, count)
                    for lane in range(count):
                        column = start + lane
                        i = uint64(r * columns + column)
                        param = params[i]
                        grad = grad_coefficient * grads[i]
                        exp_avg = exp_avgs[i]
                        exp_avg_sq = exp_avg_sqs[i]
                        exp_avg = beta1 * exp_avg + rest1 * grad
                        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
                        denom = sqrt(exp_avg_sq) + scaled_eps
                        direction = (of_mean * exp_avg + of_grad * grad) / denom
                        finite = finite_or_zero(param)
                        along_lanes[lane] = along_lanes[lane] + (finite * direction if value else float32(0))
                workspace[uint64(along_line + r)] = fold(along_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adamp_fold2(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        chunks = (columns + 1023) // 1024
        along_at = tensors[tensor, 7]
        total1_at = tensors[tensor, 9]
        total2_at = tensors[tensor, 13]
        x_at = tensors[tensor, 16]
        row_share_at = tensors[tensor, 17]
        total4_at = tensors[tensor, 18]
        share_at = tensors[tensor, 19]
        add_lines(workspace[along_at : along_at + chunks * size].reshape(chunks, size))
        for r in range(size):
            row_share = workspace[uint64(along_at + r)] / (workspace[uint64(x_at + r)] * workspace[uint64(x_at + r)])
            workspace[uint64(row_share_at + r)] = row_share
        sum_as_row(workspace[along_at : along_at + size], workspace[total4_at:])
        total1 = workspace[total1_at]
        total2 = workspace[total2_at]
        total4 = workspace[total4_at]
        least = rows[row, 8]
        whole_square = total1
        in_all_rows = float32(1) if total2 == float32(0) else float32(0)
        x = sqrt(whole_square) + least
        whole_share = total4 / (x * x)
        for r in range(size):
            share = workspace[uint64(row_share_at + r)] if in_all_rows == float32(1) else whole_share
            workspace[uint64(share_at + r)] = share


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def adamp_pass2(table, rows, tensors, workspace, first, last):
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 6]
        first_row, first_column = table[tile, 7], table[tile, 8]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        params = carray(pointer(table[tile, 2], np.float32), (height - 1) * columns + tile_width)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        exp_avgs = carray(pointer(table[tile, 4], np.float32), (height - 1) * columns + tile_width)
        exp_avg_sqs = carray(pointer(table[tile, 5], np.float32), (height - 1) * columns + tile_width)
        share_at = tensors[tensor, 19]
        value_at_3 = tensors[tensor, 20]
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        step_size = rows[row, 4]
        scaled_eps = rows[row, 5]
        of_mean = rows[row, 9]
        of_grad = rows[row, 10]
        value = workspace[value_at_3]
        grad_coefficient = rows[row, 12]
        for r in range(height):
            share = workspace[uint64(share_at + first_row + r)]
            for start in range(0, tile_width, 256):
                count = min(256, tile_width - start)
                fetch_ahead(params, r * columns + start, count)
                fetch_ahead(grads, r * columns + start, count)
                fetch_ahead(exp_avgs, r * columns + start, count)
                fetch_ahead(exp_avg_sqs, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    param = params[i]
                    grad = grad_coefficient * grads[i]
                    exp_avg = exp_avgs[i]
                    exp_avg_sq = exp_avg_sqs[i]
                    exp_avg = beta1 * exp_avg + rest1 * grad
                    exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
                    denom = sqrt(exp_avg_sq) + scaled_eps
                    direction = (of_mean * exp_avg + of_grad * grad) / denom
                    finite = finite_or_zero(param)
                    delta = step_size * (direction - share * finite) + value * finite
                    params[i] = param - delta
                    exp_avgs[i] = exp_avg
                    exp_avg_sqs[i] = exp_avg_sq
