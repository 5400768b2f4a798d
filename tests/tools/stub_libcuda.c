// Stands in for libcuda.so.1: answers what Triton asks and writes what it would do to a log, one line a call.
#include "cuda.h"
#include <stdio.h>
#include <string.h>

#define OK { return CUDA_SUCCESS; }
#define ARGUMENTS 24

static char text[1 << 16];
static size_t used;
int stub_arguments = 0; // of the next launch, 8 bytes each are logged; set from outside

const char *stub_log(void) { return text; }

#define LOG(...) (used += snprintf(text + used, sizeof text - used, __VA_ARGS__))

CUresult cuInit(unsigned flags) OK
CUresult cuDriverGetVersion(int *version) { *version = 13000; return CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult error, const char **s) { *s = "stub"; return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int i) { *device = i; return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *n) { *n = 1; return CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext *c) { *c = (CUcontext)1; return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext c) OK
CUresult cuCtxGetDevice(CUdevice *d) { *d = 0; return CUDA_SUCCESS; }
CUresult cuCtxGetLimit(size_t *p, CUlimit l) { *p = 1 << 20; return CUDA_SUCCESS; }
CUresult cuCtxSetLimit(CUlimit l, size_t v) OK
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { *c = (CUcontext)1; return CUDA_SUCCESS; }
CUresult cuModuleLoadData(CUmodule *m, const void *image) { *m = (CUmodule)2; return CUDA_SUCCESS; }
CUresult cuModuleUnload(CUmodule m) OK
CUresult cuFuncSetCacheConfig(CUfunction f, CUfunc_cache c) OK
CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *c) { *c = 0; return CUDA_SUCCESS; }
CUresult cuOccupancyMaxActiveClusters(int *n, CUfunction f, const CUlaunchConfig *c) { *n = 1; return CUDA_SUCCESS; }

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice d) {
  *value = a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR             ? 9
           : a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR           ? 0
           : a == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN  ? 232448
           : a == CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK              ? 1024
                                                                         : 132;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  *f = (CUfunction)3;
  LOG("function %s\n", name);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute a, CUfunction f) {
  *value = a == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int value) {
  if (a >= CU_FUNC_ATTRIBUTE_MAX) // newer than CUDA 13.0: Triton 3.8 asks for more shared memory in two ways, the new first
    return CUDA_ERROR_INVALID_VALUE;
  LOG("attribute %d %d\n", a, value);
  return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute a, CUdeviceptr p) {
  *(CUdeviceptr *)data = p;
  return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  LOG("box %llu", (unsigned long long)address);
  for (unsigned k = 0; k < rank; k++)
    LOG(" %llu:%u", (unsigned long long)dims[k], box[k]); // innermost first
  LOG("\n");
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **arguments, void **extra) {
  LOG("launch %u %u %u threads %u shared %u stream %llu arguments", c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX,
      c->sharedMemBytes, (unsigned long long)c->hStream);
  for (int k = 0; k < stub_arguments; k++) {
    unsigned long long value;
    memcpy(&value, arguments[k], 8);
    LOG(" %llu", value);
  }
  LOG("\n");
  return CUDA_SUCCESS;
}
