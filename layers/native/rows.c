/* From the text of a request to columns of numbers, for the requests that are large and regular; and from base64 to
 * bytes, since what is not text travels in it.
 *
 * The rule: what is taken here is what the decoder in Python would have taken, to the bit; of everything that is not
 * plain (a null, a key twice or missing, an escape, a number of another kind or outside its bounds) nothing is said but
 * UNDECIDED, and that decoder reads the text again and explains. So this file has no messages.
 *
 * Taken are {"instances": [{"a": 1.5, "b": 2}, ...]}, where all rows have the keys in the order of the first one, and
 * {"instances": [[1.5, 2], ...]}.
 *
 * The text has to end with a NUL behind its size, as the bytes of CPython do: no token holds one, so that nothing is
 * read past it.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNDECIDED (-1)
#define EXACT_POWER 22                   /* 10^22 is the largest power of ten that a double holds */
#define EXACT_MANTISSA (UINT64_C(1) << 53)
#define MOST_DIGITS 18                   /* always fit into 63 bits */
#define ALIGNED 16                       /* rows; see block.py */
#define IN_ALPHABET 64                   /* a bit of what is no six bits, set for each character of base64 */
#define GUESSES 32                       /* for each key of the first row, on average; more are not worth it */

enum kind { FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, KINDS };

static const uint8_t BYTES[KINDS] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8};

static const double POWERS[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A column. Bounds are inclusive; without them they are infinite. */
typedef struct {
    const char *key;
    int64_t key_size;
    double least, most;
    int64_t least_integer, most_integer;
    int64_t kind;
    char *out;    /* set for the call */
    int64_t seen; /* in the first row */
} Column;

static inline const char *blank(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
        at++;
    return at;
}

static inline int is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* A number by the grammar of JSON: NULL where there is none, or one that is left to others. */
static const char *number(const char *at, Column *column, int64_t row)
{
    const char *start = at;
    int negative = *at == '-';
    at += negative;
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1])))
        return NULL;
    uint64_t mantissa = 0;
    const char *first = at;
    while (is_digit(*at))
        mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
    int64_t digits = at - first, power = 0;
    int whole = *at != '.' && *at != 'e' && *at != 'E';
    if (whole) {
        if (digits > MOST_DIGITS)
            return NULL;
    } else {
        if (*at == '.') {
            const char *point = ++at;
            while (is_digit(*at))
                mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
            power = point - at;
            if (power == 0)
                return NULL;
            digits -= power;
        }
        if (*at == 'e' || *at == 'E') {
            int down = *++at == '-';
            at += down || *at == '+';
            const char *from = at;
            int64_t exponent = 0;
            while (is_digit(*at) && at - from < 5)
                exponent = exponent * 10 + (*at++ - '0');
            if (at == from || is_digit(*at))
                return NULL;
            power += down ? -exponent : exponent;
        }
    }
    if (column->kind > FLOAT64) {
        if (!whole)
            return NULL;
        int64_t value = negative ? -(int64_t)mantissa : (int64_t)mantissa;
        if (value < column->least_integer || value > column->most_integer)
            return NULL;
        switch (BYTES[column->kind]) { /* the low bytes are the same, signed or not */
        case 1: ((uint8_t *)column->out)[row] = (uint8_t)value; break;
        case 2: ((uint16_t *)column->out)[row] = (uint16_t)value; break;
        case 4: ((uint32_t *)column->out)[row] = (uint32_t)value; break;
        default: ((uint64_t *)column->out)[row] = (uint64_t)value;
        }
        return at;
    }
    double value;
    if (digits <= MOST_DIGITS && mantissa <= EXACT_MANTISSA && power >= -EXACT_POWER && power <= EXACT_POWER) {
        /* Both are exact, so the one operation rounds as the number itself would (Clinger, 1990). */
        value = power < 0 ? (double)mantissa / POWERS[-power] : (double)mantissa * POWERS[power];
        if (negative)
            value = -value;
        if (mantissa == 0 && negative && whole)
            return NULL; /* "-0": an integer has no sign there */
    } else {
        char *end;
        value = strtod(start, &end);
        if (end != at || !isnormal(value))
            return NULL;
    }
    if (!(value >= column->least && value <= column->most))
        return NULL;
    if (column->kind == FLOAT64) {
        ((double *)column->out)[row] = value;
        return at;
    }
    float narrow = (float)value;
    if (isinf(narrow))
        return NULL;
    ((float *)column->out)[row] = narrow;
    return at;
}

/* What lies between two numbers, or NULL. */
static inline const char *token(const char *at, char wanted)
{
    at = blank(at);
    return *at == wanted ? blank(at + 1) : NULL;
}

static inline const char *key(const char *at, const Column *column)
{
    if (*at != '"' || strncmp(at + 1, column->key, (size_t)column->key_size) != 0 || at[1 + column->key_size] != '"')
        return NULL;
    return token(at + 2 + column->key_size, ':');
}

/* One row of numbers in brackets. */
static const char *list(const char *at, Column *columns, int64_t width, int64_t row)
{
    if ((at = token(at, '[')) == NULL)
        return NULL;
    for (int64_t place = 0; place < width; place++) {
        if (place && (at = token(at, ',')) == NULL)
            return NULL;
        if ((at = number(at, &columns[place], row)) == NULL)
            return NULL;
    }
    return token(at, ']');
}

/* One object; the first one tells the order of the keys. */
static const char *object(const char *at, Column *columns, int64_t width, int64_t row, int32_t *order)
{
    if ((at = token(at, '{')) == NULL)
        return NULL;
    int64_t guesses = GUESSES * width;
    for (int64_t place = 0; place < width; place++) {
        if (place && (at = token(at, ',')) == NULL)
            return NULL;
        const char *value = NULL;
        if (row) {
            value = key(at, &columns[order[place]]);
        } else {
            for (int64_t try = 0; try < width && guesses > 0 && value == NULL; try++, guesses--) {
                int64_t guess = (place + try) % width;
                if (!columns[guess].seen && (value = key(at, &columns[guess])) != NULL) {
                    columns[guess].seen = 1;
                    order[place] = (int32_t)guess;
                }
            }
        }
        if (value == NULL || (at = number(value, &columns[order[place]], row)) == NULL)
            return NULL;
    }
    return token(at, '}');
}

/* The columns lie apart by as many rows as there might have been: now without those that there are not. */
static void close_ranks(const Column *columns, int64_t width, int64_t rows)
{
    int64_t stride = (rows + ALIGNED - 1) / ALIGNED * ALIGNED;
    char *out = columns[0].out;
    for (int64_t place = 0; place < width; place++) {
        memmove(out, columns[place].out, (size_t)(rows * BYTES[columns[place].kind]));
        out += BYTES[columns[place].kind] * stride;
    }
}

/* Read a body into columns.
 *
 * text, size: The body, with a NUL behind it.
 * columns, width: Of the inputs, or of the places of a row.
 * named: Whether rows are objects.
 * order: Room for `width` numbers.
 * out, capacity: Room for so many rows, a multiple of ALIGNED, so that every column is aligned. Of objects the columns
 *   lie one after the other, each of so many elements as there are rows, rounded up to ALIGNED; of lists the rows do.
 *
 * Returns how many rows it read, or UNDECIDED.
 */
__attribute__((visibility("default"))) int64_t modelyard_rows(const char *text, int64_t size, Column *columns, int64_t width, int64_t named, int32_t *order,
                       char *out, int64_t capacity)
{
    const char *at = blank(text);
    if ((at = token(at, '{')) == NULL || strncmp(at, "\"instances\"", 11) != 0 || (at = token(at + 11, ':')) == NULL ||
        (at = token(at, '[')) == NULL)
        return UNDECIDED;
    int64_t step = BYTES[columns[0].kind];
    for (int64_t place = 0; place < width; place++) {
        columns[place].out = out;
        columns[place].seen = 0;
        out += named ? BYTES[columns[place].kind] * capacity : step;
    }
    int64_t rows = 0;
    for (;;) {
        if (rows == capacity)
            return UNDECIDED;
        /* Rows in brackets lie one behind the other, so an element's place grows by the width. */
        at = named ? object(at, columns, width, rows, order) : list(at, columns, width, rows * width);
        if (at == NULL)
            return UNDECIDED;
        rows++;
        if (*at != ',')
            break;
        at = blank(at + 1);
    }
    if (*at != ']' || (at = token(at + 1, '}')) == NULL || at != text + size)
        return UNDECIDED;
    if (named)
        close_ranks(columns, width, rows);
    return rows;
}

/* Of each character of base64 its six bits, and IN_ALPHABET. */
static const uint8_t SIX_BITS[256] = {
    ['A'] = 64,  65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  80,
    81,  82,  83,  84,  85,  86,  87,  88,  89,
    ['a'] = 90,  91,  92,  93,  94,  95,  96,  97,  98,  99,  100, 101, 102, 103, 104, 105, 106,
    107, 108, 109, 110, 111, 112, 113, 114, 115,
    ['0'] = 116, 117, 118, 119, 120, 121, 122, 123, 124, 125,
    ['+'] = 126,
    ['/'] = 127,
};

/* The bytes of base64 that has no padding.
 *
 * text, quads: Four characters each.
 * out: Room for three bytes each.
 *
 * Returns how many bytes there are, or UNDECIDED where a character is not in the alphabet.
 */
__attribute__((visibility("default"))) int64_t modelyard_base64(const uint8_t *text, int64_t quads, uint8_t *out)
{
    uint8_t all = IN_ALPHABET;
    for (int64_t quad = 0; quad < quads; quad++, text += 4, out += 3) {
        uint32_t a = SIX_BITS[text[0]], b = SIX_BITS[text[1]], c = SIX_BITS[text[2]], d = SIX_BITS[text[3]];
        all &= (uint8_t)(a & b & c & d);
        out[0] = (uint8_t)(a << 2 | (b & 63) >> 4);
        out[1] = (uint8_t)(b << 4 | (c & 63) >> 2);
        out[2] = (uint8_t)(c << 6 | (d & 63));
    }
    return all & IN_ALPHABET ? quads * 3 : UNDECIDED;
}
