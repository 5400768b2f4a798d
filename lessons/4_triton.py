"""Lesson 4: the fusion kernel in Triton, line by line, without a GPU.

    python lessons/4_triton.py

Triton's interpreter runs a kernel as ordinary Python on NumPy arrays. So Python can stop at each line and say what it
computed. Here is the real kernel of kernels/fusion/gpu.py; the mathematics is equation (1) of its README.
"""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"  # before kernels are defined
sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from importlib.util import find_spec

import numpy as np

if not find_spec("triton"):
    sys.exit("lesson 4 needs Triton: pip install 'triton>=3.6'. It needs no GPU.")

from kernels import fusion, launch
from kernels.fusion import gpu

# Two images of 2 x 3 pixels, 4 mid-level channels, a global vector of 2, 3 outputs.
rng = np.random.default_rng(0)
mid, vector = rng.normal(size=(2, 2, 3, 4)).astype("float32"), rng.normal(size=(2, 2)).astype("float32")
w, b = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=3).astype("float32")

# A GPU would run many *programs* of this kernel at once. Each computes one tile of y: BLOCK_P pixels of one image x
# BLOCK_O outputs. The table of tiles is for large images; ours are small. Sides are powers of two; what sticks out is
# masked: loads give 0 there, stores do nothing.
TILE = {"BLOCK_P": 8, "BLOCK_C": 4, "BLOCK_O": 4, "num_warps": 4}
launch.pick = lambda rows, **sizes: dict(TILE)

SOURCE = open(gpu.__file__).read().split("\n")
HIDDEN = {"CG", "CM", "COUT", "ACTIVATION", "PRECISION", *TILE}
programs, seen, arrived = [], {}, []


def spell(value):
    """A Triton value: its shape, and what is in it."""
    data = getattr(getattr(value, "handle", None), "data", None)
    if data is None or data.dtype.kind not in "fiub":
        return repr(value)
    if value.dtype.is_ptr():
        return f"pointer to {value.dtype.element_ty}"
    if data.size == 1:
        return f"{data.item():.4g}"
    shape = "x".join(map(str, data.shape))
    return f"[{shape}] {np.array2string(data.reshape(-1)[:4], precision=3, suppress_small=True)[:-1]} ...]"


def watch(frame, event, argument):
    """Python calls this at each line. We tell the first program's lines, once each."""
    if frame.f_code.co_name != "forward_kernel" or "kernels" not in frame.f_code.co_filename:
        return None
    if event == "call":
        programs.append(spell(frame.f_globals["tl"].program_id(0)))
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

print(f"\n{len(programs)} programs ran: one for each image, since a tile of {TILE['BLOCK_P']} holds its 6 pixels.")
reference = fusion.forward(mid, vector, w, b, "sigmoid")
print(f"Largest difference to the reference: {np.abs(y - reference).max():.1e}")

# Try: BLOCK_P = 4 (how many programs now, and what does the mask hide?), BLOCK_C = 2 (how often do the loops run?).
