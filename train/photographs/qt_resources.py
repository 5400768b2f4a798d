"""The files in a Qt resource archive (.rcc)."""
import struct
import zlib


def resources(rcc, index=0, prefix=""):
    """Names and contents of a Qt resource archive: a tree of 14 bytes a node, 22 since version 2."""
    version, tree, data, names = struct.unpack_from(">4i", rcc, 4)
    node = tree + index * (14 if version < 2 else 22)
    name_at, flags, count, first = struct.unpack_from(">iHii", rcc, node)
    length, = struct.unpack_from(">H", rcc, names + name_at)
    start = names + name_at + 6
    name = prefix + rcc[start:start + 2 * length].decode("utf-16-be") * (index > 0)
    if flags & 2:  # a folder
        for child in range(first, first + count):
            yield from resources(rcc, child, f"{name}/" * (index > 0))
        return
    start = data + struct.unpack_from(">i", rcc, node + 10)[0]
    content = rcc[start + 4:start + 4 + struct.unpack_from(">i", rcc, start)[0]]
    yield name, zlib.decompress(content[4:]) if flags & 1 else content
