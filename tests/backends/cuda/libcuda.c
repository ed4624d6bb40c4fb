/* A driver that says what it is asked for: what NVIDIA's bindings make of Python's arguments.
 *
 * Built as libcuda.so.1 by test_bindings.py. Contexts, modules and the like are numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;
#define SAY(...) (printf(__VA_ARGS__), printf("\n"), fflush(stdout), 0)

static void *context;

int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuCtxGetCurrent(void **found) { return *found = context, 0; }
int cuCtxSetCurrent(void *given) { return context = given, SAY("context %p", given); }
int cuDevicePrimaryCtxRetain(void **found, int device)
{
    return *found = (void *)(0x1000L + device), SAY("retain %d", device);
}
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    return *value = attribute + device, 0;
}
int cuGetErrorString(int error, const char **text) { return *text = "named symbol not found", 0; }
int cuModuleLoadData(void **module, const char *image)
{
    return *module = (void *)0x77, SAY("load %.3s", image + 1);
}
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    *function = (void *)0x88;
    SAY("function %s of %p", name, module);
    return strcmp(name, "missing") ? 0 : 500;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty,
                   unsigned tz, unsigned shared, void *stream, void **arguments, void **extra)
{
    return SAY("launch %p (%u %u %u) (%u %u %u) %u on %p: %llu %llu, %p", function, x, y, z, tx, ty,
               tz, shared, stream, *(u64 *)arguments[0], *(u64 *)arguments[1], (void *)extra);
}
int cuStreamIsCapturing(void *stream, int *status) { return *status = stream == (void *)5, 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags)
{
    return SAY("stream %p waits for %p, %u", stream, event, flags);
}
int cuEventCreate(void **event, unsigned flags)
{
    return *event = (void *)0x99, SAY("event, %u", flags);
}
int cuEventRecord(void *event, void *stream) { return SAY("record %p on %p", event, stream); }
int cuEventQuery(void *event) { return 600; }
int cuEventSynchronize(void *event) { return SAY("wait for %p", event); }
int cuEventDestroy(void *event) { return SAY("destroy %p", event); }
int cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
    return *memory = malloc(size), SAY("pin %zu, %u", size, flags);
}
int cuMemcpyHtoDAsync(u64 target, const char *source, size_t size, void *stream)
{
    return SAY("%zu bytes %d to %llx on %p", size, *source, target, stream);
}
int cuMemcpyDtoHAsync(char *target, u64 source, size_t size, void *stream)
{
    return *target = 42, SAY("%zu bytes from %llx on %p", size, source, stream);
}

#define ENTRY(name) {#name, name}
static const struct {
    const char *name;
    void *function;
} entries[] = {
    ENTRY(cuDriverGetVersion), ENTRY(cuCtxGetCurrent), ENTRY(cuCtxSetCurrent),
    ENTRY(cuDevicePrimaryCtxRetain), ENTRY(cuDeviceGetAttribute), ENTRY(cuGetErrorString),
    ENTRY(cuModuleLoadData), ENTRY(cuModuleGetFunction), ENTRY(cuLaunchKernel),
    ENTRY(cuStreamIsCapturing), ENTRY(cuStreamWaitEvent), ENTRY(cuEventCreate),
    ENTRY(cuEventRecord), ENTRY(cuEventQuery), ENTRY(cuEventSynchronize), ENTRY(cuEventDestroy),
    ENTRY(cuMemHostAlloc), ENTRY(cuMemcpyHtoDAsync), ENTRY(cuMemcpyDtoHAsync),
};

/* through which the bindings find all others */
int cuGetProcAddress_v2(const char *name, void **function, int version, u64 flags, int *status)
{
    *function = NULL;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (!strcmp(entries[i].name, name)) *function = entries[i].function;
    if (!strncmp(name, "cuGetProcAddress", 16)) *function = (void *)cuGetProcAddress_v2;
    if (status) *status = !*function;
    return 0;
}
int cuGetProcAddress(const char *name, void **function, int version, u64 flags)
{
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
