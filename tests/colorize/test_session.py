"""What a page of `serve` holds: files in a folder of its own, bounded, named as the user knows them."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import Colorizer
from ltbc.colorize.picture import ImageError
from ltbc.colorize.session import Choice, Session
from tests.tools.drawn import draw
from tests.tools.picture_files import network


@pytest.fixture
def session(tmp_path):
    (tmp_path / "pages").mkdir()
    return Session(Colorizer(network(), "reference"), tmp_path / "pages", 10_000)


def uploaded(folder, name, image):
    folder.mkdir(exist_ok=True)
    image.save(folder / name)
    return folder / name


def test_an_upload_is_moved_and_all_is_deleted_at_the_end(session, tmp_path):
    path = uploaded(tmp_path / "a", "photo.png", draw(0))
    session.add(path)
    assert not path.exists() and session.photos[0].source.is_file()
    after, scenes = session.show(session.photos[0], Choice())
    assert after.is_file() and set(scenes) == {"coast", "field", "town"}
    session.make(session.photos[0], Choice())
    session.close()
    assert not list((tmp_path / "pages").iterdir()) and not session.photos


def test_files_of_one_name_are_numbered_in_the_archive(session, tmp_path):
    for folder in ("a", "b", "c"):
        session.add(uploaded(tmp_path / folder, "photo.png", draw(0)))
    made = [session.make(photo, Choice())[0] for photo in session.photos]
    archive = zipfile.ZipFile(session.pack(made))
    assert archive.namelist() == ["photo-color.png", "photo-color-2.png", "photo-color-3.png"]
    assert archive.read("photo-color-3.png") == made[2].read_bytes()


def test_what_is_refused_leaves_nothing_and_names_no_folder(session, tmp_path):
    broken = uploaded(tmp_path / "a", "broken.png", draw(0))
    broken.write_bytes(broken.read_bytes()[:-200])
    large = uploaded(tmp_path / "a", "large.png", Image.new("L", (101, 100)))
    for path, message in ((broken, "broken.png: damaged or cut off ("),
                          (large, "large.png: 101 x 100 pixels, more than the 0.01 megapixels")):
        with pytest.raises(ImageError) as caught:
            session.add(path)
        assert str(caught.value).startswith(message)
    assert not session.photos and not list(session.folder.iterdir())


def test_too_little_memory_is_one_line(session, tmp_path):
    session.add(uploaded(tmp_path / "a", "photo.png", draw(0)))
    session.colorizer.max_memory = 1 << 20
    for action in (session.show, session.make):
        with pytest.raises(ImageError, match=r"^photo.png: .* may take .* of memory, over the limit of 1M"):
            action(session.photos[0], Choice())


def test_transparent_parts_are_shown_on_white(session, tmp_path):
    image = draw(0)
    image.putalpha(0)
    session.add(uploaded(tmp_path / "a", "clear.png", image))
    after, _ = session.show(session.photos[0], Choice())
    for path in (session.photos[0].before, after):
        assert np.asarray(Image.open(path)).min() >= 254
    made, _ = session.make(session.photos[0], Choice())
    assert Image.open(made).mode == "RGBA", "but saved as they are"


def test_a_photograph_is_removed_and_the_one_shown_stays(session, tmp_path):
    for name in ("a", "b", "c"):
        session.add(uploaded(tmp_path / name, f"{name}.png", draw(0)))
    session.at = 1
    session.remove(0)
    assert [photo.name for photo in session.photos] == ["b.png", "c.png"] and session.at == 0
    session.at = 1
    session.remove(1)
    assert session.at == 0 and len([*session.folder.iterdir()]) == 1, "its files are gone"
    session.remove(0)
    assert not session.photos and session.at == 0


def test_hints_are_of_one_photograph_and_reach_its_files(session, tmp_path):
    for name in ("a", "b"):
        session.add(uploaded(tmp_path / name, f"{name}.png", draw(0, 60, 40).convert("L")))
    first, second = session.photos
    plain = [np.asarray(Image.open(session.make(photo, Choice())[0])).astype(int) for photo in session.photos]
    shown = np.asarray(Image.open(session.show(first, Choice())[0])).astype(int)
    session.hint(first, 0.5, 0.999999, "#ff2000")
    assert [str(hint) for hint in first.hints] == ["30,39,#ff2000"] and not second.hints
    made = np.asarray(Image.open(session.make(first, Choice())[0])).astype(int)
    want = session.colorizer(Image.open(first.source), hints=first.hints)
    assert np.array_equal(made, np.asarray(want)) and np.abs(made - plain[0]).max() > 20
    assert np.abs(np.asarray(Image.open(session.show(first, Choice())[0])).astype(int) - shown).max() > 20
    assert np.array_equal(np.asarray(Image.open(session.make(second, Choice())[0])), plain[1])
    with pytest.raises(ValueError, match="a hint must be like"):
        session.hint(first, 0.5, 0.5, "red")


@pytest.mark.parametrize("kind, end", [("PNG", ".png"), ("TIFF", ".tif"), ("JPEG", ".jpg")])
def test_the_format_is_the_one_chosen(session, tmp_path, kind, end):
    session.add(uploaded(tmp_path / "a", "photo.bmp", draw(0)))
    path, _ = session.make(session.photos[0], Choice(kind=kind))
    assert path.name == f"photo-color{end}" and Image.open(path).format == kind
    if kind == "JPEG":
        size = path.stat().st_size
        small, _ = session.make(session.photos[0], Choice(kind=kind, quality=50))
        assert small.stat().st_size < 0.9 * size


def test_the_archive_has_a_table_of_what_was_told(session, tmp_path):
    for folder in ("a", "b"):
        session.add(uploaded(tmp_path / folder, "é,1.png", draw(0)))
    one, other = session.photos
    paths = [session.make(photo, Choice())[0] for photo in session.photos]
    lines = [(one, paths[0], "20 x 30"), (one, paths[0], 'a "note"'), (other, paths[1], "20 x 30"), (other, None, "no")]
    rows = zipfile.ZipFile(session.pack(paths, lines)).read("notes.csv").decode("utf-8-sig").splitlines()
    assert rows == ["photograph,file,note", '"é,1.png","é,1-color.png",20 x 30',
                    '"é,1.png","é,1-color.png","a ""note"""',
                    '"é,1.png","é,1-color-2.png",20 x 30', '"é,1.png",,no']


def test_what_is_compared_is_the_photograph_and_its_colors(session, tmp_path):
    image = draw(0, 60, 40)
    session.add(uploaded(tmp_path / "a", "a<b>.png", image))
    photo = session.photos[0]
    made = np.asarray(Image.open(session.make(photo, Choice())[0]))
    pair = np.asarray(Image.open(session.compare(photo, Choice(), as_page=False)))
    assert np.array_equal(pair[:, 61:], made)
    assert np.array_equal(pair[:, :60, 0], np.rint(photo.grey * 255)) and np.ptp(pair[:, :60], -1).max() == 0
    page = session.compare(photo, Choice(), as_page=True).read_text()
    assert "a&lt;b&gt;.png" in page and "a<b>" not in page and "$" not in page.split("<script>")[0]
