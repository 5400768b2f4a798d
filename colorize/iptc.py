"""IPTC's older records (IIM) of captions, by-lines and places in JPEG, TIFF and PNG, and Photoshop's blocks.

Source: IPTC-NAA Information Interchange Model 4.2; Adobe Photoshop File Formats; IPTC's mapping to XMP.
"""

import re
import struct
from contextlib import suppress

IIM = 0x0404  # of Photoshop's resources; beside it is kept what stays true of other pixels of the same size:
KEPT = (0x03ED, 0x040A, 0x040B, 0x0425)  # resolution, copyright and its URL, the digest of the IIM
UTF8 = b"\x1b%G"  # what dataset 1:90 holds then
XMP_OF = {  # dataset of record 2: XMP's property
    5: "dc:title", 15: "photoshop:Category", 25: "dc:subject", 40: "photoshop:Instructions", 80: "dc:creator",
    85: "photoshop:AuthorsPosition", 90: "photoshop:City", 92: "Iptc4xmpCore:Location", 95: "photoshop:State",
    100: "Iptc4xmpCore:CountryCode", 101: "photoshop:Country", 103: "photoshop:TransmissionReference",
    105: "photoshop:Headline", 110: "photoshop:Credit", 115: "photoshop:Source", 116: "dc:rights",
    120: "dc:description", 122: "photoshop:CaptionWriter",
}
DATE = 55


def properties(block: bytes) -> dict[str, list[str]]:
    """What an IIM block says, as XMP's properties."""
    found: dict[str, list[str]] = {}
    encoding = "utf-8" if (1, 90, UTF8) in (records := datasets(block)) else None
    for record, number, data in records:
        if record == 2 and (name := XMP_OF.get(number)):
            found.setdefault(name, []).append(decoded(data, encoding))
        elif record == 2 and number == DATE and len(data) == 8 and data.isdigit():
            found["photoshop:DateCreated"] = [f"{data[:4].decode()}-{data[4:6].decode()}-{data[6:].decode()}"]
    return found


def decoded(data: bytes, encoding: str | None) -> str:
    """Text whose encoding few files state. What XML cannot hold is left out."""
    for name in (encoding or "utf-8", "cp1252"):
        with suppress(UnicodeDecodeError):
            return fit_for_xml(data.decode(name))
    return fit_for_xml(data.decode("latin-1"))


def fit_for_xml(text: str) -> str:
    odd = re.compile("[^\n\t -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    return odd.sub("", text)


def datasets(block: bytes) -> list[tuple[int, int, bytes]]:
    """(record, dataset, data) of each, up to where the block is damaged."""
    found, at = [], 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        at += 5
        if size & 0x8000:  # extended: so many bytes hold the size
            wide = size & 0x7FFF
            size, at = int.from_bytes(block[at : at + wide], "big"), at + wide
        if at + size > len(block):
            break
        found.append((record, number, block[at : at + size]))
        at += size
    return found


def resources(block: bytes) -> dict[int, bytes]:
    """Photoshop's image resources by number, up to where the block is damaged."""
    found: dict[int, bytes] = {}
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 7 <= len(block):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        name = 1 + block[at + 6]
        start = at + 6 + name + name % 2 + 4
        size = int.from_bytes(block[start - 4 : start], "big")
        if start + size > len(block):
            break
        found.setdefault(number, block[start : start + size])
        at = start + size + size % 2
    return found


def packed(found: dict[int, bytes]) -> bytes:
    """The inverse of `resources`, without names."""
    return b"".join(b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
                    for number, data in sorted(found.items()))


def of_hexadecimal(text: object) -> bytes | None:
    """A block of a PNG's `Raw profile type`: name, length, digits; None where there is none or it is damaged."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def hexadecimal(name: str, block: bytes) -> str:
    digits = block.hex()
    return f"\n{name}\n{len(block):8}\n" + "".join(digits[i : i + 72] + "\n" for i in range(0, len(digits), 72))
