/* As much of CUDA's runtime as exported files need, on the CPU, for g++ -std=c++17: memory, one
 * stream, launches. Kernels run as in the double of CuPy (cuda_double), threads of a block in
 * ascending or (CUDA_ON_CPU_REVERSED) descending order.
 *
 * The stream does nothing until somebody waits for it, as late as a real one may: memory that is
 * written too early is noticed. Fresh memory is full of NaN. */
#pragma once
#include "../cuda_double/host_threads.cpp"

#include <cstdio>
#include <deque>
#include <functional>

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace cuda_on_cpu {

inline std::deque<std::function<void()>> stream;
inline long begun, ended; /* how much was put into the stream, how much of it is done */

inline void put(std::function<void()> work)
{
    stream.push_back(std::move(work));
    begun++;
}

inline void wait_until(long count)
{
    for (; ended < count; ended++) {
        stream.front()();
        stream.pop_front();
    }
}

inline const std::function<void()> *work;

inline void run_kernel(dim3 grid, unsigned threads, const std::function<void()> &kernel)
{
    static host_state state;
    static const int order = getenv("CUDA_ON_CPU_REVERSED") ? 1 : 0;
    const unsigned blocks[] = {grid.x, grid.y, grid.z}, size[] = {threads, 1, 1};
    host_now = &state;
    work = &kernel;
    if (host_launch([](void **) { (*work)(); }, &state, blocks, size, nullptr, order, 0)) {
        fprintf(stderr, "some threads of a block wait at a barrier that others never reach\n");
        abort();
    }
}

#define CALL(kernel) [](auto... given) { kernel(given...); } /* which may be overloaded */

template <typename Kernel, typename... A>
void launch(const Kernel &kernel, dim3 grid, unsigned threads, A... arguments)
{
    put([=] { run_kernel(grid, threads, [=] { kernel(arguments...); }); });
}

} // namespace cuda_on_cpu

using cudaStream_t = void *;
using cudaEvent_t = long *;
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum { cudaEventDisableTiming, cudaDevAttrMultiProcessorCount };

inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "out of memory" : "invalid value";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaMalloc(void **memory, size_t size)
{
    static const char *limit = getenv("CUDA_ON_CPU_ALLOCATIONS");
    static long left = limit ? atol(limit) : 1L << 30;
    if (left-- <= 0) return cudaErrorMemoryAllocation;
    *memory = malloc(size);
    memset(*memory, 0xFF, size);
    return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void **memory, size_t size) { return cudaMalloc(memory, size); }
template <typename T> cudaError_t cudaMallocManaged(T **memory, size_t size)
{
    return cudaMalloc((void **)memory, size);
}
inline cudaError_t cudaDeviceSynchronize()
{
    cuda_on_cpu::wait_until(cuda_on_cpu::begun);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void *memory)
{
    cudaDeviceSynchronize();
    free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void *memory) { return memory ? cudaFree(memory) : cudaErrorInvalidValue; }
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind, cudaStream_t)
{
    cuda_on_cpu::put([=] { memcpy(to, from, size); });
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind kind)
{
    cudaMemcpyAsync(to, from, size, kind, nullptr);
    return cudaDeviceSynchronize();
}
inline cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t)
{
    cuda_on_cpu::put([=] { memset(memory, value, size); });
    return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new long(0);
    return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    *event = cuda_on_cpu::begun;
    return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cuda_on_cpu::wait_until(*event);
    return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int *value, int, int) { return *value = 3, cudaSuccess; }
