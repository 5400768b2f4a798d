"""Drives Triton's real launcher on a machine without GPU: `stub_libcuda.c` stands in for the driver, a few lines for
CuPy. Run by `test_launch.py` in a process of its own; prints the stub's log. Arguments: folder of the stub [torch]."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import ml_dtypes  # noqa: F401 (teaches NumPy the name bfloat16)
import numpy as np

STREAM = 0x5EA


class FakeArray:
    """A CuPy array without memory, at an address."""

    def __init__(self, shape, dtype, address):
        self.shape, self.dtype, self.size = tuple(shape), np.dtype(dtype), int(np.prod(shape))
        self.itemsize, self.nbytes = self.dtype.itemsize, self.size * self.dtype.itemsize
        self.data, self.flags = SimpleNamespace(ptr=address), SimpleNamespace(c_contiguous=True)
        self.device = SimpleNamespace(id=0)


def fake_cupy():
    runtime = SimpleNamespace(getDevice=lambda: 0, setDevice=lambda d: None, CUDARuntimeError=RuntimeError)
    device = SimpleNamespace(use=lambda: None, compute_capability="90")
    cupy = ModuleType("cupy")
    cupy.ndarray, cupy.empty = FakeArray, lambda shape, dtype="float32": FakeArray(np.atleast_1d(shape), dtype, 7 << 20)
    cupy.cuda = SimpleNamespace(
        runtime=runtime, Device=lambda *_: device, get_current_stream=lambda: SimpleNamespace(ptr=STREAM)
    )
    return cupy


def main(folder, *modules):
    stub = ctypes.CDLL(f"{folder}/libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
    stub.stub_log.restype = ctypes.c_char_p
    arguments = ctypes.c_int.in_dll(stub, "stub_arguments")
    if "torch" in modules:
        import torch  # noqa: F401
    sys.modules["cupy"] = fake_cupy()
    from ltbc.kernels.conv3x3 import gpu
    from ltbc.kernels.gpu import launch
    from ltbc.kernels.gpu.fragments import sum_splits_kernel
    from ltbc.kernels.gpu.targets import recording

    x, w = FakeArray((4, 56, 56, 128), "bfloat16", 1 << 20), FakeArray((3, 3, 128, 256), "bfloat16", 2 << 20)
    b, y = FakeArray((256,), "float32", 3 << 20), FakeArray((4, 56, 56, 256), "bfloat16", 4 << 20)
    gpu.forward(x, w, b, 1, "relu", out=y)
    with recording(launch.triton.knobs.runtime):  # what has been compiled starts; what has not is refused
        gpu.forward(x, w, b, 1, "relu", out=y)
        try:
            gpu.forward(x, w, b, 1, "sigmoid", out=y)
        except RuntimeError as error:
            print(error)
    parts, dw, db = (FakeArray((n,), "float32", k << 20) for n, k in ((4000, 5), (990, 6), (10, 8)))
    arguments.value = 6
    launch.run(sum_splits_kernel, (7,), parts, dw, db, 4, 990, 10, BLOCK=1024, num_warps=4)
    print("torch" in sys.modules)
    print(stub.stub_log().decode(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
