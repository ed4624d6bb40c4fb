/* lamb: update of bfloat16 parameters with bfloat16 gradients.
 *
 * You et al., Large Batch Optimization for Deep Learning, arXiv:1904.00962, Algorithm 2.
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

static inline float from_bfloat16(uint16_t h) { return float_of((uint32_t)h << 16); }

static inline uint16_t to_bfloat16(float x)
{
    const uint32_t u = bits_of(x);
    if (x != x) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

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

typedef struct { double lr, betas[2], eps, weight_decay; } lamb_hyper;
typedef struct { float beta1, rest1, beta2, rest2, correction, scaled_eps, weight_decay, lr, grad_coefficient; } lamb_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
static inline lamb_scalars lamb_compute_scalars(double step, const lamb_hyper *h)
{
    lamb_scalars result;
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.correction = (float)(root_bias2 / (1 - ipow(h->betas[0], step)));
    result.scaled_eps = (float)(h->eps * root_bias2);
    result.weight_decay = (float)(h->weight_decay);
    result.lr = (float)(h->lr);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void lamb_pass0(
    const lamb_scalars *s, int64_t index, int64_t size, int64_t columns, uint16_t *params,
    const uint16_t *grads, float *exp_avgs, float *exp_avg_sqs, float *workspace)
{
    (void)columns;
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    exp_avgs += index * 65536;
    exp_avg_sqs += index * 65536;
    const int64_t width = lanes_for(n, 2048);
    float sum0_lanes[2048];
    for (int64_t lane = 0; lane < width; lane++) {
        sum0_lanes[lane] = 0;
    }
    float sum1_lanes[2048];
    for (int64_t lane = 0; lane < width; lane++) {
        sum1_lanes[lane] = 0;
    }
    for (int64_t start = 0; start < n; start += 2048) {
        for (int64_t lane = 0; lane < (2048 < n - start ? 2048 : n - start); lane++) {
            const int64_t i = start + lane;
            float param = from_bfloat16(params[i]);
            float grad = s->grad_coefficient * from_bfloat16(grads[i]);
            float exp_avg = exp_avgs[i];
            float exp_avg_sq = exp_avg_sqs[i];
            exp_avg = s->beta1 * exp_avg + s->rest1 * grad;
            exp_avg_sq = s->beta2 * exp_avg_sq + s->rest2 * (grad * grad);
            float denom = sqrtf(exp_avg_sq) + s->scaled_eps;
            float direction = s->correction * (exp_avg / denom) + s->weight_decay * param;
            exp_avgs[i] = exp_avg;
            exp_avg_sqs[i] = exp_avg_sq;
            sum0_lanes[lane] = sum0_lanes[lane] + param * param;
            sum1_lanes[lane] = sum1_lanes[lane] + direction * direction;
        }
    }
    float sum0 = fold(sum0_lanes, width);
    workspace[sum0_at + index] = sum0;
    float sum1 = fold(sum1_lanes, width);
    workspace[sum1_at + index] = sum1;
}

static void lamb_fold1(const lamb_scalars *s, int64_t size, int64_t columns, float *workspace)
{
    (void)s;
    (void)columns;
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t trust_ratio_at = sum1_at + chunks;
    float sum0 = total(workspace + sum0_at, chunks);
    float param_norm = sqrtf(sum0);
    float sum1 = total(workspace + sum1_at, chunks);
    float update_norm = sqrtf(sum1);
    float ratio = update_norm > 0 ? param_norm / update_norm : 1;
    float trust_ratio = param_norm > 0 ? ratio : 1;
    workspace[trust_ratio_at] = trust_ratio;
}

static void lamb_pass1(
    const lamb_scalars *s, int64_t index, int64_t size, int64_t columns, uint16_t *params,
    float *exp_avgs, float *exp_avg_sqs, float *workspace)
{
    (void)columns;
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t trust_ratio_at = sum1_at + chunks;
    params += index * 65536;
    exp_avgs += index * 65536;
    exp_avg_sqs += index * 65536;
    float trust_ratio = workspace[trust_ratio_at];
    for (int64_t i = 0; i < n; i++) {
        float param = from_bfloat16(params[i]);
        float exp_avg = exp_avgs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        float denom = sqrtf(exp_avg_sq) + s->scaled_eps;
        float direction = s->correction * (exp_avg / denom) + s->weight_decay * param;
        params[i] = to_bfloat16(param - s->lr * (trust_ratio * direction));
    }
}

/* How many numbers the workspace of lamb_update holds. */
static inline int64_t lamb_workspace(int64_t size, int64_t columns)
{
    (void)columns;
    const int64_t chunks = (size + 65535) / 65536;
    return chunks + chunks + 1;
}

/* One step of one tensor of size elements (columns: 1). */
void lamb_update(
    const lamb_scalars *s, int64_t size, int64_t columns, uint16_t *params, const uint16_t *grads,
    float *exp_avgs, float *exp_avg_sqs, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
    for (int64_t index = 0; index < chunks; index++) {
        lamb_pass0(s, index, size, columns, params, grads, exp_avgs, exp_avg_sqs, workspace);
    }
    lamb_fold1(s, size, columns, workspace);
    for (int64_t index = 0; index < chunks; index++) {
        lamb_pass1(s, index, size, columns, params, exp_avgs, exp_avg_sqs, workspace);
    }
}
