"""Layer by layer, forward and backward: every backend of this machine against the reference in float64.

A training step of the float64 network gives each layer real inputs. Each backend's kernels get them, rounded to its
dtype, and must reproduce what the float64 reference makes of exactly these values: "error" is |a - r| / |r| over the
whole array, "largest" that of the worst element by its own size or the array's root mean square, "mean" the same on
average. A layer diverges where `kernels/compare.py` would fail a test. "in network" is the error of the same result
when the whole step runs on the backend: what came before is in it, so it has no tolerance of its own.
"""

import argparse
from typing import Any

import numpy as np

from bench import CheckError, options, results
from bench.measure.calls import call, place
from bench.measure.cases import Case, cases
from bench.measure.check import Allowed, allowed, compare, reference
from bench.measure.machine import where
from bench.measure.work import inputs
from ltbc.kernels.arrays import sum_dtype
from ltbc.kernels.compare import element_errors, relative_error, to_float64
from ltbc.nn import Network
from ltbc.nn.backends import array_module_of
from ltbc.nn.layers import Layer
from ltbc.nn.network import as_dtype

COLUMNS = "{:<13} {:<8} {:>9} {:>9} {:>9} {:>10}  {:>11} {:<5} {}"
HEADER = ("layer", "result", "error", "largest", "mean", "tolerance", "in network", "", "from")
Values = dict[str, np.ndarray]


def main(argv: list[str]) -> int:
    p = options.parser("diff", __doc__)
    p.add_argument("--batch", type=options.positive(int), default=2)
    p.add_argument("--layer", help="only this layer (low.3) or part (low)")
    args = p.parse_args(argv)
    pairs = options.chosen(args, every=True)
    data = inputs(args.batch, args.size, args.size)
    exact = step(Network(args.width, global_size=args.size, dtype="float64"), data)
    table, diverged = results.Table(args.csv), False
    print(f"{where()}; width {args.width:g}, {args.size}x{args.size}, batch {args.batch}", flush=True)
    for backend, dtype in pairs:
        found = layers(backend, dtype, exact, data, args)
        wrong = [row for row in found if row["mark"]]
        diverged |= bool(wrong)
        first = f"the first to diverge is {wrong[0]['layer']}, {wrong[0]['work']}" if wrong else "no layer diverges"
        print(f"{backend} {dtype}: {first}")
        table.add(found)
    return 1 if diverged else 0


def step(net: Network, data: Values) -> dict[tuple[str, str], Values]:
    """Runs a step; arguments and results of every layer's forward and backward, by (layer, work) and name."""
    taken: dict[tuple[str, str], Values] = {}

    def copies(names: list[str], arrays: Any) -> Values:
        return {name: np.array(x.get() if hasattr(x, "get") else x) for name, x in zip(names, arrays) if x is not None}

    def watch(layer: Layer) -> None:
        forward, backward = layer.forward, layer.backward
        ins = ["mid", "global_"] if layer.spec.op == "fusion" else ["x"]
        gradients = ["d" + name.rstrip("_") for name in (*ins, "w", "b")]

        def watched_forward(*xs: Any, out: Any) -> Any:
            y = forward(*xs, out=out)
            taken[layer.spec.name, "forward"] = copies([*ins, "w", "b", "y"], (*xs, layer.w, layer.b, y))
            return y

        def watched_backward(dy: Any, *xs: Any, y: Any, out: Any, **options: Any) -> Any:
            before = copies(["dy", *ins, "w", "y"], (dy, *xs, layer.w, y))
            found = backward(dy, *xs, y=y, out=out, **options)
            taken[layer.spec.name, "backward"] = before | copies(gradients, found)
            return found

        layer.forward, layer.backward = watched_forward, watched_backward  # type: ignore[method-assign]

    for layer in net.layers:
        watch(layer)
    data = data | {"chroma": data["chroma"].astype(sum_dtype(net.dtype))}
    net.loss_and_gradients(**{name: net.xp.asarray(x) for name, x in data.items()})
    return taken


def layers(
    backend: str, dtype: str, exact: dict[tuple[str, str], Values], data: Values, args: argparse.Namespace
) -> list[results.Row]:
    """Prints and returns a row for every result, in the order of the computation."""
    net = Network(args.width, global_size=args.size, backend=backend, dtype=dtype, xp=array_module_of(backend))
    whole = step(net, data)
    print("\n" + COLUMNS.format(*HEADER).rstrip())
    found: list[results.Row] = []
    both = [c for c in cases(net.settings, args.size, args.batch) if (c.layer, c.work) in exact and c.flops]
    backward = sorted((c for c in both if c.work == "backward"), key=lambda c: list(exact).index((c.layer, c.work)))
    for case in [c for c in both if c.work == "forward"] + backward:
        if args.layer in (None, case.layer, case.layer.split(".")[0]):
            found += case_rows(case, backend, dtype, exact[case.layer, case.work], whole[case.layer, case.work], args)
    return found


def case_rows(
    case: Case, backend: str, dtype: str, exact: Values, whole: Values, args: argparse.Namespace
) -> list[results.Row]:
    """The results of one layer's forward or backward: alone, from the same values, and in the network."""
    arrays = {name: exact[name].astype(case.dtype(name, as_dtype(dtype))) for name in case.inputs}
    want = reference(case, arrays)
    got = call(case, place(arrays, backend), dtype, backend)()
    rows = []
    for name in case.results:
        limit = allowed(case, name, backend, dtype, got[name].dtype)
        mark = verdict(case, name, to_float64(got[name]), want[name], limit)
        error, largest, mean = errors(to_float64(got[name]), want[name])
        in_network = relative_error(whole[name], exact[name])
        print(COLUMNS.format(case.layer, name, f"{error:.1e}", f"{largest:.1e}", f"{mean:.1e}", f"{limit.value:.1e}",
                             f"{in_network:.1e}", "WRONG" if mark else "", limit.reason), flush=True)
        rows.append({
            "command": "diff", "backend": backend, "dtype": dtype, "op": case.op, "layer": case.layer,
            "work": f"{case.work}: {name}", "batch": case.batch, "size": args.size, "width": args.width,
            "quantity": "relative error", "p50": error, "p80": largest, "tolerance": limit.value, "mark": mark,
            "note": f"mean {mean:.2e}, tolerance from {limit.reason}, in network {in_network:.2e}",
        })
    return rows


def verdict(case: Case, name: str, got: np.ndarray, want: np.ndarray, limit: Allowed) -> str:
    """ "diverges" where a test would fail, after a line that says where; else ""."""
    try:
        compare(f"{case.name}: {name}", got, want, limit)
    except CheckError as error:
        print(error)
        return "diverges"
    return ""


def errors(got: np.ndarray, want: np.ndarray) -> tuple[float, float, float]:
    """(norm of the error by that of the reference, largest and mean relative error of an element)."""
    each = element_errors(got, want)
    return relative_error(got, want), float(each.max()), float(each.mean())
