/* sm3: update of float32 parameters with float32 gradients.
 *
 * Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm SM3-II.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef signed char int8_t;
typedef unsigned char uint8_t;
#else
#include <stdint.h>
#endif
/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))

static __device__ __forceinline__ float minimum(float a, float b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }

/* the larger one of two numbers that are not negative; NaN if either is. Where two of these take the
   same a, no comparison is the same: compilers would make a branch of it */
static __device__ __forceinline__ float larger(float a, float b) { return b >= a ? b : (b != b ? b : a); }

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the largest of so many lines of n numbers, that far apart, into the first one; none is negative */
static __device__ __forceinline__ void largest_lines(float *lines, int64_t count, int64_t apart, int64_t n)
{
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        float largest = lines[i];
        for (int64_t line = 1; line < count; line++)
            largest = larger(lines[line * apart + i], largest);
        lines[i] = largest;
    }
    __syncthreads();
}

/* the largest of each of so many groups of lanes, a power of two each, into the first lane of the
   group; none is negative */
static __device__ __forceinline__ void largest_each(float *lanes, int groups, int width)
{
    int bits = 0;
    while (1 << bits < width) bits++;
    for (int half = bits - 1; half >= 0; half--) {
        __syncthreads();
        for (int i = threadIdx.x; i < groups << half; i += blockDim.x) {
            float *const lane = lanes + ((i >> half) << bits) + (i & ((1 << half) - 1));
            *lane = larger(lane[1 << half], *lane);
        }
    }
    __syncthreads();
}

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };

extern "C" __global__ void __launch_bounds__(256) sm3_fold0_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 10;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *accumulator_rows = GLOBAL(float, tensor[4]);
    float *accumulator_cols = GLOBAL(float, tensor[5]);
    const int64_t accumulator_row_at = tensor[8];
    const int64_t accumulator_col_at = tensor[9];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float accumulator_row = accumulator_rows[r];
            workspace[accumulator_row_at + r] = accumulator_row;
        }
    }
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float accumulator_col = accumulator_cols[column];
            workspace[accumulator_col_at + column] = accumulator_col;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2) sm3_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float row_lanes_2[2048];
    alignas(16) __shared__ float col_columns[1024];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 10;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    const int64_t row_at = tensor[6];
    const int64_t col_at = tensor[7];
    const int64_t accumulator_row_at = tensor[8];
    const int64_t accumulator_col_at = tensor[9];
    const float lr = rows[row * 6 + 0];
    const float beta2 = rows[row * 6 + 1];
    const float rest2 = rows[row * 6 + 2];
    const float eps = rows[row * 6 + 3];
    const float momentum = rows[row * 6 + 4];
    const float undamped = rows[row * 6 + 5];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t row_line = row_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t col_line = col_at + first_row / (uint64_t)64 * columns + first_column;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = 0; first < height; first += groups * 64) {
            for (int k = 0; k < wide.n; k++) {
                col_columns[k * 256 + threadIdx.x] = 0;
            }
            for (int part = 0; part < 64 && first + part < height; part += 8) {
                _Pragma("unroll 1")
                for (int j = 0; j < 8; j++) {
                    const int r = first + group * 64 + part + j;
                    float row_lane = 0;
                    if (r < height && lane < tile_width) {
                        float accumulator_row = workspace[accumulator_row_at + first_row + r];
                        const int64_t at = r * columns;
                        _Pragma("unroll 1")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            float param_row;
                            float grad_row;
                            float exp_avg_row;
                            param_row = params[at + column];
                            grad_row = grads[at + column];
                            exp_avg_row = exp_avgs[at + column];
                            float accumulator_col = workspace[accumulator_col_at + first_column + column];
                            float param = param_row;
                            float grad = grad_coefficient * grad_row;
                            float exp_avg = exp_avg_row;
                            float previous = minimum(accumulator_row, accumulator_col);
                            float accumulator = beta2 * previous + rest2 * (grad * grad);
                            float direction = grad / sqrtf(accumulator + eps);
                            exp_avg = momentum * exp_avg + undamped * direction;
                            float delta = lr * exp_avg;
                            param_row = param - delta;
                            exp_avg_row = exp_avg;
                            if (inside) row_lane = larger(fabsf(accumulator), row_lane);
                            col_columns[k * 256 + threadIdx.x] = larger(fabsf(accumulator), col_columns[k * 256 + threadIdx.x]);
                            if (inside) params[at + column] = param_row;
                            if (inside) exp_avgs[at + column] = exp_avg_row;
                        }
                    }
                    row_lanes_2[((group) * 8 + j) * lanes + lane] = row_lane;
                }
                largest_each(row_lanes_2, 8 * groups, lanes);
                for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                    const int r = first + j / 8 * 64 + part + j % 8;
                    if (r < height) {
                        workspace[row_line + r] = row_lanes_2[j * lanes];
                    }
                }
                __syncthreads();
            }
            if (first + group * 64 < height) {
                _Pragma("unroll")
                for (int k = 0; k < wide.n; k++) {
                    if (lane + 256 * k < tile_width) {
                        const int64_t at = (first / 64u + group) * columns + lane + 256 * k;
                        workspace[col_line + at] = col_columns[k * 256 + threadIdx.x];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
    largest_lines(workspace + col_line, (height + 63) / (uint64_t)64, columns, tile_width);
}

extern "C" __global__ void __launch_bounds__(256) sm3_fold1_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 10;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t row_at = tensor[6];
    const int64_t col_at = tensor[7];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        largest_lines(workspace + row_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (size + tile_rows - 1) / (uint64_t)tile_rows, share = (uint32_t)(tile_width + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_row / (uint64_t)tile_rows * share, left = tile_width - before;
        largest_lines(workspace + col_at + first_column + before, tiles, tile_rows / (uint64_t)64 * columns, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) sm3_fold1_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 10;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *accumulator_rows = GLOBAL(float, tensor[4]);
    float *accumulator_cols = GLOBAL(float, tensor[5]);
    const int64_t row_at = tensor[6];
    const int64_t col_at = tensor[7];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            accumulator_rows[r] = workspace[row_at + r];
        }
    }
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            accumulator_cols[column] = workspace[col_at + column];
        }
    }
}
