//// fields
/* ---- what every check shares: the JSON fields, memory, the comparison of bits */

static long compared, differing;
static char *fields; /* the JSON fields, without the backslashes of a string in a string */

static void read_fields(const golden_file *file)
{
    const char *from = strstr(file->header, "\"samestep\":\"");
    char *to = (char *)calloc(strlen(file->header) + 1, 1);
    if (!from || !to) fail("no field samestep", "metadata");
    fields = to;
    for (from += strlen("\"samestep\":\""); *from && *from != '"'; from++)
        if (*from != '\\') *to++ = *from;
        else if (from[1] == '"' || from[1] == '\\') *to++ = *++from;
}

/* The file must be one of this rule, variant and dtype: a field must have this value. */
static void require(const char *name, const char *expected)
{
    char what[500];
    snprintf(what, sizeof what, "\"%s\":", name);
    const char *at = strstr(fields, what);
    at = at ? at + strlen(what) : "none,";
    const size_t length = *at == '{' ? strcspn(at, "}") + 1 : strcspn(at, ",}");
    if (length == strlen(expected) && !strncmp(at, expected, length)) return;
    snprintf(what, sizeof what, "this program checks %s; the file holds %.*s", expected, (int)length,
             at);
    fail(what, name);
}

/* A number out of the object that begins at `object`; 0 if it is not there. */
static int look_up(const char *object, const char *name, int index, double *value)
{
    char key[80];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = object ? strstr(object, key) : NULL, *end = object ? strchr(object, '{') : NULL;
    for (int depth = 0; end && *end; end++) /* over objects within this one */
        if (!(depth += (*end == '{') - (*end == '}'))) break;
    if (!at || at > end) return 0;
    for (at += strlen(key); index-- > 0 && *at; at++) at += strcspn(at, ",]");
    at += *at == '[';
    if (!strncmp(at, "null", 4)) return 0;
    if (value) *value = !strncmp(at, "true", 4) ? 1 : !strncmp(at, "false", 5) ? 0 : strtod(at, NULL);
    return 1;
}

/* A hyperparameter at one step: that of the file, or the last change up to then. */
static double number(const char *name, int index, int step)
{
    double value = 0;
    char key[24];
    const char *changes = strstr(fields, "\"changes\":{");
    if (!look_up(strstr(fields, "\"hyperparameters\":{"), name, index, &value))
        fail("no such hyperparameter in this file", name);
    for (int since = 1; changes && since <= step; since++) {
        snprintf(key, sizeof key, "\"%d\":{", since);
        look_up(strstr(changes, key), name, index, &value);
    }
    return value;
}

//// memory
static void *memory(size_t count, size_t size)
{
    void *found = calloc(count ? count : 1, size);
    if (!found) fail("out of memory", "check");
    return found;
}

//// memory of the device
static void must(cudaError_t error)
{
    if (error != cudaSuccess) fail(cudaGetErrorString(error), "CUDA");
}

static void *memory(size_t count, size_t size)
{
    void *found = NULL;
    must(cudaMallocManaged(&found, (count ? count : 1) * size));
    memset(found, 0, count * size);
    return found;
}

//// bits
/* `<kind>.<step>.<tensor><suffix>`, which must have this dtype and count; NULL if it is not there */
static const void *tensor_at(const golden_file *file, const char *kind, int step, const char *tensor,
                             const char *suffix, const char *dtype, size_t count)
{
    char name[200];
    golden_tensor found;
    snprintf(name, sizeof name, "%s.%d.%s%s", kind, step, tensor, suffix);
    if (!golden_find(file, name, &found)) return NULL;
    if (strcmp(found.dtype, dtype) || found.count != count) fail("unexpected dtype or size", name);
    return found.data;
}

static int is_nan(uint64_t bits, const char *dtype)
{
    if (dtype[0] == 'I' || dtype[0] == 'U') return 0; /* whole numbers */
    const uint64_t infinity = !strcmp(dtype, "F64") ? 0x7FF0000000000000u
                            : !strcmp(dtype, "F32") ? 0x7F800000u
                            : !strcmp(dtype, "F16") ? 0x7C00u : 0x7F80u;
    const uint64_t sign = !strcmp(dtype, "F64") ? (uint64_t)1 << 63
                        : !strcmp(dtype, "F32") ? (uint64_t)1 << 31 : (uint64_t)1 << 15;
    return (bits & ~sign) > infinity;
}

/* Counts elements with other bits; any NaN equals any other. */
static void compare(const char *what, int step, const char *tensor, const char *suffix,
                    const char *dtype, const void *ours, const void *expected, size_t count)
{
    const size_t size = (size_t)atoi(dtype + strcspn(dtype, "1368")) / 8;
    long before = differing;
    for (size_t i = 0; expected && i < count; i++, compared++) {
        uint64_t a = 0, b = 0;
        memcpy(&a, (const char *)ours + i * size, size);
        memcpy(&b, (const char *)expected + i * size, size);
        differing += a != b && !(is_nan(a, dtype) && is_nan(b, dtype));
    }
    if (differing > before)
        printf("%s.%d.%s%s: %ld of %lu differ\n", what, step, tensor, suffix, differing - before,
               (unsigned long)count);
}

/* ---- one tensor's steps, for each variant of the rule */

//// steps
static void check_@LABEL(
    const golden_file *file, const char *tensor, golden_tensor start, int steps@POSITION)
{
    const size_t n = start.count;
    @ROWS_AND_COLUMNS
    @MEMORY
    @CARRY
    int stepped = 0;
    memcpy(params, start.data, n * sizeof *params);
    @PREPARED
    for (int step = 1; step <= steps; step++) {
        @LABEL_hyper h = @LABEL_defaults();
        @HYPER
        @INITIALIZED
        const @STORED *grads = (const @STORED *)tensor_at(
            file, "grad", step, tensor, "", "@DTYPE", n);
        if (grads) {
            @LABEL_scalars s = @LABEL_compute_scalars(++stepped, @AND_CARRY&h);
            @COMPARED_SCALARS
            s.grad_coefficient = number("maximize", 0, step) != 0 ? -1 : 1;
            @UPDATED
        }
        @COMPARED
    }
    @FINISHED
    @RELEASED
}
//// scalars
@REAL row[@COUNT], expected[@COUNT];
const double *scalars = (const double *)tensor_at(
    file, "scalars", step, tensor, "", "F64", @COUNT);
memcpy(row, &s, sizeof row);
for (int k = 0; scalars && k < @COUNT; k++) expected[k] = (@REAL)scalars[k];
compare("scalars", step, tensor, "", "@DTYPE", row,
        scalars ? expected : NULL, @COUNT);
//// main

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE.safetensors\n", argv[0]);
        return 2;
    }
    golden_file file = golden_open(argv[1]);
    read_fields(&file);
    @REQUIREMENTS
    if (strstr(fields, "\"settings\":{\""))
        fail("accumulates, skips or clips by the global norm, which is up to the caller", argv[1]);
    @FIRST
    const char *at = strstr(fields, "\"steps\":");
    const int steps = at ? atoi(at + strlen("\"steps\":")) : 0;
    at = strstr(fields, "\"tensors\":[");
    if (!at) fail("no list of tensors", argv[1]);
    for (at += strlen("\"tensors\":["); *at == '"' || *at == ','; at += strcspn(at, "\"") + 1) {
        char tensor[64], name[80];
        golden_tensor start;
        at += strspn(at, ",\"");
        snprintf(tensor, sizeof tensor, "%.*s", (int)strcspn(at, "\""), at);
        snprintf(name, sizeof name, "param.0.%s", tensor);
        if (!golden_find(&file, name, &start)) fail("no initial parameter", tensor);
        @DISPATCH
    }
    printf("%ld values, %ld differ\n", compared, differing);
    golden_close(&file);
    free(fields);
    return differing || !compared;
}
