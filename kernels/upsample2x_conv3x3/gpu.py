"""Launches the Triton kernels of `gpu_kernels.py`. Prepared weights are v of equation (2), [16, Cin, Cout]."""

from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import SUM_BLOCK, gradients, image, split, tiling
from ltbc.kernels.gpu.derivative import derivative
from ltbc.kernels.gpu.launch import box, can_box, cdiv
from ltbc.kernels.upsample2x_conv3x3 import OP, output_shape
from ltbc.kernels.upsample2x_conv3x3.gpu_kernels import (
    backward_data_kernel,
    backward_weights_kernel,
    fold_kernel,
    forward_kernel,
    phase_weights_kernel,
)

TILES = launch.tiles(OP)


def prepare(w, *, out=None):
    launch.check(OP, w=w, out=out)
    v = launch.empty((16, *w.shape[2:]), w.dtype) if out is None else out
    size = v[0].size
    launch.run(phase_weights_kernel, (cdiv(size, SUM_BLOCK),), w, v, size, BLOCK=SUM_BLOCK, num_warps=8)
    return v


def forward(x, w, b, activation, *, out=None, prepared=None):
    (n, h, width, cin), cout = x.shape, w.shape[3]
    y = launch.empty(output_shape(x.shape, cout), x.dtype) if out is None else out
    launch.check(OP, x=x, w=w, b=b, y=y)
    v = prepare(w) if prepared is None else prepared
    sides, count, shape, tile = tiling(TILES["forward"], (x, y), x.shape, channels=cout)
    while tile["BLOCK_C"] > 16 and cin % tile["BLOCK_C"]:
        tile["BLOCK_C"] //= 2
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(x, cin) and can_box(v, cout) and can_box(y, cout) and cin % block_c == 0 and cout % block_o == 0
    arrays = (x, v, b, y)
    if boxes:
        weights = box(v, (16 * cin, cout), (block_c, block_o))
        arrays = (image(x, sides, block_c), weights, b, image(y, sides, block_o, 2))
    launch.run(
        forward_kernel, (4 * count * cdiv(cout, block_o),), *arrays, n, h, width, *shape,
        CIN=cin, COUT=cout, ACTIVATION=activation, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )
    return y


def backward(dy, x, w, y, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"):
    launch.check(OP, dy=dy, x=x, w=w, y=y, dx=out[0], dw=out[1], db=out[2])
    dz, (dw, db) = derivative(dy, y, activation, x.dtype), gradients(w, *out[1:])
    backward_weights(dz, x, dw, db)  # first: dx may go over x
    if not needs_dx:
        return None, dw, db
    dx = launch.empty(x.shape, x.dtype) if out[0] is None else out[0]
    backward_data(dz, prepare(w) if prepared is None else prepared, x, through, dx)
    return dx, dw, db


def backward_data(dz, v, x, through, dx):
    (n, h, width, cin), cout = dx.shape, dz.shape[3]
    sides, count, shape, tile = tiling(TILES["backward_data"], (dz, dx), dx.shape, channels=cin, inputs=cout)
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(dz, cout) and can_box(v, cout) and can_box(dx, cin) and can_box(x, cin) and cout % block_o == 0
    arrays = (dz, v, x, dx)
    if boxes:
        weights = box(v, (16 * cin, cout), (block_c, block_o))
        arrays = (image(dz, sides, block_o, 2), weights, *(image(a, sides, block_c) for a in (x, dx)))
    launch.run(
        backward_data_kernel, (count * cdiv(cin, block_c),), *arrays, n, h, width, *shape,
        CIN=cin, COUT=cout, THROUGH=through, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )


def backward_weights(dz, x, dw, db):
    (n, h, width, cin), cout = x.shape, dz.shape[3]
    sides, count, shape, tile = tiling(TILES["backward_weights"], (x, dz), x.shape, channels=cout, inputs=cin)
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(x, cin)
    programs = cdiv(cout, block_o) * (16 * cdiv(cin, block_c) + 1)
    splits = split(OP, (16, cin, cout), cout, count, programs, dw, db)
    launch.run(
        backward_weights_kernel, (splits.number * programs,), dz, image(x, sides, block_c) if boxes else x,
        splits.dw, splits.db, n, h, width, count, splits.boxes, splits.step, *shape,
        CIN=cin, COUT=cout, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )
    grid = (cdiv(dw.size + cout, SUM_BLOCK),)
    launch.run(fold_kernel, grid, splits.parts, dw, db, splits.number, cin * cout, cout, BLOCK=SUM_BLOCK, num_warps=4)
