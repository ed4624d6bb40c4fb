/* adafactor_no_scale_parameter_beta1: update of float32 parameters with float32 gradients.
 *
 * Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost,
 * arXiv:1804.04235, Algorithm 4.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned int uint32_t;
typedef unsigned short uint16_t;
#else
#include <stdint.h>
#endif
/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))

static __device__ __forceinline__ float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

/* the sum of that many lanes of a block, a power of two, by halves; every thread gets it */
static __device__ __forceinline__ float fold(float *lanes, int64_t width)
{
    __syncthreads();
    for (width /= 2; width > 0; width /= 2) {
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x)
            lanes[lane] = lanes[lane] + lanes[lane + width];
        __syncthreads();
    }
    const float sum = lanes[0];
    __syncthreads();
    return sum;
}

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the sum of a vector of up to 65536 * 65536 values in the fixed order of a sum over a tensor */
static __device__ __forceinline__ float total(const float *values, int64_t n)
{
    __shared__ float lanes[2048], upper[2048];
    const int64_t chunks = n > 65536 ? (n + 65536 - 1) / 65536 : 1, upper_width = lanes_for(chunks, 2048);
    for (int lane = threadIdx.x; lane < upper_width; lane += blockDim.x) upper[lane] = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t first = chunk * 65536, count = n - first < 65536 ? n - first : 65536;
        const int64_t width = lanes_for(count, 2048);
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x) {
            float sum = 0;
            for (int64_t i = lane; i < count; i += 2048) sum = sum + values[first + i];
            lanes[lane] = sum;
        }
        const float sum = fold(lanes, width);
        if (threadIdx.x == 0) upper[chunk % 2048] = upper[chunk % 2048] + sum;
    }
    return fold(upper, upper_width);
}

/* add up the lines of strips by halves, into line 0; a thread has its own columns */
static __device__ __forceinline__ void fold_strips(float *strips, int64_t width, int64_t columns)
{
    while (width > 1) {
        const int64_t half = (width + 1) / 2;
        for (int64_t strip = 0; strip < width - half; strip++)
            for (int64_t column = threadIdx.x; column < columns; column += blockDim.x)
                strips[strip * columns + column] =
                    strips[strip * columns + column] + strips[(strip + half) * columns + column];
        width = half;
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(256, 2) adafactor_no_scale_parameter_beta1_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float sum0_lanes[256];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int64_t height = chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 14;
    const int64_t index = chunk[6];
    const int64_t columns = tensor[2];
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t sum0_at = tensor[6];
    const int64_t sum1_at = tensor[7];
    const float eps1 = rows[row * 9 + 2];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t first_row = index * 64;
    const int64_t width = lanes_for(columns, 256);
    for (int64_t column = threadIdx.x; column < columns; column += blockDim.x) {
        workspace[sum1_at + index * columns + column] = 0;
    }
    for (int64_t r = 0; r < height; r++) {
        for (int64_t lane = threadIdx.x; lane < width; lane += blockDim.x) {
            sum0_lanes[lane] = 0;
        }
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = threadIdx.x; lane < (256 < columns - start ? 256 : columns - start); lane += blockDim.x) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float grad = grad_coefficient * grads[i];
                float square = grad * grad + eps1;
                sum0_lanes[lane] = sum0_lanes[lane] + square;
                workspace[sum1_at + index * columns + column] = workspace[sum1_at + index * columns + column] + square;
            }
        }
        float sum0 = fold(sum0_lanes, width);
        if (threadIdx.x == 0) workspace[sum0_at + first_row + r] = sum0;
    }
}

extern "C" __global__ void __launch_bounds__(256) adafactor_no_scale_parameter_beta1_fold1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 14;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t chunks = tensor[3];
    if (row < 0 || control[1] != 0) return;
    float *exp_avg_sq_rows = GLOBAL(float, tensor[4]);
    float *exp_avg_sq_cols = GLOBAL(float, tensor[5]);
    const int64_t sum0_at = tensor[6];
    const int64_t sum1_at = tensor[7];
    const int64_t row_factor_at = tensor[9];
    const int64_t col_factor_at = tensor[10];
    const int64_t exp_avg_sq_row_at = tensor[12];
    const int64_t exp_avg_sq_col_at = tensor[13];
    const float beta2 = rows[row * 9 + 0];
    const float rest2 = rows[row * 9 + 1];
    fold_strips(workspace + sum1_at, chunks, columns);
    for (int64_t r = threadIdx.x; r < size; r += blockDim.x) {
        workspace[exp_avg_sq_row_at + r] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
    }
    __syncthreads();
    for (int64_t column = threadIdx.x; column < columns; column += blockDim.x) {
        workspace[exp_avg_sq_col_at + column] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
    }
    __syncthreads();
    float value = total(workspace + exp_avg_sq_row_at, size);
    for (int64_t r = threadIdx.x; r < size; r += blockDim.x) {
        workspace[row_factor_at + r] = 1 / sqrtf(workspace[exp_avg_sq_row_at + r] / (value / (float)(size)));
    }
    __syncthreads();
    for (int64_t column = threadIdx.x; column < columns; column += blockDim.x) {
        workspace[col_factor_at + column] = 1 / sqrtf(workspace[exp_avg_sq_col_at + column]);
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(256, 2) adafactor_no_scale_parameter_beta1_pass1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    alignas(16) __shared__ float sum2_lanes[256];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int64_t height = chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 14;
    const int64_t index = chunk[6];
    const int64_t columns = tensor[2];
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t sum2_at = tensor[8];
    const int64_t row_factor_at = tensor[9];
    const int64_t col_factor_at = tensor[10];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t first_row = index * 64;
    const int64_t width = lanes_for(columns, 256);
    for (int64_t r = blockIdx.y; r < height; r += gridDim.y) {
        float row_factor = workspace[row_factor_at + first_row + r];
        for (int64_t lane = threadIdx.x; lane < width; lane += blockDim.x) {
            sum2_lanes[lane] = 0;
        }
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = threadIdx.x; lane < (256 < columns - start ? 256 : columns - start); lane += blockDim.x) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float col_factor = workspace[col_factor_at + column];
                float grad = grad_coefficient * grads[i];
                float direction = grad * row_factor * col_factor;
                sum2_lanes[lane] = sum2_lanes[lane] + direction * direction;
            }
        }
        float sum2 = fold(sum2_lanes, width);
        if (threadIdx.x == 0) workspace[sum2_at + first_row + r] = sum2;
    }
}

extern "C" __global__ void __launch_bounds__(256) adafactor_no_scale_parameter_beta1_fold2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 14;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    if (row < 0 || control[1] != 0) return;
    const int64_t sum2_at = tensor[8];
    const int64_t step_size_at = tensor[11];
    const float rho = rows[row * 9 + 4];
    const float d = rows[row * 9 + 5];
    float sum2 = total(workspace + sum2_at, size);
    float clip = maximum(sqrtf(sum2 / (float)(size * columns)) / d, 1);
    float step_size = rho / clip;
    if (threadIdx.x == 0) workspace[step_size_at] = step_size;
}

extern "C" __global__ void __launch_bounds__(256) adafactor_no_scale_parameter_beta1_pass2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int64_t height = chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 14;
    const int64_t index = chunk[6];
    const int64_t columns = tensor[2];
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    const int64_t row_factor_at = tensor[9];
    const int64_t col_factor_at = tensor[10];
    const int64_t step_size_at = tensor[11];
    const float rho = rows[row * 9 + 4];
    const float weight_decay = rows[row * 9 + 6];
    const float beta1 = rows[row * 9 + 7];
    const float rest1 = rows[row * 9 + 8];
    float step_size = workspace[step_size_at];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t first_row = index * 64;
    for (int64_t r = blockIdx.y; r < height; r += gridDim.y) {
        float row_factor = workspace[row_factor_at + first_row + r];
        for (int64_t start = 0; start < columns; start += 256) {
            for (int64_t lane = threadIdx.x; lane < (256 < columns - start ? 256 : columns - start); lane += blockDim.x) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float col_factor = workspace[col_factor_at + column];
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float exp_avg = exp_avgs[i];
                float direction = grad * row_factor * col_factor;
                float decay = rho * weight_decay;
                exp_avg = beta1 * exp_avg + rest1 * (step_size * direction);
                params[i] = param - (exp_avg + decay * param);
                exp_avgs[i] = exp_avg;
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) adafactor_no_scale_parameter_beta1_fold3(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 14;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    if (row < 0 || control[1] != 0) return;
    float *exp_avg_sq_rows = GLOBAL(float, tensor[4]);
    float *exp_avg_sq_cols = GLOBAL(float, tensor[5]);
    const int64_t sum0_at = tensor[6];
    const int64_t sum1_at = tensor[7];
    const int64_t exp_avg_sq_row_at = tensor[12];
    const int64_t exp_avg_sq_col_at = tensor[13];
    const float beta2 = rows[row * 9 + 0];
    const float rest2 = rows[row * 9 + 1];
    for (int64_t r = threadIdx.x; r < size; r += blockDim.x) {
        workspace[exp_avg_sq_row_at + r] = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
    }
    __syncthreads();
    for (int64_t column = threadIdx.x; column < columns; column += blockDim.x) {
        workspace[exp_avg_sq_col_at + column] = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
    }
    __syncthreads();
    for (int64_t r = threadIdx.x; r < size; r += blockDim.x) {
        exp_avg_sq_rows[r] = workspace[exp_avg_sq_row_at + r];
    }
    __syncthreads();
    for (int64_t column = threadIdx.x; column < columns; column += blockDim.x) {
        exp_avg_sq_cols[column] = workspace[exp_avg_sq_col_at + column];
    }
    __syncthreads();
}
