"""kernels/gpu/launch.py: Triton's real launcher on a stub of the driver, and what it refuses before a launch."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import bfloat16

from tests.tools.interpreter import place, watched  # isort: skip (first: it sets TRITON_INTERPRET)
from ltbc.kernels import conv3x3
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import pixel_box, split
from tests import ROOT
from tests.tools.launch_on_stub import STREAM, FakeArray

TOOLS = ROOT / "tests/tools"


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """A folder with the stub, built as libcuda.so.1."""
    import triton

    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("Triton's launcher and the stub of the driver need a C compiler: apt-get install gcc")
    folder = tmp_path_factory.mktemp("stub")
    include = Path(triton.__file__).parent / "backends/nvidia/include"
    command = [compiler, "-shared", "-fPIC", "-w", f"-I{include}", TOOLS / "stub_libcuda.c", "-o"]
    subprocess.run([*command, folder / "libcuda.so.1"], check=True)
    return folder


@pytest.mark.parametrize("module", ["numpy", "torch"])
def test_launch_on_a_stub_of_the_driver(stub, module):
    if find_spec(module) is None:
        pytest.skip(f"arrays of {module} need it: pip install {module}")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_LIBCUDA_PATH": str(stub), "LD_LIBRARY_PATH": str(stub), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(TOOLS / "launch_on_stub.py"), str(stub), module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    refused, with_torch, *log = done.stdout.splitlines()
    assert "for the first time while a graph is recorded" in refused, "of another activation: not compiled before"
    assert with_torch == str(module == "torch"), "PyTorch must not be imported on the way"
    m = 1 << 20
    boxes = {int(a): sides for _, a, *sides in (line.split() for line in log if line.startswith("box"))}
    seen = {a: [int(s.split(":")[0]) for s in sides] for a, sides in boxes.items()}  # innermost first
    assert seen == {1 * m: [128, 56, 56, 4], 2 * m: [256, 9 * 128], 4 * m: [256, 56, 56, 4]}
    first, again, second = (line.split() for line in log if line.startswith("launch"))
    assert first[:6] == again[:6], "what has been compiled starts while a graph is recorded too"
    programs = 1
    for side in boxes[4 * m]:
        size, step = map(int, side.split(":"))
        programs *= -(-size // min(step, 64)) if side is boxes[4 * m][0] else -(-size // step)
    tile = launch.pick(launch.tiles("conv3x3")["forward"], arch=90, bytes=2, channels=256, pixels=4 * 56 * 56)
    programs = programs * 64 // tile["BLOCK_O"]  # the hardware's boxes hold 128 bytes inside, 64 channels
    assert first[1:4] == [str(programs), "1", "1"] and first[first.index("threads") + 1] == str(32 * tile["num_warps"])
    assert int(first[first.index("shared") + 1]) > 48 << 10, "so more must be asked for than a kernel has by default:"
    assert any(line.startswith("attribute 8 ") for line in log)
    assert second[1:6] == ["7", "1", "1", "threads", "128"]
    values = [int(v) for v in second[second.index("arguments") + 1 :]]
    assert values[:3] == [5 * m, 6 * m, 8 * m] and [v & 0xFFFFFFFF for v in values[3:]] == [4, 990, 10]
    assert {line[line.index("stream") + 1] for line in (first, second)} == {str(STREAM)}, "CuPy's current stream"


def arrays(dtype=bfloat16, cin=16, h=4):
    return [place(np.ones(s), t) for s, t in (((1, h, 4, cin), dtype), ((3, 3, cin, 16), dtype), ((16,), np.float32))]


def test_arrays_that_no_kernel_takes_are_refused():
    x, w, b = arrays()
    with watched():
        with pytest.raises(ValueError, match="conv3x3: backend gpu takes contiguous arrays; copy x with"):
            conv3x3.forward(x.transpose(0, 2, 1, 3), w, b, backend="gpu")
        with pytest.raises(TypeError, match="conv3x3: backend gpu computes in .*; x is float64"):
            conv3x3.forward(*(a.astype(np.float64) for a in (x, w, b)), backend="gpu")


class OtherKind(launch.Target):
    """A target whose arrays are not NumPy's, on device 1."""

    arrays = type("cupy", (), {"__name__": "cupy", "ndarray": FakeArray})
    place = staticmethod(lambda: (1, 0))


def test_arrays_of_another_kind_device_or_size_are_refused():
    launch.use(OtherKind())
    try:
        with pytest.raises(TypeError, match="op: x is a numpy array, backend gpu takes cupy arrays here"):
            launch.check("op", x=np.ones(3))
        with pytest.raises(ValueError, match="op: x lies on GPU 0, but GPU 1 is the current one"):
            launch.check("op", x=FakeArray((3,), "float32", 0))
        with pytest.raises(ValueError, match=r"op: x has 2147483648 elements, .* fewer than 2\^31; split the batch"):
            launch.check("op", x=FakeArray((1 << 31,), "float32", 0))
    finally:
        launch.use(None)


def test_misaligned_arrays_give_the_same_result_by_pointers():
    x, w, b = arrays()
    raw = np.zeros(x.nbytes + 2, np.uint8)[2:].view(bfloat16).reshape(x.shape)
    raw[...] = x
    with watched(BLOCK_P=16, BLOCK_O=16, BLOCK_C=16):
        assert launch.can_box(x, 16) and not launch.can_box(raw, 16)
        results = [conv3x3.forward(a, w, b, backend="gpu") for a in (x, raw)]
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize(
    "shape, block, reason",
    [
        ((4, 8, 8, 16), (1, 3, 8, 16), "powers of two"),
        ((4, 8, 8, 16), (1, 512, 8, 16), "powers of two up to 256"),
        ((4, 8, 8, 16), (1, 8, 8, 4), "16 bytes inside"),
        ((4, 8, 4, 2, 2, 4), (1, 1, 1, 1, 1, 8), "rank"),
        ((4, 64, 4), (1, 8, 8), "16 bytes"),
        ((4, 8, 8, 8), (1, 8, 8, 8), "all 4096 elements"),
    ],
)
def test_boxes_that_hardware_refuses(shape, block, reason):
    with watched(), pytest.raises(ValueError, match=reason):
        launch.box(place(np.ones((4, 8, 8, 16)), bfloat16), shape, block)


def test_every_row_of_every_table_is_well_formed():
    for file in Path(launch.__file__).parents[1].glob("*/tiles.json"):
        for kernel, rows in launch.tiles(file.parent.name).items():
            assert not [k for k in rows[-1] if k.islower() and k != "measured" and not k.startswith("num_")], (
                f"{file}: the last row of {kernel} must fit everything"
            )
            for row in rows:
                assert row["measured"] and {"num_warps", "num_stages"} <= row.keys(), f"{file}: {kernel}: {row}"
                assert all(v & (v - 1) == 0 for k, v in row.items() if k.isupper()), f"{file}: {kernel}: {row}"


def test_pick_takes_the_first_row_that_fits():
    rows = [{"arch": 90, "channels": 64, "BLOCK_P": 4, "measured": "x"}, {"BLOCK_P": 2, "num_warps": 4}]
    assert launch.pick(rows, arch=100, channels=64) == {"BLOCK_P": 4}
    assert launch.pick(rows, arch=80, channels=64) == launch.pick(rows, arch=90, channels=63)
    with pytest.raises(ValueError, match="no tile in the table for"):
        launch.pick(rows[:1], arch=80, channels=64)


@pytest.mark.parametrize("n, side, box", [(128, 56, (4, 8, 8)), (128, 28, (16, 4, 4)), (128, 14, (64, 2, 2))])
def test_pixel_boxes_leave_nothing_over(n, side, box):
    assert pixel_box(n, side, side, 256) == box


def test_workspaces_keep_their_address():
    with watched():
        a, b = (launch.workspace("w", (3, 4)) for _ in range(2))
        assert a is b and launch.workspace("w", (4, 3)) is not a and launch.workspace("v", (3, 4)) is not a


@pytest.mark.parametrize("boxes, programs", [(0, 9), (1, 9), (7, 9), (1000, 9), (1000, 5000)])
def test_splits_cover_all_boxes_and_are_never_empty(boxes, programs):
    with watched():
        s = split("op", (3, 3), 2, boxes, programs, np.empty((3, 3)), np.empty(2))
    assert s.number * s.boxes >= boxes and (s.number - 1) * s.boxes < max(boxes, 1)


def test_without_triton_the_error_says_what_to_do():
    code = "import sys; sys.modules['triton'] = None; import ltbc.kernels.gpu.launch"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "ImportError: backend gpu: Triton is missing; pip install 'triton>=3.6'" in done.stderr


NO_GPU = """
import sys
from tests.tools.launch_on_stub import fake_cupy
sys.modules["cupy"] = cupy = fake_cupy()
def use():
    raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorInsufficientDriver")
cupy.cuda.Device().use = use
"""


@pytest.mark.parametrize(
    "before, message",
    [
        ("import sys; sys.modules['cupy'] = None", "CuPy is missing; pip install cupy-cuda13x, or choose 'cpu'"),
        (NO_GPU, "no GPU can be used here (cudaErrorInsufficientDriver); choose backend='cpu'"),
    ],
    ids=["no CuPy", "no GPU"],
)
def test_without_cupy_or_gpu_the_error_says_what_to_do(before, message):
    code = f"{before}\nfrom ltbc.kernels.gpu import launch; launch.target()"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert f"RuntimeError: backend gpu: {message}" in done.stderr, done.stderr[-2000:]
