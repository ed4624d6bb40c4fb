/* dadapt_adam_decoupled_weight_decay: update of float32 parameters with float32 gradients.
 *
 * Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, arXiv:2301.07733,
 * Algorithm 5.
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

/* the sum of that many lanes of a block, a power of two, by halves; every thread gets it */
static __device__ __forceinline__ float fold(float *lanes, int64_t width)
{
    __syncthreads();
    for (width /= 2; width > 0; width /= 2) {
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x)
            lanes[lane] = lanes[lane] + lanes[lane + width];
        __syncthreads();
    }
    const float sum = lanes[0];
    __syncthreads();
    return sum;
}

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the sum of a vector of up to 65536 * 65536 values in the fixed order of a sum over a tensor */
static __device__ __forceinline__ float total(const float *values, int64_t n)
{
    __shared__ float lanes[2048], upper[2048];
    const int64_t chunks = n > 65536 ? (n + 65536 - 1) / (uint64_t)65536 : 1, upper_width = lanes_for(chunks, 2048);
    for (int lane = threadIdx.x; lane < upper_width; lane += blockDim.x) upper[lane] = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t first = chunk * 65536, count = n - first < 65536 ? n - first : 65536;
        const int64_t width = lanes_for(count, 2048);
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x) {
            float sum = 0;
            for (int64_t i = lane; i < count; i += 2048) sum = sum + values[first + i];
            lanes[lane] = sum;
        }
        const float sum = fold(lanes, width);
        if (threadIdx.x == 0) upper[chunk % (uint64_t)2048] = upper[chunk % (uint64_t)2048] + sum;
    }
    return fold(upper, upper_width);
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

extern "C" __global__ void __launch_bounds__(256, 2) dadapt_adam_decoupled_weight_decay_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float sum0_lanes[2048];
    alignas(16) __shared__ float sum1_lanes[2048];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int64_t n = chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[7] * 8;
    const int64_t index = chunk[8];
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    float *exp_avg_sqs = GLOBAL(float, chunk[5]);
    float *grad_sums = GLOBAL(float, chunk[6]);
    const int64_t sum0_at = tensor[6];
    const int64_t sum1_at = tensor[7];
    const float beta1 = rows[row * 10 + 0];
    const float take1 = rows[row * 10 + 1];
    const float beta2 = rows[row * 10 + 2];
    const float rest2 = rows[row * 10 + 3];
    const float root = rows[row * 10 + 4];
    const float weight = rows[row * 10 + 6];
    const float eps = rows[row * 10 + 7];
    const float decay = rows[row * 10 + 9];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int before = before_groups<4>(params, grads, exp_avgs, exp_avg_sqs, grad_sums);
    const int64_t width = lanes_for(n, 2048);
    for (int64_t lane = threadIdx.x; lane < width; lane += blockDim.x) {
        sum0_lanes[lane] = 0;
    }
    for (int64_t lane = threadIdx.x; lane < width; lane += blockDim.x) {
        sum1_lanes[lane] = 0;
    }
    __syncthreads();
    const auto update = [&](auto group, int64_t first) {
        const int64_t lane = (first - before) & (width - 1);
        Group<float, group.n> param_group = load<group.n>(params + first);
        Group<float, group.n> grad_group = load<group.n>(grads + first);
        Group<float, group.n> exp_avg_group = load<group.n>(exp_avgs + first);
        Group<float, group.n> exp_avg_sq_group = load<group.n>(exp_avg_sqs + first);
        Group<float, group.n> grad_sum_group = load<group.n>(grad_sums + first);
        Group<float, group.n> sum0_group = load<group.n>(sum0_lanes + lane);
        Group<float, group.n> sum1_group = load<group.n>(sum1_lanes + lane);
        _Pragma("unroll")
        for (int k = 0; k < group.n; k++) {
            float param = param_group.at[k];
            float grad = grad_coefficient * grad_group.at[k];
            float exp_avg = exp_avg_group.at[k];
            float exp_avg_sq = exp_avg_sq_group.at[k];
            float grad_sum = grad_sum_group.at[k];
            exp_avg = beta1 * exp_avg + take1 * grad;
            float exp_avg_sq_2 = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float grad_sum_2 = root * grad_sum + weight * grad;
            float step_2 = exp_avg / (sqrtf(exp_avg_sq_2) + eps);
            param_group.at[k] = param - (step_2 + decay * finite_or_zero(param));
            exp_avg_group.at[k] = exp_avg;
            exp_avg_sq_group.at[k] = exp_avg_sq_2;
            grad_sum_group.at[k] = grad_sum_2;
            sum0_group.at[k] = sum0_group.at[k] + grad * (grad_sum / (sqrtf(exp_avg_sq) + eps));
            sum1_group.at[k] = sum1_group.at[k] + fabsf(grad_sum_2);
        }
        store(params + first, param_group);
        store(exp_avgs + first, exp_avg_group);
        store(exp_avg_sqs + first, exp_avg_sq_group);
        store(grad_sums + first, grad_sum_group);
        store(sum0_lanes + lane, sum0_group);
        store(sum1_lanes + lane, sum1_group);
    };
    each_group<4>(n, before, threadIdx.x, blockDim.x, update);
    float sum0 = fold(sum0_lanes, width);
    if (threadIdx.x == 0) workspace[sum0_at + index] = sum0;
    float sum1 = fold(sum1_lanes, width);
    if (threadIdx.x == 0) workspace[sum1_at + index] = sum1;
}

extern "C" __global__ void __launch_bounds__(256) dadapt_adam_decoupled_weight_decay_fold1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 8;
    const int64_t row = tensor[0];
    const int64_t chunks = tensor[3];
    if (row < 0 || control[1] != 0) return;
    float *numerators = GLOBAL(float, tensor[4]);
    float *denominators = GLOBAL(float, tensor[5]);
    const int64_t sum0_at = tensor[6];
    const int64_t sum1_at = tensor[7];
    const float rest = rows[row * 10 + 5];
    const float weight = rows[row * 10 + 6];
    float sum0 = total(workspace + sum0_at, chunks);
    float numerator = weight * sum0;
    float sum1 = total(workspace + sum1_at, chunks);
    float denominator = rest * sum1;
    __syncthreads();
    if (threadIdx.x == 0) {
        numerators[0] = numerator;
        denominators[0] = denominator;
    }
}
