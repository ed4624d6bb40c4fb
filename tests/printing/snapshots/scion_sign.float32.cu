/* scion_sign: update of float32 parameters with float32 gradients.
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

static __device__ __forceinline__ float sign(float x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }

static __device__ __forceinline__ float finite_or_zero(float x) { return fabs(x) <= 3.4028234663852886e+38f ? x : 0; }

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };

extern "C" __global__ void __launch_bounds__(256) scion_sign_fold0_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 5;
    const int64_t row = tensor[0];
    const int64_t columns = tensor[2];
    if (row < 0 || control[1] != 0) return;
    const int64_t step_at = tensor[4];
    const float step_size = rows[row * 4 + 0];
    float step_2 = step_size / (float)(columns);
    if (threadIdx.x == 0) workspace[step_at] = step_2;
}

extern "C" __global__ void __launch_bounds__(256) scion_sign_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 5;
    const int64_t first_column = chunk[7];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *momentum_buffers = GLOBAL(float, chunk[4]);
    const int64_t step_at = tensor[4];
    const float decay = rows[row * 4 + 1];
    const float alpha = rows[row * 4 + 2];
    const float rest = rows[row * 4 + 3];
    float step_2 = workspace[step_at];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
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
                    float grad_row[wide.n];
                    float momentum_buffer_row[wide.n];
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        param_row[k] = params[at + column];
                        grad_row[k] = grads[at + column];
                        momentum_buffer_row[k] = momentum_buffers[at + column];
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        float param = param_row[k];
                        float grad = grad_coefficient * grad_row[k];
                        float momentum_buffer = momentum_buffer_row[k];
                        momentum_buffer = rest * momentum_buffer + alpha * grad;
                        float delta = step_2 * sign(momentum_buffer);
                        param_row[k] = param - (delta + decay * finite_or_zero(param));
                        momentum_buffer_row[k] = momentum_buffer;
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        if (inside) params[at + column] = param_row[k];
                        if (inside) momentum_buffers[at + column] = momentum_buffer_row[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}
