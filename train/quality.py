"""How good colored pictures are beside the true ones, by scikit-image's measures: what `ltbc.train.evaluate` prints.

The protocol stands in `PROTOCOL`; it is printed with every result.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm import tqdm

from ltbc.kernels import color
from ltbc.nn import Network
from ltbc.nn.resize import resize
from ltbc.train import score as chroma
from ltbc.train.pictures.folder import Pictures
from ltbc.train.score import class_indices, rank, to_numpy

PROTOCOL = {
    "pictures": "not near-grey (the rule of training), resized to a short side of {size} (Lanczos), the square in the "
                "middle, {size}x{size}",
    "chroma": "a*, b* (CIE L*a*b*, D65) at half resolution, ours not clipped, against the true 2x2 means; squared "
              "errors averaged over pixels, channels and pictures alike, then the root; PSNR with a range of 220",
    "RGB": "the true L* with the predicted a*, b* enlarged bilinearly, in sRGB, each channel clipped, 8 bits",
    "RGB PSNR, SSIM": "of 8-bit sRGB, the mean over pictures (identical ones count as 100 dB); SSIM by Gaussian windows"
                      " of sigma 1.5, the mean over channels",
    "CIEDE2000": "the mean over pixels and pictures, on 8-bit sRGB",
    "colorfulness": "Hasler and Suesstrunk 2003, of 8-bit sRGB, the mean over pictures",
    "baselines": "grey: a* = b* = 0; mean color: a*, b* = {mean_ab} everywhere, the mean of {mean_of}; both with the "
                 "true L*",
}
OURS, GREY, MEAN, TRUTH = "ours", "grey", "mean_color", "truth"
BEST_PSNR = 100.0  # dB, of identical pictures


@dataclass
class Quality:
    """values: ours, grey, mean_color, truth -> metric -> `[N]`, one a picture; see `compare` and `chroma_mse`.

    ranks: how many classes the network holds more probable than the true one `[N]`; -1 where it does not know it.
    """

    values: dict[str, dict[str, np.ndarray]]
    ranks: np.ndarray

    def summary(self, kind: str) -> dict[str, float]:
        """The means of one kind, by the protocol."""
        values = self.values[kind]
        means = {name: float(values[name].mean()) for name in ("rgb_psnr", "ssim", "ciede2000", "colorfulness")}
        error = float(np.sqrt(values["chroma_mse"].mean()))
        return {
            "chroma_error": error, "chroma_psnr": chroma.psnr(error), **means,
            "colorfulness_difference": means["colorfulness"] - float(self.values[TRUTH]["colorfulness"].mean()),
        }

    def top(self, k: int) -> float | None:
        """The share of pictures whose class is among the k most probable; None where no folder is a known class."""
        known = self.ranks[self.ranks >= 0]
        return float((known < k).mean()) if len(known) else None


def measure(
    net: Network, pictures: Pictures, mean_ab: np.ndarray | None = None, saturation: float = 1.0
) -> Quality:
    """The quality of the network on these pictures, and (where `mean_ab` is given) of both baselines.

    pictures: squares of side `pictures.short_side`, a multiple of 8. saturation: factor on the predicted a*, b*.
    """
    collected: dict[str, list[dict[str, float]]] = {}
    ranks: list[int] = []
    known = class_indices(pictures.classes, net.settings.classes)[pictures.labels]
    with tqdm(total=len(pictures), desc="measuring", leave=False, disable=None) as bar:
        for squares in chroma.batches_of_squares(pictures):
            rgb = net.xp.asarray(squares)
            true = to_numpy(chroma.true_ab(rgb, net.backend))
            predicted, logits = chroma.predict(net, rgb)
            colors = {OURS: saturation * to_numpy(predicted)}
            if mean_ab is not None:
                colors |= {GREY: np.zeros_like(true), MEAN: np.broadcast_to(mean_ab, true.shape).astype(true.dtype)}
            labs = rgb2lab(squares)
            for kind, ab in colors.items():
                collected.setdefault(kind, []).extend(compare(paint(squares, ab), squares, labs, ab, true))
            collected.setdefault(TRUTH, []).extend({"colorfulness": colorfulness(x)} for x in squares)
            labels = known[len(ranks) : len(ranks) + len(squares)]
            ranks.extend(rank(None if logits is None else to_numpy(logits), labels))
            bar.update(len(squares))
    values = {kind: {name: np.array([row[name] for row in rows]) for name in rows[0]}
              for kind, rows in collected.items()}
    return Quality(values, np.array(ranks))


def compare(
    painted: np.ndarray, true: np.ndarray, labs: np.ndarray, ab: np.ndarray, true_ab: np.ndarray
) -> list[dict[str, float]]:
    """The metrics of each picture: 8-bit sRGB and L*a*b* of the truth `[N, H, W, 3]`, chroma `[N, H/2, W/2, 2]`."""
    return [
        {
            "chroma_mse": float(((ab[i] - true_ab[i]) ** 2).mean(dtype=np.float64)), "rgb_psnr": psnr(true[i], one),
            "ssim": ssim(true[i], one), "ciede2000": ciede2000(labs[i], rgb2lab(one)),
            "colorfulness": colorfulness(one),
        }
        for i, one in enumerate(painted)
    ]


def paint(rgb: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Pictures `[N, H, W, 3]` uint8 with the luminance of `rgb` (uint8) and a*, b* `[N, h, w, 2]`, enlarged."""
    luminance, _ = color.encode(rgb, "lab")
    full = resize((ab + 110) / 220, *rgb.shape[1:3])
    return np.rint(255 * np.clip(color.decode(luminance, full.astype(np.float32), "lab"), 0, 1)).astype(np.uint8)


def difference(rgb: np.ndarray, ab: np.ndarray) -> float:
    """The sum over pictures of the mean CIEDE2000 between true ones `[N, H, W, 3]` and their luminance with a*, b*."""
    return sum(ciede2000(rgb2lab(true), rgb2lab(ours)) for true, ours in zip(rgb, paint(rgb, ab)))


def psnr(true: np.ndarray, ours: np.ndarray) -> float:
    """Of two uint8 pictures, in dB."""
    if np.array_equal(true, ours):
        return BEST_PSNR
    return float(peak_signal_noise_ratio(true, ours, data_range=255))


def ssim(true: np.ndarray, ours: np.ndarray) -> float:
    """Of two uint8 pictures `[H, W, C]`, with the windows of Wang et al. 2004; smaller ones below 11 pixels a side."""
    gaussian: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    windows = gaussian if min(true.shape[:2]) >= 11 else {"win_size": 7}
    return float(structural_similarity(true, ours, channel_axis=-1, data_range=255, **windows))


def ciede2000(lab: np.ndarray, other: np.ndarray) -> float:
    """The mean color difference of two L*a*b* arrays `[..., 3]`."""
    return float(deltaE_ciede2000(lab, other).mean())


def colorfulness(rgb: np.ndarray) -> float:
    """Of a uint8 picture: sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G, yb = (R + G)/2 - B.

    0 is grey, 15 slightly, 33 moderately, 59 quite, 109 extremely colorful (Hasler and Suesstrunk 2003, equation 5).
    """
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    opponents = (r - g, (r + g) / 2 - b)
    return float(np.hypot(*(x.std() for x in opponents)) + 0.3 * np.hypot(*(x.mean() for x in opponents)))


def mean_color(pictures: Pictures) -> np.ndarray:
    """The mean a* and b* `[2]` over all pixels of the pictures' squares."""
    total, count = np.zeros(2), 0
    for squares in chroma.batches_of_squares(pictures):
        ab = chroma.true_ab(squares)
        total, count = total + ab.sum((0, 1, 2), dtype=np.float64), count + ab[..., 0].size
    return total / count
