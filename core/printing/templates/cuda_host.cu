//// preamble
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))
#define RESTRICT __restrict
#ifndef SAMESTEP_API /* define it empty for functions that other files can call */
#define SAMESTEP_API inline
#endif
#define SAMESTEP_TRY(call) \
    do { \
        const cudaError_t error_ = (call); \
        if (error_ != cudaSuccess) return error_; \
    } while (0)
//// launch
/* What the launches of some tensors need. `control` points to two doubles in device memory, 1 and 0,
 * that a kernel of yours may write before a step: a factor of all gradients, such as a clipping
 * coefficient, and whether to leave this step out (not 0). */
typedef struct {
    int64_t count, rows, chunks, numbers; /* tensors; rows of scalars; lines of the table; workspace */
    int blocks;                           /* that share a chunk, where they can */
    double *control;
    int64_t *tables, *host_tables;
    double *row_memory, *host_row_memory; /* the rows' coefficients, behind them their scalars */
    @REAL *workspace;
    cudaEvent_t copied; /* pinned memory may be written again */
} @LABEL_launch;
//// tile
/* How many rows a tile has: one strip, or a power of two of strips where columns are few. */
static inline int64_t @LABEL_tile_rows(int64_t columns)
{
    int64_t rows = @STRIP_ROWS;
    while (2 * rows * columns <= @TILE && rows < @TILE) rows *= 2;
    return rows;
}
//// tables
/* Where the tensors are: again whenever an address or a row has changed. Their number and sizes are
 * those of @LABEL_create. */
@API cudaError_t @LABEL_point_at(@LABEL_launch *launch, const @LABEL_tensor *tensors, cudaStream_t stream)
{
    SAMESTEP_TRY(cudaEventSynchronize(launch->copied));
    int64_t *line = launch->host_tables, *of_tensor = line + launch->chunks * @TABLE_COLUMNS;
    @START
    for (int64_t t = 0; t < launch->count; t++, of_tensor += @TENSORS_COLUMNS) {
        const @LABEL_tensor *tensor = tensors + t;
        @EXTENT
        for (int64_t index = 0; index < lines; index++, line += @TABLE_COLUMNS) {
            const int64_t first = index / across * unit, column = index % across * @WIDTH;
            const int64_t offset = first * columns + column;
            line[0] = tensor->row;
            line[1] = size - first < unit ? size - first : unit;
            @CHUNK_LINES
        }
        @TENSOR_LINES
    }
    const size_t bytes = (size_t)((char *)of_tensor - (char *)launch->host_tables);
    SAMESTEP_TRY(cudaMemcpyAsync(launch->tables, launch->host_tables, bytes, cudaMemcpyHostToDevice, stream));
    return cudaEventRecord(launch->copied, stream);
}
//// create
/* Memory for the launches of these tensors, with as many rows of scalars. After an error, too,
 * @LABEL_destroy frees it. */
@API cudaError_t @LABEL_create(
    @LABEL_launch *launch, const @LABEL_tensor *tensors, int64_t count, int64_t rows, cudaStream_t stream)
{
    int device = 0, processors = 0;
    const double start[2] = {1, 0};
    memset(launch, 0, sizeof *launch);
    launch->count = count;
    launch->rows = rows;
    for (int64_t t = 0; t < count; t++) {
        const @LABEL_tensor *tensor = tensors + t;
        @EXTENT
        launch->chunks += lines;
        launch->numbers += @NUMBERS;
    }
    const size_t tables = (size_t)(launch->chunks * @TABLE_COLUMNS + count * @TENSORS_COLUMNS + 1) * sizeof(int64_t);
    const size_t row_memory = (size_t)(rows + 1) * (sizeof(double) + @SCALARS * sizeof(@REAL));
    SAMESTEP_TRY(cudaMalloc((void **)&launch->tables, tables));
    SAMESTEP_TRY(cudaMallocHost((void **)&launch->host_tables, tables));
    SAMESTEP_TRY(cudaMalloc((void **)&launch->row_memory, row_memory));
    SAMESTEP_TRY(cudaMallocHost((void **)&launch->host_row_memory, row_memory));
    SAMESTEP_TRY(cudaMalloc((void **)&launch->workspace, (size_t)(launch->numbers + 1) * sizeof(@REAL)));
    SAMESTEP_TRY(cudaMalloc((void **)&launch->control, sizeof start));
    SAMESTEP_TRY(cudaMemcpy(launch->control, start, sizeof start, cudaMemcpyHostToDevice));
    SAMESTEP_TRY(cudaEventCreateWithFlags(&launch->copied, cudaEventDisableTiming));
    SAMESTEP_TRY(cudaEventRecord(launch->copied, stream));
    SAMESTEP_TRY(cudaGetDevice(&device));
    SAMESTEP_TRY(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    /* four times as many blocks as run at once, if there is work for them */
    launch->blocks = launch->chunks ? (int)(32 * processors / launch->chunks) : 1;
    launch->blocks = launch->blocks < 1 ? 1 : launch->blocks > 64 ? 64 : launch->blocks;
    return @LABEL_point_at(launch, tensors, stream);
}
//// step
/* One step: scalars[row] for each row, as @LABEL_compute_scalars gives them. Nothing waits for the
 * device but the copy of the step before. */
@API cudaError_t @LABEL_step(@LABEL_launch *launch, const @LABEL_scalars *scalars, cudaStream_t stream)
{
    const int64_t rows = launch->rows;
    @REAL *values = (@REAL *)(launch->host_row_memory + rows);
    const size_t bytes = (size_t)rows * (sizeof(double) + @SCALARS * sizeof(@REAL));
    const unsigned chunks = (unsigned)launch->chunks, shared = (unsigned)launch->blocks;
    if (launch->chunks == 0) return cudaSuccess;
    SAMESTEP_TRY(cudaEventSynchronize(launch->copied));
    for (int64_t row = 0; row < rows; row++, values += @SCALARS) {
        launch->host_row_memory[row] = scalars[row].grad_coefficient;
        memcpy(values, scalars + row, @SCALARS * sizeof(@REAL));
    }
    SAMESTEP_TRY(cudaMemcpyAsync(
        launch->row_memory, launch->host_row_memory, bytes, cudaMemcpyHostToDevice, stream));
    SAMESTEP_TRY(cudaEventRecord(launch->copied, stream));
    const int64_t *table = launch->tables;
    const double *coefficients = launch->row_memory;
    const @REAL *of_rows = (const @REAL *)(coefficients + rows);
    @KERNELS
    (void)shared;
    return cudaGetLastError();
}
//// destroy
@API cudaError_t @LABEL_destroy(@LABEL_launch *launch)
{
    cudaError_t error = launch->copied ? cudaEventDestroy(launch->copied) : cudaSuccess;
    void *const device[] = {launch->tables, launch->row_memory, launch->workspace, launch->control};
    void *const host[] = {launch->host_tables, launch->host_row_memory};
    for (int k = 0; k < 4; k++)
        if (cudaFree(device[k]) != cudaSuccess) error = cudaGetLastError();
    for (int k = 0; k < 2; k++)
        if (host[k] && cudaFreeHost(host[k]) != cudaSuccess) error = cudaGetLastError();
    memset(launch, 0, sizeof *launch);
    return error;
}
//// fill

/* n numbers, all of one value */
static __global__ void fill(@TYPE *numbers, int64_t n, @TYPE value)
{
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        numbers[i] = value;
}
