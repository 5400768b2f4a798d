"""Lesson 4: the fusion kernel in Triton, line by line, without a GPU; and what its backward pass saves.

Triton's interpreter runs a kernel as ordinary Python on NumPy arrays. So Python can stop at each line and say what it
computed. Here is the real kernel of kernels/fusion/gpu.py; the mathematics stands in its README.
"""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"  # before kernels are defined
sys.path.insert(0, sys.path[0] + "/..")  # the project's folder
from importlib.util import find_spec

import numpy as np

if not find_spec("triton"):
    sys.exit("lesson 4 needs Triton: pip install 'triton>=3.6'. It needs no GPU.")

from ltbc import program
from ltbc.kernels import fusion
from ltbc.kernels.fusion import gpu
from ltbc.kernels.gpu import launch

program.begin()  # so that Ctrl-C and `| head` end it quietly
rng = np.random.default_rng(0)  # two images of 2 x 3 pixels, 4 mid-level channels, a global vector of 2, 3 outputs
mid, vector = rng.normal(size=(2, 2, 3, 4)).astype("float32"), rng.normal(size=(2, 2)).astype("float32")
w, b = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=3).astype("float32")

# A GPU runs many *programs* of this kernel at once. Each computes a tile of y: BLOCK_P pixels of an image x BLOCK_O
# outputs. Sides are powers of two; what sticks out is masked: loads give 0 there, stores do nothing.
TILE = dict(BLOCK_P=8, BLOCK_C=4, BLOCK_O=4, num_warps=4)
launch.pick = lambda rows, **sizes: dict(TILE)
SOURCE, HIDDEN = open(gpu.__file__).read().split("\n"), {"CG", "CM", "COUT", "ACTIVATION", "PRECISION", *TILE}
programs, seen = [], {}


def spell(value):
    """A Triton value: its shape, and what is in it."""
    data = getattr(getattr(value, "handle", None), "data", None)
    if data is None or data.dtype.kind not in "fiub":
        return repr(value)
    if data.size == 1:
        return f"pointer to {value.dtype.element_ty}" if value.dtype.is_ptr() else f"{data.item():.4g}"
    shape = "x".join(map(str, data.shape))
    return f"[{shape}] {np.array2string(data.reshape(-1)[:4], precision=3, suppress_small=True)[:-1]} ...]"


def watch(frame, event, argument):
    """Python calls this at each line. We tell the first program's."""
    if frame.f_code.co_name != "forward_kernel" or "kernels" not in frame.f_code.co_filename:
        return None
    programs.extend([frame] * (event == "call"))
    if len(programs) > 1:
        return None
    for name, value in frame.f_locals.items():
        text = spell(value)
        if seen.get(name) != text and hasattr(value, "handle") and name not in HIDDEN:
            print(f"        {name} = {text}")
        seen[name] = text
    if event == "line":
        print(SOURCE[frame.f_lineno - 1])
    return watch


sys.settrace(watch)
y = fusion.forward(mid, vector, w, b, "sigmoid", backend="gpu")
sys.settrace(None)
size, count = TILE["BLOCK_P"], len(programs) // 2
print(f"\n{2 * count} programs ran: {count} for each image of 6 pixels; masks hide {count * size - 6} more.")
print(f"Largest difference to the reference: {abs(y - fusion.forward(mid, vector, w, b, 'sigmoid')).max():.1e}\n")

# Backward. Every pixel got a copy of one vector; copies add up: equations (d), (3) and (4).
dy = rng.normal(size=y.shape).astype("float32")
dz = (dy * y * (1 - y)).reshape(2, 6, 3)  # pixels as rows; sigmoid' = y (1 - y)
slow, s = sum(dz[:, p] @ w[:2].T for p in range(6)), dz.sum(1)  # multiplying first; adding first: one vector an image
_, dglobal, dw, _ = fusion.backward(dy, mid, vector, w, y, "sigmoid")
print(f"dglobal: six products, added {slow[0]}, one product of the sum {(s @ w[:2].T)[0]}")
print("equal to the project's:", np.allclose(s @ w[:2].T, dglobal), np.allclose(vector.T @ s, dw[:2]))
# Try: "BLOCK_P=8" -> "BLOCK_P=4" takes smaller tiles: "4 programs ran: 2 for each image" and "masks hide 2"
# Try: "BLOCK_C=4" -> "BLOCK_C=2" loops over the channels, two at once: "= [8x2]"
