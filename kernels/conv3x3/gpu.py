"""Triton kernels: implicit matrix products, with pixels in boxes and tensor-core sums in float32."""

from kernels import launch
from kernels.conv3x3 import OP, output_shape
from kernels.fragments import activate, box_corner, box_pixels, pixel_box
from kernels.launch import box, can_box, cdiv, tl, triton

TILES = launch.tiles(OP)


def prepare(w, *, out=None):
    return None  # the kernels read w as it is, forward transposed on its way to the tensor cores


def forward(x, w, b, stride, activation, *, out=None, prepared=None):
    launch.check(OP, x=x, w=w, b=b, out=out)
    (n, h, width, cin), cout = x.shape, w.shape[3]
    y = launch.empty(output_shape(x.shape, cout, stride), x.dtype) if out is None else out
    _, oh, ow, _ = y.shape
    tile = pick("forward", x, n * oh * ow, cin, cout)
    sides = pixel_box(n, oh, ow, tile.pop("BLOCK_P"))
    block_o, block_c = tile["BLOCK_O"], tile["BLOCK_C"]
    i_tiles, j_tiles = cdiv(oh, sides[1]), cdiv(ow, sides[2])
    boxes = cin % block_c == 0 and can_box(x, cin) and can_box(w, cout) and can_box(y, cout)
    boxes = boxes and (stride == 1 or (h % 2 == 0 and width % 2 == 0))
    arrays = x, w, y
    if boxes:
        seen, block = (n, h, width, cin), (*sides, block_c)
        if stride == 2:
            seen, block = (n, oh, 2, ow, 2 * cin), (sides[0], sides[1], 1, sides[2], block_c)
        arrays = (
            box(x, seen, block),
            box(w, (9 * cin, cout), (block_c, block_o)),
            box(y, y.shape, (*sides, block_o)),
        )
    launch.run(
        forward_kernel, (cdiv(cout, block_o) * cdiv(n, sides[0]) * i_tiles * j_tiles,),
        arrays[0], arrays[1], b, arrays[2],
        n, h, width, oh, ow, i_tiles, j_tiles,
        CIN=cin, COUT=cout, STRIDE=stride, ACTIVATION=activation, PRECISION=launch.precision(), BOXES=boxes,
        **box_sides(sides), **tile,
    )  # fmt: skip
    return y


def pick(kernel, x, pixels, cin, cout):
    """The tile for one of the kernels; BLOCK_C shrinks until it divides the channels it runs over, if it can."""
    tile = launch.pick(TILES[kernel], bytes=x.dtype.itemsize, channels=cout, pixels=pixels)
    while tile["BLOCK_C"] > 16 and cin % tile["BLOCK_C"]:
        tile["BLOCK_C"] //= 2
    return tile


def box_sides(sides):
    return dict(zip(("BLOCK_N", "BLOCK_H", "BLOCK_W"), sides))


# y of one box of pixels and BLOCK_O channels a program; programs of the same pixels are neighbors and share them in L2.
# The loop runs over the 9 taps and, within, over the input channels. Pixels are the second operand of the product and
# the accumulator is [channel, pixel]: so both operands stay in shared memory, whereas as the first one a box of pixels
# would pass through registers. With BOXES, x, w and y are descriptors, whose zeros out of bounds are the padding; for
# stride 2 x is seen as [N, H/2, 2, W/2, 2 CIN], where each tap is again a plain box. Bound by tensor cores from 64
# channels on.
@triton.jit
def forward_kernel(
    x, w, b, y,
    N, H, W, OH, OW, I_TILES, J_TILES,
    CIN: tl.constexpr, COUT: tl.constexpr, STRIDE: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    BLOCK_P: tl.constexpr = BLOCK_N * BLOCK_H * BLOCK_W
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    o0 = program % O_TILES * BLOCK_O
    n0, i0, j0 = box_corner(program // O_TILES, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    n, i, j = box_pixels(n0, i0, j0, BLOCK_N, BLOCK_H, BLOCK_W)  # [BLOCK_P] each
    o, c = o0 + tl.arange(0, BLOCK_O), tl.arange(0, BLOCK_C)
    z = tl.zeros((BLOCK_O, BLOCK_P), tl.float32)
    for k in range(9 * C_TILES):
        r, s, c0 = k // C_TILES // 3, k // C_TILES % 3, k % C_TILES * BLOCK_C
        if not BOXES:
            h, v = i * STRIDE + r - 1, j * STRIDE + s - 1
            inside = (n < N) & (h >= 0) & (h < H) & (v >= 0) & (v < W)
            pixels = tl.load(  # [BLOCK_P, BLOCK_C]
                x + ((n * H + h) * W + v)[:, None] * CIN + (c0 + c),
                mask=inside[:, None] & (c0 + c < CIN), other=0.0,
            )
            weights = tl.load(  # [BLOCK_C, BLOCK_O]
                w + ((r * 3 + s) * CIN + c0 + c)[:, None] * COUT + o,
                mask=(c0 + c < CIN)[:, None] & (o < COUT), other=0.0,
            )
        else:
            if STRIDE == 1:
                corner = x.load([n0, i0 + r - 1, j0 + s - 1, c0])
            else:  # tap 0: the pair before, its second member; tap 1: this pair, first; tap 2: this pair, second
                corner = x.load([n0, i0 + (r + 1) // 2 - 1, (r + 1) % 2, j0 + (s + 1) // 2 - 1, (s + 1) % 2 * CIN + c0])
            pixels = corner.reshape(BLOCK_P, BLOCK_C)  # [BLOCK_P, BLOCK_C]
            weights = w.load([(r * 3 + s) * CIN + c0, o0])  # [BLOCK_C, BLOCK_O]
        z = tl.dot(weights.T, pixels.T, z, input_precision=PRECISION)
    z = activate(z + tl.load(b + o, mask=o < COUT, other=0.0)[:, None], ACTIVATION)  # [BLOCK_O, BLOCK_P]
    if BOXES:
        y.store([n0, i0, j0, o0], z.to(y.dtype).T.reshape(BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O))
    else:
        inside = (n < N) & (i < OH) & (j < OW)
        at = ((n * OH + i) * OW + j)[:, None] * COUT + o  # [BLOCK_P, BLOCK_O]
        tl.store(y + at, z.T.to(y.dtype.element_ty), mask=inside[:, None] & (o < COUT))
