"""One layer's kernels over one of its sizes: `--sweep Cout=32..512`."""

import re
from dataclasses import replace
from typing import NamedTuple

from bench import BenchError
from bench.measure.cases import Case, layer_cases
from ltbc.nn import Settings
from ltbc.nn.architecture import cost_table, layers

SIZES = ("N", "H", "W", "side", "Cin", "Cout")


class Sweep(NamedTuple):
    """A size, by the contracts' names (side: H and W), and the values that it takes."""

    name: str
    values: tuple[int, ...]


def sweep(text: str) -> Sweep:
    """Of "Cout=32..512" (doubled from step to step), "Cout=32..512:96" (in steps of 96) or "Cout=48,96,200"."""
    match = re.fullmatch(r"(\w+)=(?:(\d+)\.\.(\d+)(?::(\d+))?|(\d+(?:,\d+)*))", text)
    if not match or match[1] not in SIZES:
        raise BenchError(f"--sweep must be like Cout=32..512, Cout=32..512:96 or Cout=48,96 with one of "
                         f"{', '.join(SIZES)}, got {text!r}")
    if match[5]:
        values = tuple(map(int, match[5].split(",")))
    else:
        first, last, step = int(match[2]), int(match[3]), int(match[4] or 0)
        found = [first]
        while found[-1] < (after := found[-1] + step if match[4] else 2 * found[-1]) <= last:
            found.append(after)
        values = tuple(found) if first <= last else ()
    if not values or min(values) < 1:
        raise BenchError(f"--sweep must go over sizes from 1 on, got {text!r}")
    return Sweep(match[1], values)


def swept(over: Sweep, settings: Settings, size: int, batch: int, op: str | None, layer: str | None) -> list[Case]:
    """The cases of one layer, the chosen one or the operation's largest, at each of the values."""
    rows = {row["name"]: row for row in cost_table(settings, size, size)}
    specs = [spec for part in layers(settings).values() for spec in part
             if op in (None, spec.op) and layer in (None, spec.name, spec.name.split(".")[0])]
    if not specs:
        raise BenchError("--sweep is for layers: no layer has that name and operation; `ltbc layers` lists them")
    spec = max(specs, key=lambda spec: rows[spec.name]["macs"])
    shape = tuple(rows[spec.name]["input"])
    if over.name in ("H", "W", "side") and len(shape) == 1:
        raise BenchError(f"--sweep: {spec.name} ({spec.op}) has no {over.name}")
    found = []
    for value in over.values:
        of, at, n = spec, list(shape), batch
        if over.name == "Cout":
            of = replace(spec, filters=value)
        elif over.name == "Cin":  # of fusion those of mid, to which global's come
            of, at[-1] = replace(spec, inputs=spec.inputs - shape[-1] + value), value
        elif over.name == "N":
            n = value
        else:
            for i, name in enumerate("HW"):
                at[i] = value if over.name in (name, "side") else at[i]
        found += [replace(case, layer=f"{spec.name} {over.name}={value}") for case in layer_cases(of, n, tuple(at))]
    return found
