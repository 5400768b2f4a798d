"""Hints: a color at a place fills its region, ends at edges, leaves luminance alone; by every way in."""

import numpy as np
import pytest
from PIL import Image

import ltbc.colorize.__main__ as program
from ltbc.colorize import Colorizer, hints, images, join
from ltbc.colorize.hints import Hint
from ltbc.colorize.luminance import grey_codes
from ltbc.kernels.color.reference import rgb_to_lab
from tests.tools.picture_files import network, rich_exif

RED, BLUE = "#c03030", "#3040c0"


@pytest.fixture(scope="module")
def colorizer():
    return Colorizer(network(), "reference")


def halves(height=60, width=80):
    """Left half darker, right half brighter."""
    grey = np.full((height, width), 110, np.uint8)
    grey[:, width // 2 :] = 190
    return grey


def ab(pixels):
    return rgb_to_lab(pixels / 255)[..., 1:]


@pytest.mark.parametrize("text, hint", [
    ("3,4,#a0b1c2", Hint(3, 4, (160, 177, 194))), ("0,0,FFFFFF", Hint(0, 0, (255, 255, 255))),
    (" 12, 7, #000001", Hint(12, 7, (0, 0, 1))),
])
def test_a_hint_is_read(text, hint):
    assert hints.parse(text) == hint
    assert hints.parse(str(hint)) == hint


@pytest.mark.parametrize("text", ["", "1,2", "1,2,red", "1,2,#fff", "-1,2,#ffffff", "1.5,2,#ffffff", "1,2,#ffffff,3",
                                  "٣,2,#ffffff", "1,2,##ffffff"])
def test_what_is_no_hint_is_refused(text):
    with pytest.raises(ValueError, match="must be like 120,80,#a03c28, got"):
        hints.parse(text)


def test_a_hint_fills_its_region_and_ends_at_the_edge(colorizer):
    grey = halves()
    plain, colored = colorizer(grey), colorizer(grey, hints=[(20, 30, RED)])
    moved = np.abs(ab(colored) - ab(plain)).max(-1)
    assert moved[:, :36].min() > 10 and moved[:, 44:].max() < 1
    near = ab(colored)[30, 20] - ab(np.array([[[0xC0, 0x30, 0x30]]]))[0, 0]
    assert np.abs(near).max() < 2, "where the point is, its a* and b*"
    assert np.abs(grey_codes(colored, 255) * 255 - grey).max() <= 1, "luminance untouched"


def test_each_region_takes_the_nearest_of_several(colorizer):
    colored = ab(colorizer(halves(), hints=[(20, 30, RED), (60, 30, BLUE)]))
    assert colored[:, :36, 0].min() > 15 and colored[:, 44:, 1].max() < -15
    assert np.abs(ab(colorizer(halves(), hints=[])) - ab(colorizer(halves()))).max() == 0


def test_a_texture_is_no_edge_and_a_hint_fades_in_the_end():
    rng = np.random.default_rng(0)
    guide = (0.5 + 0.05 * rng.normal(size=(100, 300))).clip(0, 1).astype(np.float32)
    chroma = join.Chroma(np.full((50, 150, 2), 0.5, np.float32), (50, 150), "lab")
    spread = hints.spread(chroma, guide, (100, 300), [hints.parse("30,50,#c03030")]).values[..., 0] - 0.5
    assert spread[50, 70] > 0.8 * spread[50, 30] > 0 and spread[50, 290] < 0.1 * spread[50, 30]


def test_ways_are_the_shortest():
    """Against Bellman's equation on the graph of neighbours, written out."""
    rng = np.random.default_rng(1)
    ways = hints.Ways(rng.random((9, 7)).astype(np.float32))
    ways.down += rng.random(ways.down.shape)
    away = ways.distances(4, 2)
    right = np.diff(ways.along, axis=1)
    steps = {}
    for i in range(9):
        for j in range(7):
            if j < 6:
                steps[(i, j), (i, j + 1)] = right[i, j]
            if i < 8:
                steps[(i, j), (i + 1, j)] = ways.down[i, j]
            if i < 8 and j < 6:
                steps[(i, j), (i + 1, j + 1)] = ways.down_right[i, j]
                steps[(i, j + 1), (i + 1, j)] = ways.down_left[i, j]
    steps |= {(end, start): cost for (start, end), cost in steps.items()}
    want = {(i, j): np.inf for i in range(9) for j in range(7)} | {(4, 2): 0}
    for _ in range(63):
        for (start, end), cost in steps.items():
            want[end] = min(want[end], want[start] + cost)
    np.testing.assert_allclose(away, [[want[i, j] for j in range(7)] for i in range(9)], rtol=1e-5)


@pytest.mark.parametrize("space", ["lab", "yuv", "rgb"])
def test_every_color_space(space):
    made = Colorizer(network(color_space=space), "reference")
    plain, red = (made(halves(), hints=wanted).astype(int) for wanted in ([], [(20, 30, "#ff0000")]))
    assert (red - plain)[:, :36, 0].min() > 20 and np.abs(red - plain)[:, 46:].max() <= 1


@pytest.mark.parametrize("hint, error, message", [
    ((80, 0, RED), ValueError, r"the hint 80,0,#c03030 lies outside of the picture of 80 x 60 pixels"),
    ((0, 60, RED), ValueError, r"outside of the picture"),
    ((-1, 0, RED), ValueError, r"must be like \(120, 80, '#a03c28'\)"),
    ((1, 2, "red"), ValueError, r"must be like"), ((1, 2, (1, 2, 300)), ValueError, r"must be like"),
    ((1, 2), ValueError, r"must be like"), (7, TypeError, r"must be \(x, y"), ((1, 2, None), TypeError, r"must be"),
    ((None, 2, RED), TypeError, r"must be"),
])
def test_wrong_hints_in_python(colorizer, hint, error, message):
    with pytest.raises(error, match=message):
        colorizer(halves(), hints=[hint])


def test_the_command_counts_in_the_upright_photograph(tmp_path):
    network().save(tmp_path / "w.safetensors")
    exif = rich_exif()
    exif[0x112] = 6  # to be turned a quarter to the right
    Image.fromarray(halves()).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    words = [str(tmp_path / "turned.jpg"), "--weights", str(tmp_path / "w.safetensors"), "--backend", "reference"]
    for name, more in (("plain", []), ("hinted", ["--hint", "30,20,#c03030"])):
        assert program.main([*words, "--out", str(tmp_path / f"{name}.png"), *more]) == 0
    plain, hinted = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("plain", "hinted"))
    moved = np.abs(ab(hinted) - ab(plain)).max(-1)
    assert moved.shape == (80, 60) and moved[:36].min() > 10 and moved[44:].max() < 1
    assert np.abs(images.read(tmp_path / "hinted.png").luminance - images.read(tmp_path / "turned.jpg").luminance
                  ).max() < 1.01 / 255


def test_wrong_hints_on_the_command_line(tmp_path, capsys):
    network().save(tmp_path / "w.safetensors")
    for name in ("a.png", "b.png"):
        Image.fromarray(halves()).save(tmp_path / name)
    words = ["--weights", str(tmp_path / "w.safetensors"), "--backend", "reference", "--out", f"{tmp_path}/out/"]
    assert program.main([str(tmp_path / "a.png"), *words, "--hint", "80,1,#c03030"]) == 1
    assert "a.png: the hint 80,1,#c03030 lies outside of the picture of 80 x 60 pixels" in capsys.readouterr().err
    both = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert program.main([*both, *words, "--hint", "1,1,#c03030"]) == 1
    assert "--hint: its place is one in a photograph, and 2 are named" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.main([both[0], *words, "--hint", "1,1,red"])
    assert "argument --hint: must be like 120,80,#a03c28, got 1,1,red" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_hints_reach_the_preview(tmp_path):
    network().save(tmp_path / "w.safetensors")
    Image.fromarray(halves()).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), "--weights", str(tmp_path / "w.safetensors"), "--backend", "reference"]
    for name, more in (("plain", []), ("hinted", ["--hint", "20,30,#c03030"])):
        assert program.main([*words, "--preview", "--out", str(tmp_path / f"{name}.png"), *more]) == 0
    plain, hinted = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("plain", "hinted"))
    assert (np.abs(plain - hinted).max(-1) > 20).mean() > 0.05
