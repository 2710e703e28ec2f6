/* The backend "cident", in plain C: an executor of slices that are a chain of Identity
 * and Relu nodes over one float tensor. It makes no proofs; `verify` computes again.
 * Small on purpose: it shows the whole of a backend against dsperse_backend.h, and the
 * test suite uses it as the plugin that owes nothing to Rust. */
#include "dsperse_backend.h"
#include "dsperse_json.h"
#include "dsperse_onnx.h"
#include <stdarg.h>
#include <stdio.h>

/* The test suite builds copies under other names and API versions. */
#ifndef CIDENT_NAME
#define CIDENT_NAME "cident"
#endif
#ifndef CIDENT_VERSION
#define CIDENT_VERSION "0.1.0"
#endif
#ifndef CIDENT_MINOR
#define CIDENT_MINOR 0
#endif
#ifndef CIDENT_EXTRA
#define CIDENT_EXTRA ""
#endif
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define CIDENT_API "1." TEXT(CIDENT_MINOR) ".0"

DSPERSE_MANIFEST("{\"name\":\"" CIDENT_NAME "\",\"version\":\"" CIDENT_VERSION "\",\"api\":\"" CIDENT_API "\"}")

/* ---- replies ------------------------------------------------------------------------ */

static void release(struct dsperse_buffer *self) {
    free(self->data);
    memset(self, 0, sizeof *self);
}

static int32_t reply(struct dsperse_buffer *out, int32_t status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !(out->data = malloc((size_t)len + 1))) return DSPERSE_FAULT;
    va_start(args, format);
    vsnprintf((char *)out->data, (size_t)len + 1, format, args);
    va_end(args);
    out->len = (size_t)len;
    out->release = release;
    return status;
}

/* Messages are constants of this file, so they need no escaping. */
static int32_t fail(struct dsperse_buffer *out, const char *kind, const char *message) {
    return reply(out, DSPERSE_ERROR, "{\"kind\":\"%s\",\"message\":\"%s\"}", kind, message);
}

/* ---- files -------------------------------------------------------------------------- */

struct file {
    uint8_t *data;
    size_t len;
};

/* Reads a whole file; `data` is null when that fails. The caller frees it. */
static struct file read_file(const char *path) {
    struct file file = {NULL, 0};
    FILE *stream = path ? fopen(path, "rb") : NULL;
    if (!stream) return file;
    long len = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
    if (len >= 0 && fseek(stream, 0, SEEK_SET) == 0 && (file.data = malloc((size_t)len + 1))) {
        file.len = fread(file.data, 1, (size_t)len, stream);
        file.data[file.len] = 0;
        if (file.len != (size_t)len) {
            free(file.data);
            file.data = NULL;
        }
    }
    fclose(stream);
    return file;
}

static int write_file(const char *dir, const char *name, const void *data, size_t len) {
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = malloc(size);
    if (!path) return 0;
    snprintf(path, size, "%s/%s", dir, name);
    FILE *stream = fopen(path, "wb");
    free(path);
    if (!stream) return 0;
    int whole = fwrite(data, 1, len, stream) == len;
    return fclose(stream) == 0 && whole;
}

/* ---- one request -------------------------------------------------------------------- */

struct call {
    const char *end;  /* end of the request's text */
    const char *job;  /* the member "job" */
    char *dir;
    const struct dsperse_host *host;
    struct dsperse_buffer *out;
};

static int cancelled(const struct call *c) {
    return c->host &&
           c->host->struct_size >= offsetof(struct dsperse_host, cancelled) + sizeof(void *) &&
           c->host->cancelled && *c->host->cancelled;
}

static struct file member_file(const struct call *c, const char *object, const char *name) {
    char *path = json_string(json_member(object, name, c->end), c->end);
    struct file file = read_file(path);
    free(path);
    return file;
}

/* Writes the chain's operators, one per line, to `plan`. Returns null, or why the slice
 * can't be done. */
static const char *plan_of(struct file model, char *plan, size_t size, int *relu) {
    struct span graph = pb_field((struct span){model.data, model.data + model.len}, 7, 0);
    if (graph.at == graph.end) return "the model has no graph";
    if (pb_field(graph, 5, 0).at) return "initializers are not supported";
    if (pb_field(graph, 11, 1).at || pb_field(graph, 12, 1).at)
        return "more than one input or output is not supported";
    struct span name = pb_field(pb_field(graph, 11, 0), 1, 0), node;
    *relu = 0;
    *plan = 0;
    for (int i = 0; (node = pb_field(graph, 1, i)).at; i++) {
        struct span op = pb_field(node, 4, 0);
        int is_relu = span_is(op, "Relu");
        if ((!is_relu && !span_is(op, "Identity")) || !span_is(pb_field(node, 7, 0), ""))
            return "only Identity and Relu are supported";
        if (pb_field(node, 1, 1).at || !span_same(pb_field(node, 1, 0), name))
            return "only a chain of nodes is supported";
        if (strlen(plan) + 10 >= size) return "the chain is too long";
        strcat(plan, is_relu ? "Relu\n" : "Identity\n");
        *relu |= is_relu;
        name = pb_field(node, 2, 0);
    }
    if (!span_same(name, pb_field(pb_field(graph, 12, 0), 1, 0)))
        return "the chain does not end at the output";
    return NULL;
}

/* Reads the slice's model and plans it; also checks that its input is one float tensor. */
static const char *plan_slice(const struct call *c, char *plan, size_t size, int *relu) {
    const char *slice = json_member(c->job, "slice", c->end);
    const char *inputs = json_member(slice, "inputs", c->end);
    const char *first = json_next(inputs, NULL, c->end);
    char *dtype = json_string(json_member(first, "dtype", c->end), c->end);
    int is_float = dtype && strcmp(dtype, "f32") == 0;
    free(dtype);
    if (!is_float) return "only f32 tensors are supported";
    struct file model = member_file(c, slice, "model");
    if (!model.data) return "the slice's model can't be read";
    const char *reason = plan_of(model, plan, size, relu);
    free(model.data);
    return reason;
}

/* Turns fixed point (int64 times a power of two) into the nearest floats, in place. */
static const char *fixed_to_float(struct file *tensor, const char *exponent) {
    long e = exponent ? strtol(exponent, NULL, 10) : 1000;
    if (e < -126 || e > 64) return "the exponent of a fixed-point tensor is out of range";
    float scale = 1;
    for (long i = e; i < 0; i++) scale *= 0.5f;
    for (long i = e; i > 0; i--) scale *= 2;
    size_t count = tensor->len / sizeof(int64_t);
    for (size_t i = 0; i < count; i++) {
        int64_t integer;
        memcpy(&integer, tensor->data + i * sizeof integer, sizeof integer);
        float x = (float)integer * scale;
        memcpy(tensor->data + i * sizeof x, &x, sizeof x);
    }
    tensor->len = count * sizeof(float);
    return NULL;
}

/* Reads the only tensor of a list of the job, as floats, and checks its size against its
 * shape. An earlier slice that was proven hands its outputs over in fixed point. */
static const char *read_tensor(const struct call *c, const char *list, struct file *tensor) {
    const char *tensors = json_member(c->job, list, c->end);
    const char *first = json_next(tensors, NULL, c->end);
    if (!first || json_next(tensors, first, c->end)) return "expected one tensor";
    char *dtype = json_string(json_member(first, "dtype", c->end), c->end);
    int is_float = dtype && strcmp(dtype, "f32") == 0;
    int is_fixed = dtype && strcmp(dtype, "fixed") == 0;
    free(dtype);
    if (!is_float && !is_fixed) return "only f32 and fixed-point tensors are supported";
    *tensor = member_file(c, first, "path");
    if (!tensor->data) return "a tensor file can't be read";
    const char *shape = json_member(first, "shape", c->end), *dim = NULL;
    size_t len = is_float ? sizeof(float) : sizeof(int64_t);
    while ((dim = json_next(shape, dim, c->end))) {
        size_t n = (size_t)strtoull(dim, NULL, 10);
        if (n && len > ((size_t)1 << 48) / n) return "a tensor is too large";
        len *= n;
    }
    if (tensor->len != len) return "a tensor file does not have the size of its shape";
    return is_fixed ? fixed_to_float(tensor, json_member(first, "exponent", c->end)) : NULL;
}

static void relu_in_place(struct file tensor) {
    for (size_t i = 0; i + sizeof(float) <= tensor.len; i += sizeof(float)) {
        float x;
        memcpy(&x, tensor.data + i, sizeof x);
        if (x < 0) memset(tensor.data + i, 0, sizeof x);
    }
}

/* ---- operations --------------------------------------------------------------------- */

static int32_t supports(const struct call *c) {
    char plan[1024];
    int relu;
    const char *reason = plan_slice(c, plan, sizeof plan, &relu);
    if (reason) return reply(c->out, DSPERSE_OK, "{\"supported\":\"no\",\"reason\":\"%s\"}", reason);
    return reply(c->out, DSPERSE_OK, "{\"supported\":\"yes\",\"cost\":{}}");
}

static int32_t compile(const struct call *c) {
    char plan[1024];
    int relu;
    const char *reason = plan_slice(c, plan, sizeof plan, &relu);
    if (reason) return fail(c->out, "unsupported", reason);
    if (!write_file(c->dir, "plan.txt", plan, strlen(plan)))
        return fail(c->out, "resource", "plan.txt can't be written");
    return reply(c->out, DSPERSE_OK,
                 "{\"artefacts\":[{\"name\":\"plan\",\"role\":\"verifying\",\"path\":\"plan.txt\"}]}");
}

static int32_t witness(const struct call *c) {
    char plan[1024];
    int relu;
    const char *reason = plan_slice(c, plan, sizeof plan, &relu);
    if (reason) return fail(c->out, "unsupported", reason);
    struct file tensor = {NULL, 0};
    if ((reason = read_tensor(c, "inputs", &tensor))) {
        free(tensor.data);
        return fail(c->out, "invalid_input", reason);
    }
    if (relu) relu_in_place(tensor);
    int written = write_file(c->dir, "output.bin", tensor.data, tensor.len);
    free(tensor.data);
    if (!written) return fail(c->out, "resource", "output.bin can't be written");
    /* The output is described by the slice itself: copy name, dtype and shape from there. */
    const char *outputs = json_member(json_member(c->job, "slice", c->end), "outputs", c->end);
    const char *output = json_next(outputs, NULL, c->end);
    const char *name = json_member(output, "name", c->end);
    const char *shape = json_member(output, "shape", c->end);
    if (!name || !shape) return fail(c->out, "invalid_input", "the slice has no output");
    return reply(c->out, DSPERSE_OK,
                 "{\"outputs\":[{\"name\":%.*s,\"dtype\":\"f32\",\"shape\":%.*s,\"path\":\"output.bin\"}]}",
                 (int)(json_skip(name, c->end, 0) - name), name,
                 (int)(json_skip(shape, c->end, 0) - shape), shape);
}

/* Computes again and compares bit for bit; both operators are exact. A slice that another
 * backend compiled comes without artefacts; one of ours has its plan checked as well. */
static const char *check(const struct call *c, struct file *in, struct file *claimed,
                         struct file *plan_file, const char **invalid) {
    char plan[1024];
    int relu;
    const char *reason = plan_slice(c, plan, sizeof plan, &relu);
    if (reason) return reason;
    const char *artefacts = json_member(c->job, "circuit", c->end), *a = NULL;
    int compiled = json_next(artefacts, NULL, c->end) != NULL;
    while ((a = json_next(artefacts, a, c->end)) && !plan_file->data) {
        char *name = json_string(json_member(a, "name", c->end), c->end);
        if (name && strcmp(name, "plan") == 0) *plan_file = member_file(c, a, "path");
        free(name);
    }
    if (compiled && !plan_file->data) return "the artefact \\\"plan\\\" is missing; compile the slice again";
    if ((reason = read_tensor(c, "inputs", in))) return reason;
    if ((reason = read_tensor(c, "outputs", claimed))) return reason;
    if (relu) relu_in_place(*in);
    if (compiled && (plan_file->len != strlen(plan) || memcmp(plan_file->data, plan, plan_file->len) != 0))
        *invalid = "the compiled plan is not the plan of this slice";
    else if (claimed->len != in->len || memcmp(claimed->data, in->data, in->len) != 0)
        *invalid = "the claimed output is not the output of this slice";
    return NULL;
}

static int32_t verify(const struct call *c) {
    struct file in = {NULL, 0}, claimed = {NULL, 0}, plan = {NULL, 0};
    const char *invalid = NULL;
    const char *reason = check(c, &in, &claimed, &plan, &invalid);
    free(in.data);
    free(claimed.data);
    free(plan.data);
    if (reason) return fail(c->out, "invalid_input", reason);
    if (invalid)
        return reply(c->out, DSPERSE_OK, "{\"verdict\":\"invalid\",\"reason\":\"%s\"}", invalid);
    return reply(c->out, DSPERSE_OK, "{\"verdict\":\"valid\",\"facts\":{\"engine\":\"cident " CIDENT_VERSION "\"}}");
}

/* ---- the two functions -------------------------------------------------------------- */

static int32_t describe_backend(struct dsperse_buffer *out) {
    return reply(out, DSPERSE_OK,
                 "{\"name\":\"" CIDENT_NAME "\",\"version\":\"" CIDENT_VERSION "\",\"api_version\":\"" CIDENT_API
                 "\",\"summary\":\"Runs chains of Identity and Relu; an example in C.\","
                 "\"licence\":\"MIT OR Apache-2.0\"," CIDENT_EXTRA "\"capabilities\":{"
                 "\"stages\":[\"compile\",\"witness\",\"recompute\"],\"verify_needs_payload\":true,"
                 "\"operators\":[{\"op\":\"Identity\",\"dtypes\":[\"float\"]},"
                 "{\"op\":\"Relu\",\"dtypes\":[\"float\"]}]}}");
}

static int32_t call_backend(struct dsperse_bytes op, struct dsperse_bytes request,
                            const struct dsperse_host *host, struct dsperse_buffer *out) {
    static const struct {
        const char *name;
        int32_t (*run)(const struct call *);
    } operations[] = {{"supports", supports}, {"compile", compile}, {"witness", witness},
                      {"verify", verify},     {"probe", NULL}};
    size_t i = 0, count = sizeof operations / sizeof *operations;
    struct span name = {op.data, op.data + op.len};
    while (i < count && !span_is(name, operations[i].name)) i++;
    if (i == count) return fail(out, "unsupported", "this backend has no such operation");

    const char *text = (const char *)request.data;
    struct call c = {text + request.len, NULL, NULL, host, out};
    if (!request.len || !json_valid(text, c.end) || !(c.job = json_member(text, "job", c.end)) ||
        *c.job != '{' || !(c.dir = json_string(json_member(text, "dir", c.end), c.end)))
        return fail(out, "invalid_input", "the request can't be read");
    const char *slice;
    int32_t status;
    if (cancelled(&c))
        status = fail(out, "cancelled", "cancelled");
    else if (!operations[i].run)
        status = reply(out, DSPERSE_OK, "{\"ready\":true,\"can_verify\":true}");
    else if (!(slice = json_member(c.job, "slice", c.end)) || *slice != '{')
        status = fail(out, "invalid_input", "the request names no slice");
    else
        status = operations[i].run(&c);
    free(c.dir);
    return status;
}

DSPERSE_EXPORT const struct dsperse_backend *dsperse_backend_v1(void) {
    static const struct dsperse_backend backend = {
        sizeof(struct dsperse_backend), DSPERSE_ABI_MAJOR, CIDENT_MINOR,
        describe_backend, call_backend};
    return &backend;
}
