/* sgdp_no_projection: update of float32 parameters with float32 gradients.
 *
 * Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
 * Weights, arXiv:2006.08217, Algorithm 1.
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
    double lr, momentum, dampening, nesterov, eps, weight_decay, delta, wd_ratio;
} sgdp_no_projection_hyper;

typedef struct {
    float delta, wd_ratio, least, momentum, undamped, of_buffer, of_grad, step_size, decay,
        grad_coefficient;
} sgdp_no_projection_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API sgdp_no_projection_scalars sgdp_no_projection_compute_scalars(
    double step, const sgdp_no_projection_hyper *h)
{
    (void)step;
    sgdp_no_projection_scalars result;
    result.delta = (float)(h->delta);
    result.wd_ratio = (float)(h->wd_ratio);
    result.least = (float)(h->eps);
    result.momentum = (float)(h->momentum);
    result.undamped = (float)(1 - h->dampening);
    result.of_buffer = (float)(h->nesterov != 0 ? h->momentum : 1);
    result.of_grad = (float)(h->nesterov != 0 ? 1 : 0);
    result.step_size = (float)(h->lr);
    result.decay = (float)(h->lr * h->weight_decay / (1 - h->momentum));
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void sgdp_no_projection_update(
    const sgdp_no_projection_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT momentum_buffers)
{
    const float momentum = s->momentum;
    const float undamped = s->undamped;
    const float of_buffer = s->of_buffer;
    const float of_grad = s->of_grad;
    const float step_size = s->step_size;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float momentum_buffer = momentum_buffers[i];
        momentum_buffer = momentum * momentum_buffer + undamped * grad;
        float direction = of_buffer * momentum_buffer + of_grad * grad;
        float delta = step_size * direction + decay * finite_or_zero(param);
        params[i] = param - delta;
        momentum_buffers[i] = momentum_buffer;
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
