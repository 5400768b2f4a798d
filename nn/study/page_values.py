"""The numbers behind the page's maps, so that it can write out a pixel's sum itself: as 16-bit floats, in base64.

Of each layer with maps its whole output, and the filters of the maps that are shown. What would make the page too large
is left out, the largest layers first, and named.
"""

import base64

import numpy as np

from ltbc.nn.study.recording import Record

ROOM = 4_900_000  # characters of a page: it stays below 5 MB


def packed(x: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(x, "<f2").tobytes()).decode()


def page_values(
    records: dict[str, Record], read: dict[str, tuple[str, ...]], shown: dict[str, list[int] | None], light: np.ndarray,
    taken: int,
) -> tuple[dict[str, dict], list[str]]:
    """({layer: {"y", "w", "b", "reads"}}, names of the layers whose pixels the page cannot explain).

    light: the picture `[S, S, 1]`. taken: characters of the page without these. shown: the channels of each layer that
    the page shows; None for vectors. w: `[taps, Cin, shown]` (one tap where there is no window), y: `[H, W, C]`, flat.
    """
    found: dict[str, dict] = {"photo": {"y": packed(light), "shape": list(light.shape)}}
    for name, record in records.items():
        found[name] = {"y": packed(record.y), "shape": list(record.y.shape), "reads": list(read[name])}
        if channels := shown[name]:
            w = record.w[..., channels]
            found[name] |= {"w": packed(w), "b": [float(record.b[c]) for c in channels]}
    left_out: list[str] = []
    size = {name: sum(len(v) for v in part.values() if isinstance(v, str)) for name, part in found.items()}
    while size and sum(size.values()) > ROOM - taken:
        largest = max(size, key=lambda name: size[name])
        del size[largest], found[largest]
        left_out.append(largest)
    unknown = [n for n in records if shown[n] and (n not in found or any(s not in found for s in found[n]["reads"]))]
    for name in unknown:
        found.get(name, {}).pop("w", None)
    return found, unknown
