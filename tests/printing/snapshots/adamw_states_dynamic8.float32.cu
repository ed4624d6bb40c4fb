/* adamw: update of float32 parameters with float32 gradients.
 * States: exp_avg in dynamic8; exp_avg_sq in udynamic8.
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

static __device__ const float dynamic8_map[256] = {
    -0.99296874f, -0.9789063f, -0.96484375f, -0.9507812f, -0.93671876f, -0.92265624f, -0.9085938f,
    -0.89453125f, -0.8804687f, -0.86640626f, -0.85234374f, -0.8382813f, -0.82421875f, -0.8101562f,
    -0.79609376f, -0.78203124f, -0.7679688f, -0.75390625f, -0.7398437f, -0.72578126f, -0.7117188f,
    -0.6976563f, -0.68359375f, -0.6695312f, -0.65546876f, -0.6414063f, -0.6273438f, -0.61328125f,
    -0.5992187f, -0.58515626f, -0.5710938f, -0.5570313f, -0.54296875f, -0.5289062f, -0.5148437f,
    -0.50078124f, -0.4867187f, -0.47265625f, -0.45859373f, -0.44453126f, -0.43046874f,
    -0.41640624f, -0.40234375f, -0.38828123f, -0.37421876f, -0.36015624f, -0.34609374f,
    -0.33203125f, -0.31796873f, -0.30390626f, -0.28984374f, -0.27578127f, -0.26171875f,
    -0.24765624f, -0.23359375f, -0.21953125f, -0.20546874f, -0.19140625f, -0.17734376f,
    -0.16328125f, -0.14921875f, -0.13515624f, -0.12109375f, -0.107031256f, -0.09859375f,
    -0.09578126f, -0.092968754f, -0.09015625f, -0.08734375f, -0.08453125f, -0.08171876f,
    -0.07890625f, -0.07609375f, -0.07328125f, -0.070468746f, -0.067656256f, -0.06484375f,
    -0.06203125f, -0.059218753f, -0.05640625f, -0.05359375f, -0.05078125f, -0.04796875f,
    -0.04515625f, -0.042343747f, -0.03953125f, -0.036718752f, -0.03390625f, -0.03109375f,
    -0.028281251f, -0.02546875f, -0.02265625f, -0.019843752f, -0.01703125f, -0.01421875f,
    -0.01140625f, -0.00971875f, -0.009156249f, -0.00859375f, -0.00803125f, -0.00746875f,
    -0.00690625f, -0.00634375f, -0.00578125f, -0.0052187503f, -0.0046562497f, -0.00409375f,
    -0.0035312497f, -0.00296875f, -0.00240625f, -0.00184375f, -0.0012812499f, -0.0009437501f,
    -0.00083125f, -0.00071875006f, -0.0006062501f, -0.00049375003f, -0.00038125002f,
    -0.00026875004f, -0.00015625001f, -8.875e-05f, -6.625e-05f, -4.375e-05f, -2.1249998e-05f,
    -7.75e-06f, -3.2500002e-06f, -5.5000004e-07f, 0.0f, 5.5000004e-07f, 3.2500002e-06f, 7.75e-06f,
    2.1249998e-05f, 4.375e-05f, 6.625e-05f, 8.875e-05f, 0.00015625001f, 0.00026875004f,
    0.00038125002f, 0.00049375003f, 0.0006062501f, 0.00071875006f, 0.00083125f, 0.0009437501f,
    0.0012812499f, 0.00184375f, 0.00240625f, 0.00296875f, 0.0035312497f, 0.00409375f,
    0.0046562497f, 0.0052187503f, 0.00578125f, 0.00634375f, 0.00690625f, 0.00746875f, 0.00803125f,
    0.00859375f, 0.009156249f, 0.00971875f, 0.01140625f, 0.01421875f, 0.01703125f, 0.019843752f,
    0.02265625f, 0.02546875f, 0.028281251f, 0.03109375f, 0.03390625f, 0.036718752f, 0.03953125f,
    0.042343747f, 0.04515625f, 0.04796875f, 0.05078125f, 0.05359375f, 0.05640625f, 0.059218753f,
    0.06203125f, 0.06484375f, 0.067656256f, 0.070468746f, 0.07328125f, 0.07609375f, 0.07890625f,
    0.08171876f, 0.08453125f, 0.08734375f, 0.09015625f, 0.092968754f, 0.09578126f, 0.09859375f,
    0.107031256f, 0.12109375f, 0.13515624f, 0.14921875f, 0.16328125f, 0.17734376f, 0.19140625f,
    0.20546874f, 0.21953125f, 0.23359375f, 0.24765624f, 0.26171875f, 0.27578127f, 0.28984374f,
    0.30390626f, 0.31796873f, 0.33203125f, 0.34609374f, 0.36015624f, 0.37421876f, 0.38828123f,
    0.40234375f, 0.41640624f, 0.43046874f, 0.44453126f, 0.45859373f, 0.47265625f, 0.4867187f,
    0.50078124f, 0.5148437f, 0.5289062f, 0.54296875f, 0.5570313f, 0.5710938f, 0.58515626f,
    0.5992187f, 0.61328125f, 0.6273438f, 0.6414063f, 0.65546876f, 0.6695312f, 0.68359375f,
    0.6976563f, 0.7117188f, 0.72578126f, 0.7398437f, 0.75390625f, 0.7679688f, 0.78203124f,
    0.79609376f, 0.8101562f, 0.82421875f, 0.8382813f, 0.85234374f, 0.86640626f, 0.8804687f,
    0.89453125f, 0.9085938f, 0.92265624f, 0.93671876f, 0.9507812f, 0.96484375f, 0.9789063f,
    0.99296874f, 1.0f
};

static __device__ const float udynamic8_map[256] = {
    0.0f, 3.2500003e-07f, 7.75e-07f, 2.1249998e-06f, 4.3749997e-06f, 6.625e-06f, 8.874999e-06f,
    1.5624999e-05f, 2.6875001e-05f, 3.8125e-05f, 4.9374998e-05f, 6.0625003e-05f, 7.1875e-05f,
    8.312499e-05f, 9.4375e-05f, 0.000128125f, 0.000184375f, 0.00024062501f, 0.00029687502f,
    0.00035312498f, 0.00040937503f, 0.00046562502f, 0.00052187504f, 0.000578125f, 0.000634375f,
    0.00069062505f, 0.000746875f, 0.0008031251f, 0.00085937505f, 0.000915625f, 0.00097187504f,
    0.001140625f, 0.001421875f, 0.001703125f, 0.001984375f, 0.002265625f, 0.0025468748f,
    0.002828125f, 0.0031093748f, 0.0033906251f, 0.003671875f, 0.003953125f, 0.0042343745f,
    0.004515625f, 0.0047968747f, 0.005078125f, 0.005359375f, 0.0056406246f, 0.005921875f,
    0.0062031248f, 0.006484375f, 0.0067656254f, 0.0070468746f, 0.007328125f, 0.0076093744f,
    0.007890625f, 0.008171875f, 0.008453124f, 0.008734375f, 0.009015624f, 0.0092968745f,
    0.009578126f, 0.009859375f, 0.010703126f, 0.012109376f, 0.013515624f, 0.014921876f,
    0.016328124f, 0.017734377f, 0.019140625f, 0.020546874f, 0.021953126f, 0.023359375f,
    0.024765624f, 0.026171876f, 0.027578129f, 0.028984373f, 0.030390626f, 0.031796873f,
    0.033203125f, 0.034609374f, 0.036015626f, 0.03742188f, 0.038828123f, 0.040234376f,
    0.041640624f, 0.043046873f, 0.044453125f, 0.045859374f, 0.047265626f, 0.04867187f,
    0.050078124f, 0.051484372f, 0.052890625f, 0.054296877f, 0.05570313f, 0.057109382f,
    0.058515627f, 0.059921872f, 0.061328124f, 0.06273438f, 0.06414063f, 0.06554688f, 0.06695312f,
    0.068359375f, 0.06976563f, 0.07117188f, 0.072578125f, 0.07398438f, 0.07539063f, 0.07679688f,
    0.07820313f, 0.07960938f, 0.081015624f, 0.08242188f, 0.08382813f, 0.085234374f, 0.086640626f,
    0.08804687f, 0.08945312f, 0.090859376f, 0.09226563f, 0.09367188f, 0.095078126f, 0.09648438f,
    0.09789063f, 0.099296875f, 0.103515625f, 0.11054687f, 0.11757813f, 0.12460937f, 0.13164061f,
    0.13867188f, 0.14570314f, 0.15273437f, 0.15976563f, 0.16679686f, 0.17382812f, 0.18085939f,
    0.18789062f, 0.19492188f, 0.20195311f, 0.20898438f, 0.21601564f, 0.22304687f, 0.23007813f,
    0.23710936f, 0.24414062f, 0.25117186f, 0.25820312f, 0.26523438f, 0.2722656f, 0.27929688f,
    0.28632814f, 0.29335937f, 0.3003906f, 0.30742186f, 0.31445312f, 0.3214844f, 0.32851562f,
    0.33554685f, 0.3425781f, 0.34960938f, 0.35664064f, 0.36367187f, 0.3707031f, 0.37773436f,
    0.38476562f, 0.3917969f, 0.39882812f, 0.40585935f, 0.4128906f, 0.41992188f, 0.42695314f,
    0.43398437f, 0.4410156f, 0.44804686f, 0.45507812f, 0.4621094f, 0.46914062f, 0.47617185f,
    0.4832031f, 0.49023438f, 0.4972656f, 0.5042969f, 0.5113281f, 0.51835936f, 0.5253906f,
    0.5324218f, 0.53945315f, 0.54648435f, 0.5535157f, 0.5605469f, 0.56757814f, 0.5746094f,
    0.5816406f, 0.5886719f, 0.5957031f, 0.6027344f, 0.60976565f, 0.61679685f, 0.6238282f,
    0.6308594f, 0.63789064f, 0.6449219f, 0.6519531f, 0.6589844f, 0.6660156f, 0.6730469f,
    0.68007815f, 0.68710935f, 0.6941407f, 0.7011719f, 0.70820314f, 0.7152344f, 0.7222656f,
    0.7292969f, 0.7363281f, 0.7433594f, 0.75039065f, 0.75742185f, 0.7644532f, 0.7714844f,
    0.7785156f, 0.7855469f, 0.7925781f, 0.7996094f, 0.8066406f, 0.8136718f, 0.82070315f,
    0.82773435f, 0.8347657f, 0.8417969f, 0.8488281f, 0.8558594f, 0.8628906f, 0.8699219f,
    0.8769531f, 0.8839843f, 0.89101565f, 0.89804685f, 0.9050782f, 0.9121094f, 0.9191406f,
    0.9261719f, 0.9332031f, 0.9402344f, 0.9472656f, 0.9542968f, 0.96132815f, 0.96835935f,
    0.9753907f, 0.9824219f, 0.9894531f, 0.9964844f, 1.0f
};

static __device__ __forceinline__ float finite_or_zero(float x) { return fabs(x) <= 3.4028234663852886e+38f ? x : 0; }

static __device__ __forceinline__ uint32_t bits_of(float x) { return __float_as_uint(x); }

static __device__ __forceinline__ float float_of(uint32_t u) { return __uint_as_float(u); }

/* the scale of a block, from the bits of its largest element: 0 below the normal numbers, or NaN */
static __device__ __forceinline__ float scale_of_block(uint32_t top)
{
    if (top >= 0x7F800000) return float_of(0x7FC00000);
    return top < 0x00800000 ? 0 : float_of(top);
}

/* the element of a code: its part of the scale is the map's value of that number */
static __device__ __forceinline__ float from_map(uint8_t code, float scale, const float *map) { return map[code] * scale; }

/* the code of an element: the number of the map's nearest value, of two the upper one. Unrolled, the
   searches of a thread's elements go side by side, which takes too many registers */
static __device__ __forceinline__ uint8_t to_map(float x, float inverse, const float *map)
{
    const float part = inverse > 0 ? x * inverse : 0;
    int below = 0; /* the last value that is not above the part */
    _Pragma("unroll 1")
    for (int bit = 128; bit > 0; bit >>= 1) below += part >= map[below + bit] ? bit : 0;
    const int above = below < 255 ? below + 1 : 255;
    return (uint8_t)(part - map[below] >= (map[above] - map[below]) * 0.5f ? above : below);
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

extern "C" __global__ void __launch_bounds__(256, 2) adamw_update(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int64_t n = chunk[1];
    if (row < 0 || control[1] != 0) return;
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    uint8_t *exp_avgs = GLOBAL(uint8_t, chunk[4]);
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
    const bool aligned = before_groups<8>(params, grads, exp_avgs, exp_avg_sqs) == 0;
    for (int64_t start = 2048 * (int64_t)blockIdx.y; start < n; start += 2048 * (int64_t)gridDim.y) {
        const int64_t first = start + 8 * threadIdx.x;
        const int count = n - first < 8 ? (n > first ? (int)(n - first) : 0) : 8;
        const bool whole = aligned && count == 8;
        Group<float, 8> param_group = load_some<8>(params + first, count, whole);
        Group<float, 8> grad_group = load_some<8>(grads + first, count, whole);
        Group<uint8_t, 8> exp_avg_group = load_some<8>(exp_avgs + first, count, whole);
        Group<uint8_t, 8> exp_avg_sq_group = load_some<8>(exp_avg_sqs + first, count, whole);
        const float exp_avg_scale = count ? *(exp_avg_scales + first / 256) : 0;
        Group<float, 8> new_exp_avg = {};
        const float exp_avg_sq_scale = count ? *(exp_avg_sq_scales + first / 256) : 0;
        Group<float, 8> new_exp_avg_sq = {};
        _Pragma("unroll")
        for (int k = 0; k < 8; k++) {
            if (k >= count) continue;
            float param = param_group.at[k];
            float grad = grad_coefficient * grad_group.at[k];
            float exp_avg = from_map(exp_avg_group.at[k], exp_avg_scale, dynamic8_map);
            float exp_avg_sq = from_map(exp_avg_sq_group.at[k], exp_avg_sq_scale, udynamic8_map);
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
        store_in_block<to_map, 32, 1>(new_exp_avg, exp_avg_tops, count, whole,
            (uint8_t *)exp_avgs + first, exp_avg_scales + first / 256, dynamic8_map);
        store_in_block<to_map, 32, 1>(new_exp_avg_sq, exp_avg_sq_tops, count, whole,
            (uint8_t *)exp_avg_sqs + first, exp_avg_sq_scales + first / 256, udynamic8_map);
        __syncthreads();
    }
}
