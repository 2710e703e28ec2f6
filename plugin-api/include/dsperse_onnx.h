/* Just enough of the protobuf wire format to read which operators an ONNX model has and
 * how they are chained. Every read is bounded by the file. */
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *at, *end;
};

/* Reads the next field of a message. `body` is set for length-delimited fields and empty
 * for others. Returns the field number, 0 at the end, -1 when the bytes are damaged. */
static int pb_next(struct span *message, struct span *body) {
    uint64_t numbers[2] = {0, 0}; /* tag; length or value */
    body->at = body->end = message->end;
    if (message->at == message->end) return 0;
    for (int i = 0; i < 2; i++) {
        int shift = 0, more = 1;
        while (more) {
            if (message->at == message->end || shift > 63) return -1;
            uint8_t byte = *message->at++;
            numbers[i] |= (uint64_t)(byte & 127) << shift;
            shift += 7;
            more = byte & 128;
        }
        unsigned wire = numbers[0] & 7;
        if (i == 0 && (wire == 5 || wire == 1)) { /* fixed 4 or 8 bytes */
            ptrdiff_t size = wire == 5 ? 4 : 8;
            if (message->end - message->at < size) return -1;
            message->at += size;
            break;
        }
        if (wire != 0 && wire != 2) return -1;
    }
    if ((numbers[0] & 7) == 2) {
        if (numbers[1] > (uint64_t)(message->end - message->at)) return -1;
        body->at = message->at;
        body->end = message->at += numbers[1];
    }
    return numbers[0] >> 3 == 0 || numbers[0] >> 3 > 1 << 20 ? -1 : (int)(numbers[0] >> 3);
}

/* The `nth` occurrence of a field; empty when absent. */
static struct span pb_field(struct span message, int field, int nth) {
    struct span body;
    int found;
    while ((found = pb_next(&message, &body)) > 0)
        if (found == field && nth-- == 0) return body;
    body.at = body.end = NULL;
    return body;
}

static int span_is(struct span a, const char *text) {
    size_t len = strlen(text);
    return (size_t)(a.end - a.at) == len && (len == 0 || memcmp(a.at, text, len) == 0);
}

static int span_same(struct span a, struct span b) {
    return a.end - a.at == b.end - b.at &&
           (a.at == a.end || memcmp(a.at, b.at, (size_t)(a.end - a.at)) == 0);
}
