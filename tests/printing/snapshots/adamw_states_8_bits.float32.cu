/* adamw: update of float32 parameters with float32 gradients.
 * States: exp_avg in int8; exp_avg_sq in uint8.
 *
 * Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef signed char int8_t;
typedef unsigned char uint8_t;
#else
#include <stdint.h>
#endif
/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))

static __device__ __forceinline__ float finite_or_zero(float x) { return fabs(x) <= 3.4028234663852886e+38f ? x : 0; }

static __device__ __forceinline__ uint32_t bits_of(float x) { return __float_as_uint(x); }

static __device__ __forceinline__ float float_of(uint32_t u) { return __uint_as_float(u); }

/* the element of a code: its part of the scale is the square of the code's part of the most */
static __device__ __forceinline__ float from_root(float code, float scale, float most)
{
    const float root = code * (1 / most);
    return root * fabsf(root) * scale;
}

/* the scale of a block, from the bits of its largest element: 0 below the normal numbers, or NaN */
static __device__ __forceinline__ float scale_of_block(uint32_t top)
{
    if (top >= 0x7F800000) return float_of(0x7FC00000);
    return top < 0x00800000 ? 0 : float_of(top);
}

/* the code of an element, as a byte; inverse is 0 in a block of zeros or NaN. Where most is 255 or 15
   there is no sign, and nothing above 0 becomes 0 */
static __device__ __forceinline__ uint8_t to_root(float x, float inverse, float most)
{
    const float part = inverse > 0 ? x * inverse : 0;
    const float root = most * sqrtf(fabsf(part));
    const float shifted = (part >= 0 ? root : -root) + 12582912.0f; /* which rounds it */
    const uint8_t code = (uint8_t)bits_of(shifted);
    return code == 0 && (most == 255 || most == 15) && inverse > 0 && x > 0 ? 1 : code;
}

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };

/* N neighbours of an array, moved by loads and stores of up to 16 bytes */
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Group { T at[N]; };
template <int N, typename T> static __device__ __forceinline__ Group<T, N> load(const T *from)
{
    return *(const Group<T, N> *)from;
}
template <int N, typename T> static __device__ __forceinline__ void store(T *to, const Group<T, N> &group)
{
    *(Group<T, N> *)to = group;
}
/* how many elements stand before the first group of N that is aligned in all arrays; N if none is */
template <int N, typename... T> static __device__ __forceinline__ int before_groups(const T *...arrays)
{
    int before = 0;
    while (before < N && ((((size_t)(arrays + before) % alignof(Group<T, N>)) | ...) != 0)) before++;
    return before;
}
/* call update for all of n elements: for aligned groups of N neighbours, and one by one for what
   stands before and behind them. A thread gets every threads-th group, the first one if it is 0 */
template <int N, typename Update>
static __device__ __forceinline__ void each_group(int64_t n, int before, int64_t thread, int64_t threads, const Update &update)
{
    const int64_t size = before < N ? N : 1, first = before > 0 ? before - N : 0;
    _Pragma("unroll 1")
    for (int64_t i = first + size * thread; i < n; i += size * threads) {
        if (size == N && i >= 0 && i + N <= n) {
            update(Width<N>(), i);
        } else {
            _Pragma("unroll 1")
            for (int64_t j = i > 0 ? i : 0; j < n && j < i + size; j++) update(Width<1>(), j);
        }
    }
}

/* up to N neighbours of an array, all at once where they are a whole group; which is
   copied by elements, for nvcc 13.0 does not end where one of two ways assigns it as a whole */
template <int N, typename T> static __device__ __forceinline__ Group<T, N> load_some(const T *from, int count, bool whole)
{
    Group<T, N> group = {};
    if (whole) {
        const Group<T, N> found = load<N>(from);
        for (int k = 0; k < N; k++) group.at[k] = found.at[k];
    } else {
        for (int k = 0; k < N; k++)
            if (k < count) group.at[k] = from[k];
    }
    return group;
}
template <int N, typename T> static __device__ __forceinline__ void store_some(T *to, const Group<T, N> &group, int count, bool whole)
{
    if (whole) return store(to, group);
    for (int k = 0; k < N; k++)
        if (k < count) to[k] = group.at[k];
}
/* the bits of the largest element; mask has the sign if none may be negative */
template <int N> static __device__ __forceinline__ uint32_t top_of_group(const Group<float, N> &group, uint32_t mask)
{
    uint32_t top = 0;
    for (int k = 0; k < N; k++) {
        const uint32_t bits = bits_of(group.at[k] + 0.0f) & mask;
        top = bits > top ? bits : top;
    }
    return top;
}
/* up to N codes of 4 bits, which are two in a byte, the first one in its upper half, each on its own;
   flip is 8 where they have a sign, else 0 */
template <int N>
static __device__ __forceinline__ Group<int8_t, N> unpacked(const uint8_t *pairs, int count, bool whole, int flip)
{
    const Group<uint8_t, N / 2> found = load_some<N / 2>(pairs, (count + 1) / 2, whole);
    Group<int8_t, N> codes;
    for (int k = 0; k < N; k++) {
        const int code = k % 2 ? found.at[k / 2] & 15 : found.at[k / 2] >> 4;
        codes.at[k] = (int8_t)((code ^ flip) - flip);
    }
    return codes;
}
/* store a thread's part of a block, which so many THREADS have; tops are those of all threads, and
   code is what ENCODE takes: the largest code, or a map. Codes are one or two PER_BYTE */
template <auto ENCODE, int THREADS, int PER_BYTE, int N, typename Code>
static __device__ __forceinline__ void store_in_block(
    const Group<float, N> &values, const uint32_t *tops, int count, bool whole, uint8_t *codes,
    float *scale, Code code)
{
    const uint32_t *const tops_of_block = tops + threadIdx.x / THREADS * THREADS;
    uint32_t top = 0;
    _Pragma("unroll")
    for (int k = 0; k < THREADS; k++) top = tops_of_block[k] > top ? tops_of_block[k] : top;
    const float found = scale_of_block(top), inverse = found > 0 ? 1 / found : 0;
    if (threadIdx.x % THREADS == 0 && count > 0) *scale = found;
    Group<uint8_t, N / PER_BYTE> group = {};
    for (int k = 0; k < N; k++) {
        const uint8_t one = ENCODE(values.at[k], inverse, code);
        if (PER_BYTE == 1) group.at[k] = one;
        else group.at[k / 2] |= (uint8_t)((one & 15) << (k % 2 ? 0 : 4));
    }
    store_some(codes, group, (count + PER_BYTE - 1) / PER_BYTE, whole);
}

extern "C" __global__ void __launch_bounds__(256) adamw_update(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int64_t n = chunk[1];
    if (row < 0 || control[1] != 0) return;
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    int8_t *exp_avgs = GLOBAL(int8_t, chunk[4]);
    float *exp_avg_scales = GLOBAL(float, chunk[5]);
    uint8_t *exp_avg_sqs = GLOBAL(uint8_t, chunk[6]);
    float *exp_avg_sq_scales = GLOBAL(float, chunk[7]);
    const float beta1 = rows[row * 7 + 0];
    const float rest1 = rows[row * 7 + 1];
    const float beta2 = rows[row * 7 + 2];
    const float rest2 = rows[row * 7 + 3];
    const float step_size = rows[row * 7 + 4];
    const float scaled_eps = rows[row * 7 + 5];
    const float decay = rows[row * 7 + 6];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    __shared__ uint32_t exp_avg_sq_tops[256];
    __shared__ uint32_t exp_avg_tops[256];
    const bool aligned = before_groups<4>(params, grads, exp_avgs, exp_avg_sqs) == 0;
    for (int64_t start = 1024 * (int64_t)blockIdx.y; start < n; start += 1024 * (int64_t)gridDim.y) {
        const int64_t first = start + 4 * threadIdx.x;
        const int count = n - first < 4 ? (n > first ? (int)(n - first) : 0) : 4;
        const bool whole = aligned && count == 4;
        Group<float, 4> param_group = load_some<4>(params + first, count, whole);
        Group<float, 4> grad_group = load_some<4>(grads + first, count, whole);
        Group<int8_t, 4> exp_avg_group = load_some<4>(exp_avgs + first, count, whole);
        Group<uint8_t, 4> exp_avg_sq_group = load_some<4>(exp_avg_sqs + first, count, whole);
        const float exp_avg_scale = count ? *(exp_avg_scales + first / 128) : 0;
        Group<float, 4> new_exp_avg = {};
        const float exp_avg_sq_scale = count ? *(exp_avg_sq_scales + first / 128) : 0;
        Group<float, 4> new_exp_avg_sq = {};
        _Pragma("unroll")
        for (int k = 0; k < 4; k++) {
            if (k >= count) continue;
            float param = param_group.at[k];
            float grad = grad_coefficient * grad_group.at[k];
            float exp_avg = from_root(exp_avg_group.at[k], exp_avg_scale, 127.0f);
            float exp_avg_sq = from_root(exp_avg_sq_group.at[k], exp_avg_sq_scale, 255.0f);
            exp_avg = beta1 * exp_avg + rest1 * grad;
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float denom = sqrtf(exp_avg_sq) + scaled_eps;
            float delta = step_size * (exp_avg / denom);
            param_group.at[k] = param - (delta + decay * finite_or_zero(param));
            new_exp_avg.at[k] = exp_avg;
            new_exp_avg_sq.at[k] = exp_avg_sq;
        }
        store_some(params + first, param_group, count, whole);
        exp_avg_tops[threadIdx.x] = top_of_group(new_exp_avg, 0x7fffffff);
        exp_avg_sq_tops[threadIdx.x] = top_of_group(new_exp_avg_sq, 0xffffffff);
        __syncthreads();
        store_in_block<to_root, 32, 1>(new_exp_avg, exp_avg_tops, count, whole,
            (uint8_t *)exp_avgs + first, exp_avg_scales + first / 128, 127.0f);
        store_in_block<to_root, 32, 1>(new_exp_avg_sq, exp_avg_sq_tops, count, whole,
            (uint8_t *)exp_avg_sqs + first, exp_avg_sq_scales + first / 128, 255.0f);
        __syncthreads();
    }
}
