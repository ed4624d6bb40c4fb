/* A reader of golden files in C99 and C++, and as an example an AdamW that is held to one of them:
 *
 *     cc -std=c99 -O2 -ffp-contract=off reader.c -o reader -lm
 *     ./reader values/adamw.float32.safetensors
 *
 * README.md beside this file specifies the format. The machine must be little-endian. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *bytes;      /* the whole file */
    char *header;     /* a copy of its JSON, NUL-terminated */
    const char *data; /* all tensors, in bytes */
    uint64_t size;    /* of data */
} golden_file;

typedef struct {
    char dtype[8]; /* "F64", "F32", "F16", "BF16", "I16", "I8" or "U8" */
    int axes;
    size_t count, rows; /* elements; the first axis, 1 without axes */
    const void *data;
} golden_tensor;

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    exit(2);
}

/* Reads the whole file into memory. Exits with status 2 if it is no golden file. */
static golden_file golden_open(const char *path)
{
    FILE *stream = fopen(path, "rb");
    if (!stream || fseek(stream, 0, SEEK_END)) fail("cannot be read", path);
    uint64_t length = 0, size = (uint64_t)ftell(stream);
    rewind(stream);
    char *bytes = (char *)malloc(size + 1);
    if (!bytes || fread(bytes, 1, size, stream) != size || size < 8) fail("cannot be read", path);
    fclose(stream);
    memcpy(&length, bytes, 8);
    if (length > size - 8) fail("is not a safetensors file", path);
    golden_file file = {bytes, (char *)calloc(length + 1, 1), bytes + 8 + length, size - 8 - length};
    if (!file.header) fail("out of memory", path);
    memcpy(file.header, bytes + 8, length);
    if (!strstr(file.header, "\\\"format_version\\\":2,")) fail("not format version 2", path);
    return file;
}

static void golden_close(golden_file *file)
{
    free(file->header);
    free(file->bytes);
}

/* Finds a tensor by name; 0 if there is none. The header has no blanks and a fixed order of keys.
 * Data is aligned: tensors stand in descending order of element size, the header is padded. */
static int golden_find(const golden_file *file, const char *name, golden_tensor *tensor)
{
    char key[128];
    unsigned long long begin = 0, end = 0;
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"", name);
    const char *at = strstr(file->header, key);
    if (!at) return 0;
    const char *offsets = strstr(at, "\"data_offsets\":["), *shape = strstr(at, "\"shape\":[");
    if (sscanf(at + strlen(key), "%7[A-Z0-9]", tensor->dtype) != 1 || !offsets || !shape ||
        sscanf(offsets, "\"data_offsets\":[%llu,%llu]", &begin, &end) != 2 ||
        begin > end || end > file->size)
        fail("bad entry in the header", name);
    const char *bits = tensor->dtype + strspn(tensor->dtype, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    tensor->count = (size_t)(end - begin) / ((size_t)atoi(bits) / 8);
    tensor->data = file->data + begin;
    tensor->axes = 0;
    tensor->rows = 1;
    for (shape += strlen("\"shape\":["); *shape && *shape != ']'; shape += strcspn(shape, ",]")) {
        shape += *shape == ',';
        if (!tensor->axes++) tensor->rows = (size_t)strtoull(shape, NULL, 10);
    }
    return 1;
}

/* ---- the example */

static long compared, differing;

static const void *get(const golden_file *file, const char *kind, int step, const char *rest,
                       const char *dtype, size_t count)
{
    char name[96];
    golden_tensor found;
    snprintf(name, sizeof name, "%s.%d.%s", kind, step, rest);
    if (!golden_find(file, name, &found)) return NULL;
    if (strcmp(found.dtype, dtype) || found.count != count) fail("unexpected dtype or size", name);
    return found.data;
}

static void compare(const golden_file *file, const char *kind, int step, const char *tensor,
                    const char *suffix, const float *ours, size_t count)
{
    char rest[64];
    snprintf(rest, sizeof rest, "%s%s", tensor, suffix);
    const float *theirs = get(file, kind, step, rest, "F32", count);
    for (size_t i = 0; theirs && i < count; i++, compared++)
        if (!(isnan(ours[i]) && isnan(theirs[i])) && memcmp(ours + i, theirs + i, sizeof *ours))
            differing++;
}

static void adamw(const float *s, size_t count, const float *grad, float *param, float *exp_avg,
                  float *exp_avg_sq)
{
    enum { beta1, rest1, beta2, rest2, step_size, scaled_eps, decay };
    for (size_t i = 0; i < count; i++) {
        exp_avg[i] = s[beta1] * exp_avg[i] + s[rest1] * grad[i];
        exp_avg_sq[i] = s[beta2] * exp_avg_sq[i] + s[rest2] * (grad[i] * grad[i]);
        float denom = sqrtf(exp_avg_sq[i]) + s[scaled_eps];
        param[i] = param[i] - (s[step_size] * (exp_avg[i] / denom) + s[decay] * param[i]);
    }
}

#define TENSORS 5
#define STEPS 10
#define SCALARS 7
#define LARGEST 66

int main(int argc, char **argv)
{
    static const struct { const char *name; size_t count; } tensors[TENSORS] = {
        {"weight", LARGEST}, {"bias", 13}, {"scale", 1}, {"special", 32}, {"huge", 16}};
    golden_file file = golden_open(argc > 1 ? argv[1] : "values/adamw.float32.safetensors");
    if (!strstr(file.header, "\\\"label\\\":\\\"adamw\\\"") ||
        !strstr(file.header, "\\\"scalars\\\":[\\\"beta1\\\",\\\"rest1\\\",\\\"beta2\\\",\\\"rest2\\\","
                             "\\\"step_size\\\",\\\"scaled_eps\\\",\\\"decay\\\"]"))
        fail("not a golden file of adamw as this example knows it", argv[0]);
    for (int t = 0; t < TENSORS; t++) {
        const char *name = tensors[t].name;
        size_t count = tensors[t].count;
        float param[LARGEST], exp_avg[LARGEST] = {0}, exp_avg_sq[LARGEST] = {0}, rounded[SCALARS];
        const void *start = get(&file, "param", 0, name, "F32", count);
        if (!start) fail("no initial parameter", name);
        memcpy(param, start, count * sizeof *param);
        for (int step = 1; step <= STEPS; step++) {
            const float *grad = get(&file, "grad", step, name, "F32", count);
            const double *scalars = get(&file, "scalars", step, name, "F64", SCALARS);
            for (int k = 0; scalars && k < SCALARS; k++) rounded[k] = (float)scalars[k];
            if (grad && scalars) adamw(rounded, count, grad, param, exp_avg, exp_avg_sq);
            compare(&file, "param", step, name, "", param, count);
            compare(&file, "state", step, name, ".exp_avg", exp_avg, count);
            compare(&file, "state", step, name, ".exp_avg_sq", exp_avg_sq, count);
        }
    }
    printf("%ld values, %ld differ\n", compared, differing);
    golden_close(&file);
    return differing || !compared;
}
