"""An XMP packet of the colored picture: what stays true is kept, what the coloring makes untrue goes or is replaced.

Then it says, as IPTC does, that an algorithm made the colors, and in its history which program, weights and settings.
Source: XMP Specification, parts 1 and 2; IPTC Photo Metadata Standard 2023.1.
"""

from collections.abc import Iterator
from xml.dom.minidom import Document, Element

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
EMPTY = (
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}"></rdf:RDF></x:xmpmeta>'
).encode()
BEGIN, END = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>', b'<?xpacket end="w"?>'
UNTRUE = {  # of the pixels that were, or about to be applied to them once more
    "tiff": "ImageWidth ImageLength BitsPerSample SamplesPerPixel PhotometricInterpretation Compression Orientation "
            "PlanarConfiguration YCbCrSubSampling YCbCrPositioning YCbCrCoefficients ReferenceBlackWhite WhitePoint "
            "PrimaryChromaticities TransferFunction NativeDigest",
    "exif": "PixelXDimension PixelYDimension ColorSpace ComponentsConfiguration CompressedBitsPerPixel NativeDigest",
    "photoshop": "ColorMode ICCProfile",
    "xmp": "Thumbnails",
    "xmpMM": "InstanceID",
    "xmpNote": "HasExtendedXMP",
    "crs": "ConvertToGrayscale HasSettings HasCrop",
    "dc": "format",
    "Iptc4xmpExt": "DigitalSourceType",
}
SOURCE_TYPE = ("Iptc4xmpExt", "DigitalSourceType")
ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
XMLNS = "http://www.w3.org/2000/xmlns/"
LISTS = {"dc:title": "Alt", "dc:description": "Alt", "dc:rights": "Alt", "dc:creator": "Seq", "dc:subject": "Bag"}


class Packet:
    """A packet as a tree, which keeps its prefixes and whatever it says. Raises ValueError for one that is no XML, or
    that declares entities."""

    def __init__(self, packet: bytes | None) -> None:
        from xml.parsers.expat import ExpatError

        from defusedxml import DefusedXmlException, minidom  # here, since most pictures have none

        try:
            self.document: Document = minidom.parseString(in_utf8(packet or EMPTY), forbid_dtd=True)
        except (ExpatError, DefusedXmlException, ValueError, LookupError) as error:
            raise ValueError(f"XMP that is no XML ({error})") from None
        found = self.document.getElementsByTagNameNS(NAMESPACES["rdf"], "RDF")
        if not found:
            raise ValueError("XMP without RDF in it")
        self.root: Element = found[0]

    def described(self) -> Iterator[Element]:
        """The elements that properties of the picture stand in."""
        return iter(children(self.root, NAMESPACES["rdf"], "Description"))

    def take(self, prefix: str, name: str) -> list[str]:
        """Removes a property wherever it stands; the texts that it had."""
        texts, namespace = self.texts(prefix, name), NAMESPACES[prefix]
        for element in self.described():
            if element.hasAttributeNS(namespace, name):
                element.removeAttributeNS(namespace, name)
            for child in children(element, namespace, name):
                element.removeChild(child)
        return texts

    def texts(self, prefix: str, name: str) -> list[str]:
        """What a property says, wherever it stands."""
        namespace, found = NAMESPACES[prefix], list[str]()
        for element in self.described():
            found += [element.getAttributeNS(namespace, name)] if element.hasAttributeNS(namespace, name) else []
            found += map(text_of, children(element, namespace, name))
        return found

    def has(self, prefix: str, name: str) -> bool:
        return bool(self.texts(prefix, name))

    def new(self) -> Element:
        """An empty place for properties."""
        element = self.make("rdf:Description")
        element.setAttributeNS(NAMESPACES["rdf"], f"{self.prefix_of('rdf')}:about", "")
        self.root.appendChild(element)
        return element

    def prefix_of(self, prefix: str) -> str:
        return (self.root.prefix or "rdf") if prefix == "rdf" else prefix

    def make(self, name: str, text: str = "") -> Element:
        """An element of that prefix and name, which declares its namespace."""
        prefix, _, local = name.partition(":")
        own = self.prefix_of(prefix)
        element = self.document.createElementNS(NAMESPACES[prefix], f"{own}:{local}")
        element.setAttributeNS(XMLNS, f"xmlns:{own}", NAMESPACES[prefix])
        if text:
            element.appendChild(self.document.createTextNode(text))
        return element

    def add(self, place: Element, name: str, texts: list[str]) -> None:
        """A property: a list where its kind is one, else its first text."""
        kind = LISTS.get(name)
        element = place.appendChild(self.make(name, "" if kind else texts[0]))
        if kind:
            container = element.appendChild(self.make(f"rdf:{kind}"))
            for text in texts:
                item = container.appendChild(self.make("rdf:li", text))
                if kind == "Alt":
                    item.setAttribute("xml:lang", "x-default")

    def remember(self, place: Element, software: str, parameters: str) -> None:
        """One more event at the end of the history."""
        sequences = [sequence for element in self.described()
                     for history in children(element, NAMESPACES["xmpMM"], "History")
                     for sequence in children(history, NAMESPACES["rdf"], "Seq")]
        if not sequences:
            history = place.appendChild(self.make("xmpMM:History"))
            sequences = [history.appendChild(self.make("rdf:Seq"))]
        event = sequences[0].appendChild(self.make("rdf:li"))
        event.setAttributeNS(NAMESPACES["rdf"], f"{self.prefix_of('rdf')}:parseType", "Resource")
        for name, text in (("action", "edited"), ("softwareAgent", software), ("parameters", parameters)):
            event.appendChild(self.make(f"stEvt:{name}", text))

    def renew(self, media_type: str, said: dict[str, list[str]], software: str, parameters: str) -> None:
        """Makes it that of the colored picture. said: properties to be added where they are missing."""
        former = {key: self.take(prefix, key) for prefix, names in UNTRUE.items() for key in names.split()}
        place = self.new()
        self.add(place, "dc:format", [media_type])
        self.add(place, ":".join(SOURCE_TYPE), [ENHANCED])
        for name, texts in said.items():
            if texts and not self.has(*name.split(":")):
                self.add(place, name, texts)
        source = next((text for text in former[SOURCE_TYPE[1]] if text and text != ENHANCED), None)
        self.remember(place, software, parameters + (f"; its source was {source}" if source else ""))

    def to_bytes(self) -> bytes:
        whole = self.document.documentElement
        assert whole is not None
        return BEGIN + whole.toxml().encode("utf-8", "replace") + END


def children(element: Element, namespace: str, name: str) -> list[Element]:
    return [node for node in element.childNodes
            if isinstance(node, Element) and (node.namespaceURI, node.localName) == (namespace, name)]


def in_utf8(packet: bytes) -> bytes:
    """A packet of any of the encodings that XMP may have, without what fills it up."""
    wide = "utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be" if packet[:1] == b"\0" else "utf-16-le"
    text = packet.decode(wide).encode("utf-8", "replace") if b"\0" in packet[:4] else packet
    return text.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \r\n\t")


def text_of(element: Element) -> str:
    resource = element.getAttributeNS(NAMESPACES["rdf"], "resource")
    return resource or "".join(node.data for node in element.childNodes if node.nodeType == node.TEXT_NODE)
