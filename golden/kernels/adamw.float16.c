/* adamw: update of float16 parameters with float16 gradients.
 *
 * Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* x to the integer power n >= 0: correctly rounded operations in a fixed order, unlike pow */
static inline double ipow(double x, double n)
{
    double result = 1;
    for (int64_t exponent = (int64_t)n; exponent;) {
        if (exponent & 1) result *= x;
        exponent >>= 1;
        if (exponent) x *= x;
    }
    return result;
}

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static inline float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static inline float from_float16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13;
    const uint32_t u = bits_of(float_of(magnitude) * 5192296858534827628530496329220096.0f);
    const uint32_t infinite = magnitude >= 0x0F800000 ? 0x7F800000 : 0;
    return float_of(u | infinite | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t to_float16(float x)
{
    const uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFF;
    uint32_t half;
    if (magnitude >= 0x47800000) half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
    else if (magnitude < 0x38800000) half = bits_of(float_of(magnitude) + 0.5f) - 0x3F000000;
    else half = (magnitude + 0xC8000FFF + ((magnitude >> 13) & 1)) >> 13;
    return (uint16_t)(half | ((u >> 16) & 0x8000));
}

typedef struct { double lr, betas[2], eps, weight_decay; } adamw_hyper;
typedef struct { float beta1, rest1, beta2, rest2, step_size, scaled_eps, decay, grad_coefficient; } adamw_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
static inline adamw_scalars adamw_compute_scalars(double step, const adamw_hyper *h)
{
    adamw_scalars result;
    double bias1 = 1 - ipow(h->betas[0], step);
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.step_size = (float)(h->lr * root_bias2 / bias1);
    result.scaled_eps = (float)(h->eps * root_bias2);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

void adamw_update(
    const adamw_scalars *s, int64_t n, uint16_t *params, const uint16_t *grads, float *exp_avgs,
    float *exp_avg_sqs)
{
    for (int64_t i = 0; i < n; i++) {
        float param = from_float16(params[i]);
        float grad = s->grad_coefficient * from_float16(grads[i]);
        float exp_avg = exp_avgs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        exp_avg = s->beta1 * exp_avg + s->rest1 * grad;
        exp_avg_sq = s->beta2 * exp_avg_sq + s->rest2 * (grad * grad);
        float denom = sqrtf(exp_avg_sq) + s->scaled_eps;
        params[i] = to_float16(param - (s->step_size * (exp_avg / denom) + s->decay * param));
        exp_avgs[i] = exp_avg;
        exp_avg_sqs[i] = exp_avg_sq;
    }
}
