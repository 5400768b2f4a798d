"""Tables and plots of the result files in a folder of bench/results/, one folder a machine.

Reads every CSV there, writes README.md with all rows beside them, and plots as PNG: layers, roofline, network, scaling,
diff, as far as there are results. With --readme, the summary of the machine that was measured last, and where those of
the others are, goes into the project's README.md between <!-- bench --> and <!-- /bench -->.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bench import BenchError, results
from bench.gradients.table import tables
from bench.results import Row

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
MARKERS = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
Rows = list[Row]


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench report", description=__doc__)
    p.add_argument("folders", nargs="*", type=Path, help="default: every folder of bench/results")
    p.add_argument("--readme", nargs="?", const=ROOT / "README.md", type=Path, metavar="FILE",
                   help="also put the summary into this file (default README.md) between its markers")
    p.add_argument("--html", type=Path, metavar="FILE",
                   help="one page for a machine, the folder or that measured last, to be looked at on a phone, too")
    args = p.parse_args(argv)
    folders = args.folders or sorted(f for f in RESULTS.glob("*") if any(f.glob("*.csv")))
    if not folders:
        raise BenchError("no results in bench/results/; make some with --csv bench/results/MACHINE/kernels.csv")
    found = {folder: rows_of(folder) for folder in folders}
    for folder, rows in found.items():
        made = pictures(rows)
        for name, draw in made.items():
            draw(folder / name)
        texts = pages(rows, list(made))
        for name, text in texts.items():
            results.write_file(folder / name, text)
        print(f"{folder}: {', '.join(texts)}, {', '.join(made) or 'no plots'}")
    if args.html:
        from bench.history import runs
        from bench.page import page as html_of

        folder = latest(found)[-1]
        results.write_file(args.html, html_of(found[folder], runs(folder), f"Measured on {on(found[folder][0])}."))
        print(f"{args.html}: {folder.name}")
    if args.readme:
        put(args.readme, summaries(found))
    return 0


def rows_of(folder: Path) -> Rows:
    """Of all CSV files there."""
    rows = [row for file in sorted(folder.glob("*.csv"), key=lambda f: f.stem)
            for row in results.read(file)]
    if not rows:
        raise BenchError(f"{folder}: no CSV with results in it")
    return rows


def pictures(rows: Rows) -> dict[str, Callable[[Path], None]]:
    """The plots that the rows suffice for, by file name. Of several dtypes the first one's names go without it."""
    from bench import plots, plots_scaling

    made: dict[str, Callable[[Path], None]] = {}
    of_command: dict[str, dict[str, Callable[[Rows, Path], None]]] = {
        "kernels": {"layers": plots.layers, "roofline": plots.roofline}, "network": {"network": plots.network},
        "scaling": {"scaling": plots_scaling.scaling},
    }
    for command, draws in of_command.items():
        measured = [row for row in of(rows, command=command) if row["p50"]]
        for i, (backend, dtype) in enumerate(dict.fromkeys((r["backend"], r["dtype"]) for r in measured)):
            some = of(measured, backend=backend, dtype=dtype)
            if command != "kernels" or any(row["tflops"] for row in of(some, config="ours")):
                made |= {f"{name}{f'-{backend}-{dtype}' * bool(i)}.png": partial(draw, some)
                         for name, draw in draws.items()}
    if errors := [row for row in of(rows, command="diff") if row.get("tolerance")]:
        made["diff.png"] = partial(plots.diff, errors)
    return made


def latest(found: dict[Path, Rows]) -> list[Path]:
    """The folders, that of the machine measured last at the end."""
    return sorted(found, key=lambda folder: (max(row["date"] for row in found[folder]), folder.name))


def summaries(found: dict[Path, Rows]) -> str:
    """The part of the project's README: the machine measured last, and where the others are."""
    *others, folder = latest(found)
    lines = [summary(found[folder], folder, list(pictures(found[folder])))]
    lines += [f"Also measured: [{place(other)}]({place(other)}/README.md), on {on(found[other][0])}.\n"
              for other in others]
    return "\n".join(lines)


def place(folder: Path) -> str:
    """As a link of the project's README."""
    return str(folder.resolve().relative_to(ROOT) if folder.resolve().is_relative_to(ROOT) else folder)


def of(rows: Iterable[Row], **wanted: str) -> Rows:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def put(path: Path, text: str) -> None:
    """Replaces what stands between the markers."""
    old = path.read_text()
    if not MARKERS.search(old):
        raise BenchError(f"{path}: has no <!-- bench --> and <!-- /bench --> to write between")
    results.write_file(path, MARKERS.sub(lambda found: f"{found[1]}{text}{found[2]}", old))
    print(f"{path}: written")


def summary(rows: Rows, folder: Path, plots: list[str]) -> str:
    """A machine's part of the project's README."""
    where = place(folder)
    lines = [f"Measured on {on(rows[0])}. All rows: [{where}]({where}/README.md).", ""]
    lines += network_table(of(rows, command="network"))
    kernels = of(rows, command="kernels", config="ours")
    for backend, dtype in dict.fromkeys((row["backend"], row["dtype"]) for row in kernels):
        lines += slow_rows(of(kernels, backend=backend, dtype=dtype))
    if "layers.png" in plots:
        lines += [f"![Time of every layer, ours and PyTorch's]({where}/layers.png)", ""]
    return "\n".join(lines)


def on(row: Row) -> str:
    where = row["gpu"] or f"{row['cpu']}, {row['cores']} cores"
    return f"{where}; {row['versions'].replace('=', ' ')}; {row['date']}, commit {row['commit']}"


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
    whose = "fastest" if compared and compared[0]["note"].startswith("against") else "at equal dtype and layout"
    named = ", ".join(f"{r['layer']} {r['work']} `{r['op']}` {r['ratio']:.2f}{'?' if r['mark'] else ''}" for r in slow)
    text = f"{first['backend']} {first['dtype']}, batch {first['batch']}: {len(compared) - len(slow)} of " \
           f"{len(compared)} kernels are faster than PyTorch's {whose}"
    return [text + (f"; slower are {named} (ratio; ? marks noisy ones)." if slow else "."), ""]


def pages(rows: Rows, plots: list[str]) -> dict[str, str]:
    """The texts beside the CSV files, by name."""
    found, checkers = {"README.md": page(rows, plots)}, of(rows, command="gradcheck")
    if checkers:
        lines = ["# Gradient checkers held against each other", "", f"Measured on {on(checkers[0])}.", "",
                 "`python -m bench gradcheck` runs each of them, with its own defaults, over the pairs of forward and "
                 "backward in [bench/gradients](../../gradients). Calls are medians, seconds means.", ""]
        found["gradcheck.md"] = "\n".join([*lines, *tables(checkers), ""])
    return found


def page(rows: Rows, plots: list[str]) -> str:
    """Everything of one machine but for gradient checkers."""
    lines = [f"# {rows[0]['gpu'] or rows[0]['cpu']}", "", f"Measured on {on(rows[0])}.",
             "Ratio: PyTorch's time / ours.", ""]
    lines += [line for plot in plots for line in (f"![{plot.removesuffix('.png')}]({plot})", "")]
    network = of(rows, command="network")
    if network:
        lines += ["## Network", "", *network_table(network), *every_configuration(network)]
    kernels = [row for row in of(rows, command="kernels") if row["config"] == "ours"]
    if kernels:
        lines += ["## Kernels", "", *kernel_table(kernels)]
    if scaling := of(rows, command="scaling"):
        lines += ["## Scaling", "", *scaling_table(scaling)]
    if errors := of(rows, command="diff"):
        lines += ["## Errors", "", *nearest(errors), "", "Every result: [diff.csv](diff.csv).", ""]
    if of(rows, command="gradcheck"):
        lines += ["## Gradient checkers", "", "[gradcheck.md](gradcheck.md), of [gradcheck.csv](gradcheck.csv).", ""]
    return "\n".join(lines)


def every_configuration(rows: Rows) -> list[str]:
    lines = ["| work | batch | configuration | median | 20 to 80 % | |", "| --- | --- | --- | --- | --- | --- |"]
    for r in of(rows, quantity="seconds"):
        spread = f"{results.seconds(r['p20'])} to {results.seconds(r['p80'])}" if r["p20"] else ""
        median = results.seconds(r["p50"]) if r["p50"] else "-"
        lines.append(f"| {r['work']} | {r['batch']} | {r['config']} | {median} | {spread} | {r['mark'] or r['note']} |")
    return [*lines, ""]


def kernel_table(rows: Rows) -> list[str]:
    """Of the matrix unit's ceiling: the formula's products, and those that were done (Winograd does fewer)."""
    lines = ["| operation | layer | work | dtype | median | TFLOP/s | of matrix unit | products done | GB/s "
             "| of memory | ratio |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        done = f"{r['done_share']:.0%}" if r.get("done_share") else "-"
        products = f"{r['tflops']:.3f} | {r['matrix_share']:.0%} | {done}" if r["tflops"] else "- | - | -"
        lines.append(
            f"| {r['op']} | {r['layer']} | {r['work']} | {r['backend']} {r['dtype']} | {results.seconds(r['p50'])} "
            f"| {products} | {r['gbytes_s']:.1f} | {r['memory_share']:.0%} | {ratio(r)} |"
        )
    return [*lines, ""]


def scaling_table(rows: Rows) -> list[str]:
    """Every point, then what growth was fitted."""
    lines = ["| what | batch | size | width | | time | 20 to 80 % | memory | |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for r in of(rows, quantity="seconds"):
        same = {name: r[name] for name in ("backend", "dtype", "work", "batch", "size", "width", "config")}
        memory = [results.size(m["p50"]) for m in of(rows, quantity="bytes", **same)]
        time = f"{results.seconds(r['p50'])} | {results.seconds(r['p20'])} to {results.seconds(r['p80'])}" \
            if r["p50"] else "- | -"
        lines.append(f"| {r['work']} | {r['batch']} | {r['size']} | {r['width']} | {r['config']} | {time} "
                     f"| {''.join(memory) or '-'} | {r['mark'] or r['note']} |")
    lines += ["", "Growth:", ""]
    for r in of(rows, config="growth"):
        value = results.size(r["p50"]) if r["quantity"].startswith("bytes") else f"{r['p50']:.2f}"
        error = f" +- {r['p80'] - r['p50']:.2f}" if r["p80"] else ""
        lines.append(f"- {r['work']}: {r['quantity']} {value}{error} ({r['note']})")
    return [*lines, ""]


def nearest(rows: Rows) -> list[str]:
    """For each backend and dtype: how many results were compared, and which came nearest to what is allowed."""
    lines = []
    for backend, dtype in dict.fromkeys((r["backend"], r["dtype"]) for r in rows):
        some = [r for r in of(rows, backend=backend, dtype=dtype) if r["tolerance"]]
        worst = max(some, key=lambda r: r["p50"] / r["tolerance"])
        wrong = len([r for r in some if r["mark"]])
        lines.append(
            f"- {backend} {dtype}: {len(some)} results, {wrong or 'none'} beyond what is allowed; the nearest to it is "
            f"{worst['layer']} {worst['work']}, {worst['p50']:.1e} of {worst['tolerance']:.1e}"
        )
    return lines
