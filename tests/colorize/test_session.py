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
