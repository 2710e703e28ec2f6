/* dsperse_backend.h: write a DSperse backend in C, C++, Zig, Go or anything that can make
 * a shared library with C functions. C99; docs/plugin-authors.md is the guide.
 *
 * A backend is one shared library, libdsperse_backend_<name>.so (.dylib, .dll), that
 * exports one function:
 *
 *     DSPERSE_EXPORT const struct dsperse_backend *dsperse_backend_v1(void);
 *
 * It returns a table with two functions, `describe` and `call`. This file is frozen:
 * everything that grows travels as JSON, where both sides ignore fields that they don't
 * know and give defaults to fields that are absent.
 */
#ifndef DSPERSE_BACKEND_H
#define DSPERSE_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Major version of this file, and the minor of the documents that it was written for. */
#define DSPERSE_ABI_MAJOR 1u
#define DSPERSE_ABI_MINOR 1u

/* What `describe` and `call` return. A host reports any other number as a fault. */
#define DSPERSE_OK 0    /* the buffer holds the reply of the operation */
#define DSPERSE_ERROR 1 /* the buffer holds an error: {"kind":"…","message":"…"} */
#define DSPERSE_FAULT 2 /* the call broke down and there is no document */

/* Kinds of events. The payload is JSON. */
#define DSPERSE_EVENT_LOG 1u      /* {"level":"error|warn|info|debug|trace","message":"…"} */
#define DSPERSE_EVENT_PROGRESS 2u /* {"fraction":0.25,"step":"…"} */
#define DSPERSE_EVENT_PANIC 3u    /* since 1.1: {"message":"…","place":"file:line","thread":"…"} */

#if defined(_WIN32)
#define DSPERSE_EXPORT __declspec(dllexport)
#else
#define DSPERSE_EXPORT __attribute__((visibility("default")))
#endif

/* Bytes to read until the callee returns. `data` may be null when `len` is 0. Text is
 * UTF-8 and has no zero byte at its end. */
struct dsperse_bytes {
    const uint8_t *data;
    size_t len;
};

/* A buffer that its maker frees: you fill it, the host reads it and calls `release` once.
 * `owner` is yours (a capacity, a handle). `release` may be null when there is nothing to
 * free, such as a string constant. */
struct dsperse_buffer {
    uint8_t *data;
    size_t len;
    size_t owner;
    void (*release)(struct dsperse_buffer *self);
};

/* What the host lends to one call; valid until `call` returns. Later hosts may have a
 * longer struct: read a field only when `struct_size` covers it. */
struct dsperse_host {
    size_t struct_size;
    void *context; /* pass it back to `event` */
    /* Receives events; may be null. Any thread may call it while the call runs. */
    void (*event)(void *context, uint32_t kind, struct dsperse_bytes payload);
    /* Points to a number that is not 0 when the host wants the call to stop; may be null.
     * Look at it between steps, then return the error "cancelled". */
    const volatile uint32_t *cancelled;
};

/* The table. It and everything it points to must stay valid for the whole process. */
struct dsperse_backend {
    size_t struct_size; /* sizeof(struct dsperse_backend) */
    uint32_t abi_major; /* DSPERSE_ABI_MAJOR */
    uint32_t abi_minor; /* DSPERSE_ABI_MINOR */

    /* Writes the descriptor. Uses no files, tools, network or environment, and gives the
     * same bytes at every call: the host keeps the answer by the library's digest. */
    int32_t (*describe)(struct dsperse_buffer *out);

    /* Runs one operation.
     *   op       "probe", "supports", "compile", "witness", "prove", "verify"; answer the
     *            error kind "unsupported" to any other.
     *   request  {"job":{…},"dir":"/abs","threads":4,"memory":null,"log_level":"info"};
     *            ("memory" and "log_level" since 1.1);
     *            answer the error kind "invalid_input" when it can't be read. Write below
     *            `dir` and nowhere else.
     *   host     may be null.
     *   out      comes in empty. */
    int32_t (*call)(struct dsperse_bytes op, struct dsperse_bytes request,
                    const struct dsperse_host *host, struct dsperse_buffer *out);
};

/* The door. */
DSPERSE_EXPORT const struct dsperse_backend *dsperse_backend_v1(void);

/* Optional: name, version and API version where a host can read them without running any
 * code of yours. Use once, at file scope:
 *     DSPERSE_MANIFEST("{\"name\":\"mine\",\"version\":\"0.1.0\",\"api\":\"1.1.0\"}") */
#if defined(__APPLE__)
#define DSPERSE_MANIFEST(json) \
    DSPERSE_EXPORT __attribute__((section("__DATA,__dsperse"), used)) \
    const char dsperse_backend_manifest[] = json;
#elif defined(__GNUC__)
#define DSPERSE_MANIFEST(json) \
    DSPERSE_EXPORT __attribute__((section(".dsperse"), used)) \
    const char dsperse_backend_manifest[] = json;
#else
#define DSPERSE_MANIFEST(json)
#endif

#ifdef __cplusplus
}
#endif

#endif
