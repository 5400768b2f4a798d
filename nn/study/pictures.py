"""`python -m nn.study.pictures`: draws `kernels/<op>/picture.svg` of each operation, and nn/gradient.svg."""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")

import matplotlib.pyplot as plt  # noqa: E402

from ltbc.kernels.color import reference as color_of  # noqa: E402
from ltbc.nn.study.drawing import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PALE,
    RED,
    TAPS,
    arrow,
    canvas,
    cell,
    frame,
    plot_style,
    row,
    word,
)
from ltbc.nn.study.gradient_picture import gradient  # noqa: E402

KERNELS = Path(__file__).parents[2] / "kernels"


def linear():
    figure, axes = canvas(10, 2, 3)
    products = (
        ("forward: z = x w", ("z", BLUE, 4, 3), ("x", PALE, 4, 2), ("w", ORANGE, 2, 3)),
        ("data: dx = dz wᵀ", ("dx", GREEN, 4, 2), ("dz", RED, 4, 3), ("wᵀ", ORANGE, 3, 2)),
        ("weights: dw = xᵀ dz", ("dw", GREEN, 2, 3), ("xᵀ", PALE, 2, 4), ("dz", RED, 4, 3)),
    )
    sizes = {4: "N", 2: "Cin", 3: "Cout"}
    for ax, (title, *matrices) in zip(axes, products):
        frame(ax, (-0.9, 13.7), (-0.8, 4.6), title)
        x = 0.0
        for sign, (name, color, rows, columns) in zip(("=", "·", ""), matrices):
            cell(ax, x, 2 - rows / 2, name, color, columns, rows)
            word(ax, x + columns / 2, 2 - rows / 2 - 0.4, sizes[columns], 8)
            word(ax, x - 0.15, 2, sizes[rows], 8, rotation=90, ha="right")
            word(ax, x + columns + 0.5, 2, sign, 13)
            x += columns + 1.7
    return figure


def conv3x3():
    figure, (left, right) = canvas(10, 3.6, 2)
    frame(left, (-0.6, 8.6), (-0.9, 5.7), "in a row: which windows see a pixel of x")
    word(left, -0.1, 0.5, "dz", ha="right")
    word(left, -0.1, 4.5, "dx", ha="right")
    row(left, 0.5, 0, ["0", "1", "2", "3"], RED, 2)
    row(left, 0.5, 4, list("01234567"), [BLUE, GREEN] * 4)
    for i in range(4):
        for r in range(3):
            if 0 <= 2 * i + r - 1 < 8:
                arrow(left, (2 * i + 1, 1), (2 * i + r, 3.95), TAPS[r])
    for r in range(3):
        word(left, 1.8 + 2.4 * r, -0.55, f"tap {r}", color=TAPS[r], weight="bold")
    word(left, 4.3, 5.4, "even pixels: tap 1 alone.    odd pixels: taps 2 and 0", 9.5)
    frame(right, (-0.7, 10), (-0.9, 9.2), "the four phases: their taps (r, s) of w")
    for p in (0, 1):
        for q in (0, 1):
            x, y = 5.8 * q, 4.8 * p
            for r in range(3):
                for s in range(3):
                    used = r % 2 != p and s % 2 != q
                    cell(right, x + 1.2 * s, y + r, f"{r},{s}" if used else "", ORANGE if used else PALE, 1.2)
            parity = f"row {'odd' if p else 'even'}, column {'odd' if q else 'even'}"
            word(right, x + 1.8, y - 0.35, f"{parity}: {(1 + p) * (1 + q)}", 9)
    return figure


def upsample2x():
    figure, (left, right) = canvas(9, 2, 2)
    blocks = (BLUE, ORANGE)
    for ax, title, forward in ((left, "forward: copy", True), (right, "backward: add", False)):
        frame(ax, (-0.4, 9.4), (-0.6, 2.8), title)
        small, large = (0, 5) if forward else (7, 0)
        row(ax, small, 1, ["1", "2"] if forward else ["10", "180"], list(blocks))
        for i in range(2):
            values = ["1", "1", "2", "2"] if forward else [["1", "2", "30", "40"], ["3", "4", "50", "60"]][i]
            row(ax, large, 0.5 + i, values, [blocks[j // 2] for j in range(4)])
        start, end = (2.5, 4.5) if forward else (4.5, 6.5)
        arrow(ax, (start, 1.5), (end, 1.5))
        word(ax, small + 1, 0.1 if small else 0.5, "x" if forward else "dx")
        word(ax, large + 2, 0, "y" if forward else "dy")
    return figure


def upsample2x_conv3x3():
    figure, (left, right) = canvas(10, 3.9, 2)
    frame(left, (-1.7, 8.2), (-0.5, 7.4), "in a row: two of three taps see the same pixel")
    colors = [BLUE, ORANGE, GREEN, RED]
    for i, color in enumerate(colors):
        cell(left, 2 * i, 0, f"x[{i}]", color, 2)
        row(left, 2 * i, 2, ["", ""], color)
        for k in (0.5, 1.5):
            arrow(left, (2 * i + k, 1.05), (2 * i + k, 1.95), LINE, 1)
    word(left, -0.2, 2.5, "large", ha="right")
    for y, name, first, terms in (
        (3.9, "z[2]", 1, ("w0 x[0]", "(w1 + w2) x[1]")), (5.8, "z[3]", 2, ("(w0 + w1) x[1]", "w2 x[2]")),
    ):
        row(left, first, y, ["w0", "w1", "w2"], [colors[h // 2] for h in range(first, first + 3)])
        word(left, first - 0.6, y + 0.5, f"{name}:")
        word(left, first + 3.3, y + 0.5, f"= {terms[0]}\n+ {terms[1]}", 9, ha="left")
    frame(right, (-0.4, 9.2), (-0.9, 9.2), "the four phases: which w make up v[u, t]")
    sets = (((0,), (1, 2)), ((0, 1), (2,)))
    for p in (0, 1):
        for q in (0, 1):
            x, y = 5 * q, 4.8 * p
            for u, rows in enumerate(sets[p]):
                for v, columns in enumerate(sets[q]):
                    for r in rows:
                        for s in columns:
                            cell(right, x + 1.2 * s, y + r, f"{r},{s}", colors[2 * u + v], 1.2)
            word(right, x + 1.8, y - 0.35, f"p = {p}, q = {q}", 9)
    return figure


def fusion():
    figure, (left, right) = canvas(10, 3.5, 2)
    frame(left, (-0.4, 11), (-0.6, 6), "forward: one product, added at every pixel")
    cell(left, 0, 1.5, "g", BLUE, 1, 2.5)
    word(left, 1.5, 2.75, "Wg")
    arrow(left, (1.1, 3.1), (2.2, 3.1))
    cell(left, 2.4, 1.5, "g Wg\n+ b", ORANGE, 1.4, 2.5)
    frame(right, (-0.4, 11), (-0.6, 6), "backward: one sum, then the same product")
    cell(right, 9.8, 1.5, "dg", GREEN, 1, 2.5)
    word(right, 9.15, 2.7, "Wgᵀ")
    arrow(right, (8.7, 3.1), (9.65, 3.1))
    cell(right, 7.1, 1.5, "s", ORANGE, 1.4, 2.5)
    for i in range(4):
        cell(left, 6.3, 1.4 * i, "z = m Wm +", PALE, 2.4, 1.1)
        cell(left, 8.7, 1.4 * i, "", ORANGE, 0.5, 1.1)
        arrow(left, (3.9, 2.75), (6.2, 1.4 * i + 0.55), TAPS[1])
        cell(right, 2, 1.4 * i, "dz", RED, 2, 1.1)
        arrow(right, (4.1, 1.4 * i + 0.55), (6.9, 2.75), TAPS[1])
        arrow(right, (1.9, 1.4 * i + 0.55), (1.2, 1.4 * i + 0.55))
        cell(right, 0, 1.4 * i, "dm", GREEN, 1.1, 1.1)
    word(left, 10, 2.75, "P pixels", rotation=90)
    word(right, 5.6, 0.5, "add over\nthe pixels", 9)
    word(left, 5, 0.5, "copy to\nthe pixels", 9)
    return figure


def chroma_loss():
    figure, (ax,) = canvas(6.5, 3.4)
    plot_style(ax, "prediction p of the 2×2 block", "squared difference")
    t, p = np.array([1.0, 2, 4, 5]), np.linspace(-0.5, 6.5, 200)
    full, half = ((p[:, None] - t) ** 2).sum(1) / 4, (p - t.mean()) ** 2
    for value in t:
        label = "(p - tₖ)² / 4, k = 1..4" if value == t[0] else None
        ax.plot(p, (p - value) ** 2 / 4, color=LINE, linewidth=0.8, label=label)
    ax.plot(p, full, color=TAPS[1], label="full size: their sum")
    ax.plot(p, half, color=TAPS[0], label="half size: (p - m)²")
    ax.annotate("", (3, 2.5), (3, 0), arrowprops={"arrowstyle": "<->", "color": INK})
    ax.text(3.12, 1.5, "constant 2.5", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    ax.set_ylim(-0.3, 13)
    ax.legend(frameon=False, fontsize=9, loc="upper center")
    return figure


def class_loss():
    figure, axes = canvas(8, 2.8, 2)
    z, onehot = np.log([1.0, 3.0, 4.0]), np.array([0, 1, 0])
    for ax, name, p in zip(axes, ("softmax", "sigmoid"), (np.exp(z) / np.exp(z).sum(), 1 / (1 + np.exp(-z)))):
        plot_style(ax, "class (the right one is 1)", "")
        ax.bar(np.arange(3) - 0.18, p, 0.34, color=BLUE, label="p")
        bars = ax.bar(np.arange(3) + 0.18, p - onehot, 0.34, color=RED, label="dz = p - onehot")
        ax.bar_label(bars, fmt="%.3f", fontsize=8, color=INK, padding=2)
        ax.axhline(0, color=LINE, linewidth=1)
        ax.set_xticks(range(3))
        ax.set_ylim(-1, 1.45)
        ax.set_title(f"{name}: dz adds up to {abs(p.sum() - 1) if name == 'softmax' else p.sum() - 1:.3g}", fontsize=11)
        ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return figure


def adadelta():
    figure, (left, right) = canvas(10, 3.6, 2)
    plot_style(left, "size of the gradient g", "first step d")
    g = np.logspace(-6, 1, 200)
    left.loglog(g, g * np.sqrt(1e-6 / (0.1 * g**2 + 1e-6)), color=TAPS[0], linewidth=2.4, label="d")
    left.loglog(g[g < 0.02], g[g < 0.02], ":", color=INK, label="g: gradient descent")
    left.axhline(np.sqrt(1e-5), linestyle="--", color=TAPS[1], linewidth=1.2, label="√(ε / (1 - ρ))")
    left.axvspan(1e-6, np.sqrt(1e-5), color=PALE)
    left.text(6e-5, 2e-2, "nearly all of the\nnetwork's gradients", ha="center", va="center", fontsize=9, color=INK)
    left.set(xlim=(1e-6, 10), ylim=(1e-6, 0.1), title="two regimes, ε = 1e-6, ρ = 0.9")
    left.legend(frameon=False, fontsize=9, loc="lower right")
    plot_style(right, "step", "step size d")
    for size, style in ((100.0, "-"), (0.1, "--"), (0.001, "-"), (0.0001, ":")):
        eg = ed = 0.0
        sizes = []
        for _ in range(60):
            eg = 0.9 * eg + 0.1 * size * size
            sizes.append(size * np.sqrt((ed + 1e-6) / (eg + 1e-6)))
            ed = 0.9 * ed + 0.1 * sizes[-1] ** 2
        right.plot(range(1, 61), sizes, style, label=f"g = {size:g}", linewidth=2.2 if size > 1 else 1.6)
    right.set_ylim(0)
    right.set_title("constant gradients: the two large ones move alike")
    right.legend(frameon=False, fontsize=9, loc="center right")
    return figure


def color():
    figure, (ax,) = canvas(4.6, 4.2)
    plot_style(ax, "a*  (green to red)", "b*  (blue to yellow)")
    axis = np.linspace(0, 1, 22)
    rgb = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    lab = color_of.rgb_to_lab(rgb)
    order = np.argsort(lab[:, 0])
    ax.scatter(lab[order, 1], lab[order, 2], s=16, c=rgb[order], linewidths=0, rasterized=True)
    ax.plot([-110, 110, 110, -110, -110], [-110, -110, 110, 110, -110], color=INK, linewidth=1)
    ax.text(0, 113, "0..1 of the network's output", ha="center", va="bottom", fontsize=9, color=INK)
    ax.set_aspect("equal")
    ax.set(xlim=(-122, 122), ylim=(-122, 128))
    return figure


PICTURES = (linear, conv3x3, upsample2x, upsample2x_conv3x3, fusion, chroma_loss, class_loss, adadelta, color)


def main(folder: Path = KERNELS) -> None:
    plt.rcParams["svg.hashsalt"] = "let there be color"  # the same file on every run
    paths = {draw: folder / draw.__name__ / "picture.svg" for draw in PICTURES}
    for draw, path in {**paths, gradient: folder.parent / "nn" / "gradient.svg"}.items():
        figure = draw()
        figure.savefig(path, metadata={"Date": None}, dpi=80, facecolor="white")
        plt.close(figure)
        print(f"{path} ({path.stat().st_size / 1024:.0f} KB)")


if __name__ == "__main__":
    argparse.ArgumentParser("python -m nn.study.pictures", description=__doc__).parse_args()
    main()
