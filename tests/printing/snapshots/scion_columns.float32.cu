/* scion_columns: update of float32 parameters with float32 gradients.
 *
 * Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, arXiv:2502.07529,
 * Algorithms 1 and 2.
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

static __device__ __forceinline__ float finite_or_zero(float x) { return fabs(x) <= 3.4028234663852886e+38f ? x : 0; }

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* add up so many lines of n numbers, that far apart, by neighbours, into the first one. A thread adds
   eight of them at once; those that are missing are +0, which changes no sum */
static __device__ __forceinline__ void add_lines(float *lines, int64_t count, int64_t apart, int64_t n)
{
    const uint32_t width = (uint32_t)n;
    for (int64_t step = 1; step < count; step *= 8) {
        __syncthreads();
        for (uint32_t i = threadIdx.x; n > 0; i += blockDim.x) {
            const int64_t line = i / width * 8 * step;
            if (line >= count) break;
            float *const at = lines + line * apart + i % width;
            float x[8];
            _Pragma("unroll")
            for (int k = 0; k < 8; k++) x[k] = line + k * step < count ? at[k * step * apart] : 0;
            *at = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
        }
    }
    __syncthreads();
}

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };

extern "C" __global__ void __launch_bounds__(256, 3) scion_columns_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 7;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *momentum_buffers = GLOBAL(float, chunk[4]);
    const int64_t sum0_at = tensor[4];
    const float alpha = rows[row * 5 + 2];
    const float rest = rows[row * 5 + 3];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t sum0_line = sum0_at + first_row / (uint64_t)64 * columns + first_column;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = 0; first < height; first += groups * 64) {
            float sum0_columns[wide.n] = {};
            for (int part = 0; part < 64 && first + part < height; part += 8) {
                _Pragma("unroll 1")
                for (int j = 0; j < 8; j++) {
                    const int r = first + group * 64 + part + j;
                    if (r < height && lane < tile_width) {
                        const int64_t at = r * columns;
                        float grad_row[wide.n];
                        float momentum_buffer_row[wide.n];
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            grad_row[k] = grads[at + column];
                            momentum_buffer_row[k] = momentum_buffers[at + column];
                        }
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            float grad = grad_coefficient * grad_row[k];
                            float momentum_buffer = momentum_buffer_row[k];
                            momentum_buffer = rest * momentum_buffer + alpha * grad;
                            momentum_buffer_row[k] = momentum_buffer;
                            sum0_columns[k] = sum0_columns[k] + momentum_buffer * momentum_buffer;
                        }
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            if (inside) momentum_buffers[at + column] = momentum_buffer_row[k];
                        }
                    }
                }
            }
            if (first + group * 64 < height) {
                _Pragma("unroll")
                for (int k = 0; k < wide.n; k++) {
                    if (lane + 256 * k < tile_width) {
                        const int64_t at = (first / 64u + group) * columns + lane + 256 * k;
                        workspace[sum0_line + at] = sum0_columns[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
    add_lines(workspace + sum0_line, (height + 63) / (uint64_t)64, columns, tile_width);
}

extern "C" __global__ void __launch_bounds__(256) scion_columns_fold1_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 7;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t sum0_at = tensor[4];
    {
        const int64_t tiles = (size + tile_rows - 1) / (uint64_t)tile_rows, share = (uint32_t)(tile_width + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_row / (uint64_t)tile_rows * share, left = tile_width - before;
        add_lines(workspace + sum0_at + first_column + before, tiles, tile_rows / (uint64_t)64 * columns, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) scion_columns_fold1_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 7;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t sum0_at = tensor[4];
    const int64_t length_at = tensor[5];
    const int64_t value_at = tensor[6];
    const float eps = rows[row * 5 + 4];
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float length = sqrtf(workspace[sum0_at + column] / (float)(size));
            workspace[length_at + column] = length;
            float value = length + eps;
            workspace[value_at + column] = value;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) scion_columns_pass1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 7;
    const int64_t first_column = chunk[7];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    float *momentum_buffers = GLOBAL(float, chunk[4]);
    const int64_t value_at = tensor[6];
    const float step_size = rows[row * 5 + 0];
    const float decay = rows[row * 5 + 1];
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                if (r < height && lane < tile_width) {
                    const int64_t at = r * columns;
                    float param_row[wide.n];
                    float momentum_buffer_row[wide.n];
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        param_row[k] = params[at + column];
                        momentum_buffer_row[k] = momentum_buffers[at + column];
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        float value = workspace[value_at + first_column + column];
                        float param = param_row[k];
                        float momentum_buffer = momentum_buffer_row[k];
                        float delta = step_size * (momentum_buffer / value);
                        param_row[k] = param - (delta + decay * finite_or_zero(param));
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        if (inside) params[at + column] = param_row[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}
