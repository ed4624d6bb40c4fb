/* rmsprop: update of float32 parameters with float32 gradients.
 *
 * Tieleman & Hinton, Lecture 6.5: rmsprop, Coursera 2012.
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

typedef struct {
    double lr, alpha, eps, weight_decay, momentum;
} rmsprop_hyper;

typedef struct {
    float lr, alpha, rest, eps, weight_decay, momentum, grad_coefficient;
} rmsprop_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API rmsprop_scalars rmsprop_compute_scalars(double step, const rmsprop_hyper *h)
{
    (void)step;
    rmsprop_scalars result;
    result.lr = (float)(h->lr);
    result.alpha = (float)(h->alpha);
    result.rest = (float)(1 - h->alpha);
    result.eps = (float)(h->eps);
    result.weight_decay = (float)(h->weight_decay);
    result.momentum = (float)(h->momentum);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void rmsprop_update(
    const rmsprop_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT square_avgs)
{
    const float lr = s->lr;
    const float alpha = s->alpha;
    const float rest = s->rest;
    const float eps = s->eps;
    const float weight_decay = s->weight_decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float square_avg = square_avgs[i];
        grad = grad + weight_decay * finite_or_zero(param);
        square_avg = alpha * square_avg + rest * (grad * grad);
        float delta = lr * (grad / (sqrtf(square_avg) + eps));
        params[i] = param - delta;
        square_avgs[i] = square_avg;
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
