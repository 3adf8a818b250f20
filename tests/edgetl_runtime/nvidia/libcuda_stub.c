/* A small stand-in for NVIDIA's driver library, for machines without a GPU.

   "Device memory" is memory of the process, a stream does at once what it is told, unless it is being recorded; then
   the work is kept and done when the graph is launched. Every handle is counted, so that a test sees what is never
   freed. One "kernel", stub_kernel, sums the three colours of the first image into the logits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK 0
#define INVALID 1
#define OUT_OF_MEMORY 2
#define NO_DEVICE 100
#define INVALID_CONTEXT 201
#define NOT_CAPTURABLE 900

typedef struct { int kind; void *to; const void *from; size_t size; size_t pixels; } Work;
typedef struct { Work work[64]; int count; } Graph;
typedef struct { Graph *recording; } Stream;

static long live_device, live_host, live_streams, live_graphs, live_executables, live_contexts;
static long allocations, launches, uploads, downloads, synchronisations, kernels;
static char trace[4096];
static __thread void *current; /* the context of a thread, as the driver keeps it */

static int setting(const char *name, int otherwise) {
    char full[64] = "CUDA_";
    const char *words = getenv(strncat(full, name, sizeof full - 6));
    return words ? atoi(words) : otherwise;
}

static void note(const char *call) {
    if (strlen(trace) + strlen(call) + 2 < sizeof trace) { strcat(trace, call); strcat(trace, " "); }
}

static void perform(const Work *work) {
    if (work->kind == 2) {
        const uint8_t *pixels = work->from;
        float *logits = work->to;
        memset(logits, 0, work->size);
        for (size_t i = 0; i < work->pixels; i++) logits[i % 3 % (work->size / sizeof(float))] += pixels[i];
        kernels++;
        return;
    }
    memcpy(work->to, work->from, work->size);
    if (work->kind == 0) uploads++; else downloads++;
}

static int enqueue(Stream *stream, Work work) {
    if (stream->recording) { stream->recording->work[stream->recording->count++] = work; return OK; }
    perform(&work);
    return OK;
}

int cuInit(unsigned flags) { (void)flags; return setting("STUB_INIT", OK); }
int cuDriverGetVersion(int *version) { *version = setting("STUB_DRIVER", 12060); return OK; }
int cuDeviceGetCount(int *count) { *count = setting("STUB_DEVICES", 1); return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? NO_DEVICE : OK; }
int cuDeviceGetName(char *name, int size, int device) { (void)device; snprintf(name, size, "Stub GPU"); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)8 << 30; return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
        case 18: *value = setting("STUB_INTEGRATED", 0); return OK;
        case 75: *value = 8; return OK;
        case 76: *value = 7; return OK;
        default: *value = 0; return INVALID;
    }
}
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; live_contexts++; *context = &live_contexts; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; live_contexts--; note("release"); return OK; }
int cuCtxSetCurrent(void *context) { current = context; return OK; }

int cuMemAlloc_v2(uint64_t *address, size_t size) {
    if (!current) return INVALID_CONTEXT;
    if (allocations >= setting("STUB_ROOM", 1 << 30)) return OUT_OF_MEMORY;
    *address = (uint64_t)(uintptr_t)calloc(1, size);
    live_device++; allocations++;
    return OK;
}
int cuMemFree_v2(uint64_t address) {
    if (!current) return INVALID_CONTEXT;
    free((void *)(uintptr_t)address); live_device--; return OK; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    (void)flags;
    if (allocations >= setting("STUB_ROOM", 1 << 30)) return OUT_OF_MEMORY;
    *address = calloc(1, size);
    live_host++; allocations++;
    return OK;
}
int cuMemFreeHost(void *address) { free(address); live_host--; return OK; }
int cuMemHostGetDevicePointer_v2(uint64_t *address, void *host, unsigned flags) {
    (void)flags; *address = (uint64_t)(uintptr_t)host; return OK;
}

int cuStreamCreate(Stream **stream, unsigned flags) {
    (void)flags; *stream = calloc(1, sizeof(Stream)); live_streams++; allocations++; return OK;
}
int cuStreamDestroy_v2(Stream *stream) { free(stream); live_streams--; return OK; }
int cuStreamSynchronize(Stream *stream) {
    if (!current) return INVALID_CONTEXT;
    synchronisations++; return stream->recording ? NOT_CAPTURABLE : OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, Stream *stream) {
    note("upload");
    return enqueue(stream, (Work){0, (void *)(uintptr_t)to, from, size, 0});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, Stream *stream) {
    note("download");
    return enqueue(stream, (Work){1, to, (const void *)(uintptr_t)from, size, 0});
}
int stub_kernel(Stream *stream, uint64_t image, size_t pixels, uint64_t logits, size_t size) {
    if (stream->recording && setting("STUB_UNCAPTURABLE", 0)) return NOT_CAPTURABLE;
    note("kernel");
    return enqueue(stream, (Work){2, (void *)(uintptr_t)logits, (const void *)(uintptr_t)image, size, pixels});
}

int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    (void)mode; note("begin"); stream->recording = calloc(1, sizeof(Graph)); live_graphs++; allocations++; return OK;
}
int cuStreamEndCapture(Stream *stream, Graph **graph) {
    note("end"); *graph = stream->recording; stream->recording = NULL; return OK;
}
int cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    (void)flags;
    *executable = malloc(sizeof(Graph)); **executable = *graph; live_executables++; allocations++;
    return OK;
}
int cuGraphLaunch(Graph *executable, Stream *stream) {
    (void)stream;
    if (!current) return INVALID_CONTEXT;
    launches++;
    for (int i = 0; i < executable->count; i++) perform(&executable->work[i]);
    return OK;
}
int cuGraphExecDestroy(Graph *executable) { free(executable); live_executables--; return OK; }
int cuGraphDestroy(Graph *graph) { free(graph); live_graphs--; return OK; }

long stub_count(const char *what) {
    if (!strcmp(what, "live"))
        return live_device + live_host + live_streams + live_graphs + live_executables + live_contexts;
    if (!strcmp(what, "allocations")) return allocations;
    if (!strcmp(what, "launches")) return launches;
    if (!strcmp(what, "uploads")) return uploads;
    if (!strcmp(what, "downloads")) return downloads;
    if (!strcmp(what, "kernels")) return kernels;
    if (!strcmp(what, "synchronisations")) return synchronisations;
    return -1;
}
const char *stub_trace(void) { return trace; }

static const struct { const char *name; void *call; } calls[] = {
    {"cuInit", cuInit}, {"cuDriverGetVersion", cuDriverGetVersion}, {"cuDeviceGetCount", cuDeviceGetCount},
    {"cuDeviceGet", cuDeviceGet}, {"cuDeviceGetName", cuDeviceGetName}, {"cuDeviceTotalMem", cuDeviceTotalMem_v2},
    {"cuDeviceGetAttribute", cuDeviceGetAttribute}, {"cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain},
    {"cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2}, {"cuCtxSetCurrent", cuCtxSetCurrent},
    {"cuMemAlloc", cuMemAlloc_v2}, {"cuMemFree", cuMemFree_v2}, {"cuMemHostAlloc", cuMemHostAlloc},
    {"cuMemFreeHost", cuMemFreeHost}, {"cuMemHostGetDevicePointer", cuMemHostGetDevicePointer_v2},
    {"cuStreamCreate", cuStreamCreate}, {"cuStreamDestroy", cuStreamDestroy_v2},
    {"cuStreamSynchronize", cuStreamSynchronize}, {"cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2},
    {"cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2}, {"cuStreamBeginCapture", cuStreamBeginCapture_v2},
    {"cuStreamEndCapture", cuStreamEndCapture}, {"cuGraphInstantiate", cuGraphInstantiateWithFlags},
    {"cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags}, {"cuGraphLaunch", cuGraphLaunch},
    {"cuGraphExecDestroy", cuGraphExecDestroy}, {"cuGraphDestroy", cuGraphDestroy},
};

int cuGetProcAddress_v2(const char *name, void **call, int version, uint64_t flags, int *found) {
    (void)version; (void)flags;
    *call = NULL;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(name, calls[i].name)) *call = calls[i].call;
    if (!strcmp(name, "cuGetProcAddress")) *call = cuGetProcAddress_v2;
    if (found) *found = *call ? 0 : 1;
    return OK;
}
int cuGetProcAddress(const char *name, void **call, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, call, version, flags, NULL);
}
