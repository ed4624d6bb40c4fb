//// sign

FUNCTION REAL @sign(REAL x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }
//// finite_or_zero

FUNCTION REAL @finite_or_zero(REAL x) { return x - x == 0 ? x : 0; }
//// cube_root

/* the cube root of a number that is not negative, of correctly rounded operations, unlike cbrt */
FUNCTION REAL @cube_root(REAL x)
{
    const REAL root = SQRT(x);
    REAL near = SQRT(root);
    for (int turn = 0; turn < 4; turn++) near = SQRT(SQRT(near) * root);
    REAL inverse = 1 / near;
    for (int turn = 0; turn < 4; turn++) {
        const REAL off = 1 - x * inverse * inverse * inverse;
        inverse = inverse + inverse * (off * ((REAL)(1 / 3.0) + (REAL)(2 / 9.0) * off));
    }
    near = x * inverse * inverse;
    near = near + near * ((1 - near * inverse) * (REAL)(2 / 3.0));
    return @finite_or_zero(x) == 0 ? x : near;
}
//// maximum

FUNCTION REAL @maximum(REAL a, REAL b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }
//// minimum

FUNCTION REAL @minimum(REAL a, REAL b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }
//// larger

/* the larger one of two numbers that are not negative; NaN if either is. Where two of these take the
   same a, no comparison is the same: compilers would make a branch of it */
FUNCTION REAL @larger(REAL a, REAL b) { return b >= a ? b : (b != b ? b : a); }
//// ipow

/* x to the integer power n >= 0: correctly rounded operations in a fixed order, unlike pow */
FUNCTION double @ipow(double x, double n)
{
    double result = 1;
    for (int64_t exponent = (int64_t)n; exponent;) {
        if (exponent & 1) result *= x;
        exponent >>= 1;
        if (exponent) x *= x;
    }
    return result;
}
//// bits_of

FUNCTION uint32_t @bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
//// float_of

FUNCTION float @float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
//// from_bfloat16

FUNCTION float @from_bfloat16(uint16_t h) { return @float_of((uint32_t)h << 16); }
//// to_bfloat16

FUNCTION uint16_t @to_bfloat16(float x)
{
    const uint32_t u = @bits_of(x);
    if (x != x) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}
//// from_int16

FUNCTION float @from_int16(int16_t number) { return number; }
//// to_int16

FUNCTION int16_t @to_int16(float x) { return (int16_t)x; }
//// upper_half

/* the nearest bfloat16, of two the one farther from zero */
FUNCTION float @upper_half(float x)
{
    return x == x ? @float_of((@bits_of(x) + 0x8000) & 0xFFFF0000) : x;
}
//// lower_half

/* how many floats x lies above its upper half, counted away from zero */
FUNCTION float @lower_half(float x)
{
    return x == x ? (float)(int32_t)((@bits_of(x) & 0xFFFF) ^ 0x8000) - 32768.0f : 0;
}
//// from_halves

/* the float of these halves; NaN, which has none, comes of an upper half that somebody else wrote */
FUNCTION float @from_halves(float upper, float lower)
{
    const float x = @float_of(@bits_of(upper) + (uint32_t)(int32_t)lower);
    return x == x ? x : upper;
}
//// from_float16

FUNCTION float @from_float16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13;
    const uint32_t u = @bits_of(@float_of(magnitude) * 5192296858534827628530496329220096.0f);
    const uint32_t infinite = magnitude >= 0x0F800000 ? 0x7F800000 : 0;
    return @float_of(u | infinite | (uint32_t)(h & 0x8000) << 16);
}
//// to_float16

FUNCTION uint16_t @to_float16(float x)
{
    const uint32_t u = @bits_of(x), magnitude = u & 0x7FFFFFFF;
    uint32_t half;
    if (magnitude >= 0x47800000) half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
    else if (magnitude < 0x38800000) half = @bits_of(@float_of(magnitude) + 0.5f) - 0x3F000000;
    else half = (magnitude + 0xC8000FFF + ((magnitude >> 13) & 1)) >> 13;
    return (uint16_t)(half | ((u >> 16) & 0x8000));
}
//// from_root

/* the element of a code: its part of the scale is the square of the code's part of the most */
FUNCTION float @from_root(float code, float scale, float most)
{
    const float root = code * (1 / most);
    return root * fabsf(root) * scale;
}
//// scale_of_block

/* the scale of a block, from the bits of its largest element: 0 below the normal numbers, or NaN */
FUNCTION float @scale_of_block(uint32_t top)
{
    if (top >= 0x7F800000) return @float_of(0x7FC00000);
    return top < 0x00800000 ? 0 : @float_of(top);
}
//// to_root

/* the code of an element, as a byte; inverse is 0 in a block of zeros or NaN. Where most is 255 or 15
   there is no sign, and nothing above 0 becomes 0 */
FUNCTION uint8_t @to_root(float x, float inverse, float most)
{
    const float part = inverse > 0 ? x * inverse : 0;
    const float root = most * sqrtf(fabsf(part));
    const float shifted = (part >= 0 ? root : -root) + 12582912.0f; /* which rounds it */
    const uint8_t code = (uint8_t)@bits_of(shifted);
    return code == 0 && (most == 255 || most == 15) && inverse > 0 && x > 0 ? 1 : code;
}
//// from_map

/* the element of a code: its part of the scale is the map's value of that number */
FUNCTION float @from_map(uint8_t code, float scale, const float *map) { return map[code] * scale; }
//// to_map

/* the code of an element: the number of the map's nearest value, of two the upper one */
FUNCTION uint8_t @to_map(float x, float inverse, const float *map)
{
    const float part = inverse > 0 ? x * inverse : 0;
    int below = 0; /* the last value that is not above the part */
    for (int bit = 128; bit > 0; bit >>= 1) below += part >= map[below + bit] ? bit : 0;
    const int above = below < 255 ? below + 1 : 255;
    return (uint8_t)(part - map[below] >= (map[above] - map[below]) * 0.5f ? above : below);
}
//// scale_of_values

/* the scale of a block of count values; mask has the sign if none may be negative */
FUNCTION float @scale_of_values(const float *values, int64_t count, uint32_t mask)
{
    uint32_t top = 0;
    for (int64_t lane = 0; lane < count; lane++) {
        const uint32_t bits = @bits_of(values[lane] + 0.0f) & mask;
        top = bits > top ? bits : top;
    }
    return @scale_of_block(top);
}
//// store_block

/* store a block of count values as codes, rounded roots, and a scale */
FUNCTION void @store_block(
    const float *RESTRICT values, int64_t count, uint8_t *RESTRICT codes, float *scale, float most,
    uint32_t mask)
{
    *scale = @scale_of_values(values, count, mask);
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t lane = 0; lane < count; lane++) codes[lane] = @to_root(values[lane], inverse, most);
}
//// store_mapped_block

/* store a block of count values as codes, numbers of the map's values, and a scale */
FUNCTION void @store_mapped_block(
    const float *RESTRICT values, int64_t count, uint8_t *RESTRICT codes, float *scale,
    const float *map, uint32_t mask)
{
    *scale = @scale_of_values(values, count, mask);
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t lane = 0; lane < count; lane++) codes[lane] = @to_map(values[lane], inverse, map);
}
//// unpack

/* the codes of 4 bits of count elements, which are two in a byte, the first one in its upper half,
   each on its own; flip is 8 where they have a sign, else 0 */
FUNCTION void @unpack(const uint8_t *RESTRICT pairs, int64_t count, int8_t *RESTRICT codes, int flip)
{
    for (int64_t k = 0; k < (count + 1) / 2; k++) {
        codes[2 * k] = (int8_t)(((pairs[k] >> 4) ^ flip) - flip);
        codes[2 * k + 1] = (int8_t)(((pairs[k] & 15) ^ flip) - flip);
    }
}
//// code_of

/* the code of 4 bits of one element, of codes that are two in a byte; flip is as of unpack */
FUNCTION int8_t @code_of(const uint8_t *pairs, int64_t element, int flip)
{
    const int code = pairs[element / 2] >> (element % 2 ? 0 : 4) & 15;
    return (int8_t)((code ^ flip) - flip);
}
//// pack

/* put count codes of 4 bits two in a byte; half a byte that is left is 0 */
FUNCTION void @pack(const int8_t *RESTRICT codes, int64_t count, uint8_t *RESTRICT pairs)
{
    for (int64_t k = 0; k < count / 2; k++)
        pairs[k] = (uint8_t)((codes[2 * k] & 15) << 4 | (codes[2 * k + 1] & 15));
    if (count % 2) pairs[count / 2] = (uint8_t)((codes[count - 1] & 15) << 4);
}
//// round_to_bfloat16

/* rounds up or down by 16 random bits; no finite number becomes infinite, NaN stays NaN */
FUNCTION uint16_t @round_to_bfloat16(float x, uint32_t random)
{
    const uint32_t u = @bits_of(x), magnitude = u & 0x7FFFFFFF;
    uint32_t rounded = (magnitude + random) >> 16;
    if (rounded > 0x7F7F) rounded = 0x7F7F;
    if (magnitude >= 0x7F800000) rounded = magnitude > 0x7F800000 ? 0x7FC0 : 0x7F80;
    return (uint16_t)(rounded | ((u >> 16) & 0x8000));
}
//// round_to_float16

/* rounds up or down by 16 random bits; NaN stays NaN */
FUNCTION uint16_t @round_to_float16(float x, uint32_t random)
{
    const uint32_t u = @bits_of(x), magnitude = u & 0x7FFFFFFF, exponent = magnitude >> 23;
    uint32_t half;
    if (magnitude >= 0x47800000) half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
    else if (exponent < 113) { /* subnormal: in units of 2**-40, rounded down */
        const uint32_t digits = ((magnitude & 0x7FFFFF) | 0x800000) << 2, down = 112 - exponent;
        half = ((down < 32 ? digits >> down : 0) + random) >> 16;
    } else {
        half = (magnitude + 0xC8000000 + (random >> 3)) >> 13;
        if (half > 0x7BFF) half = 0x7BFF;
    }
    return (uint16_t)(half | ((u >> 16) & 0x8000));
}
//// philox

/* four random words, Philox4x32-10: by the seed and the step, of one call of an array's */
FUNCTION void @philox(
    uint32_t *words, int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t call)
{
    uint32_t a = (uint32_t)call, b = (uint32_t)(call >> 32), c = (uint32_t)position, d = (uint32_t)stream;
    uint32_t key = (uint32_t)seed, other_key = (uint32_t)step;
    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)a * 0xD2511F53, q = (uint64_t)c * 0xCD9E8D57;
        a = (uint32_t)(q >> 32) ^ b ^ key;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ other_key;
        d = (uint32_t)p;
        key += 0x9E3779B9;
        other_key += 0xBB67AE85;
    }
    words[0] = a;
    words[1] = b;
    words[2] = c;
    words[3] = d;
}
//// half_of

/* the 16 bits of one of the eight neighbours that four random words are for */
FUNCTION uint32_t @half_of(const uint32_t *words, int k)
{
    const uint32_t word = k & 4 ? (k & 2 ? words[3] : words[2]) : (k & 2 ? words[1] : words[0]);
    return k & 1 ? word >> 16 : word & 0xFFFF;
}
//// random_of

/* the 16 random bits of one element of an array; one call serves eight neighbours */
FUNCTION uint32_t @random_of(int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t element)
{
    uint32_t words[4];
    @philox(words, seed, step, position, stream, element >> 3);
    return @half_of(words, (int)(element & 7));
}
//// random_sign

/* 1 or -1 for one row or column of a matrix, by a seed and how often the signs were renewed */
FUNCTION int @random_sign(int64_t seed, int64_t renewal, int64_t index)
{
    return 1 - 2 * (int)(@random_of(seed, renewal, 0, 0xFFFFFFFF, index) >> 15);
}
//// fill_random

/* 16 random bits for each of so many elements of an array from this one on, and for those before it
   that share its call */
FUNCTION void @fill_random(
    uint16_t *random, int64_t count, int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t element)
{
    for (int64_t k = 0; k < ((element & 7) + count + 7) >> 3; k++) {
        uint32_t words[4];
        @philox(words, seed, step, position, stream, (element >> 3) + k);
        for (int i = 0; i < 4; i++) {
            random[8 * k + 2 * i] = (uint16_t)words[i];
            random[8 * k + 2 * i + 1] = (uint16_t)(words[i] >> 16);
        }
    }
}
//// fold

/* the sum of that many lanes, a power of two, by halves */
FUNCTION REAL @fold(REAL *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = lanes[lane] + lanes[lane + width];
    return lanes[0];
}
//// lanes_for

/* how many of the lanes a sum of n elements needs: the others stay +0 */
FUNCTION int64_t @lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}
//// total

/* the sum of a vector in the fixed order of a sum over a tensor */
static REAL @total(const REAL *values, int64_t n)
{
    REAL lanes[LANES];
    int64_t span = 1;
    while (n > span * CHUNK) span *= CHUNK;
    const int64_t count = (n + span - 1) / span, width = @lanes_for(count, LANES);
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
    for (int64_t j = 0; j < count; j++) {
        const int64_t part = n - j * span < span ? n - j * span : span;
        const REAL value = span == 1 ? values[j] : @total(values + j * span, part);
        lanes[j % LANES] = lanes[j % LANES] + value;
    }
    return @fold(lanes, width);
}
//// add_lines

/* add up so many lines by neighbours, into line 0 */
FUNCTION void @add_lines(REAL *lines, int64_t count, int64_t width)
{
    for (int64_t step = 1; step < count; step *= 2)
        for (int64_t line = 0; line + step < count; line += 2 * step)
            for (int64_t i = line * width; i < (line + 1) * width; i++)
                lines[i] = lines[i] + lines[i + step * width];
}
//// sum_as_row

/* sum a vector in the fixed order of a sum along a row, into sums[0]; there is room for a number for
   each chunk */
FUNCTION void @sum_as_row(const REAL *values, int64_t n, REAL *sums)
{
    const int64_t chunks = (n + ROW_CHUNK - 1) / ROW_CHUNK;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        REAL lanes[ROW_LANES];
        const int64_t left = n - chunk * ROW_CHUNK, count = left < ROW_CHUNK ? left : ROW_CHUNK;
        const int64_t width = @lanes_for(count, ROW_LANES);
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
        for (int64_t j = 0; j < count; j++)
            lanes[j % ROW_LANES] = lanes[j % ROW_LANES] + values[chunk * ROW_CHUNK + j];
        sums[chunk] = @fold(lanes, width);
    }
    @add_lines(sums, chunks, 1);
}
//// largest_lane

/* the largest of that many lanes, none of which is negative */
FUNCTION REAL @largest_lane(REAL *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = @larger(lanes[lane + width], lanes[lane]);
    return lanes[0];
}
//// largest_lines

/* the largest of so many lines, none of which is negative, into line 0 */
FUNCTION void @largest_lines(REAL *lines, int64_t count, int64_t width)
{
    for (int64_t line = 1; line < count; line++)
        for (int64_t i = 0; i < width; i++) lines[i] = @larger(lines[line * width + i], lines[i]);
}
