"""What the colorizer tells of a file and how sharp it writes it, measured again; what style, blend and sizes do."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import Colorizer, files, images, memory, metadata, tags, xmp
from ltbc.colorize import colorizer as colorizer_module
from ltbc.colorize.images import read, write
from ltbc.colorize.paths import Job
from ltbc.colorize.picture import from_array, from_pil
from ltbc.colorize.session import Choice, Session
from ltbc.nn import Network, tiles
from tests.tools import colorize_call
from tests.tools.drawn import draw
from tests.tools.picture_files import PLACE, grey, luminance, network, profile_of, srgb, written

call, weights = colorize_call.call, colorize_call.weights  # fixtures


def colors(height=40, width=56):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# files


def test_a_jpeg_tells_its_loss_and_is_as_good_as_stated(tmp_path):
    """Quality 95 by its tables, without chroma subsampling; the told change is the largest there is."""
    Image.fromarray(grey(np.uint8, 40, 56)).save(tmp_path / "in.png")
    picture, pixels = read(tmp_path / "in.png"), colors()
    notes = write(tmp_path / "out.jpg", pixels, picture)
    stored = Image.open(tmp_path / "out.jpg")
    Image.fromarray(pixels).save(tmp_path / "want.jpg", quality=95, subsampling=0)
    assert stored.quantization == Image.open(tmp_path / "want.jpg").quantization
    assert [part[1:3] for part in stored.layer] == [(1, 1)] * 3
    change = np.abs(luminance(np.asarray(stored) / 255) - grey(np.uint8, 40, 56) / 255).max() * 255
    assert change > 1 and notes == [
        f"JPEG is lossy: luminance changed by up to {change:.1f} of 255; PNG, TIFF and WebP keep it"
    ]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_colors_under_full_transparency_stay(tmp_path, suffix):
    image = draw(0)
    image.putalpha(Image.fromarray(np.where(np.arange(1600) % 3, 0, 200).reshape(40, 40).astype(np.uint8)))
    image.save(tmp_path / "in.png")
    pixels, _ = written(tmp_path / f"out{suffix}", read(tmp_path / "in.png"))
    stored = np.asarray(Image.open(tmp_path / f"out{suffix}"))
    assert np.array_equal(stored[..., :3], pixels) and np.array_equal(stored[..., 3], np.asarray(image)[..., 3])


def test_a_camera_s_previews_are_no_frames(tmp_path):
    draw(0).save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[draw(1)])
    assert Image.open(tmp_path / "in.jpg").n_frames == 2 and not read(tmp_path / "in.jpg").notes


def test_floats_become_sixteen_bits_in_png_and_eight_elsewhere(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.linspace(0, 1, 126, dtype=np.float32).reshape(9, 14))
    picture = read(tmp_path / "in.tif")
    colorizer = Colorizer(network(), "reference")
    for name, bits in (("out.png", 16), ("out.webp", 8)):
        lines = files.color_file(Job(tmp_path / "in.tif", tmp_path / name), colorizer, files.Wishes())
        again = read(tmp_path / name)
        white = (1 << bits) - 1
        assert again.white == white and np.abs(again.luminance - picture.luminance).max() * white < 0.7
        assert any("WEBP holds 8 bits a channel, fewer than the input had" in line for line in lines) == (bits == 8)
        assert any("PNG holds 16 bits a channel, fewer" in line for line in lines) == (bits == 16)


@pytest.mark.parametrize("length, told", [
    (60_000, []), (66_000, ["its XMP data is too long for JPEG and was left out"]),
])
def test_long_xmp_and_jpeg(tmp_path, length, told):
    picture = from_pil(draw(0))
    packet = xmp.EMPTY.replace(b"></rdf", PLACE + b"dc:rights='%s'/></rdf" % (b"x" * length))
    picture.metadata.xmp = packet
    _, notes = written(tmp_path / "out.jpg", picture)
    assert [note for note in notes if "XMP" in note] == told
    assert (metadata.xmp_of(Image.open(tmp_path / "out.jpg").info) is None) == bool(told)


def test_long_exif_without_notes_of_the_camera_is_left_out_of_a_jpeg(tmp_path):
    picture = from_pil(draw(0))
    picture.metadata.exif = {0x9286: (7, bytes(66_000)), tags.EXIF: {0x927C: (7, b"short")}}
    _, notes = written(tmp_path / "out.jpg", picture)
    assert "its EXIF data is too long for JPEG and was left out" in notes
    assert "exif" not in Image.open(tmp_path / "out.jpg").info


# what the program tells


def test_what_is_told_of_a_photograph_is_so(call, weights):
    draw(0, 60, 50).save("a.png", icc_profile=b"nonsense" * 40)
    code, out, _ = call("a.png", "--out", "out.png", "--saturation", "30", "--top", "3")
    colorizer, picture = Colorizer(weights, "reference"), read("a.png")
    colored = colorizer.colorize(picture, np.dtype(np.uint8), 255, saturation=30)
    assert code == 0 and 0 < colored.forced < 3000
    first, note, seen = out.splitlines()
    assert first == (f"a.png -> out.png: 60 x 50, the gamut forced {colored.forced:,} pixels "
                     f"({colored.forced / 3000:.1%}) towards grey")
    assert note == "  note: its color profile does not fit or is damaged, and was ignored"
    told = re.findall(r"(\w+) ([\d.]+)%", seen)
    want = sorted(zip(colored.probabilities, colorizer.settings.classes), reverse=True)
    assert told == [(name, f"{100 * share:.1f}") for share, name in want]


def test_style_and_blend_reach_file_and_preview(call, weights):
    draw(0, 60, 50).save("a.png")
    draw(5, 50, 60).save("style.png")
    colorizer = Colorizer(weights, "reference")
    images = {name: Image.open(name) for name in ("a.png", "style.png")}
    for blend in (0, 0.3, 1):
        name = f"{blend}.png"
        assert call("a.png", "--out", name, "--style", "style.png", "--blend", blend)[0] == 0
        want = colorizer(images["a.png"], style=images["style.png"], blend=blend)
        assert np.array_equal(np.asarray(Image.open(name)), np.asarray(want))
        assert call("a.png", "--out", f"p{name}", "--style", "style.png", "--blend", blend, "--preview")[0] == 0
    for kind in ("", "p"):
        pixels = [np.asarray(Image.open(f"{kind}{blend}.png")).astype(int) for blend in (0, 0.3, 1)]
        assert all((pixels[i] != pixels[j]).any() for i, j in ((0, 1), (1, 2), (0, 2))), kind


def test_memory_over_the_limit_by_little_is_refused(tmp_path):
    draw(0, 300, 200).save(tmp_path / "a.png")
    colorizer = Colorizer(network(), "reference")
    job = Job(tmp_path / "a.png", tmp_path / "out.png")
    need = images.most_memory(job.source, job.target)[1]
    colorizer.max_memory = memory.resident() + (1 << 30)
    assert files.color_file(job, colorizer, files.Wishes())
    colorizer.max_memory = memory.resident() + need // 2
    with pytest.raises(ValueError, match="300 x 200 pixels of 8 bits may take .* over the limit"):
        files.color_file(job, colorizer, files.Wishes(preview=True))


def test_what_the_machine_gives_is_what_is_free(monkeypatch, tmp_path):
    """Four fifths of the least of: physical memory, what the system calls available, what the container leaves."""
    (tmp_path / "meminfo").write_text("MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: 5000 kB\n")
    whole = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a: whole(
        tmp_path / "meminfo" if str(self) == "/proc/meminfo" else self, *a))
    monkeypatch.setattr(memory, "resident", lambda: 1000)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.limit_of_machine() == 1000 + int(0.8 * (5000 << 10))
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert memory.limit_of_machine() == 1000 + 1_600_000


# the page


def test_the_page_shows_and_saves_what_is_chosen(tmp_path):
    (tmp_path / "pages").mkdir()
    colorizer = Colorizer(network(), "reference")
    session = Session(colorizer, tmp_path / "pages", 10_000)
    for name, image in (("a.png", draw(0, 48, 40)), ("style.png", draw(5, 40, 48))):
        image.save(tmp_path / name)
    image, style = draw(0, 48, 40), draw(5, 40, 48)
    session.add(tmp_path / "a.png")
    session.choose_style(tmp_path / "style.png")
    (photo,) = session.photos
    for choice in (Choice(), Choice(blend=0.25), Choice(2.0, blend=0.25), Choice(2.0, 16, 0.25), Choice(2.0, "full")):
        at = colorizer.at(choice.render_size or colorizer.render_size)
        want = np.asarray(at(image, style=style, saturation=choice.saturation, blend=choice.blend))
        assert np.array_equal(np.asarray(Image.open(session.make(photo, choice)[0])), want), choice
        shown, scenes = session.show(photo, choice)
        chroma, _ = at.predict(from_pil(image).luminance, from_pil(style).luminance, choice.blend)
        assert np.array_equal(photo.chroma[1].values, chroma.values), choice
        error = np.abs(np.asarray(Image.open(shown)).astype(int) - want).mean()
        others = np.abs(np.asarray(image).astype(int) - want).mean()
        assert error < 6 < others, "up to the shown file's compression"
        own = at.colorize(from_pil(image), np.dtype(np.uint8), 255).probabilities
        assert scenes == pytest.approx(dict(zip(colorizer.settings.classes, own)), abs=1e-6), "not the style's"


# sizes


@pytest.mark.parametrize("height, width", [(41, 57), (8, 9), (15, 16), (1, 3)])
def test_odd_sizes_are_seen_whole_with_their_edges_repeated(height, width):
    net = network()
    colorizer, codes = Colorizer(net, render_size="full"), colors(height, width)[..., 0]
    picture = from_array(codes)
    chroma, _ = colorizer.predict(picture.luminance)
    padded = np.pad(colorizer.encode(picture.luminance), ((0, -height % 8), (0, -width % 8)), mode="edge")
    vector, _ = colorizer.look(picture.luminance)
    want = net.colorize_local(padded[None, ..., None], vector)[0]
    assert chroma.values.shape[:2] == (-(-height // 2), -(-width // 2)) and chroma.extent == (height / 2, width / 2)
    assert np.allclose(chroma.values, want[: chroma.values.shape[0], : chroma.values.shape[1]], atol=1e-6)


@pytest.mark.parametrize("size, longest, want", [
    ((300, 200), 100, (100, 67)), ((200, 300), 100, (67, 100)), ((1000, 3), 100, (100, 1)), ((100, 99), 100, (100, 99)),
    ((301, 149), 150, (150, 74)),
])
def test_what_the_network_sees_keeps_its_proportions(size, longest, want):
    colorizer = Colorizer(Network(1 / 32, classes=2, global_size=32), render_size=longest)
    seen = []
    colorizer.chroma_of = lambda codes, vector: seen.append(codes.shape) or np.zeros((999, 999, 2), np.float32)
    colorizer.predict(np.zeros(size, np.float32))
    assert seen == [want]


def test_a_grey_profile_fits_no_colors():
    picture = from_pil(draw(0))
    assert not picture.notes
    profile, image = profile_of("gray", gamma=1.8), draw(0)
    image.info["icc_profile"] = profile
    assert from_pil(image).notes == ["its color profile does not fit or is damaged, and was ignored"]
    for mode in ("L", "LA"):
        grey_one = draw(0).convert(mode)
        grey_one.info["icc_profile"] = profile
        picture, codes = from_pil(grey_one), np.asarray(draw(0).convert("L")) / 255
        assert not picture.notes and np.abs(picture.luminance - srgb(codes**1.8)).max() < 2e-4


def test_a_small_picture_needs_no_room_for_a_tile(monkeypatch):
    """Where the whole picture fits, the smallest tile need not."""
    monkeypatch.setattr(memory, "resident", lambda: 1000)
    net = network()
    each = tiles.bytes_per_pixel(net.settings, 4) + colorizer_module.WORKSPACE
    least = tiles.smallest_side(net.settings)
    for pixels, told in ((64 * 64, False), (100 * 100, True)):
        colorizer = Colorizer(net, max_memory=int(1000 + colorizer_module.RESERVE + each * 70 * 70))
        if told:
            with pytest.raises(MemoryError, match="at least .* are needed"):
                colorizer.tile_side(pixels)
        else:
            assert colorizer.tile_side(pixels) == least
