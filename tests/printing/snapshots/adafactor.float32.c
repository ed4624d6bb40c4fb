/* adafactor: update of float32 parameters with float32 gradients.
 *
 * Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost,
 * arXiv:1804.04235, Algorithm 4.
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

static inline float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

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

/* add up the lines of strips by halves, into line 0 */
static inline void fold_strips(float *strips, int64_t width, int64_t columns)
{
    while (width > 1) {
        const int64_t half = (width + 1) / 2;
        for (int64_t i = 0; i < (width - half) * columns; i++)
            strips[i] = strips[i] + strips[half * columns + i];
        width = half;
    }
}

typedef struct {
    double lr, beta2_decay, eps[2], d, weight_decay, beta1, relative_step;
} adafactor_hyper;

typedef struct {
    float beta2, rest2, eps1, eps2, rho, d, weight_decay, grad_coefficient;
} adafactor_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adafactor_scalars adafactor_compute_scalars(double step, const adafactor_hyper *h)
{
    adafactor_scalars result;
    double fading = pow(step, h->beta2_decay);
    double relative = 1 / sqrt(step);
    double bounded = relative < h->lr ? relative : h->lr;
    result.beta2 = (float)(1 - fading);
    result.rest2 = (float)(fading);
    result.eps1 = (float)(h->eps[0]);
    result.eps2 = (float)(h->eps[1]);
    result.rho = (float)(h->relative_step != 0 ? bounded : h->lr);
    result.d = (float)(h->d);
    result.weight_decay = (float)(h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void adafactor_pass0(
    const adafactor_scalars *s, int64_t index, int64_t size, int64_t columns,
    float *RESTRICT params, const float *RESTRICT grads, float *workspace)
{
    const int64_t height = (size - index * 64 < 64 ? size - index * 64 : 64);
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    params += index * 64 * columns;
    grads += index * 64 * columns;
    const float eps1 = s->eps1;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t first_row = index * 64;
    const int64_t width = lanes_for(columns, 256);
    for (int64_t column = 0; column < columns; column++) {
        workspace[sum1_at + index * columns + column] = 0;
    }
    for (int64_t r = 0; r < height; r++) {
        float sum0_lanes[256];
        for (int64_t lane = 0; lane < width; lane++) {
            sum0_lanes[lane] = 0;
        }
        float sum2_lanes[256];
        for (int64_t lane = 0; lane < width; lane++) {
            sum2_lanes[lane] = 0;
        }
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = 0; lane < (256 < columns - start ? 256 : columns - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float square = grad * grad + eps1;
                sum0_lanes[lane] = sum0_lanes[lane] + square;
                workspace[sum1_at + index * columns + column] = workspace[sum1_at + index * columns + column] + square;
                sum2_lanes[lane] = sum2_lanes[lane] + param * param;
            }
        }
        float sum0 = fold(sum0_lanes, width);
        workspace[sum0_at + first_row + r] = sum0;
        float sum2 = fold(sum2_lanes, width);
        workspace[sum2_at + first_row + r] = sum2;
    }
}

static void adafactor_fold1(
    const adafactor_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *workspace)
{
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    const int64_t sum3_at = sum2_at + size;
    const int64_t row_factor_at = sum3_at + size;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t step_size_at = col_factor_at + columns;
    const int64_t decay_at = step_size_at + 1;
    const int64_t exp_avg_sq_row_at = decay_at + 1;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps2 = s->eps2;
    const float rho = s->rho;
    const float weight_decay = s->weight_decay;
    fold_strips(workspace + sum1_at, chunks, columns);
    for (int64_t r = 0; r < size; r++) {
        workspace[exp_avg_sq_row_at + r] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
    }
    for (int64_t column = 0; column < columns; column++) {
        workspace[exp_avg_sq_col_at + column] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
    }
    float value = total(workspace + exp_avg_sq_row_at, size);
    for (int64_t r = 0; r < size; r++) {
        workspace[row_factor_at + r] = 1 / sqrtf(workspace[exp_avg_sq_row_at + r] / (value / (float)(size)));
    }
    for (int64_t column = 0; column < columns; column++) {
        workspace[col_factor_at + column] = 1 / sqrtf(workspace[exp_avg_sq_col_at + column]);
    }
    float sum2 = total(workspace + sum2_at, size);
    float alpha = maximum(sqrtf(sum2 / (float)(size * columns)), eps2) * rho;
    float decay = alpha * weight_decay;
    workspace[decay_at] = decay;
}

static void adafactor_pass1(
    const adafactor_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t height = (size - index * 64 < 64 ? size - index * 64 : 64);
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    const int64_t sum3_at = sum2_at + size;
    const int64_t row_factor_at = sum3_at + size;
    const int64_t col_factor_at = row_factor_at + size;
    grads += index * 64 * columns;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t first_row = index * 64;
    const int64_t width = lanes_for(columns, 256);
    for (int64_t r = 0; r < height; r++) {
        float row_factor = workspace[row_factor_at + first_row + r];
        float sum3_lanes[256];
        for (int64_t lane = 0; lane < width; lane++) {
            sum3_lanes[lane] = 0;
        }
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = 0; lane < (256 < columns - start ? 256 : columns - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float col_factor = workspace[col_factor_at + column];
                float grad = grad_coefficient * grads[i];
                float direction = grad * row_factor * col_factor;
                sum3_lanes[lane] = sum3_lanes[lane] + direction * direction;
            }
        }
        float sum3 = fold(sum3_lanes, width);
        workspace[sum3_at + first_row + r] = sum3;
    }
}

static void adafactor_fold2(
    const adafactor_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *workspace)
{
    (void)exp_avg_sq_rows;
    (void)exp_avg_sq_cols;
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    const int64_t sum3_at = sum2_at + size;
    const int64_t row_factor_at = sum3_at + size;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t step_size_at = col_factor_at + columns;
    const float eps2 = s->eps2;
    const float rho = s->rho;
    const float d = s->d;
    float sum2 = total(workspace + sum2_at, size);
    float alpha = maximum(sqrtf(sum2 / (float)(size * columns)), eps2) * rho;
    float sum3 = total(workspace + sum3_at, size);
    float clip = maximum(sqrtf(sum3 / (float)(size * columns)) / d, 1);
    float step_size = alpha / clip;
    workspace[step_size_at] = step_size;
}

static void adafactor_pass2(
    const adafactor_scalars *s, int64_t index, int64_t size, int64_t columns,
    float *RESTRICT params, const float *RESTRICT grads, float *workspace)
{
    const int64_t height = (size - index * 64 < 64 ? size - index * 64 : 64);
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    const int64_t sum3_at = sum2_at + size;
    const int64_t row_factor_at = sum3_at + size;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t step_size_at = col_factor_at + columns;
    const int64_t decay_at = step_size_at + 1;
    params += index * 64 * columns;
    grads += index * 64 * columns;
    float step_size = workspace[step_size_at];
    float decay = workspace[decay_at];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t first_row = index * 64;
    for (int64_t r = 0; r < height; r++) {
        float row_factor = workspace[row_factor_at + first_row + r];
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = 0; lane < (256 < columns - start ? 256 : columns - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float col_factor = workspace[col_factor_at + column];
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float direction = grad * row_factor * col_factor;
                params[i] = param - (step_size * direction + decay * param);
            }
        }
    }
}

static void adafactor_fold3(
    const adafactor_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *workspace)
{
    const int64_t chunks = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + size;
    const int64_t sum2_at = sum1_at + chunks * columns;
    const int64_t sum3_at = sum2_at + size;
    const int64_t row_factor_at = sum3_at + size;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t step_size_at = col_factor_at + columns;
    const int64_t decay_at = step_size_at + 1;
    const int64_t exp_avg_sq_row_at = decay_at + 1;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    for (int64_t r = 0; r < size; r++) {
        workspace[exp_avg_sq_row_at + r] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
    }
    for (int64_t column = 0; column < columns; column++) {
        workspace[exp_avg_sq_col_at + column] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
    }
    for (int64_t r = 0; r < size; r++) {
        exp_avg_sq_rows[r] = workspace[exp_avg_sq_row_at + r];
    }
    for (int64_t column = 0; column < columns; column++) {
        exp_avg_sq_cols[column] = workspace[exp_avg_sq_col_at + column];
    }
}

/* How many numbers the workspace of adafactor_update holds. */
SAMESTEP_API int64_t adafactor_workspace(int64_t size, int64_t columns)
{
    const int64_t chunks = (size + 63) / 64;
    return size + chunks * columns + size + size + size + columns + 1 + 1 + size + columns;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void adafactor_update(
    const adafactor_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avg_sq_rows, float *RESTRICT exp_avg_sq_cols,
    float *workspace)
{
    const int64_t chunks = (size + 63) / 64;
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        adafactor_pass0(s, index, size, columns, params, grads, workspace);
    }
    adafactor_fold1(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        adafactor_pass1(s, index, size, columns, grads, workspace);
    }
    adafactor_fold2(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        adafactor_pass2(s, index, size, columns, params, grads, workspace);
    }
    adafactor_fold3(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, workspace);
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
