/* madgrad: update of float32 parameters with float32 gradients.
 *
 * Defazio & Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
 * Gradient Method for Stochastic Optimization, arXiv:2101.11075, Algorithm 1.
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

/* the cube root of a number that is not negative, of correctly rounded operations, unlike cbrt */
static __device__ __forceinline__ float cube_root(float x)
{
    const float root = sqrtf(x);
    float near = sqrtf(root);
    for (int turn = 0; turn < 4; turn++) near = sqrtf(sqrtf(near) * root);
    float inverse = 1 / near;
    for (int turn = 0; turn < 4; turn++) {
        const float off = 1 - x * inverse * inverse * inverse;
        inverse = inverse + inverse * (off * ((float)(1 / 3.0) + (float)(2 / 9.0) * off));
    }
    near = x * inverse * inverse;
    near = near + near * ((1 - near * inverse) * (float)(2 / 3.0));
    return finite_or_zero(x) == 0 ? x : near;
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

extern "C" __global__ void __launch_bounds__(256) madgrad_update(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int64_t n = chunk[1];
    if (row < 0 || control[1] != 0) return;
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *grad_sums = GLOBAL(float, chunk[4]);
    float *grad_sum_sqs = GLOBAL(float, chunk[5]);
    float *moveds = GLOBAL(float, chunk[6]);
    const float weight = rows[row * 4 + 0];
    const float toward = rows[row * 4 + 1];
    const float eps = rows[row * 4 + 2];
    const float weight_decay = rows[row * 4 + 3];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int before = before_groups<4>(params, grads, grad_sums, grad_sum_sqs, moveds);
    const auto update = [&](auto group, int64_t first) {
        Group<float, group.n> param_group = load<group.n>(params + first);
        Group<float, group.n> grad_group = load<group.n>(grads + first);
        Group<float, group.n> grad_sum_group = load<group.n>(grad_sums + first);
        Group<float, group.n> grad_sum_sq_group = load<group.n>(grad_sum_sqs + first);
        Group<float, group.n> moved_group = load<group.n>(moveds + first);
        _Pragma("unroll")
        for (int k = 0; k < group.n; k++) {
            float param = param_group.at[k];
            float grad = grad_coefficient * grad_group.at[k];
            float grad_sum = grad_sum_group.at[k];
            float grad_sum_sq = grad_sum_sq_group.at[k];
            float moved = moved_group.at[k];
            grad = grad + weight_decay * finite_or_zero(param);
            grad_sum = grad_sum + weight * grad;
            grad_sum_sq = grad_sum_sq + weight * (grad * grad);
            float denom = cube_root(grad_sum_sq) + eps;
            float change = toward * (moved + (denom == 0 ? 0 : grad_sum / denom));
            param_group.at[k] = param - change;
            grad_sum_group.at[k] = grad_sum;
            grad_sum_sq_group.at[k] = grad_sum_sq;
            moved_group.at[k] = moved - change;
        }
        store(params + first, param_group);
        store(grad_sums + first, grad_sum_group);
        store(grad_sum_sqs + first, grad_sum_sq_group);
        store(moveds + first, moved_group);
    };
    each_group<4>(n, before, blockIdx.y * blockDim.x + threadIdx.x, gridDim.y * blockDim.x, update);
}
