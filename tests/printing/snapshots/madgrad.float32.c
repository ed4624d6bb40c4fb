/* madgrad: update of float32 parameters with float32 gradients.
 *
 * Defazio & Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
 * Gradient Method for Stochastic Optimization, arXiv:2101.11075, Algorithm 1.
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

/* the cube root of a number that is not negative, of correctly rounded operations, unlike cbrt */
static inline float cube_root(float x)
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

typedef struct {
    double lr, momentum, weight_decay, eps;
} madgrad_hyper;

typedef struct {
    float weight, toward, eps, weight_decay, grad_coefficient;
} madgrad_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API madgrad_scalars madgrad_compute_scalars(double step, const madgrad_hyper *h)
{
    madgrad_scalars result;
    result.weight = (float)((h->lr > 0 ? h->lr + h->eps : 0) * sqrt(step));
    result.toward = (float)(1 - h->momentum);
    result.eps = (float)(h->eps);
    result.weight_decay = (float)(h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void madgrad_update(
    const madgrad_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT grad_sums, float *RESTRICT grad_sum_sqs, float *RESTRICT moveds)
{
    const float weight = s->weight;
    const float toward = s->toward;
    const float eps = s->eps;
    const float weight_decay = s->weight_decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float grad_sum = grad_sums[i];
        float grad_sum_sq = grad_sum_sqs[i];
        float moved = moveds[i];
        grad = grad + weight_decay * finite_or_zero(param);
        grad_sum = grad_sum + weight * grad;
        grad_sum_sq = grad_sum_sq + weight * (grad * grad);
        float denom = cube_root(grad_sum_sq) + eps;
        float change = toward * (moved + (denom == 0 ? 0 : grad_sum / denom));
        params[i] = param - change;
        grad_sums[i] = grad_sum;
        grad_sum_sqs[i] = grad_sum_sq;
        moveds[i] = moved - change;
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
