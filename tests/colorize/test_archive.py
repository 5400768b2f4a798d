"""What archives write into their files: IPTC, comments, XMP of every spelling; what the coloring makes untrue goes."""

import struct
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin, PngImagePlugin

from ltbc.colorize import iptc, metadata, xmp
from ltbc.colorize.images import read, write
from tests.tools import colorize_call
from tests.tools.drawn import draw
from tests.tools.picture_files import PLACE, color_of, grey, written

call, weights = colorize_call.call, colorize_call.weights  # fixtures
N = {prefix: f"{{{name}}}" for prefix, name in xmp.NAMESPACES.items()}
CAPTION = {120: "Harbor, 1911; Zoë", 80: "José", 90: "Bergen", 25: "boats", 105: "Ships", 116: "public domain"}


def records(texts, utf8=True):
    """IIM, written out once more."""
    found = b"\x1c\x01\x5a" + struct.pack(">H", 3) + b"\x1b%G" if utf8 else b""
    for number, text in sorted(texts.items()):
        data = text.encode("utf-8" if utf8 else "latin-1")
        found += bytes([0x1C, 2, number]) + struct.pack(">H", len(data)) + data
    return found


def block(*resources):
    """Photoshop's, written out once more; each has a name, which readers pass over."""
    return b"".join(b"8BIM" + struct.pack(">H", number) + b"\x04name\0" + struct.pack(">I", len(data)) + data
                    + bytes(len(data) % 2) for number, data in resources)


def jpeg(path, *segments, **options):
    """A JPEG with those (marker, data) segments."""
    file = BytesIO()
    Image.fromarray(grey()).save(file, "JPEG", **options)
    data = file.getvalue()
    made = b"".join(bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body for marker, body in segments)
    path.write_bytes(data[:2] + made + data[2:])
    return path


def tree_of(path):
    """The XMP of a file as a tree, by another parser."""
    image = Image.open(path)
    packet = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    if packet is None:
        packet = tifffile.TiffFile(path).pages.first.tags[700].value
    return ElementTree.fromstring(packet)


def said(path, prefix, name):
    """All texts of a property, in elements and attributes."""
    tree, key = tree_of(path), N[prefix] + name
    found = ["".join(element.itertext()) for element in tree.iter(key)]
    return found + [element.attrib[key] for element in tree.iter() if key in element.attrib]


def source_with_iptc(tmp_path, kind):
    path, found = tmp_path / f"in.{kind}", records(CAPTION)
    resources = block((0x0404, found), (0x040C, b"thumbnail" * 9), (0x040B, b"https://example.org"), (0x0426, b"x"))
    if kind == "jpg":
        return jpeg(path, (0xED, b"Photoshop 3.0\0" + resources), (0xFE, b"seen at noon"), (0xFE, "Zoë".encode()))
    if kind == "png":
        info = PngImagePlugin.PngInfo()
        info.add_text("Raw profile type iptc", iptc.hexadecimal("iptc", resources), zip=True)
        info.add_text("Comment", "seen at noon\nZoë")
        Image.fromarray(grey()).save(path, pnginfo=info)
    else:
        extra = [(33723, 7, len(found), found, True), (34377, 1, len(resources), resources, True)]
        tifffile.imwrite(path, grey(), extratags=extra, metadata=None)
    return path


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("source", ["jpg", "png", "tif"])
def test_captions_and_by_lines_are_kept(tmp_path, source, target):
    picture, path = read(source_with_iptc(tmp_path, source)), tmp_path / f"out{target}"
    _, notes = written(path, picture)
    assert not picture.notes and not any("IPTC" in note for note in notes)
    for name, number in (("dc:description", 120), ("dc:creator", 80), ("photoshop:City", 90), ("dc:subject", 25),
                         ("photoshop:Headline", 105), ("dc:rights", 116)):
        assert said(path, *name.split(":")) == [CAPTION[number]], name
    colored = Image.open(path)
    if target in (".jpg", ".tif"):
        read_back = IptcImagePlugin.getiptcinfo(colored)
        assert {number: read_back[2, number].decode() for number in CAPTION} == CAPTION
    if target == ".jpg":
        assert colored.info["photoshop"].keys() == {0x0404, 0x040B}, "the old thumbnail is gone, the rest is there"
    if target == ".tif":
        assert iptc.resources(colored.tag_v2[34377]).keys() == {0x040B}
    if source != "tif":
        comment = {".jpg": colored.info.get("comment", b"").decode(), ".png": colored.info.get("Comment")}
        ifd = colored.getexif().get_ifd(0x8769)
        order = "utf-16-le" if picture.metadata.order == "<" else "utf-16-be"
        assert (comment.get(target) or ifd[0x9286][8:].decode(order)) == "seen at noon\nZoë"
    again = tmp_path / f"again{target}"
    write(again, color_of(again, second := read(path)), second)
    assert said(again, "dc", "description") == [CAPTION[120]], "once, however often"


def test_older_records_and_damaged_ones(tmp_path):
    assert iptc.properties(records({90: "Málaga", 55: "19110501"}, utf8=False)) == {
        "photoshop:City": ["Málaga"], "photoshop:DateCreated": ["1911-05-01"]}
    whole = records(CAPTION) + bytes([0x1C, 2, 40, 0x80, 2, 0, 5]) + b"large"
    assert iptc.properties(whole)["photoshop:Instructions"] == ["large"]
    for cut in range(len(whole)):
        iptc.properties(whole[:cut])
        iptc.resources(block((0x0404, whole))[:cut])
    found = records({120: "a\0b\x0bc"})
    path = jpeg(tmp_path / "in.jpg", (0xED, b"Photoshop 3.0\0" + block((0x0404, found))))
    written(tmp_path / "out.png", read(path))
    assert said(tmp_path / "out.png", "dc", "description") == ["abc"], "as far as XML can hold it"
    turned = records(CAPTION)
    turned = turned.ljust(-(-len(turned) // 4) * 4, b"\0")
    values = np.frombuffer(turned, ">u4").tolist()
    tifffile.imwrite(tmp_path / "in.tif", grey(), extratags=[(33723, 4, len(values), values, True)], metadata=None)
    assert read(tmp_path / "in.tif").metadata.iptc == turned


UNTRUE = {
    "tiff": {"Orientation": "6", "ImageWidth": "9", "ImageLength": "14", "BitsPerSample": "8", "Compression": "1"},
    "exif": {"PixelXDimension": "9", "PixelYDimension": "14", "ColorSpace": "65535"},
    "photoshop": {"ColorMode": "1", "ICCProfile": "Dot Gain 20%"},
    "crs": {"ConvertToGrayscale": "True"}, "xmp": {"Thumbnails": "old"}, "xmpMM": {"InstanceID": "xmp.iid:1"},
}
NEGATIVE = "http://cv.iptc.org/newscodes/digitalsourcetype/negativeFilm"


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("form", ["attributes", "elements", "other prefixes"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_the_coloring_makes_untrue_is_replaced(tmp_path, quote, form, encoding):
    properties = [(prefix, name, value) for prefix, names in UNTRUE.items() for name, value in names.items()]
    properties += [("Iptc4xmpExt", "DigitalSourceType", NEGATIVE), ("dc", "format", "image/tiff"),
                   ("photoshop", "City", "Bergen &amp; Voss"), ("xmp", "CreateDate", "1911-05-01")]
    place = PLACE.decode()
    if form == "elements":
        inside = "".join(f"<{p}:{n}>{v}</{p}:{n}>" for p, n, v in properties)
        packet = xmp.EMPTY.decode().replace("></rdf", f"{place}>{inside}</rdf:Description></rdf")
    else:
        inside = " ".join(f"{p}:{n}={quote}{v}{quote}" for p, n, v in properties)
        packet = xmp.EMPTY.decode().replace("></rdf", f"{place}{inside}/></rdf")
    if form == "other prefixes":
        for prefix, other in (("tiff", "t"), ("rdf", "r"), ("Iptc4xmpExt", "ext")):
            packet = packet.replace(f"{prefix}:", f"{other}:").replace(f"xmlns:{prefix}", f"xmlns:{other}")
    packet = "<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>" + packet + " " * 2000 + "<?xpacket end='w'?>\0"
    info = PngImagePlugin.PngInfo()
    for kind in ("tif", "png"):
        path = tmp_path / f"in.{kind}"
        if kind == "tif":
            data = packet.encode(encoding)
            tifffile.imwrite(path, grey(), extratags=[(700, 1, len(data), data, True)], metadata=None)
        else:
            info.add_itxt("XML:com.adobe.xmp", packet)
            Image.fromarray(grey()).save(path, pnginfo=info)
        picture = read(path)
        assert picture.luminance.shape == grey().T.shape, "turned as XMP says, where nothing else does"
        assert not picture.notes
        out = tmp_path / "out.png"
        written(out, picture)
        for prefix, names in UNTRUE.items():
            for name in names:
                assert not said(out, prefix, name), name
        assert said(out, "Iptc4xmpExt", "DigitalSourceType") == [xmp.ENHANCED]
        assert said(out, "dc", "format") == ["image/png"]
        assert said(out, "photoshop", "City") == ["Bergen & Voss"] and said(out, "xmp", "CreateDate") == ["1911-05-01"]
        assert NEGATIVE in said(out, "stEvt", "parameters")[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_xmp_and_exif_turn_it_once(tmp_path, suffix):
    exif, path = Image.Exif(), tmp_path / f"in{suffix}"
    exif[0x112] = 6
    packet = xmp.EMPTY.replace(b"></rdf", PLACE + b"tiff:Orientation='6'/></rdf")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    about = {".jpg": {"xmp": packet}, ".png": {"pnginfo": info}, ".tif": {"tiffinfo": {700: packet, 274: 6}}}[suffix]
    Image.fromarray(grey()).save(path, **about, **({} if suffix == ".tif" else {"exif": exif}))
    picture = read(path)
    assert picture.luminance.shape == (14, 9) and np.argmin(picture.luminance[0]) == 8
    written(tmp_path / f"out{suffix}", picture)
    assert not said(tmp_path / f"out{suffix}", "tiff", "Orientation")
    assert read(tmp_path / f"out{suffix}").luminance.shape == (14, 9)


@pytest.mark.parametrize("packet", [
    b"no xml", b"<a/>", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF/></x:xmpmeta>", b"\xff\xfe<",
    b"<!DOCTYPE a [<!ENTITY b 'boom'>]>" + xmp.EMPTY.replace(b"></rdf", PLACE + b"dc:format='&b;'/></rdf"),
])
def test_xmp_that_cannot_be_read_is_told(tmp_path, packet):
    tifffile.imwrite(tmp_path / "in.tif", grey(), extratags=[(700, 1, len(packet), packet, True)], metadata=None)
    picture = read(tmp_path / "in.tif")
    assert picture.notes == ["its XMP data cannot be read and was left out"]
    written(tmp_path / "out.tif", picture)
    assert said(tmp_path / "out.tif", "Iptc4xmpExt", "DigitalSourceType") == [xmp.ENHANCED]


def test_the_history_grows_and_tells_how_to_make_it_again(call, weights):
    import hashlib

    history = (b"<xmpMM:History><rdf:Seq><rdf:li rdf:parseType='Resource'><stEvt:action>created</stEvt:action></rdf:li>"
               b"</rdf:Seq></xmpMM:History>")
    info = PngImagePlugin.PngInfo()
    packet = xmp.EMPTY.replace(b"></rdf", PLACE + b">" + history + b"</rdf:Description></rdf")
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    draw(0, 40, 30).save("in.png", pnginfo=info)
    draw(1, 40, 30).save("style.png")
    assert call("in.png", "--out", "out.png", "--saturation", "1.25", "--style", "style.png", "--blend", "0.5",
                "--hint", "3,4,#804020")[0] == 0
    assert said("out.png", "stEvt", "action") == ["created", "edited"] and len(said("out.png", "xmpMM", "History")) == 1
    (agent,), (how,) = said("out.png", "stEvt", "softwareAgent"), said("out.png", "stEvt", "parameters")
    assert agent == metadata.SOFTWARE and hashlib.sha256(open(weights, "rb").read()).hexdigest() in how
    for words in (metadata.STATEMENT, "--render-size 96", "--saturation 1.25", "--style style.png --blend 0.5",
                  "--hint 3,4,#804020", "--backend reference --dtype float32"):
        assert words in how


def test_texts_that_a_format_has_no_place_for_are_told(tmp_path):
    info = PngImagePlugin.PngInfo()
    for key, text in (("Author", "Zoë"), ("Copyright", "none"), ("Software", "scanner"), ("Shelf", "B 12")):
        info.add_text(key, text)
    Image.fromarray(grey()).save(tmp_path / "in.png", pnginfo=info)
    for suffix in (".jpg", ".tif", ".webp"):
        path = tmp_path / f"out{suffix}"
        _, notes = written(path, read(tmp_path / "in.png"))
        assert said(path, "dc", "creator") == ["Zoë"] and said(path, "dc", "rights") == ["none"]
        assert any("has no place for its texts Software, Shelf" in note for note in notes)


def test_iptc_too_long_for_jpeg_is_told(tmp_path):
    found = records({25: "x" * 30_000, 120: "y" * 30_000, 40: "z" * 30_000})
    tifffile.imwrite(tmp_path / "in.tif", grey(), extratags=[(33723, 7, len(found), found, True)], metadata=None)
    _, notes = written(tmp_path / "out.jpg", read(tmp_path / "in.tif"))
    assert "its IPTC data is too long for JPEG and was left out" in notes
    assert "its XMP data is too long for JPEG and was left out" in notes
