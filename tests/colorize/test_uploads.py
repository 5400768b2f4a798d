"""Uploads: the same photograph from several pages is one file to Gradio, which goes with the last of them."""

from importlib.util import find_spec

import pytest

from ltbc.colorize.picture import ImageError

if not find_spec("gradio"):
    pytest.skip("the page of `colorize serve` needs Gradio: pip install 'let-there-be-color[serve]'",
                allow_module_level=True)

from ltbc.colorize.page.events import attempt
from ltbc.colorize.page.uploads import Uploads


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path.resolve())


def upload(folder, content=b"photograph"):
    (folder / "digest").mkdir(exist_ok=True)
    path = folder / "digest" / "photo.jpg"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("linked", [True, False])
def test_a_page_gets_a_file_of_its_own(uploads, tmp_path, linked, monkeypatch):
    if not linked:
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    path = upload(tmp_path)
    for page in ("one", "one", "other"):
        with uploads.claimed(str(path), page) as own:
            assert own.name == "photo.jpg" and own.read_bytes() == b"photograph" and own != path
            own.unlink()  # as by moving it
        assert path.is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["digest"]


def test_an_upload_goes_with_the_last_page(uploads, tmp_path):
    path = upload(tmp_path)
    for page in ("one", "other"):
        with uploads.claimed(str(path), page):
            pass
    uploads.forget("one")
    assert path.is_file()
    uploads.forget("other")
    uploads.forget("other")
    assert not path.exists()


def test_what_was_just_sent_again_stays(uploads, tmp_path):
    path = upload(tmp_path)
    with uploads.claimed(str(path), "one"):
        pass
    path.unlink()
    path = upload(tmp_path)
    uploads.forget("one")
    assert path.is_file()


def test_only_uploads_are_taken(uploads, tmp_path_factory, tmp_path):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    elsewhere.touch()
    (tmp_path / "link.png").symlink_to(elsewhere)
    for path in (elsewhere, tmp_path / "link.png", tmp_path / ".." / elsewhere.parent.name / "secret.png"):
        with pytest.raises(ImageError, match="^secret.png: was not sent to this page$"):
            uploads.claimed(str(path), "one").__enter__()
    with pytest.raises(ImageError, match="^gone.png: is gone; drop it again$"):
        uploads.claimed(str(tmp_path / "digest" / "gone.png"), "one").__enter__()


@pytest.mark.parametrize("error, told", [
    (ImageError("a.jpg: damaged"), "a.jpg: damaged"), (RuntimeError("two\nlines"), "a.jpg: two lines"),
    (KeyError(), "a.jpg: KeyError"),
])
def test_whatever_goes_wrong_is_about_the_file(error, told):
    def action():
        raise error

    assert attempt("a.jpg", action) == [told] and attempt("a.jpg", lambda: None) == []
