/* A stand-in for the NVIDIA driver's libnvidia-ml.so.1 that speaks its C interface.
 *
 * FAKE_NVML names a scenario, a text file of `key = value` lines:
 *
 *   driver = 580.95.05                    cuda = 13000
 *   init = 18                             an error code instead of success, from nvmlInit
 *   0.name = NVIDIA GeForce RTX 4090      an answer of GPU 0
 *   0.process.0 = 4242 19327352832        its first process: PID and bytes
 *   0.link.3 = 00000000:02:00.0           NVLink 3 ends there ("switch" for an NVSwitch)
 *   0.mig.1.uuid = MIG-...                an answer of the MIG instance 1 of GPU 0
 *   1.error = 15                          GPU 1 answers everything but its handle so
 *   1.handle = 15                         not even the handle is given
 *   0.error.nvmlDeviceGetEccMode = 4      this one call is refused so
 *
 * What a scenario does not tell is answered NVML_ERROR_NOT_SUPPORTED. Struct layouts and codes are
 * those of NVIDIA's public nvml.h; compiled with -DOLD_DRIVER the library lacks the symbols that a
 * driver of the 470 series lacks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { int gpu, instance; } *nvmlDevice_t;
typedef unsigned long long u64;

static struct { char key[96]; char value[192]; } lines[4096];
static int count;

static const char *find(const char *key) {
    for (int i = 0; i < count; i++)
        if (!strcmp(lines[i].key, key)) return lines[i].value;
    return NULL;
}

static const char *prefix(nvmlDevice_t d) {
    static char text[2][32];
    static int turn;
    char *out = text[turn ^= 1];
    if (d->instance < 0) snprintf(out, 32, "%d", d->gpu);
    else snprintf(out, 32, "%d.mig.%d", d->gpu, d->instance);
    return out;
}

static const char *answer(nvmlDevice_t d, const char *name) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", prefix(d), name);
    return find(key);
}

/* The error that the scenario gives this call, or 0. */
static int refusal(nvmlDevice_t d, const char *function) {
    char key[96];
    const char *code;
    snprintf(key, sizeof key, "error.%s", function);
    if ((code = answer(d, key)) || (code = answer(d, "error"))) return atoi(code);
    return SUCCESS;
}

#define REFUSE(d) do { int code = refusal(d, __func__); if (code) return code; } while (0)

static int number(nvmlDevice_t d, const char *name, u64 *out) {
    const char *text = answer(d, name);
    if (!text) return NOT_SUPPORTED;
    *out = strtoull(text, NULL, 10);
    return SUCCESS;
}

static int number32(nvmlDevice_t d, const char *name, unsigned *out) {
    u64 wide;
    int code = number(d, name, &wide);
    if (!code) *out = (unsigned)wide;
    return code;
}

static int string(nvmlDevice_t d, const char *name, char *out, unsigned size) {
    const char *text = answer(d, name);
    if (!text) return NOT_SUPPORTED;
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

static int system_string(const char *name, char *out, unsigned size) {
    const char *text = find(name);
    if (!text) return NOT_SUPPORTED;
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 999;
    char line[320];
    for (count = 0; count < 4096 && fgets(line, sizeof line, file);)
        if (sscanf(line, " %95[^ =] = %191[^\n]", lines[count].key, lines[count].value) == 2)
            count++;
    fclose(file);
    const char *code = find("init");
    return code ? atoi(code) : SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { (void)code; return "an error only this driver knows"; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return system_string("driver", out, size);
}

int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    const char *text = find("cuda");
    if (!text) return NOT_SUPPORTED;
    *out = atoi(text);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *out) {
    const char *code = find("count_error");
    if (code) return atoi(code);
    for (*out = 0;; ++*out) {
        char name[32], handle[32];
        snprintf(name, sizeof name, "%u.name", *out);
        snprintf(handle, sizeof handle, "%u.handle", *out);
        if (!find(name) && !find(handle)) return SUCCESS;
    }
}

static nvmlDevice_t device(int gpu, int instance) {
    static struct { int gpu, instance; } all[64][8];
    nvmlDevice_t d = (nvmlDevice_t)&all[gpu][instance + 1];
    d->gpu = gpu;
    d->instance = instance;
    return d;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out) {
    char key[32];
    snprintf(key, sizeof key, "%u.handle", index);
    if (index >= 64) return INVALID_ARGUMENT;
    if (find(key)) return atoi(find(key));
    *out = device((int)index, -1);
    return SUCCESS;
}

int nvmlDeviceGetName(nvmlDevice_t d, char *out, unsigned size) {
    REFUSE(d);
    return string(d, "name", out, size);
}

int nvmlDeviceGetUUID(nvmlDevice_t d, char *out, unsigned size) {
    REFUSE(d);
    return string(d, "uuid", out, size);
}

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

int nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *out) {
    REFUSE(d);
    memset(out, 0, sizeof *out);
    return string(d, "pci", out->busId, sizeof out->busId);
}

/* memory = TOTAL USED RESERVED. The first version counts the reserve as used. */
static int memory(nvmlDevice_t d, u64 *total, u64 *used, u64 *reserved) {
    const char *text = answer(d, "memory");
    if (!text) return NOT_SUPPORTED;
    return sscanf(text, "%llu %llu %llu", total, used, reserved) == 3 ? SUCCESS : 999;
}

typedef struct { u64 total, free, used; } nvmlMemory_t;

int nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *out) {
    REFUSE(d);
    u64 reserved;
    int code = memory(d, &out->total, &out->used, &reserved);
    if (code) return code;
    out->used += reserved;
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor) {
    REFUSE(d);
    const char *text = answer(d, "capability");
    return text && sscanf(text, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_SUPPORTED;
}

typedef struct {
    unsigned pid;
    u64 used;
    unsigned gpuInstance, computeInstance;
} nvmlProcessInfo_t;

static int processes(nvmlDevice_t d, const char *kind, unsigned *size, nvmlProcessInfo_t *out) {
    unsigned total = 0;
    char name[64];
    for (;; total++) {
        snprintf(name, sizeof name, "%s.%u", kind, total);
        const char *text = answer(d, name);
        if (!text) break;
        if (!out || total >= *size) continue;
        out[total].gpuInstance = out[total].computeInstance = 0xFFFFFFFF;
        if (sscanf(text, "%u %llu", &out[total].pid, &out[total].used) == 1)
            out[total].used = ~0ULL; /* NVML_VALUE_NOT_AVAILABLE */
    }
    int code = total > *size ? INSUFFICIENT_SIZE : SUCCESS;
    *size = total;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *out) {
    REFUSE(d);
    return processes(d, "process", n, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *out) {
    REFUSE(d);
    return processes(d, "graphics", n, out);
}

int nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, unsigned kind, unsigned *out) {
    REFUSE(d);
    return kind == 2 ? number32(d, "memory_clock", out) : NOT_SUPPORTED;
}

int nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *pending) {
    REFUSE(d);
    int code = number32(d, "mig", now);
    *pending = *now;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    *out = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned index, nvmlDevice_t *out) {
    REFUSE(d);
    if (index >= 7) return INVALID_ARGUMENT;
    *out = device(d->gpu, (int)index);
    return answer(*out, "uuid") ? SUCCESS : NOT_FOUND;
}

typedef struct {
    unsigned multiprocessors, other[7];
    u64 memoryMiB;
} nvmlDeviceAttributes_t;

int nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *out) {
    REFUSE(d);
    memset(out, 0, sizeof *out);
    return number32(d, "multiprocessors", &out->multiprocessors);
}

int nvmlDeviceGetEccMode(nvmlDevice_t d, unsigned *now, unsigned *pending) {
    REFUSE(d);
    int code = number32(d, "ecc", now);
    *pending = *now;
    return code;
}

int nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, unsigned type, unsigned counter, u64 *out) {
    REFUSE(d);
    return type == 1 && counter == 0 ? number(d, "ecc_uncorrected", out) : NOT_SUPPORTED;
}

int nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned *corrected, unsigned *uncorrected,
                              unsigned *pending, unsigned *failure) {
    REFUSE(d);
    const char *text = answer(d, "remapped");
    if (!text) return NOT_SUPPORTED;
    return sscanf(text, "%u %u %u %u", corrected, uncorrected, pending, failure) == 4 ? SUCCESS
                                                                                      : 999;
}

int nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "retire_pending", out);
}

int nvmlDeviceGetSupportedEventTypes(nvmlDevice_t d, u64 *out) {
    REFUSE(d);
    return number(d, "events", out);
}

int nvmlDeviceGetTemperature(nvmlDevice_t d, unsigned sensor, unsigned *out) {
    REFUSE(d);
    (void)sensor;
    return number32(d, "temperature", out);
}

int nvmlDeviceGetPowerManagementLimit(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "power_limit", out);
}

int nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "pcie_generation", out);
}

int nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "pcie_width", out);
}

int nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "pcie_width_possible", out);
}

static const char *link_end(nvmlDevice_t d, unsigned link) {
    char name[32];
    snprintf(name, sizeof name, "link.%u", link);
    return answer(d, name);
}

int nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned link, unsigned *active) {
    REFUSE(d);
    unsigned links;
    if (number32(d, "links", &links)) return NOT_SUPPORTED;
    if (link >= links) return INVALID_ARGUMENT;
    *active = link_end(d, link) != NULL;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t d, unsigned link, nvmlPciInfo_t *out) {
    REFUSE(d);
    const char *end = link_end(d, link);
    if (!end) return INVALID_ARGUMENT;
    if (!strcmp(end, "unknown")) return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    strcpy(out->busId, strcmp(end, "switch") ? end : "00000000:C1:00.0");
    return SUCCESS;
}

int nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t d, nvmlDevice_t other, unsigned *out) {
    REFUSE(d);
    (void)other;
    return number32(d, "topology", out);
}

#ifndef OLD_DRIVER

typedef struct {
    unsigned version;
    u64 total, reserved, free, used;
} nvmlMemory_v2_t;

int nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *out) {
    REFUSE(d);
    if (out->version != 0x02000028) return 25; /* ARGUMENT_VERSION_MISMATCH */
    int code = memory(d, &out->total, &out->used, &out->reserved);
    out->free = out->total - out->used - out->reserved;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *out) {
    REFUSE(d);
    return processes(d, "process", n, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *out) {
    REFUSE(d);
    return processes(d, "graphics", n, out);
}

int nvmlDeviceGetMemoryBusWidth(nvmlDevice_t d, unsigned *out) {
    REFUSE(d);
    return number32(d, "bus_width", out);
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type, code;
    union { double d; unsigned ui; u64 ull; } value;
} nvmlFieldValue_t;

int nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t *values) {
    REFUSE(d);
    for (int i = 0; i < n; i++) {
        const char *name = values[i].field == 230 ? "recovery"
                         : values[i].field == 164 ? "link_speed"
                         : values[i].field == 90  ? "common_link_speed" : "";
        values[i].type = 1;
        values[i].code = number32(d, name, &values[i].value.ui);
    }
    return SUCCESS;
}

#endif
