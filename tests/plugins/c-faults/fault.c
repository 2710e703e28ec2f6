/* Libraries that are broken at load time or before the first call: one fault per build,
 * chosen by FAULT. Test fixtures; never installed. */
#include "dsperse_backend.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABORT_IN_CONSTRUCTOR 1
#define EXIT_IN_CONSTRUCTOR 2
#define LOOP_IN_CONSTRUCTOR 3
#define NO_SYMBOL 4
#define ABI_MAJOR_2 5
#define UNDEFINED_SYMBOL 6
#define NULL_TABLE 7
#define NO_FUNCTIONS 8
#define DESCRIBE_ABORTS 9
#define DESCRIBE_BAD_JSON 10
#define DESCRIBE_CHANGES 11
#define DESCRIBE_LOOPS 12
#define DESCRIBE_BAD_NAME 13

#if FAULT == ABORT_IN_CONSTRUCTOR
__attribute__((constructor)) static void start(void) { abort(); }
#elif FAULT == EXIT_IN_CONSTRUCTOR
__attribute__((constructor)) static void start(void) { exit(0); }
#elif FAULT == LOOP_IN_CONSTRUCTOR
__attribute__((constructor)) static void start(void) {
    for (volatile int forever = 1; forever;) {}
}
#endif

#if FAULT == UNDEFINED_SYMBOL
/* Defined nowhere: with lazy binding the process would exit in the middle of a call. */
int function_that_no_library_has(void);
#endif

#if FAULT != NO_SYMBOL

#if FAULT == DESCRIBE_BAD_NAME
#define NAME "Two Words"
#else
#define NAME "broken"
#endif

static int32_t describe(struct dsperse_buffer *out) {
    static char text[512];
#if FAULT == DESCRIBE_ABORTS
    abort();
#elif FAULT == DESCRIBE_LOOPS
    for (volatile int forever = 1; forever;) {}
#elif FAULT == UNDEFINED_SYMBOL
    if (function_that_no_library_has()) return DSPERSE_FAULT;
#endif
    static int calls;
    snprintf(text, sizeof text,
             "{\"name\":\"" NAME "\",\"version\":\"0.1.%d\",\"api_version\":\"1.0.0\","
             "\"summary\":\"A fixture.\",\"licence\":\"MIT\",\"capabilities\":{\"stages\":[]}}",
             FAULT == DESCRIBE_CHANGES ? calls++ : 0);
    out->data = (uint8_t *)text;
    out->len = FAULT == DESCRIBE_BAD_JSON ? 9 : strlen(text);
    return DSPERSE_OK;
}

static int32_t call(struct dsperse_bytes op, struct dsperse_bytes request,
                    const struct dsperse_host *host, struct dsperse_buffer *out) {
    (void)op, (void)request, (void)host, (void)out;
    return DSPERSE_FAULT;
}

DSPERSE_EXPORT const struct dsperse_backend *dsperse_backend_v1(void) {
    static struct dsperse_backend backend = {sizeof backend, DSPERSE_ABI_MAJOR, 0, describe, call};
#if FAULT == ABI_MAJOR_2
    backend.abi_major = 2;
#elif FAULT == NO_FUNCTIONS
    backend.describe = NULL;
    backend.call = NULL;
#elif FAULT == NULL_TABLE
    return NULL;
#endif
    return &backend;
}

#endif
