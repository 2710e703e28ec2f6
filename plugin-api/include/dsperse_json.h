/* Reads JSON in place: a value is the address of its first byte. No memory is allocated
 * except by `json_string`. Every function takes values of a text that `json_valid`
 * accepted, so none of them needs to fear its end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* The byte after a string that starts at `p`, or null. */
static const char *json_skip_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) return NULL;
        if (*p == '\\' && ++p >= end) return NULL;
    }
    return p < end ? p + 1 : NULL;
}

/* The byte after the value at `p`, or null when it is no JSON. */
static const char *json_skip(const char *p, const char *end, int depth) {
    p = json_space(p, end);
    if (p >= end || depth > 64) return NULL;
    if (*p == '"') return json_skip_string(p, end);
    if (*p == '{' || *p == '[') {
        char close = *p == '{' ? '}' : ']';
        p = json_space(p + 1, end);
        if (p < end && *p == close) return p + 1;
        for (;;) {
            if (close == '}') {
                p = json_space(p, end);
                if (p >= end || *p != '"' || !(p = json_skip_string(p, end))) return NULL;
                p = json_space(p, end);
                if (p >= end || *p++ != ':') return NULL;
            }
            if (!(p = json_skip(p, end, depth + 1))) return NULL;
            p = json_space(p, end);
            if (p >= end) return NULL;
            if (*p == close) return p + 1;
            if (*p++ != ',') return NULL;
        }
    }
    const char *start = p; /* a number, true, false or null */
    while (p < end && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *p) && *p) p++;
    return p > start ? p : NULL;
}

/* Whether the whole text is one JSON value. */
static int json_valid(const char *text, const char *end) {
    const char *p = json_skip(text, end, 0);
    return p && json_space(p, end) == end;
}

/* The next element of an array, or the first when `at` is null; null at the end. */
static const char *json_next(const char *array, const char *at, const char *end) {
    if (!array || *(array = json_space(array, end)) != '[') return NULL;
    const char *p = json_space(at ? json_skip(at, end, 0) : array + 1, end);
    if (*p == ']') return NULL;
    return json_space(at ? p + 1 : p, end);
}

/* The member of an object, or null. Names here have no escapes. */
static const char *json_member(const char *object, const char *name, const char *end) {
    if (!object || *(object = json_space(object, end)) != '{') return NULL;
    size_t len = strlen(name);
    const char *p = json_space(object + 1, end);
    while (*p == '"') {
        const char *after = json_skip_string(p, end);
        int same = (size_t)(after - p) == len + 2 && memcmp(p + 1, name, len) == 0;
        const char *value = json_space(json_space(after, end) + 1, end);
        if (same) return value;
        p = json_space(json_skip(value, end, 0), end);
        if (*p == ',') p = json_space(p + 1, end);
    }
    return NULL;
}

static int json_hex4(const char *p, unsigned *out) {
    unsigned n = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 16u;
        if (d > 15) return 0;
        n = n * 16 + d;
    }
    *out = n;
    return 1;
}

/* A copy of a string, unescaped, with a zero byte at its end; null when it is no string.
 * The caller frees it. Characters beyond the basic plane come as UTF-8, not as \u. */
static char *json_string(const char *value, const char *end) {
    if (!value || *value != '"') return NULL;
    const char *stop = json_skip_string(value, end) - 1;
    char *copy = malloc((size_t)(stop - value)), *out = copy;
    if (!copy) return NULL;
    for (const char *p = value + 1; p < stop; p++) {
        if (*p != '\\') {
            *out++ = *p;
            continue;
        }
        unsigned u;
        switch (*++p) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u':
            if (stop - p < 5 || !json_hex4(p + 1, &u) || u == 0 || (u >= 0xD800 && u < 0xE000)) {
                free(copy);
                return NULL;
            }
            p += 4;
            if (u < 0x80) {
                *out++ = (char)u;
            } else if (u < 0x800) {
                *out++ = (char)(0xC0 | (u >> 6));
                *out++ = (char)(0x80 | (u & 63));
            } else {
                *out++ = (char)(0xE0 | (u >> 12));
                *out++ = (char)(0x80 | ((u >> 6) & 63));
                *out++ = (char)(0x80 | (u & 63));
            }
            break;
        default: *out++ = *p;
        }
    }
    *out = 0;
    return copy;
}
