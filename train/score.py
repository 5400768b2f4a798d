"""How far predicted chroma is from the true one: what training measures on held-out pictures. NumPy or CuPy suffices.

Protocol: every picture of the folder that is not near-grey (the rule of training) is resized to a short side of `size`,
and the square in its middle is taken. Compared are a* and b* (CIE L*a*b*, D65) at half resolution: the prediction,
which is not clipped to sRGB, with the 2x2 means of the true chroma. Networks of another color space predict colors,
which are clipped to sRGB and converted, at half resolution too. Squared errors are averaged over all pixels,
both channels and all pictures alike, and only then:

    chroma_error = sqrt(mean squared error), in units of a* and b*
    chroma_psnr  = 20 log10(220 / chroma_error), in dB: a* and b* range over 220

Grey is the prediction a* = b* = 0, what the picture was before; its chroma_error is the true chroma's root mean square.
`ltbc.train.evaluate` measures the same and more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ltbc.kernels import color
from ltbc.kernels.arrays import Array, array_module
from ltbc.nn import Network
from ltbc.train import TrainError
from ltbc.train.distributed import World
from ltbc.train.pictures.folder import Gone, Pictures

BATCH_PIXELS = 1 << 18  # of a batch


@dataclass
class Score:
    """See the protocol above. pictures: how many; gain: dB by which ours is better than grey.

    ciede2000: the mean color difference of 8-bit sRGB, where scikit-image is installed. top5: the share of those whose
    class is among the five most probable, in %, where the network knows classes of these names. As `ltbc evaluate`.
    """

    pictures: int
    chroma_error: float
    chroma_psnr: float
    grey_error: float
    grey_psnr: float
    ciede2000: float | None = None
    top5: float | None = None

    @property
    def gain(self) -> float:
        return self.chroma_psnr - self.grey_psnr

    def __str__(self) -> str:
        more = "" if self.ciede2000 is None else f", CIEDE2000 {self.ciede2000:.2f}"
        more += "" if self.top5 is None else f", top-5 {self.top5:.1f} %"
        return (
            f"{self.pictures} pictures: chroma error {self.chroma_error:.2f} (grey {self.grey_error:.2f}), "
            f"chroma PSNR {self.chroma_psnr:.2f} dB (grey {self.grey_psnr:.2f}), {self.gain:+.2f} dB{more}"
        )


def evaluate(net: Network, pictures: Pictures, world: World | None = None) -> Score:
    """The score of the network on these pictures, squares of side `pictures.short_side` (a multiple of 8).

    The processes of a world share them; each gets the score of all. Pictures that cannot be read any more are left out.
    Raises TrainError where none can.
    """
    world = world or World()
    differences = color_differences()
    known = class_indices(pictures.classes, net.settings.classes)[pictures.labels]
    sums = np.zeros(7)  # ours, grey, their values; pictures; CIEDE2000; ranks below 5, and known ones
    for indices, squares in squares_of(pictures, range(world.rank, len(pictures), world.size)):
        rgb = net.xp.asarray(squares)
        true = true_ab(rgb, net.backend)
        predicted, logits = predict(net, rgb)
        errors = float(((predicted - true) ** 2).sum(dtype=np.float64)), float((true**2).sum(dtype=np.float64))
        ranks = rank(None if logits is None else to_numpy(logits), known[indices])
        far = differences(squares, to_numpy(predicted)) if differences else 0.0
        sums += (*errors, true.size, len(squares), far, ((ranks >= 0) & (ranks < 5)).sum(), (ranks >= 0).sum())
    ours, grey, values, count, far, top, ranked = world.sum(sums.tolist())
    if not count:
        raise TrainError(f"{pictures.root}: none of its pictures can be read any more")
    error, without = float(np.sqrt(ours / values)), float(np.sqrt(grey / values))
    return Score(
        int(count), error, psnr(error), without, psnr(without), far / count if differences else None,
        100 * top / ranked if ranked else None,
    )


def color_differences() -> Callable[[np.ndarray, np.ndarray], float] | None:
    """The sum of CIEDE2000 over pictures `[N, H, W, 3]` colored with a*, b*; None where scikit-image is missing."""
    try:
        from ltbc.train.quality import difference
    except ImportError:
        return None
    return difference


def squares_of(pictures: Pictures, indices: Sequence[int]) -> Iterator[tuple[list[int], np.ndarray]]:
    """(numbers, squares in the middle `[N, S, S, 3]` uint8) of those pictures that can be read."""
    batch = max(1, BATCH_PIXELS // pictures.short_side**2)
    for start in range(0, len(indices), batch):
        found = {}
        for i in indices[start : start + batch]:
            try:
                found[i] = middle(pictures[i])
            except Gone as error:
                pictures.lost.setdefault(i, str(error))
        if found:
            yield list(found), np.stack(list(found.values()))


def psnr(error: float) -> float:
    """In dB, of a root mean square error of a* and b*."""
    return float(20 * np.log10(220 / max(error, 1e-9)))


def batches_of_squares(pictures: Pictures) -> Iterator[np.ndarray]:
    """The squares in the middle of all pictures, `[N, S, S, 3]` uint8."""
    batch = max(1, BATCH_PIXELS // pictures.short_side**2)
    for start in range(0, len(pictures), batch):
        yield np.stack([middle(pictures[i]) for i in range(start, min(start + batch, len(pictures)))])


def middle(picture: np.ndarray) -> np.ndarray:
    """The square in the middle of `[H, W, 3]`."""
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def to_ab(chroma: Array) -> Array:
    """a* and b* of chroma in [0, 1]."""
    return chroma * 220 - 110


def true_ab(rgb: Array, backend: str = "reference") -> Array:
    """a* and b* `[N, H/2, W/2, 2]` of sRGB pixels `[N, H, W, 3]`."""
    return to_ab(color.encode(rgb, "lab", backend=backend)[1])


def predict(net: Network, rgb: Array) -> tuple[Array, Array | None]:
    """(a* and b* `[N, H/2, W/2, 2]` that the network predicts for the luminance of these pixels, its logits)."""
    space = net.settings.color_space
    luminance, _ = color.encode(rgb, space, backend=net.backend)
    chroma, logits = net.forward(luminance)
    return as_ab(chroma, luminance, space, net.backend), logits


def as_ab(chroma: Array, luminance: Array, space: str, backend: str) -> Array:
    """a* and b* of chroma `[N, H/2, W/2, C]` of a color space and luminance `[N, H, W, 1]`."""
    if space == "lab":
        return to_ab(chroma)
    xp = array_module(luminance)
    half = (luminance[:, ::2, ::2] + luminance[:, ::2, 1::2] + luminance[:, 1::2, ::2] + luminance[:, 1::2, 1::2]) / 4
    rgb = xp.clip(color.decode(half, chroma, space, backend=backend), 0, 1)
    return true_ab(rgb.repeat(2, 1).repeat(2, 2), backend)  # which takes means of 2x2; these are already


def class_indices(folders: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """Of each folder, the index of the class of the same name, or -1."""
    at = {name: i for i, name in enumerate(classes)}
    return np.array([at.get(name, -1) for name in folders])


def rank(logits: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the label `[N]` (of equal ones, the first comes first); -1 for label -1."""
    if logits is None:
        return np.full(len(labels), -1)
    order = np.argsort(-logits, 1, kind="stable")
    return np.where(labels < 0, -1, (order == labels[:, None]).argmax(1))


def to_numpy(x: Array) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.get()
