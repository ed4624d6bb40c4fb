/* apollo_mini: update of float32 parameters with float32 gradients.
 *
 * Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.
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

static inline float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

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

/* four random words, Philox4x32-10: by the seed and the step, of one call of an array's */
static inline void philox(
    uint32_t *words, int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t call)
{
    uint32_t a = (uint32_t)call, b = (uint32_t)(call >> 32), c = (uint32_t)position, d = (uint32_t)stream;
    uint32_t key = (uint32_t)seed, other_key = (uint32_t)step;
    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)a * 0xD2511F53, q = (uint64_t)c * 0xCD9E8D57;
        a = (uint32_t)(q >> 32) ^ b ^ key;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ other_key;
        d = (uint32_t)p;
        key += 0x9E3779B9;
        other_key += 0xBB67AE85;
    }
    words[0] = a;
    words[1] = b;
    words[2] = c;
    words[3] = d;
}

/* the 16 bits of one of the eight neighbours that four random words are for */
static inline uint32_t half_of(const uint32_t *words, int k)
{
    const uint32_t word = k & 4 ? (k & 2 ? words[3] : words[2]) : (k & 2 ? words[1] : words[0]);
    return k & 1 ? word >> 16 : word & 0xFFFF;
}

/* the 16 random bits of one element of an array; one call serves eight neighbours */
static inline uint32_t random_of(int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t element)
{
    uint32_t words[4];
    philox(words, seed, step, position, stream, element >> 3);
    return half_of(words, (int)(element & 7));
}

/* 1 or -1 for one row or column of a matrix, by a seed and how often the signs were renewed */
static inline int random_sign(int64_t seed, int64_t renewal, int64_t index)
{
    return 1 - 2 * (int)(random_of(seed, renewal, 0, 0xFFFFFFFF, index) >> 15);
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

/* add up so many lines by neighbours, into line 0 */
static inline void add_lines(float *lines, int64_t count, int64_t width)
{
    for (int64_t step = 1; step < count; step *= 2)
        for (int64_t line = 0; line + step < count; line += 2 * step)
            for (int64_t i = line * width; i < (line + 1) * width; i++)
                lines[i] = lines[i] + lines[i + step * width];
}

/* sum a vector in the fixed order of a sum along a row, into sums[0]; there is room for a number for
   each chunk */
static inline void sum_as_row(const float *values, int64_t n, float *sums)
{
    const int64_t chunks = (n + 1024 - 1) / 1024;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        float lanes[256];
        const int64_t left = n - chunk * 1024, count = left < 1024 ? left : 1024;
        const int64_t width = lanes_for(count, 256);
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
        for (int64_t j = 0; j < count; j++)
            lanes[j % 256] = lanes[j % 256] + values[chunk * 1024 + j];
        sums[chunk] = fold(lanes, width);
    }
    add_lines(sums, chunks, 1);
}

typedef struct {
    double lr, betas[2], eps, weight_decay, scale, update_proj_gap, projection_seed, norm_growth;
} apollo_mini_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, eps, step_size, decay, seed, renewal, norm_growth, limited,
        grad_coefficient;
} apollo_mini_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API apollo_mini_scalars apollo_mini_compute_scalars(
    double step, const apollo_mini_hyper *h)
{
    apollo_mini_scalars result;
    double bias1 = 1 - ipow(h->betas[0], step);
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    double step_size = h->lr * root_bias2 / bias1;
    double x = (step - 1) / h->update_proj_gap;
    double nearest = x + 4503599627370496.0 - 4503599627370496.0;
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.eps = (float)(h->eps);
    result.step_size = (float)(step_size * sqrt(h->scale));
    result.decay = (float)(h->lr * h->weight_decay);
    result.seed = (float)(h->projection_seed);
    result.renewal = (float)(nearest - (nearest > x ? 1 : 0.0));
    result.norm_growth = (float)(h->norm_growth);
    result.limited = (float)(step > 1 ? 1 : 0);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void apollo_mini_fold0(
    const apollo_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avgs,
    float *RESTRICT exp_avg_sqs, float *RESTRICT update_norms, float *workspace)
{
    (void)exp_avgs;
    (void)exp_avg_sqs;
    (void)update_norms;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t low_rank_at = 0;
    const int64_t sum1_at = low_rank_at + chunks * size;
    const int64_t signs_at = sum1_at + chunks * size;
    const float seed = s->seed;
    const float renewal = s->renewal;
    for (int64_t column = 0; column < columns; column++) {
        float signs = (float)(random_sign((int64_t)seed, (int64_t)renewal, column));
        workspace[signs_at + column] = signs;
    }
}

static void apollo_mini_pass0(
    const apollo_mini_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t low_rank_at = 0;
    const int64_t sum1_at = low_rank_at + chunks * size;
    const int64_t signs_at = sum1_at + chunks * size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    float low_rank_lanes[256];
    float sum1_lanes[256];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t r = 0; r < height; r++) {
        for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
            const int64_t low_rank_line = low_rank_at + (first_column + chunk) / 1024 * size + first_row;
            const int64_t sum1_line = sum1_at + (first_column + chunk) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < 256; lane++) {
                float low_rank_lane = 0;
                float sum1_lane = 0;
                for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float signs = workspace[signs_at + first_column + column];
                    float grad = grad_coefficient * grads[i];
                    low_rank_lane = low_rank_lane + grad * signs;
                    sum1_lane = sum1_lane + grad * grad;
                }
                low_rank_lanes[lane] = low_rank_lane;
                sum1_lanes[lane] = sum1_lane;
            }
            workspace[low_rank_line + r] = fold(low_rank_lanes, 256);
            workspace[sum1_line + r] = fold(sum1_lanes, 256);
        }
        if (whole < tile_width) {
            const int64_t low_rank_line = low_rank_at + (first_column + whole) / 1024 * size + first_row;
            const int64_t sum1_line = sum1_at + (first_column + whole) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < width; lane++) {
                low_rank_lanes[lane] = 0;
            }
            for (int64_t lane = 0; lane < width; lane++) {
                sum1_lanes[lane] = 0;
            }
            for (int64_t start = whole; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float signs = workspace[signs_at + first_column + column];
                    float grad = grad_coefficient * grads[i];
                    low_rank_lanes[lane] = low_rank_lanes[lane] + grad * signs;
                    sum1_lanes[lane] = sum1_lanes[lane] + grad * grad;
                }
            }
            workspace[low_rank_line + r] = fold(low_rank_lanes, width);
            workspace[sum1_line + r] = fold(sum1_lanes, width);
        }
    }
}

static void apollo_mini_fold1(
    const apollo_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avgs,
    float *RESTRICT exp_avg_sqs, float *RESTRICT update_norms, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t low_rank_at = 0;
    const int64_t sum1_at = low_rank_at + chunks * size;
    const int64_t signs_at = sum1_at + chunks * size;
    const int64_t exp_avg_at = signs_at + columns;
    const int64_t exp_avg_sq_at = exp_avg_at + size;
    const int64_t direction_at = exp_avg_sq_at + size;
    const int64_t value_at = direction_at + size;
    const int64_t total0_at = value_at + size;
    const int64_t value_at_2 = total0_at + strips;
    const int64_t total1_at = value_at_2 + size;
    const int64_t total2_at = total1_at + strips;
    const int64_t value_at_3 = total2_at + strips;
    add_lines(workspace + low_rank_at, chunks, size);
    add_lines(workspace + sum1_at, chunks, size);
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps = s->eps;
    for (int64_t r = 0; r < size; r++) {
        float exp_avg = beta1 * exp_avgs[r] + rest1 * workspace[low_rank_at + r];
        workspace[exp_avg_at + r] = exp_avg;
        float exp_avg_sq = beta2 * exp_avg_sqs[r] + rest2 * (workspace[low_rank_at + r] * workspace[low_rank_at + r]);
        workspace[exp_avg_sq_at + r] = exp_avg_sq;
        float direction = exp_avg / (sqrtf(exp_avg_sq) + eps);
        workspace[direction_at + r] = direction;
        float value = direction * direction;
        workspace[value_at + r] = value;
        float value_2 = workspace[low_rank_at + r] * workspace[low_rank_at + r];
        workspace[value_at_2 + r] = value_2;
    }
    const float step_size = s->step_size;
    const float norm_growth = s->norm_growth;
    const float limited = s->limited;
    sum_as_row(workspace + value_at, size, workspace + total0_at);
    float total0 = workspace[total0_at];
    sum_as_row(workspace + value_at_2, size, workspace + total1_at);
    float total1 = workspace[total1_at];
    float factor = sqrtf(total0) / (sqrtf(total1) + 9.99999993922529e-09f);
    sum_as_row(workspace + sum1_at, size, workspace + total2_at);
    float total2 = workspace[total2_at];
    float full_norm = sqrtf(total2) * factor;
    float growth = maximum(full_norm / (update_norms[0] + 9.99999993922529e-09f), norm_growth) / norm_growth;
    float limiter = limited > 0 ? growth : 1;
    float value_3 = step_size * (factor / limiter);
    workspace[value_at_3] = value_3;
}

static void apollo_mini_pass1(
    const apollo_mini_scalars *s, int64_t index, int64_t size, int64_t columns,
    float *RESTRICT params, const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t low_rank_at = 0;
    const int64_t sum1_at = low_rank_at + chunks * size;
    const int64_t signs_at = sum1_at + chunks * size;
    const int64_t exp_avg_at = signs_at + columns;
    const int64_t exp_avg_sq_at = exp_avg_at + size;
    const int64_t direction_at = exp_avg_sq_at + size;
    const int64_t value_at = direction_at + size;
    const int64_t total0_at = value_at + size;
    const int64_t value_at_2 = total0_at + strips;
    const int64_t total1_at = value_at_2 + size;
    const int64_t total2_at = total1_at + strips;
    const int64_t value_at_3 = total2_at + strips;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    const float decay = s->decay;
    float value = workspace[value_at_3];
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t r = 0; r < height; r++) {
        for (int64_t start = 0; start < tile_width; start += 256) {
            for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float delta = value * grad;
                params[i] = param - (delta + decay * finite_or_zero(param));
            }
        }
    }
}

static void apollo_mini_fold2(
    const apollo_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avgs,
    float *RESTRICT exp_avg_sqs, float *RESTRICT update_norms, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t low_rank_at = 0;
    const int64_t sum1_at = low_rank_at + chunks * size;
    const int64_t signs_at = sum1_at + chunks * size;
    const int64_t exp_avg_at = signs_at + columns;
    const int64_t exp_avg_sq_at = exp_avg_at + size;
    const int64_t direction_at = exp_avg_sq_at + size;
    const int64_t value_at = direction_at + size;
    const int64_t total0_at = value_at + size;
    const int64_t value_at_2 = total0_at + strips;
    const int64_t total1_at = value_at_2 + size;
    const int64_t total2_at = total1_at + strips;
    for (int64_t r = 0; r < size; r++) {
        exp_avgs[r] = workspace[exp_avg_at + r];
        exp_avg_sqs[r] = workspace[exp_avg_sq_at + r];
    }
    float total0 = workspace[total0_at];
    float total1 = workspace[total1_at];
    float total2 = workspace[total2_at];
    const float norm_growth = s->norm_growth;
    const float limited = s->limited;
    float factor = sqrtf(total0) / (sqrtf(total1) + 9.99999993922529e-09f);
    float full_norm = sqrtf(total2) * factor;
    float growth = maximum(full_norm / (update_norms[0] + 9.99999993922529e-09f), norm_growth) / norm_growth;
    float limiter = limited > 0 ? growth : 1;
    update_norms[0] = full_norm / limiter;
}

/* How many numbers the workspace of apollo_mini_update holds. */
SAMESTEP_API int64_t apollo_mini_workspace(int64_t size, int64_t columns)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    return chunks * size + chunks * size + columns + size + size + size + size + strips + size + strips + strips + 1;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void apollo_mini_update(
    const apollo_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *RESTRICT update_norms, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
    apollo_mini_fold0(s, size, columns, exp_avgs, exp_avg_sqs, update_norms, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        apollo_mini_pass0(s, index, size, columns, grads, workspace);
    }
    apollo_mini_fold1(s, size, columns, exp_avgs, exp_avg_sqs, update_norms, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        apollo_mini_pass1(s, index, size, columns, params, grads, workspace);
    }
    apollo_mini_fold2(s, size, columns, exp_avgs, exp_avg_sqs, update_norms, workspace);
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
