"""apollo_mini: fused update of float32 parameters with float32 gradients.

Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a tile: row of `rows` (negative: skip), rows, address of param, address of
grad, line of `tensors`, first row, first column.
A line of `rows` holds beta1, rest1, beta2, rest2, eps, step_size, decay, seed, renewal,
norm_growth, limited, grad_coefficient.
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


@njit(forceinline=True, **options)
def philox(seed, step, position, stream, call):
    """Four random words, Philox4x32-10: by the seed and the step, of one call of an array's."""
    word, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    key, other_key = np.uint64(seed), np.uint64(step)
    a, b = np.uint64(call) & word, np.uint64(call) >> half
    c, d = np.uint64(position), np.uint64(stream)
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = (q >> half) ^ b ^ key, q & word
        c, d = (p >> half) ^ d ^ other_key, p & word
        key = (key + np.uint64(0x9E3779B9)) & word
        other_key = (other_key + np.uint64(0xBB67AE85)) & word
    return a, b, c, d


@njit(**options)
def random_of(seed, step, position, stream, element):
    """The 16 random bits of one element of an array; one call serves eight neighbours."""
    a, b, c, d = philox(seed, step, position, stream, element >> 3)
    first = (c if element & 4 else a) if element & 2 == 0 else (d if element & 4 else b)
    return (first >> np.uint64(16 * (element & 1))) & np.uint64(0xFFFF)


@njit(**options)
def random_sign(seed, renewal, index):
    """1 or -1 for one row or column of a matrix, by a seed and how often the signs were renewed."""
    return 1 - 2 * np.int64(random_of(seed, renewal, 0, 0xFFFFFFFF, index) >> np.uint64(15))


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
def apollo_mini_fold0(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        signs_at = tensors[tensor, 9]
        seed = rows[row, 7]
        renewal = rows[row, 8]
        for column in range(columns):
            signs = float32(random_sign(int(seed), int(renewal), column))
            workspace[uint64(signs_at + column)] = signs


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def apollo_mini_pass0(table, rows, tensors, workspace, first, last):
    low_rank_lanes = np.empty(256, float32)
    sum1_lanes = np.empty(256, float32)
    for tile in range(first, last):
        row, height = table[tile, 0], table[tile, 1]
        if row < 0:
            continue
        tensor = table[tile, 4]
        first_row, first_column = table[tile, 5], table[tile, 6]
        size, columns = tensors[tensor, 1], tensors[tensor, 2]
        tile_width = min(16384, columns - first_column)
        grads = carray(pointer(table[tile, 3], np.float32), (height - 1) * columns + tile_width)
        low_rank_at = tensors[tensor, 7]
        sum1_at = tensors[tensor, 8]
        signs_at = tensors[tensor, 9]
        grad_coefficient = rows[row, 11]
        whole = tile_width - tile_width % 1024
        width = lanes_for(tile_width - whole, 256)
        for r in range(height):
            for chunk in range(0, whole, 1024):
                low_rank_line = low_rank_at + (first_column + chunk) // 1024 * size + first_row
                sum1_line = sum1_at + (first_column + chunk) // 1024 * size + first_row
                for block in range(0, 256, 64):
                    for start in range(chunk + block, chunk + 1024, 256):
                        fetch_ahead(grads, r * columns + start + 512, 64)
                    for lane in range(block, block + 64):
                        low_rank_lane = float32(0)
                        sum1_lane = float32(0)
                        for start in range(chunk, chunk + 1024, 256):
                            column = start + lane
                            i = uint64(r * columns + column)
                            signs = workspace[uint64(signs_at + first_column + column)]
                            grad = grad_coefficient * grads[i]
                            low_rank_lane = low_rank_lane + grad * signs
                            sum1_lane = sum1_lane + grad * grad
                        low_rank_lanes[lane] = low_rank_lane
                        sum1_lanes[lane] = sum1_lane
                workspace[uint64(low_rank_line + r)] = fold_chunk(low_rank_lanes)
                workspace[uint64(sum1_line + r)] = fold_chunk(sum1_lanes)
            if whole < tile_width:
                low_rank_line = low_rank_at + (first_column + whole) // 1024 * size + first_row
                sum1_line = sum1_at + (first_column + whole) // 1024 * size + first_row
                low_rank_lanes[:width] = 0
                sum1_lanes[:width] = 0
                for start in range(whole, tile_width, 256):
                    count = min(256, tile_width - start)
                    fetch_ahead(grads, r * columns + start + 512, count)
                    for lane in range(count):
                        column = start + lane
                        i = uint64(r * columns + column)
                        signs = workspace[uint64(signs_at + first_column + column)]
                        grad = grad_coefficient * grads[i]
                        low_rank_lanes[lane] = low_rank_lanes[lane] + grad * signs
                        sum1_lanes[lane] = sum1_lanes[lane] + grad * grad
                workspace[uint64(low_rank_line + r)] = fold(low_rank_lanes, width)
                workspace[uint64(sum1_line + r)] = fold(sum1_lanes, width)


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def apollo_mini_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        chunks = (columns + 1023) // 1024
        exp_avgs = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sqs = carray(pointer(tensors[tensor, 5], np.float32), size)
        update_norms = carray(pointer(tensors[tensor, 6], np.float32), 1)
        low_rank_at = tensors[tensor, 7]
        sum1_at = tensors[tensor, 8]
        exp_avg_at = tensors[tensor, 10]
        exp_avg_sq_at = tensors[tensor, 11]
        direction_at = tensors[tensor, 12]
        value_at = tensors[tensor, 13]
        total0_at = tensors[tensor, 14]
        value_at_2 = tensors[tensor, 15]
        total1_at = tensors[tensor, 16]
        total2_at = tensors[tensor, 17]
        value_at_3 = tensors[tensor, 18]
        add_lines(workspace[low_rank_at : low_rank_at + chunks * size].reshape(chunks, size))
        add_lines(workspace[sum1_at : sum1_at + chunks * size].reshape(chunks, size))
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        eps = rows[row, 4]
        for r in range(size):
            exp_avg = beta1 * exp_avgs[r] + rest1 * workspace[uint64(low_rank_at + r)]
            workspace[uint64(exp_avg_at + r)] = exp_avg
            exp_avg_sq = beta2 * exp_avg_sqs[r] + rest2 * (workspace[uint64(low_rank_at + r)] * workspace[uint64(low_rank_at + r)])
            workspace[uint64(exp_avg_sq_at + r)] = exp_avg_sq
            direction = exp_avg / (sqrt(exp_avg_sq) + eps)
            workspace[uint64(direction_at + r)] = direction
            value = direction * direction
            workspace[uint64(value_at + r)] = value
            value_2 = workspace[uint64(low_rank_at + r)] * workspace[uint64(low_rank_at + r)]
            workspace[uint64(value_at_2 + r)] = value_2
        step_size = rows[row, 5]
        norm_growth = rows[row, 9]
        limited = rows[row, 10]
        sum_as_row(workspace[value_at : value_at + size], workspace[total0_at:])
        total0 = workspace[total0_at]
        sum_as_row(workspace[value_at_2 : value_at_2 + size], workspace[total1_at:])
        total1 = workspace[total1_at]
        factor = sqrt(total0) / (sqrt(total1) + float32(1e-08))
        sum_as_row(workspace[sum1_at : sum1_at + size], workspace[total2_at:])
        total2 = workspace[total2_at]
        full_norm = sqrt(total2) * factor
        growth = maximum(full_norm / (update_norms[0] + float32(1e-08)), norm_growth) / norm_growth
        limiter = growth if limited > float32(0) else float32(1)
        value_3 = step_size * (factor / limiter)
        workspace[value_at_3] = value_3


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def apollo_mini_pass1(table, rows, tensors, workspace, first, last):
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
        value_at_3 = tensors[tensor, 18]
        decay = rows[row, 6]
        value = workspace[value_at_3]
        grad_coefficient = rows[row, 11]
        for r in range(height):
            for start in range(0, tile_width, 256):
                count = min(256, tile_width - start)
                fetch_ahead(params, r * columns + start, count)
                fetch_ahead(grads, r * columns + start, count)
                for lane in range(count):
                    column = start + lane
                    i = uint64(r * columns + column)
                    param = params[i]
                    grad = grad_coefficient * grads[i]
                    delta = value * grad
                    params[i] = param - (delta + decay * finite_or_zero(param))


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def apollo_mini_fold2(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns = tensors[tensor, 2]
        if row < 0:
            continue
        exp_avgs = carray(pointer(tensors[tensor, 4], np.float32), size)
        exp_avg_sqs = carray(pointer(tensors[tensor, 5], np.float32), size)
        update_norms = carray(pointer(tensors[tensor, 6], np.float32), 1)
        exp_avg_at = tensors[tensor, 10]
        exp_avg_sq_at = tensors[tensor, 11]
        total0_at = tensors[tensor, 14]
        total1_at = tensors[tensor, 16]
        total2_at = tensors[tensor, 17]
        for r in range(size):
            exp_avgs[r] = workspace[uint64(exp_avg_at + r)]
            exp_avg_sqs[r] = workspace[uint64(exp_avg_sq_at + r)]
        total0 = workspace[total0_at]
        total1 = workspace[total1_at]
        total2 = workspace[total2_at]
        norm_growth = rows[row, 9]
        limited = rows[row, 10]
        factor = sqrt(total0) / (sqrt(total1) + float32(1e-08))
        full_norm = sqrt(total2) * factor
        growth = maximum(full_norm / (update_norms[0] + float32(1e-08)), norm_growth) / norm_growth
        limiter = growth if limited > float32(0) else float32(1)
        update_norms[0] = full_norm / limiter
