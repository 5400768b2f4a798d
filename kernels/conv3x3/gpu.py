"""Launches the Triton kernels of `gpu_kernels.py`, and of `gpu_few.py` where one side has few channels."""

from ltbc.kernels.conv3x3 import OP, gpu_few, output_shape
from ltbc.kernels.conv3x3.gpu_kernels import backward_data_kernel, backward_weights_kernel, forward_kernel
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import even, finish, gradients, image, split, tiling
from ltbc.kernels.gpu.derivative import derivative
from ltbc.kernels.gpu.launch import box, can_box, cdiv

TILES = launch.tiles(OP)


def prepare(w, *, out=None):
    return None  # the kernels read w as it is; forward transposes it on its way to the tensor cores


def forward(x, w, b, stride, activation, *, out=None, prepared=None):
    (n, h, width, cin), cout = x.shape, w.shape[3]
    y = launch.empty(output_shape(x.shape, cout, stride), x.dtype) if out is None else out
    launch.check(OP, x=x, w=w, b=b, y=y)
    if cin <= gpu_few.FEW:
        gpu_few.product(x, w, b, y, stride, activation)
        return y
    if cout <= gpu_few.FEW and stride == 1:
        gpu_few.forward(x, w, b, y, activation)
        return y
    sides, count, shape, tile = tiling(TILES["forward"], (x, y), y.shape, channels=cout, inputs=cin)
    while tile["BLOCK_C"] > 16 and cin % tile["BLOCK_C"]:
        tile["BLOCK_C"] //= 2
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(x, cin) and can_box(w, cout) and can_box(y, cout) and even(x, stride) and cin % block_c == 0
    arrays = (x, w, b, y)
    if boxes:
        weights = box(w, (9 * cin, cout), (block_c, block_o))
        arrays = (image(x, sides, block_c, stride), weights, b, image(y, sides, block_o))
    launch.run(
        forward_kernel, (count * cdiv(cout, block_o),), *arrays, n, h, width, *y.shape[1:3], *shape,
        CIN=cin, COUT=cout, STRIDE=stride, ACTIVATION=activation, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )
    return y


def backward(
    dy, x, w, y, stride, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"
):
    launch.check(OP, dy=dy, x=x, w=w, y=y, dx=out[0], dw=out[1], db=out[2])
    few_inputs, few_outputs = x.shape[3] <= gpu_few.FEW, w.shape[3] <= gpu_few.FEW and stride == 1
    dz, (dw, db) = dy, gradients(w, *out[1:])
    if not few_outputs and not (few_inputs and not needs_dx):
        dz, activation = derivative(dy, y, activation, x.dtype), "none"
    if few_inputs or few_outputs:  # dw first: dx may go over x
        gpu_few.backward_weights(dz, x, y, stride, activation, dw, db)
    else:
        backward_weights(dz, x, stride, dw, db)
    if not needs_dx:
        return None, dw, db
    dx = launch.empty(x.shape, x.dtype) if out[0] is None else out[0]
    if few_outputs:
        gpu_few.backward_data(dz, w, y, x, activation, through, dx)
    else:
        backward_data(dz, w, x, stride, through, dx)
    return dx, dw, db


def backward_data(dz, w, x, stride, through, dx):
    (n, h, width, cin), cout = dx.shape, w.shape[3]
    phase = n, cdiv(h, stride), cdiv(width, stride)  # the pixels of one phase, or all
    sides, count, shape, tile = tiling(TILES["backward_data"], (dz, w, dx), phase, channels=cin)
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(dz, cout) and can_box(w, cout) and can_box(dx, cin) and can_box(x, cin)
    boxes = boxes and (stride == 1 or (even(dx, stride) and cin % block_c == 0))
    arrays = (dz, w, x, dx)
    if boxes:
        weights = box(w, (9 * cin, cout), (block_c, block_o))
        arrays = (image(dz, sides, block_o), weights, *(image(a, sides, block_c, stride) for a in (x, dx)))
    launch.run(
        backward_data_kernel, (stride**2 * count * cdiv(cin, block_c),),
        *arrays, n, h, width, *dz.shape[1:3], count, *shape,
        CIN=cin, COUT=cout, STRIDE=stride, THROUGH=through, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )


def backward_weights(dz, x, stride, dw, db):
    (n, h, width, cin), cout = x.shape, dz.shape[3]
    sides, count, shape, tile = tiling(TILES["backward_weights"], (x, dz), dz.shape, channels=cout, inputs=cin)
    block_c, block_o = tile["BLOCK_C"], tile["BLOCK_O"]
    boxes = can_box(x, cin) and (stride == 1 or (even(x, stride) and cin % block_c == 0))
    programs = cdiv(cout, block_o) * (9 * cdiv(cin, block_c) + 1)
    splits = split(OP, dw.shape, cout, count, programs, dw, db)
    launch.run(
        backward_weights_kernel, (splits.number * programs,), dz, image(x, sides, block_c, stride) if boxes else x,
        splits.dw, splits.db, n, h, width, *dz.shape[1:3], count, splits.boxes, splits.step, *shape,
        CIN=cin, COUT=cout, STRIDE=stride, PRECISION=launch.precision(), BOXES=boxes, **tile,
    )
    finish(splits, dw, db)
