/* came: update of float32 parameters with float32 gradients.
 *
 * Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, arXiv:2307.02047,
 * Algorithm 2.
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
    double lr, betas[3], eps[2], clip_threshold, weight_decay;
} came_hyper;

typedef struct {
    float lr, beta1, rest1, beta2, rest2, beta3, rest3, eps1, eps2, clip_threshold, decay,
        grad_coefficient;
} came_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API came_scalars came_compute_scalars(double step, const came_hyper *h)
{
    (void)step;
    came_scalars result;
    result.lr = (float)(h->lr);
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.beta3 = (float)(h->betas[2]);
    result.rest3 = (float)(1 - h->betas[2]);
    result.eps1 = (float)(h->eps[0]);
    result.eps2 = (float)(h->eps[1]);
    result.clip_threshold = (float)(h->clip_threshold);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void came_pass0(
    const came_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    float sum0_lanes[256];
    const float eps1 = s->eps1;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t strip = 0; strip < height; strip += 64) {
        const int64_t sum1_line = sum1_at + (first_row + strip) / 64 * columns + first_column;
        for (int64_t column = 0; column < tile_width; column++) {
            workspace[sum1_line + column] = 0;
        }
        for (int64_t r = strip; r < (strip + 64 < height ? strip + 64 : height); r++) {
            for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
                const int64_t sum0_line = sum0_at + (first_column + chunk) / 1024 * size + first_row;
                for (int64_t lane = 0; lane < 256; lane++) {
                    float sum0_lane = 0;
                    for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                        const int64_t column = start + lane;
                        const int64_t i = r * columns + column;
                        float grad = grad_coefficient * grads[i];
                        float square = grad * grad + eps1;
                        workspace[sum1_line + column] = workspace[sum1_line + column] + square;
                        sum0_lane = sum0_lane + square;
                    }
                    sum0_lanes[lane] = sum0_lane;
                }
                workspace[sum0_line + r] = fold(sum0_lanes, 256);
            }
            if (whole < tile_width) {
                const int64_t sum0_line = sum0_at + (first_column + whole) / 1024 * size + first_row;
                for (int64_t lane = 0; lane < width; lane++) {
                    sum0_lanes[lane] = 0;
                }
                for (int64_t start = whole; start < tile_width; start += 256) {
                    for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                        const int64_t column = start + lane;
                        const int64_t i = r * columns + column;
                        float grad = grad_coefficient * grads[i];
                        float square = grad * grad + eps1;
                        workspace[sum1_line + column] = workspace[sum1_line + column] + square;
                        sum0_lanes[lane] = sum0_lanes[lane] + square;
                    }
                }
                workspace[sum0_line + r] = fold(sum0_lanes, width);
            }
        }
    }
}

static void came_fold1(
    const came_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *RESTRICT exp_avg_res_rows,
    float *RESTRICT exp_avg_res_cols, float *workspace)
{
    (void)exp_avg_res_rows;
    (void)exp_avg_res_cols;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    add_lines(workspace + sum0_at, chunks, size);
    add_lines(workspace + sum1_at, strips, columns);
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    for (int64_t r = 0; r < size; r++) {
        float exp_avg_sq_row = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
        workspace[exp_avg_sq_row_at + r] = exp_avg_sq_row;
    }
    for (int64_t column = 0; column < columns; column++) {
        float exp_avg_sq_col = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
        workspace[exp_avg_sq_col_at + column] = exp_avg_sq_col;
        float col_factor = 1 / sqrtf(exp_avg_sq_col);
        workspace[col_factor_at + column] = col_factor;
    }
    sum_as_row(workspace + exp_avg_sq_row_at, size, workspace + total0_at);
    float total0 = workspace[total0_at];
    for (int64_t r = 0; r < size; r++) {
        float row_factor = 1 / sqrtf(workspace[exp_avg_sq_row_at + r] / (total0 / (float)(size)));
        workspace[row_factor_at + r] = row_factor;
    }
}

static void came_pass1(
    const came_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    float sum2_lanes[256];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t r = 0; r < height; r++) {
        float row_factor = workspace[row_factor_at + first_row + r];
        for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
            const int64_t sum2_line = sum2_at + (first_column + chunk) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < 256; lane++) {
                float sum2_lane = 0;
                for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float col_factor = workspace[col_factor_at + first_column + column];
                    float grad = grad_coefficient * grads[i];
                    float update = grad * row_factor * col_factor;
                    sum2_lane = sum2_lane + update * update;
                }
                sum2_lanes[lane] = sum2_lane;
            }
            workspace[sum2_line + r] = fold(sum2_lanes, 256);
        }
        if (whole < tile_width) {
            const int64_t sum2_line = sum2_at + (first_column + whole) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < width; lane++) {
                sum2_lanes[lane] = 0;
            }
            for (int64_t start = whole; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float col_factor = workspace[col_factor_at + first_column + column];
                    float grad = grad_coefficient * grads[i];
                    float update = grad * row_factor * col_factor;
                    sum2_lanes[lane] = sum2_lanes[lane] + update * update;
                }
            }
            workspace[sum2_line + r] = fold(sum2_lanes, width);
        }
    }
}

static void came_fold2(
    const came_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *RESTRICT exp_avg_res_rows,
    float *RESTRICT exp_avg_res_cols, float *workspace)
{
    (void)exp_avg_sq_rows;
    (void)exp_avg_sq_cols;
    (void)exp_avg_res_rows;
    (void)exp_avg_res_cols;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t total1_at = col_factor_at + columns;
    const int64_t row_factor_at_2 = total1_at + strips;
    add_lines(workspace + sum2_at, chunks, size);
    sum_as_row(workspace + sum2_at, size, workspace + total1_at);
    float total1 = workspace[total1_at];
    const float clip_threshold = s->clip_threshold;
    for (int64_t r = 0; r < size; r++) {
        float row_factor = workspace[row_factor_at + r] / maximum(sqrtf(total1 / (float)(size * columns)) / clip_threshold, 1);
        workspace[row_factor_at_2 + r] = row_factor;
    }
}

static void came_pass2(
    const came_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t total1_at = col_factor_at + columns;
    const int64_t row_factor_at_2 = total1_at + strips;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    float sum3_lanes[256];
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t strip = 0; strip < height; strip += 64) {
        const int64_t sum4_line = sum4_at + (first_row + strip) / 64 * columns + first_column;
        for (int64_t column = 0; column < tile_width; column++) {
            workspace[sum4_line + column] = 0;
        }
        for (int64_t r = strip; r < (strip + 64 < height ? strip + 64 : height); r++) {
            float row_factor = workspace[row_factor_at_2 + first_row + r];
            for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
                const int64_t sum3_line = sum3_at + (first_column + chunk) / 1024 * size + first_row;
                for (int64_t lane = 0; lane < 256; lane++) {
                    float sum3_lane = 0;
                    for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                        const int64_t column = start + lane;
                        const int64_t i = r * columns + column;
                        float col_factor = workspace[col_factor_at + first_column + column];
                        float grad = grad_coefficient * grads[i];
                        float exp_avg = exp_avgs[i];
                        float update = grad * row_factor * col_factor;
                        exp_avg = beta1 * exp_avg + rest1 * update;
                        float residual = (update - exp_avg) * (update - exp_avg);
                        exp_avgs[i] = exp_avg;
                        workspace[sum4_line + column] = workspace[sum4_line + column] + residual;
                        sum3_lane = sum3_lane + residual;
                    }
                    sum3_lanes[lane] = sum3_lane;
                }
                workspace[sum3_line + r] = fold(sum3_lanes, 256);
            }
            if (whole < tile_width) {
                const int64_t sum3_line = sum3_at + (first_column + whole) / 1024 * size + first_row;
                for (int64_t lane = 0; lane < width; lane++) {
                    sum3_lanes[lane] = 0;
                }
                for (int64_t start = whole; start < tile_width; start += 256) {
                    for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                        const int64_t column = start + lane;
                        const int64_t i = r * columns + column;
                        float col_factor = workspace[col_factor_at + first_column + column];
                        float grad = grad_coefficient * grads[i];
                        float exp_avg = exp_avgs[i];
                        float update = grad * row_factor * col_factor;
                        exp_avg = beta1 * exp_avg + rest1 * update;
                        float residual = (update - exp_avg) * (update - exp_avg);
                        exp_avgs[i] = exp_avg;
                        workspace[sum4_line + column] = workspace[sum4_line + column] + residual;
                        sum3_lanes[lane] = sum3_lanes[lane] + residual;
                    }
                }
                workspace[sum3_line + r] = fold(sum3_lanes, width);
            }
        }
    }
}

static void came_fold3(
    const came_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *RESTRICT exp_avg_res_rows,
    float *RESTRICT exp_avg_res_cols, float *workspace)
{
    (void)exp_avg_sq_rows;
    (void)exp_avg_sq_cols;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t total1_at = col_factor_at + columns;
    const int64_t row_factor_at_2 = total1_at + strips;
    const int64_t row_at = row_factor_at_2 + size;
    const int64_t col_at = row_at + size;
    const int64_t exp_avg_res_row_at = col_at + columns;
    const int64_t exp_avg_res_col_at = exp_avg_res_row_at + size;
    const int64_t total2_at = exp_avg_res_col_at + columns;
    const int64_t row_factor_at_3 = total2_at + strips;
    const int64_t col_factor_at_2 = row_factor_at_3 + size;
    add_lines(workspace + sum3_at, chunks, size);
    add_lines(workspace + sum4_at, strips, columns);
    const float beta3 = s->beta3;
    const float rest3 = s->rest3;
    const float eps2 = s->eps2;
    for (int64_t r = 0; r < size; r++) {
        float row_2 = workspace[sum3_at + r] / (float)(columns) + eps2;
        workspace[row_at + r] = row_2;
        float exp_avg_res_row = beta3 * exp_avg_res_rows[r] + rest3 * row_2;
        workspace[exp_avg_res_row_at + r] = exp_avg_res_row;
    }
    for (int64_t column = 0; column < columns; column++) {
        float col = workspace[sum4_at + column] / (float)(size) + eps2;
        workspace[col_at + column] = col;
        float exp_avg_res_col = beta3 * exp_avg_res_cols[column] + rest3 * col;
        workspace[exp_avg_res_col_at + column] = exp_avg_res_col;
        float col_factor = 1 / sqrtf(exp_avg_res_col);
        workspace[col_factor_at_2 + column] = col_factor;
    }
    sum_as_row(workspace + exp_avg_res_row_at, size, workspace + total2_at);
    float total2 = workspace[total2_at];
    for (int64_t r = 0; r < size; r++) {
        float row_factor = 1 / sqrtf(workspace[exp_avg_res_row_at + r] / (total2 / (float)(size)));
        workspace[row_factor_at_3 + r] = row_factor;
    }
}

static void came_pass3(
    const came_scalars *s, int64_t index, int64_t size, int64_t columns, float *RESTRICT params,
    float *RESTRICT exp_avgs, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t total1_at = col_factor_at + columns;
    const int64_t row_factor_at_2 = total1_at + strips;
    const int64_t row_at = row_factor_at_2 + size;
    const int64_t col_at = row_at + size;
    const int64_t exp_avg_res_row_at = col_at + columns;
    const int64_t exp_avg_res_col_at = exp_avg_res_row_at + size;
    const int64_t total2_at = exp_avg_res_col_at + columns;
    const int64_t row_factor_at_3 = total2_at + strips;
    const int64_t col_factor_at_2 = row_factor_at_3 + size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    const float lr = s->lr;
    const float decay = s->decay;
    for (int64_t r = 0; r < height; r++) {
        float row_factor = workspace[row_factor_at_3 + first_row + r];
        for (int64_t start = 0; start < tile_width; start += 256) {
            for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float col_factor = workspace[col_factor_at_2 + first_column + column];
                float param = params[i];
                float exp_avg = exp_avgs[i];
                float step_2 = lr * (exp_avg * row_factor * col_factor);
                params[i] = param - (step_2 + decay * finite_or_zero(param));
            }
        }
    }
}

static void came_fold4(
    const came_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *RESTRICT exp_avg_res_rows,
    float *RESTRICT exp_avg_res_cols, float *workspace)
{
    (void)s;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks * size;
    const int64_t sum2_at = sum1_at + strips * columns;
    const int64_t sum3_at = sum2_at + chunks * size;
    const int64_t sum4_at = sum3_at + chunks * size;
    const int64_t exp_avg_sq_row_at = sum4_at + strips * columns;
    const int64_t exp_avg_sq_col_at = exp_avg_sq_row_at + size;
    const int64_t total0_at = exp_avg_sq_col_at + columns;
    const int64_t row_factor_at = total0_at + strips;
    const int64_t col_factor_at = row_factor_at + size;
    const int64_t total1_at = col_factor_at + columns;
    const int64_t row_factor_at_2 = total1_at + strips;
    const int64_t row_at = row_factor_at_2 + size;
    const int64_t col_at = row_at + size;
    const int64_t exp_avg_res_row_at = col_at + columns;
    const int64_t exp_avg_res_col_at = exp_avg_res_row_at + size;
    for (int64_t r = 0; r < size; r++) {
        float exp_avg_sq_row = workspace[exp_avg_sq_row_at + r];
        float exp_avg_res_row = workspace[exp_avg_res_row_at + r];
        exp_avg_sq_rows[r] = exp_avg_sq_row;
        exp_avg_res_rows[r] = exp_avg_res_row;
    }
    for (int64_t column = 0; column < columns; column++) {
        float exp_avg_sq_col = workspace[exp_avg_sq_col_at + column];
        float exp_avg_res_col = workspace[exp_avg_res_col_at + column];
        exp_avg_sq_cols[column] = exp_avg_sq_col;
        exp_avg_res_cols[column] = exp_avg_res_col;
    }
}

/* How many numbers the workspace of came_update holds. */
SAMESTEP_API int64_t came_workspace(int64_t size, int64_t columns)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    return chunks * size + strips * columns + chunks * size + chunks * size + strips * columns + size + columns + strips + size + columns + strips + size + size + columns + size + columns + strips + size + columns;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void came_update(
    const came_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sq_rows,
    float *RESTRICT exp_avg_sq_cols, float *RESTRICT exp_avg_res_rows,
    float *RESTRICT exp_avg_res_cols, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        came_pass0(s, index, size, columns, grads, workspace);
    }
    came_fold1(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, exp_avg_res_rows, exp_avg_res_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        came_pass1(s, index, size, columns, grads, workspace);
    }
    came_fold2(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, exp_avg_res_rows, exp_avg_res_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        came_pass2(s, index, size, columns, grads, exp_avgs, workspace);
    }
    came_fold3(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, exp_avg_res_rows, exp_avg_res_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        came_pass3(s, index, size, columns, params, exp_avgs, workspace);
    }
    came_fold4(s, size, columns, exp_avg_sq_rows, exp_avg_sq_cols, exp_avg_res_rows, exp_avg_res_cols, workspace);
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
