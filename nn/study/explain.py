"""`ltbc explain LAYER ROW COLUMN CHANNEL --photo PHOTO`: one number of the network, written out.

The formula, the terms that matter most with their values and where they come from, the sum, the activation; with
--gradient the derivative of the loss by that number. Then what every backend of this machine computed there, each held
against the sum in float64 of what it stored itself. The network sees the middle square of the photograph.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ltbc.kernels.arrays import activate
from ltbc.kernels.compare import to_float64, tolerance
from ltbc.nn.architecture import LayerSpec, layers
from ltbc.nn.backends import array_module_of, complete, default_backend, default_dtype, has
from ltbc.nn.network import ALPHA
from ltbc.nn.study.recording import Record, RecordingNetwork, sources
from ltbc.nn.study.terms import Place, Terms, backward, forward, one
from ltbc.nn.weights import WeightsError

SIDE = 224  # of the picture for a network without global branch
EQUATIONS = {
    "conv3x3": "z[i,j,o] = b[o] + sum over r, s, c of x[i*stride+r-1, j*stride+s-1, c] w[r,s,c,o]",
    "upsample2x_conv3x3": "z[2i+p,2j+q,o] = b[o] + sum over u, v, c of x[i+p+u-1, j+q+v-1, c] v_pq[u,v,c,o]",
    "fusion": "z[i,j,o] = b[o] + sum over g of global[g] w[g,o] + sum over c of mid[i,j,c] w[Cg+c,o]",
    "linear": "z[o] = b[o] + sum over c of x[c] w[c,o]",
}
GRADIENTS = {
    "conv3x3": "dx[h,k,c] = sum over r, s, o with h = i*stride+r-1, k = j*stride+s-1 of dz[i,j,o] w[r,s,c,o]   (3)",
    "upsample2x_conv3x3": "dx[h,k,c] = sum over 4 x 4 pixels (2h-1.., 2k-1..) and o of dz[.,.,o] v_pq[u,v,c,o]   (4)",
    "fusion": "dmid[i,j,c] = sum over o of dz[i,j,o] w[Cg+c,o];  dglobal[g] = sum over o of s[o] w[g,o]   (4)",
    "linear": "dx[c] = sum over o of dz[o] w[c,o]   (3)",
}


class Answer(NamedTuple):
    """A number as a sum: value = act(bias + sum of terms), and what the backend stored."""

    terms: list[Terms]
    bias: float
    value: float
    stored: float
    allowed: float  # difference between the two that rounding explains


def explain(net: RecordingNetwork, name: str, place: Place) -> Answer:
    """The output of a layer at a place."""
    records, read = net.records, sources(layers(net.settings))
    record = records[name]
    terms = forward(record, read[name], place)
    source = records.get(read[name][0])
    if source is not None and source.y.shape != record.inputs[0].shape:  # a map, read as one vector
        shape, layer = source.y.shape, read[name][0]
        terms[0] = terms[0]._replace(name_a=lambda k: f"{layer}[{','.join(map(str, np.unravel_index(k, shape)))}]")
    bias = float(record.b[place[2]])
    z = np.array(bias + sum(float((t.a * t.b).sum()) for t in terms))
    value = float(activate(z.reshape(1), record.spec.activation)[0])
    exact = record.spec.op in ("linear", "fusion")
    return finish(terms, bias, value, record, record.y, place, record.method.error("y"), exact)


def explain_gradient(net: RecordingNetwork, name: str, place: Place, label: int) -> Answer:
    """The derivative of the loss by the output of a layer at a place."""
    records, read = net.records, sources(layers(net.settings))
    record, terms, error = records[name], [], 1.0
    assert record.dy is not None
    if name == "color.4":
        difference = record.y[place] - to_float64(net.target)[0][place]
        terms = one(difference, 2 / record.y.size, "(y - target)", "2/K", "chroma_loss")
    elif name == "class.1":
        z = record.y[0, 0]
        p = softmax(z) if net.settings.class_loss == "softmax" else activate(z.copy(), "sigmoid")
        terms = one(p[place[2]] - (place[2] == label), ALPHA, "(p - onehot)", "alpha/N", "class_loss")
    for user, inputs in read.items():
        for which, source in enumerate(inputs):
            if source == name:
                shape = records[user].inputs[which].shape
                error = max(error, records[user].method.error("dx"))
                flat = record.y.shape != shape  # the features of the global branch, as one vector
                at = (0, 0, int(np.ravel_multi_index(place, record.y.shape))) if flat else place
                terms += backward(records[user], which, at)
    value = sum(float((t.a * t.b).sum()) for t in terms)
    return finish(terms, 0.0, value, record, record.dy, place, error, exact=False)


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max())
    return p / p.sum()


def finish(
    terms: list[Terms], bias: float, value: float, record: Record, stored: np.ndarray, place: Place,
    error: float, exact: bool,
) -> Answer:
    """What rounding explains: as in `ltbc.kernels.compare`, of the number's own size or the map's, whichever is larger.

    error: what the method of the backend multiplies rounding errors by. exact: the factors of the products are used as
    they are stored, not rounded or transformed on the way.
    """
    length = max(1, sum(t.a.size for t in terms))
    size = max(abs(value), float(np.sqrt(sum(((t.a * t.b) ** 2).sum() for t in terms) + bias**2)),
               float(np.sqrt((stored**2).mean())))
    name = record.arithmetic
    allowed = tolerance(name, length, name, 0 if exact else 2) * size * error
    return Answer(terms, bias, value, float(stored[place]), allowed)


def kinds() -> Iterator[tuple[str, str]]:
    """(backend, dtype) of every way in which this machine can compute the network, the reference first."""
    yield "reference", "float32"
    gpu = ["gpu"] if default_backend() == "gpu" else []
    for backend in (["cpu"] if complete("cpu") and has("numba") else []) + gpu:
        yield from dict.fromkeys([(backend, "float32"), (backend, default_dtype(backend))])


def lines(answer: Answer, name: str, place: Place, spec: LayerSpec, gradient: bool, count: int) -> Iterator[str]:
    """The number written out."""
    products = [(float(t.a[k] * t.b[k]), t, k) for t in answer.terms for k in range(t.a.size)]
    products.sort(key=lambda p: -abs(p[0]))
    zeros = sum(not p for p, _, _ in products)
    yield f"    the sum of {len(products):,} products, {zeros:,} of them 0; the largest:"
    for p, t, k in products[:count]:
        yield f"    {t.name_a(k):>34} {t.a[k]:13.6g} * {t.b[k]:13.6g} {t.name_b(k):<22} = {p:13.6g}"
    rest = sum(p for p, _, _ in products[count:])
    if len(products) > count:
        yield f"    {f'the other {len(products) - count:,} products':>87} = {rest:13.6g}"
    if len(answer.terms) > 1:
        for t in answer.terms:
            yield f"    {f'(all that comes from {t.kind}':>87} = {float((t.a * t.b).sum()):13.6g})"
    total = answer.bias + sum(p for p, _, _ in products)
    if not gradient:
        yield f"    {f'bias b[{place[2]}]':>87} = {answer.bias:13.6g}"
        yield f"    {'z':>87} = {total:13.6g}"
        yield f"    {'y = z' if spec.activation == 'none' else f'y = {spec.activation}(z)':>87} = {answer.value:13.6g}"
    else:
        yield f"    {f'dL/d {name}{list(place)}':>87} = {total:13.6g}"


def print_head(
    args: argparse.Namespace, specs: dict[str, LayerSpec], read: dict[str, tuple[str, ...]], records: dict[str, Record]
) -> None:
    """What the number is, and its formula."""
    spec, shape = specs[args.layer], "x".join(map(str, records[args.layer].y.shape))
    place = f"[row {args.row}, column {args.column}, channel {args.channel}] of {shape}"
    weights = args.weights or "the untrained network (no --weights)"
    print(f"{'dL/d ' if args.gradient else ''}{args.layer} {place}, {args.photo}, {weights}\n")
    if not args.gradient:
        stride = f", stride {spec.stride}" if spec.stride > 1 else ""
        print(f"    {spec.op}{stride}, {spec.activation}, reads {' and '.join(read[args.layer])}")
        print(f"    kernels/{spec.op}/README.md, equation (1):\n        {EQUATIONS[spec.op]}\n")
        return
    users = [specs[user] for user, inputs in read.items() if args.layer in inputs]
    print("    L = chroma_loss against the photo's own colors" + " + class_loss / 300" * ("class.0" in specs))
    for user in users:
        equation, _, number = GRADIENTS[user.op].rpartition("   ")
        print(f"    read by {user.name}: kernels/{user.op}/README.md, equation {number}:\n        {equation}")
    if not users:
        op = "chroma_loss" if args.layer == "color.4" else "class_loss"
        print(f"    read by {op}: kernels/{op}/README.md, equation (2)")
    print()


def check_place(records: dict[str, Record], name: str, place: Place) -> None:
    shape = records[name].y.shape
    for what, at, size in zip(("row", "column", "channel"), place, shape):
        if not 0 <= at < size:
            raise ValueError(f"{what} must lie in 0..{size - 1} for {name} of {'x'.join(map(str, shape))}, got {at}")


def read_photo(path: str, side: int) -> np.ndarray:
    """The middle square of a photograph, `[side, side, 3]` sRGB codes."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR))
    except Image.DecompressionBombError:
        reason = f"more than {2e-6 * (Image.MAX_IMAGE_PIXELS or 0):.0f} megapixels; make it smaller first"
    except Image.UnidentifiedImageError:
        reason = "not a picture that can be read (an empty file, or of a kind that Pillow does not know)"
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = getattr(error, "strerror", None) or f"damaged or cut off ({error})"
    raise ValueError(f"{path}: {' '.join(reason.split())}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ltbc explain", description=__doc__)
    parser.add_argument("layer", help="name of a layer, as `ltbc layers` lists them: low.0, fusion, color.4, ...")
    for name in ("row", "column", "channel"):
        parser.add_argument(name, type=int, help="of the layer's output" + ", 0 for vectors" * (name != "channel"))
    parser.add_argument("--photo", required=True, help="a picture file")
    parser.add_argument("--gradient", action="store_true", help="the derivative of the loss by that number")
    parser.add_argument("--weights", help="weights file (default: the untrained network)")
    parser.add_argument("--label", type=int, default=0, help="number of the photo's scene class, for --gradient")
    parser.add_argument("--terms", type=int, default=10, help="how many products to write out (default 10)")
    args = parser.parse_args(argv)
    try:
        code = run(args)
    except (ValueError, WeightsError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.exit(code)


def run(args: argparse.Namespace) -> int:
    """Prints everything; 1 if a backend differs by more than rounding."""
    place, code, told = (args.row, args.column, args.channel), 0, False
    if args.terms < 1:
        raise ValueError(f"--terms must be at least 1, got {args.terms}")
    for backend, dtype in kinds():
        xp = array_module_of(backend)
        options: dict[str, Any] = {"backend": backend, "dtype": dtype, "xp": xp}
        net = RecordingNetwork.load(args.weights, **options) if args.weights else RecordingNetwork(**options)
        assert isinstance(net, RecordingNetwork)
        table = layers(net.settings)
        specs = {spec.name: spec for part in table.values() for spec in part}
        if args.layer not in specs:
            raise ValueError(f"layer must be one of {', '.join(specs)}; got {args.layer!r}")
        if not 0 <= args.label < max(1, len(net.settings.classes)):
            raise ValueError(f"--label must lie in 0..{max(0, len(net.settings.classes) - 1)}, got {args.label}")
        records = net.record(read_photo(args.photo, net.settings.global_size or SIDE), args.label, args.gradient)
        check_place(records, args.layer, place)
        gradient, name = args.gradient, args.layer
        answer = explain_gradient(net, name, place, args.label) if gradient else explain(net, name, place)
        if not told:
            told = True
            print_head(args, specs, sources(table), records)
            print(*lines(answer, args.layer, place, specs[args.layer], args.gradient, args.terms), sep="\n")
            print("\nwhat each backend stored there, and the sum in float64 of what it had itself:")
        off = abs(answer.stored - answer.value)
        fits = off <= answer.allowed
        code = code if fits else 1
        said = "equal but for rounding" if fits else "DIFFERENT"
        print(f"    {backend + ' ' + dtype:<20} {answer.stored:14.8g} {answer.value:14.8g}   {said}: "
              f"{off:.1e} apart, {answer.allowed:.1e} allowed")
    return code
