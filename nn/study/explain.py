"""`ltbc explain LAYER ROW COLUMN CHANNEL --photo PHOTO`: one number of the network, written out.

The formula, the terms that matter most with their values and where they come from, the sum, the activation; with
--gradient the derivative of the loss by that number, and by z before the activation. `LAYER w INDEX...` and `LAYER b
INDEX` are the loss's derivatives by a weight and by a bias; `output ROW COLUMN` says which parts of the picture
that pixel's color follows from. Then what every backend of this machine computed there, each held against the sum in
float64 of what it stored itself. The network sees the middle square of the photograph.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from ltbc.kernels import notices
from ltbc.nn.architecture import LayerSpec, layers
from ltbc.nn.backends import array_module_of, complete, default_backend, default_dtype, has
from ltbc.nn.network import Network
from ltbc.nn.study.answers import Answer, explain, explain_gradient, explain_parameter, slope
from ltbc.nn.study.options import SIDE, UNTRAINED, add_label, add_network, label_of, load, read_photo
from ltbc.nn.study.output_pixel import print_output_pixel
from ltbc.nn.study.recording import Record, RecordingNetwork, sources
from ltbc.nn.study.terms import Place
from ltbc.nn.weights import WeightsError

EQUATIONS = {
    "conv3x3": "z[i,j,o] = b[o] + sum over r, s, c of x[i*stride+r-1, j*stride+s-1, c] w[r,s,c,o]",
    "upsample2x_conv3x3": "z[2i+p,2j+q,o] = b[o] + sum over u, t, c of x[i+p+u-1, j+q+t-1, c] v_pq[u,t,c,o]",
    "fusion": "z[i,j,o] = b[o] + sum over k of global[k] w[k,o] + sum over c of mid[i,j,c] w[Cg+c,o]",
    "linear": "z[o] = b[o] + sum over c of x[c] w[c,o]",
}
GRADIENTS = {
    "conv3x3": "dx[h,k,c] = sum over r, s, o with h = i*stride+r-1, k = j*stride+s-1 of dz[i,j,o] w[r,s,c,o]   (3)",
    "upsample2x_conv3x3": "dx[h,k,c] = sum over 4 x 4 pixels (2h-1.., 2k-1..) and o of dz[.,.,o] v_pq[u,t,c,o]   (4)",
    "fusion": "dmid[i,j,c] = sum over o of dz[i,j,o] w[Cg+c,o];  dglobal[k] = sum over o of s[o] w[k,o]   (4)",
    "linear": "dx[c] = sum over o of dz[o] w[c,o]   (3)",
    "chroma_loss": "dy = 2/K (y - target)   (2)",
    "softmax": "dz = 1/N (p - onehot)   (2)",
    "sigmoid": "dz = 1/N (p - t)   (4)",
}
OF_WEIGHTS = {
    "conv3x3": "dw[r,s,c,o] = sum over i, j of x[i*stride+r-1, j*stride+s-1, c] dz[i,j,o]   (4)",
    "upsample2x_conv3x3": "dw[r,s] = sum over p, q of dv_pq: all h, k of x[(h+r-1)//2, (k+s-1)//2, c] dz[h,k,o]   (6)",
    "fusion": "dw[Cg+c,o] = sum over i, j of mid[i,j,c] dz[i,j,o];  dw[k,o] = global[k] s[o]   (5)",
    "linear": "dw[c,o] = x[c] dz[o]   (3)",
}
OF_BIASES = {
    "conv3x3": "db[o] = sum over i, j of dz[i,j,o]   (5)", "fusion": "db[o] = sum over i, j of dz[i,j,o]   (6)",
    "upsample2x_conv3x3": "db[o] = sum over all h, k of dz[h,k,o]   (7)", "linear": "db[o] = dz[o]   (3)",
}
KINDS = {"w": "weight", "b": "bias"}


def kinds() -> Iterator[tuple[str, str]]:
    """(backend, dtype) of every way in which this machine can compute the network, the reference first."""
    yield "reference", "float32"
    gpu = ["gpu"] if default_backend() == "gpu" else []
    for backend in (["cpu"] if complete("cpu") and has("numba") else []) + gpu:
        yield from dict.fromkeys([(backend, "float32"), (backend, default_dtype(backend))])


def lines(answer: Answer, name: str, result: str, count: int) -> Iterator[str]:
    """The sum written out. result: how it is called."""
    products = [(float(t.a[k] * t.b[k]), t, k) for t in answer.terms for k in range(t.a.size)]
    products.sort(key=lambda p: -abs(p[0]))
    zeros = sum(not p for p, _, _ in products)
    yield f"    the sum of {len(products):,} products, {zeros:,} of them 0; the largest:"
    for p, t, k in products[:count]:
        yield f"    {t.name_a(k):>34} {t.a[k]:13.6g} * {t.b[k]:13.6g} {t.name_b(k):<22} = {p:13.6g}"
    rest = sum(p for p, _, _ in products[count:])
    if len(products) > count:
        yield told(f"the other {len(products) - count:,} products", rest)
    if len(answer.terms) > 1:
        for t in answer.terms:
            yield told(f"(all that comes from {t.kind}", float((t.a * t.b).sum())) + ")"
    if result == "z":
        yield told(f"bias {name}", answer.bias)
    yield told(result, answer.bias + sum(p for p, _, _ in products))


def told(what: str, value: float) -> str:
    return f"    {what:>87} = {value:13.6g}"


def activation_lines(answer: Answer, spec: LayerSpec) -> Iterator[str]:
    yield told("y = z" if spec.activation == "none" else f"y = {spec.activation}(z)", answer.value)


def slope_lines(answer: Answer, record: Record, place: Place) -> Iterator[str]:
    """The step through the activation: equation (2) of every operation."""
    y, by = float(record.y[place]), slope(record, place)
    why = {"none": "no activation", "relu": f"relu, y = {y:.6g} {'> 0' if y > 0 else 'is not > 0'}",
           "sigmoid": f"sigmoid: y (1 - y), y = {y:.6g}"}[record.spec.activation]
    yield told(f"act'(z), {why}", by)
    yield told("dz = dy * act'(z), the derivative by z", answer.value * by + 0.0)  # + 0.0: no -0


def print_head(args: argparse.Namespace, net: RecordingNetwork, label: int | None, spec: LayerSpec) -> None:
    """What the number is, and its formula."""
    read, shape = sources(layers(net.settings)), "x".join(map(str, net.records[args.layer].y.shape))
    if args.kind:
        what = f"{args.layer}.{args.kind}{list(args.place)} of {'x'.join(map(str, parameter(net, args).shape))}"
    else:
        row, column, channel = args.place
        what = f"{args.layer} [row {row}, column {column}, channel {channel}] of {shape}"
    if args.untrained:
        print(f"{UNTRAINED}\n")
    weights = "untrained" if args.untrained else args.weights or "the released weights"
    print(f"{'dL/d ' if args.gradient else ''}{what}, {args.photo}, {weights}\n")
    if not args.gradient:
        stride = f", stride {spec.stride}" if spec.stride > 1 else ""
        print(f"    {spec.op}{stride}, {spec.activation}, reads {' and '.join(read[args.layer])}")
        print(f"    kernels/{spec.op}/README.md, equation (1):\n        {EQUATIONS[spec.op]}\n")
        return
    classes = " + class_loss / 300" if net.settings.global_size else ""
    print(f"    L = chroma_loss against the photo's own colors{classes}")
    if label is not None:
        guess = "" if args.label else ", the network's own first guess (another: --label)"
        print(f"    class_loss pulls towards scene {label}, {net.settings.classes[label]!r}{guess}")
    if args.kind:
        print_equation(spec.op, f"parameters of {args.layer}", (OF_WEIGHTS if args.kind == "w" else OF_BIASES)[spec.op])
    specs = {s.name: s for part in layers(net.settings).values() for s in part}
    users = [] if args.kind else [specs[user] for user, inputs in read.items() if args.layer in inputs]
    for user in users:
        print_equation(user.op, f"read by {user.name}", GRADIENTS[user.op])
    if args.layer == "color.4" and not args.kind:
        print_equation("chroma_loss", "read by chroma_loss", GRADIENTS["chroma_loss"])
    if args.layer == "class.1" and not args.kind:
        print_equation("class_loss", "read by class_loss", GRADIENTS[net.settings.class_loss])
    print()


def print_equation(op: str, what: str, text: str) -> None:
    equation, _, number = text.rpartition("   ")
    print(f"    {what}: kernels/{op}/README.md, equation {number}:\n        {equation}")


def parameter(net: Network, args: argparse.Namespace) -> Any:
    return net.parameters.views[f"{args.layer}.{KINDS[args.kind]}"]


def check_place(net: RecordingNetwork, args: argparse.Namespace) -> None:
    """Raises ValueError for a place that the layer does not have."""
    if args.kind:
        shape = parameter(net, args).shape
        if len(args.place) != len(shape) or not all(0 <= at < size for at, size in zip(args.place, shape)):
            raise ValueError(f"{args.kind} of {args.layer} is {'x'.join(map(str, shape))}, it has no "
                             f"{args.kind}{list(args.place)}")
        return
    shape = net.records[args.layer].y.shape
    if len(args.place) != 3:
        raise ValueError(f"name row, column and channel (0 0 CHANNEL for vectors), got {len(args.place)} numbers")
    for what, at, size in zip(("row", "column", "channel"), args.place, shape):
        if not 0 <= at < size:
            whole_map = f"{args.layer} of {'x'.join(map(str, shape))}"
            raise ValueError(f"{what} must lie in 0..{size - 1} for {whole_map}, got {at}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ltbc explain", description=__doc__)
    parser.add_argument("layer", help="name of a layer, as `ltbc layers` lists them: low.0, fusion, color.4, ...; or "
                        "output, for a pixel of the result")
    parser.add_argument("place", nargs="+", metavar="PLACE", help="ROW COLUMN CHANNEL of the layer's output, "
                        "0 0 CHANNEL for vectors; w and a weight's index; b and a bias's; of output: ROW COLUMN")
    parser.add_argument("--photo", required=True, help="a picture file")
    parser.add_argument("--gradient", action="store_true", help="the derivative of the loss by that number")
    add_network(parser)
    add_label(parser)
    parser.add_argument("--terms", type=int, default=10, help="how many products to write out (default 10)")
    args = parser.parse_args(argv)
    try:
        args.kind = args.place.pop(0) if args.place[0] in KINDS else ""
        args.place = tuple(map(whole, args.place))
        args.gradient |= bool(args.kind)
        code = run(args)
    except (ValueError, WeightsError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.exit(code)


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"PLACE must be whole numbers, behind w or b for parameters, got {text!r}") from None


@notices.table()
def run(args: argparse.Namespace) -> int:
    """Prints everything; 1 if a backend differs by more than rounding."""
    code, label, first = 0, None, True
    if args.terms < 1:
        raise ValueError(f"--terms must be at least 1, got {args.terms}")
    for backend, dtype in kinds():
        net = load(RecordingNetwork, args, backend=backend, dtype=dtype, xp=array_module_of(backend))
        specs = {spec.name: spec for part in layers(net.settings).values() for spec in part}
        pixels = read_photo(args.photo, net.settings.global_size or SIDE)
        if args.layer == "output":
            return print_output_pixel(net, pixels, args)
        if args.layer not in specs:
            raise ValueError(f"layer must be one of {', '.join(specs)}, or output; got {args.layer!r}")
        label = label_of(args.label, net.settings.classes) if first else label
        net.record(pixels, label, args.gradient)
        label = net.label
        check_place(net, args)
        answer = answer_of(net, args, label or 0)
        if first:
            print_head(args, net, label, specs[args.layer])
            result = f"dL/d {args.layer}{args.kind and '.' + args.kind}{list(args.place)}" if args.gradient else "z"
            print(*lines(answer, f"b[{args.place[-1]}]", result, args.terms), sep="\n")
            if not args.gradient:
                print(*activation_lines(answer, specs[args.layer]), sep="\n")
            elif not args.kind:
                print(*slope_lines(answer, net.records[args.layer], args.place), sep="\n")
            print("\nwhat each backend stored there, and the sum in float64 of what it had itself:")
            first = False
        code = max(code, print_held(answer, f"{backend} {dtype}"))
    return code


def answer_of(net: RecordingNetwork, args: argparse.Namespace, label: int) -> Answer:
    if args.kind:
        return explain_parameter(net, args.layer, KINDS[args.kind], args.place)
    if args.gradient:
        return explain_gradient(net, args.layer, args.place, label)
    return explain(net, args.layer, args.place)


def print_held(answer: Answer, kind: str) -> int:
    """What a backend stored, held against the sum: 0 if equal but for rounding."""
    off = abs(answer.stored - answer.value)
    fits = off <= answer.allowed
    said = "equal but for rounding" if fits else "DIFFERENT"
    print(f"    {kind:<20} {answer.stored:14.8g} {answer.value:14.8g}   {said}: "
          f"{off:.1e} apart, {answer.allowed:.1e} allowed")
    return 0 if fits else 1
