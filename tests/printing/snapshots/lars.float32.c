/* lars: update of float32 parameters with float32 gradients.
 *
 * You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888, Alg. 1.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Every operation is rounded once, as IEEE 754 has it; say so to the compiler. */
#if FLT_EVAL_METHOD < 0 || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "needs exact IEEE arithmetic: no x87 (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "needs exact IEEE arithmetic: no -ffast-math nor a part of it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#ifdef __cplusplus
#define RESTRICT __restrict
extern "C" {
#else
#define RESTRICT restrict
#endif
#if defined(__GNUC__) && defined(__GLIBC__) /* no errno: loops with a root become SIMD code */
extern float sqrtf(float) __THROW __attribute__((__const__));
#endif
#ifndef SAMESTEP_API /* define it empty for functions that other files can call */
#define SAMESTEP_API static inline
#endif
#ifndef SAMESTEP_PARALLEL_FROM /* elements; less than that is done before another thread wakes */
#define SAMESTEP_PARALLEL_FROM 32768
#endif

static inline float finite_or_zero(float x) { return x - x == 0 ? x : 0; }

/* the sum of that many lanes, a power of two, by halves */
static inline float fold(float *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = lanes[lane] + lanes[lane + width];
    return lanes[0];
}

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static inline int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the sum of a vector in the fixed order of a sum over a tensor */
static float total(const float *values, int64_t n)
{
    float lanes[2048];
    int64_t span = 1;
    while (n > span * 65536) span *= 65536;
    const int64_t count = (n + span - 1) / span, width = lanes_for(count, 2048);
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
    for (int64_t j = 0; j < count; j++) {
        const int64_t part = n - j * span < span ? n - j * span : span;
        const float value = span == 1 ? values[j] : total(values + j * span, part);
        lanes[j % 2048] = lanes[j % 2048] + value;
    }
    return fold(lanes, width);
}

typedef struct {
    double lr, momentum, weight_decay, trust_coefficient, eps;
} lars_hyper;

typedef struct {
    float lr, momentum, weight_decay, trust_coefficient, eps, grad_coefficient;
} lars_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API lars_scalars lars_compute_scalars(double step, const lars_hyper *h)
{
    (void)step;
    lars_scalars result;
    result.lr = (float)(h->lr);
    result.momentum = (float)(h->momentum);
    result.weight_decay = (float)(h->weight_decay);
    result.trust_coefficient = (float)(h->trust_coefficient);
    result.eps = (float)(h->eps);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void lars_pass0(
    const lars_scalars *s, int64_t index, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    float sum0_lanes[2048];
    float sum1_lanes[2048];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t width = lanes_for(n, 2048);
    for (int64_t lane = 0; lane < width; lane++) {
        sum0_lanes[lane] = 0;
    }
    for (int64_t lane = 0; lane < width; lane++) {
        sum1_lanes[lane] = 0;
    }
    for (int64_t start = 0; start < n; start += 2048) {
        for (int64_t lane = 0; lane < (2048 < n - start ? 2048 : n - start); lane++) {
            const int64_t i = start + lane;
            float param = params[i];
            float grad = grad_coefficient * grads[i];
            float finite_param = finite_or_zero(param);
            sum0_lanes[lane] = sum0_lanes[lane] + finite_param * finite_param;
            sum1_lanes[lane] = sum1_lanes[lane] + grad * grad;
        }
    }
    float sum0 = fold(sum0_lanes, width);
    workspace[sum0_at + index] = sum0;
    float sum1 = fold(sum1_lanes, width);
    workspace[sum1_at + index] = sum1;
}

static void lars_fold1(const lars_scalars *s, int64_t size, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t trust_ratio_at = sum1_at + chunks;
    const float weight_decay = s->weight_decay;
    const float trust_coefficient = s->trust_coefficient;
    const float eps = s->eps;
    float sum0 = total(workspace + sum0_at, chunks);
    float param_norm = sqrtf(sum0);
    float sum1 = total(workspace + sum1_at, chunks);
    float grad_norm = sqrtf(sum1);
    float denom = grad_norm + weight_decay * param_norm + eps;
    float ratio = grad_norm > 0 ? trust_coefficient * param_norm / denom : 1;
    float trust_ratio = param_norm > 0 ? ratio : 1;
    workspace[trust_ratio_at] = trust_ratio;
}

static void lars_pass1(
    const lars_scalars *s, int64_t index, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT momentum_buffers, float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t trust_ratio_at = sum1_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    momentum_buffers += index * 65536;
    const float lr = s->lr;
    const float momentum = s->momentum;
    const float weight_decay = s->weight_decay;
    float trust_ratio = workspace[trust_ratio_at];
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float momentum_buffer = momentum_buffers[i];
        float finite_param = finite_or_zero(param);
        momentum_buffer = momentum * momentum_buffer + trust_ratio * (grad + weight_decay * finite_param);
        float delta = lr * momentum_buffer;
        params[i] = param - delta;
        momentum_buffers[i] = momentum_buffer;
    }
}

/* How many numbers the workspace of lars_update holds. */
SAMESTEP_API int64_t lars_workspace(int64_t size)
{
    const int64_t chunks = (size + 65535) / 65536;
    return chunks + chunks + 1;
}

/* One step of one tensor of size elements. */
SAMESTEP_API void lars_update(
    const lars_scalars *s, int64_t size, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT momentum_buffers, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        lars_pass0(s, index, size, params, grads, workspace);
    }
    lars_fold1(s, size, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        lars_pass1(s, index, size, params, grads, momentum_buffers, workspace);
    }
}

#undef RESTRICT
#ifdef __cplusplus
}
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
