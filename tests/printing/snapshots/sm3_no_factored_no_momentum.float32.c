/* sm3_no_factored_no_momentum: update of float32 parameters with float32 gradients.
 *
 * Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm SM3-II.
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

typedef struct {
    double lr, momentum, beta2, eps;
} sm3_no_factored_no_momentum_hyper;

typedef struct {
    float lr, beta2, rest2, eps, grad_coefficient;
} sm3_no_factored_no_momentum_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API sm3_no_factored_no_momentum_scalars sm3_no_factored_no_momentum_compute_scalars(
    double step, const sm3_no_factored_no_momentum_hyper *h)
{
    (void)step;
    sm3_no_factored_no_momentum_scalars result;
    result.lr = (float)(h->lr);
    result.beta2 = (float)(h->beta2);
    result.rest2 = (float)(h->beta2 == 1 ? 1 : 1 - h->beta2);
    result.eps = (float)(h->eps);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void sm3_no_factored_no_momentum_update(
    const sm3_no_factored_no_momentum_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT accumulators)
{
    const float lr = s->lr;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps = s->eps;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float accumulator = accumulators[i];
        accumulator = beta2 * accumulator + rest2 * (grad * grad);
        float direction = grad / sqrtf(accumulator + eps);
        float delta = lr * direction;
        params[i] = param - delta;
        accumulators[i] = accumulator;
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
