/* apollo_mini_no_projected: update of float32 parameters with float32 gradients.
 *
 * Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.
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

extern "C" __global__ void __launch_bounds__(256) apollo_mini_no_projected_update(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 6;
    const int64_t row = chunk[0];
    const int64_t n = chunk[1];
    if (row < 0 || control[1] != 0) return;
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    float *exp_avg_sqs = GLOBAL(float, chunk[5]);
    const float beta1 = rows[row * 7 + 0];
    const float rest1 = rows[row * 7 + 1];
    const float beta2 = rows[row * 7 + 2];
    const float rest2 = rows[row * 7 + 3];
    const float eps = rows[row * 7 + 4];
    const float step_size = rows[row * 7 + 5];
    const float decay = rows[row * 7 + 6];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int before = before_groups<4>(params, grads, exp_avgs, exp_avg_sqs);
    const auto update = [&](auto group, int64_t first) {
        Group<float, group.n> param_group = load<group.n>(params + first);
        Group<float, group.n> grad_group = load<group.n>(grads + first);
        Group<float, group.n> exp_avg_group = load<group.n>(exp_avgs + first);
        Group<float, group.n> exp_avg_sq_group = load<group.n>(exp_avg_sqs + first);
        _Pragma("unroll")
        for (int k = 0; k < group.n; k++) {
            float param = param_group.at[k];
            float grad = grad_coefficient * grad_group.at[k];
            float exp_avg = exp_avg_group.at[k];
            float exp_avg_sq = exp_avg_sq_group.at[k];
            exp_avg = beta1 * exp_avg + rest1 * grad;
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float direction = exp_avg / (sqrtf(exp_avg_sq) + eps);
            float delta = step_size * direction;
            param_group.at[k] = param - (delta + decay * finite_or_zero(param));
            exp_avg_group.at[k] = exp_avg;
            exp_avg_sq_group.at[k] = exp_avg_sq;
        }
        store(params + first, param_group);
        store(exp_avgs + first, exp_avg_group);
        store(exp_avg_sqs + first, exp_avg_sq_group);
    };
    each_group<4>(n, before, blockIdx.y * blockDim.x + threadIdx.x, gridDim.y * blockDim.x, update);
}
