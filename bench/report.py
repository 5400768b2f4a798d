"""Tables and plots of the result files in a folder of bench/results/, one folder a machine.

Reads every CSV there, writes README.md with all rows and roofline, bars and scaling as PNG beside them. With --readme,
the summary of all machines goes into the project's README.md between <!-- bench --> and <!-- /bench -->.
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from bench import BenchError, results
from bench.results import Row

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
MARKERS = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
Rows = list[Row]


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench report", description=__doc__)
    p.add_argument("folders", nargs="*", type=Path, help="default: every folder of bench/results")
    p.add_argument("--readme", nargs="?", const=ROOT / "README.md", type=Path, metavar="FILE",
                   help="also put the summary into this file (default README.md) between its markers")  # fmt: skip
    args = p.parse_args(argv)
    folders = args.folders or sorted(f for f in RESULTS.glob("*") if any(f.glob("*.csv")))
    if not folders:
        raise BenchError("no results in bench/results/; make some with --csv bench/results/MACHINE/kernels.csv")
    parts = []
    for folder in folders:
        rows = [row for file in sorted(folder.glob("*.csv")) for row in results.read(file)]
        if not rows:
            raise BenchError(f"{folder}: no CSV with results in it")
        plots = draw(rows, folder)
        (folder / "README.md").write_text(page(rows, plots))
        print(f"{folder}: README.md, {', '.join(plots) or 'no plots'}")
        parts.append(summary(rows, folder, plots))
    if args.readme:
        put(args.readme, "\n".join(parts))
    return 0


def draw(rows: Rows, folder: Path) -> list[str]:
    """Writes the plots that the rows suffice for; their names. Of several dtypes the first is drawn."""
    from bench import plots

    made = []
    kernels, scaling = (of(rows, command=name) for name in ("kernels", "scaling"))
    kernels = of(kernels, backend=kernels[0]["backend"], dtype=kernels[0]["dtype"]) if kernels else []
    if of(kernels, config="ours"):
        plots.layers(kernels, folder / "layers.png")
        plots.roofline(kernels, folder / "roofline.png")
        made += ["layers.png", "roofline.png"]
    if any(row["p50"] for row in scaling):
        plots.scaling(scaling, folder / "scaling.png")
        made.append("scaling.png")
    return made


def of(rows: Iterable[Row], **wanted: str) -> Rows:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def put(path: Path, text: str) -> None:
    """Replaces what stands between the markers."""
    old = path.read_text()
    if not MARKERS.search(old):
        raise BenchError(f"{path}: has no <!-- bench --> and <!-- /bench --> to write between")
    path.write_text(MARKERS.sub(lambda found: f"{found[1]}{text}{found[2]}", old))
    print(f"{path}: written")


def summary(rows: Rows, folder: Path, plots: list[str]) -> str:
    """A machine's part of the project's README."""
    where = folder.resolve().relative_to(ROOT) if folder.resolve().is_relative_to(ROOT) else folder
    lines = [f"{measured_on(rows[0])}. All rows: [{where}]({where}/README.md).", ""]
    lines += network_table(of(rows, command="network"))
    kernels = of(rows, command="kernels", config="ours")
    for backend, dtype in dict.fromkeys((row["backend"], row["dtype"]) for row in kernels):
        lines += slow_rows(of(kernels, backend=backend, dtype=dtype))
    if "layers.png" in plots:
        lines += [f"![Time of every layer, ours and PyTorch's]({where}/layers.png)", ""]
    return "\n".join(lines)


def measured_on(row: Row) -> str:
    where = row["gpu"] or f"{row['cpu']}, {row['cores']} cores"
    return f"Measured on {where}; {row['versions'].replace('=', ' ')}; {row['date']}, commit {row['commit']}"


def network_table(rows: Rows) -> list[str]:
    """Ours against the fastest configuration of PyTorch, with peak memory; noisy figures are marked."""
    ours = [row for row in of(rows, config="ours", quantity="seconds") if not row["work"].startswith("step:")]
    if not ours:
        return []
    lines = ["| network | batch | ours | PyTorch's fastest | which | ratio (20 to 80 %) | memory, ours | PyTorch's |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in ours:
        same = of(rows, **{name: row[name] for name in ("work", "batch", "backend", "dtype")})
        rivals = [r for r in of(same, quantity="seconds") if r["config"] != "ours" and r["p20"]]
        best = min(rivals, key=lambda r: r["p50"])
        memory = {r["config"]: results.size(r["p50"]) for r in of(same, quantity="bytes") if r["p50"]}
        lines.append(
            f"| {row['work']}, {row['dtype']} | {row['batch']} | {results.seconds(row['p50'])} "
            f"| {results.seconds(best['p50'])} | {best['config'].removeprefix('torch ')} | {ratio(row)} "
            f"| {memory.get('ours', '-')} | {memory.get(best['config'], '-')} |"
        )
    return [*lines, ""]


def ratio(row: Row) -> str:
    if not row["ratio"]:
        return "-"
    return f"{row['ratio']:.2f} ({row['ratio_p20']:.2f} to {row['ratio_p80']:.2f}) {row['mark']}".rstrip()


def slow_rows(kernels: Rows) -> list[str]:
    """One paragraph: how many kernels are faster than PyTorch, and every one that is not."""
    compared = [row for row in kernels if row["ratio"]]
    slow = sorted((row for row in compared if row["ratio"] < 1), key=lambda row: row["ratio"])
    first = kernels[0]
    named = ", ".join(f"{r['layer']} {r['work']} `{r['op']}` {r['ratio']:.2f}{'?' if r['mark'] else ''}" for r in slow)
    text = f"{first['backend']} {first['dtype']}, batch {first['batch']}: {len(compared) - len(slow)} of " \
           f"{len(compared)} kernels are faster than PyTorch's at equal dtype and layout"
    return [text + (f"; slower are {named} (ratio; ? marks noisy ones)." if slow else "."), ""]


def page(rows: Rows, plots: list[str]) -> str:
    """Everything of one machine."""
    lines = [f"# {rows[0]['gpu'] or rows[0]['cpu']}", "", f"{measured_on(rows[0])}. Ratio: PyTorch's time / ours.", ""]
    lines += [line for plot in plots for line in (f"![{plot.removesuffix('.png')}]({plot})", "")]
    network = of(rows, command="network")
    if network:
        lines += ["## Network", "", *network_table(network), *every_configuration(network)]
    kernels = [row for row in of(rows, command="kernels") if row["config"] == "ours"]
    if kernels:
        lines += ["## Kernels", "", *kernel_table(kernels)]
    growth = [row for row in of(rows, command="scaling") if row["quantity"].startswith("exponent")]
    if growth:
        lines += ["## Growth", "", *(f"- {r['work']}: {r['quantity']} {r['p50']:.2f}, {r['note']}" for r in growth), ""]
    return "\n".join(lines)


def every_configuration(rows: Rows) -> list[str]:
    lines = ["| work | batch | configuration | median | 20 to 80 % | |", "| --- | --- | --- | --- | --- | --- |"]
    for r in of(rows, quantity="seconds"):
        spread = f"{results.seconds(r['p20'])} to {results.seconds(r['p80'])}" if r["p20"] else ""
        median = results.seconds(r["p50"]) if r["p50"] else "-"
        lines.append(f"| {r['work']} | {r['batch']} | {r['config']} | {median} | {spread} | {r['mark'] or r['note']} |")
    return [*lines, ""]


def kernel_table(rows: Rows) -> list[str]:
    lines = ["| operation | layer | work | dtype | median | TFLOP/s | of matrix unit | GB/s | of memory | ratio |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        products = f"{r['tflops']:.3f} | {r['matrix_share']:.0%}" if r["tflops"] else "- | -"
        lines.append(
            f"| {r['op']} | {r['layer']} | {r['work']} | {r['backend']} {r['dtype']} | {results.seconds(r['p50'])} "
            f"| {products} | {r['gbytes_s']:.1f} | {r['memory_share']:.0%} | {ratio(r)} |"
        )
    return [*lines, ""]
