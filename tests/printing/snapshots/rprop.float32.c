/* rprop: update of float32 parameters with float32 gradients.
 *
 * Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
 * Algorithm, ICNN 1993.
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

static inline float sign(float x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }

static inline float finite_or_zero(float x) { return x - x == 0 ? x : 0; }

static inline float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

static inline float minimum(float a, float b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }

typedef struct {
    double lr, etas[2], step_sizes[2], weight_decay;
} rprop_hyper;

typedef struct {
    float eta_minus, eta_plus, smallest, largest, weight_decay, grad_coefficient;
} rprop_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API rprop_scalars rprop_compute_scalars(double step, const rprop_hyper *h)
{
    (void)step;
    rprop_scalars result;
    result.eta_minus = (float)(h->etas[0]);
    result.eta_plus = (float)(h->etas[1]);
    result.smallest = (float)(h->step_sizes[0]);
    result.largest = (float)(h->step_sizes[1]);
    result.weight_decay = (float)(h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void rprop_update(
    const rprop_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT prevs, float *RESTRICT step_sizes)
{
    const float eta_minus = s->eta_minus;
    const float eta_plus = s->eta_plus;
    const float smallest = s->smallest;
    const float largest = s->largest;
    const float weight_decay = s->weight_decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float prev = prevs[i];
        float step_size = step_sizes[i];
        grad = grad + weight_decay * finite_or_zero(param);
        float agreement = sign(grad) * sign(prev);
        float factor = agreement > 0 ? eta_plus : (agreement < 0 ? eta_minus : 1);
        step_size = minimum(maximum(step_size * factor, smallest), largest);
        grad = agreement < 0 ? 0 : grad;
        float direction = grad != grad ? 0 : sign(grad);
        float delta = direction * step_size;
        params[i] = param - delta;
        prevs[i] = grad;
        step_sizes[i] = step_size;
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
