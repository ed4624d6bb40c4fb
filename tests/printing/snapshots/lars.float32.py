"""lars: fused update of float32 parameters with float32 gradients.

You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888, Alg. 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of momentum_buffer, line of `tensors`, index in its tensor.
A line of `rows` holds lr, momentum, weight_decay, trust_coefficient, eps, grad_coefficient.
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


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def lars_pass0(table, rows, tensors, workspace, first, last):
    sum0_lanes = np.empty(2048, float32)
    sum1_lanes = np.empty(2048, float32)
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        tensor = table[chunk, 5]
        index = table[chunk, 6]
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        sum0_at = tensors[tensor, 4]
        sum1_at = tensors[tensor, 5]
        grad_coefficient = rows[row, 5]
        width = lanes_for(n, 2048)
        sum0_lanes[:width] = 0
        sum1_lanes[:width] = 0
        for start in range(0, n, 128):
            first_lane = start % 2048
            count = min(128, n - start)
            fetch_ahead(params, start, count)
            fetch_ahead(grads, start, count)
            for lane in range(count):
                i = uint64(start + lane)
                param = params[i]
                grad = grad_coefficient * grads[i]
                finite_param = finite_or_zero(param)
                sum0_lanes[uint64(first_lane + lane)] = sum0_lanes[uint64(first_lane + lane)] + finite_param * finite_param
                sum1_lanes[uint64(first_lane + lane)] = sum1_lanes[uint64(first_lane + lane)] + grad * grad
        sum0 = fold(sum0_lanes, width)
        workspace[uint64(sum0_at + index)] = sum0
        sum1 = fold(sum1_lanes, width)
        workspace[uint64(sum1_at + index)] = sum1


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def lars_fold1(table, rows, tensors, workspace, first, last):
    for tensor in range(first, last):
        row, size = tensors[tensor, 0], tensors[tensor, 1]
        columns, chunks = tensors[tensor, 2], tensors[tensor, 3]
        if row < 0:
            continue
        sum0_at = tensors[tensor, 4]
        sum1_at = tensors[tensor, 5]
        trust_ratio_at = tensors[tensor, 6]
        weight_decay = rows[row, 2]
        trust_coefficient = rows[row, 3]
        eps = rows[row, 4]
        sum0 = total(workspace[sum0_at : sum0_at + chunks])
        param_norm = sqrt(sum0)
        sum1 = total(workspace[sum1_at : sum1_at + chunks])
        grad_norm = sqrt(sum1)
        denom = grad_norm + weight_decay * param_norm + eps
        ratio = trust_coefficient * param_norm / denom if grad_norm > float32(0) else float32(1)
        trust_ratio = ratio if param_norm > float32(0) else float32(1)
        workspace[trust_ratio_at] = trust_ratio


@njit("void(int64[:, ::1], float32[:, ::1], int64[:, ::1], float32[::1], int64, int64)", **options)
def lars_pass1(table, rows, tensors, workspace, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        tensor = table[chunk, 5]
        index = table[chunk, 6]
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        momentum_buffers = carray(pointer(table[chunk, 4], np.float32), n)
        trust_ratio_at = tensors[tensor, 6]
        lr = rows[row, 0]
        momentum = rows[row, 1]
        weight_decay = rows[row, 2]
        trust_ratio = workspace[trust_ratio_at]
        grad_coefficient = rows[row, 5]
        for start in range(0, n, 128):
            count = min(128, n - start)
            fetch_ahead(params, start, count)
            fetch_ahead(grads, start, count)
            fetch_ahead(momentum_buffers, start, count)
            for lane in range(count):
                i = uint64(start + lane)
                param = params[i]
                grad = grad_coefficient * grads[i]
                momentum_buffer = momentum_buffers[i]
                finite_param = finite_or_zero(param)
                momentum_buffer = momentum * momentum_buffer + trust_ratio * (grad + weight_decay * finite_param)
                delta = lr * momentum_buffer
                params[i] = param - delta
                momentum_buffers[i] = momentum_buffer
