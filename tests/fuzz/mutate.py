"""Damages files so that they stay near to what they were: cards, tags, entries, members, bytes."""

import gzip
import io
import json
import re
import struct
import zipfile

EXTREMES = (
    "0", "-1", "1", "2", "999", "1000", "1e300", "1E999", "nan", "inf", "-2147483648", "2147483647",
    "4294967296", "9223372036854775807", "-9223372036854775808", "99999999999999999999999",
    "9" * 60, "1.5", "T", "F", "''", "'x'", "text", "(1.0, 2.0)", "", "1,5", "0x10", "'unclosed",
)  # fmt: skip
FITS_KEYWORDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT",
    "GROUPS", "BZERO", "BSCALE", "BLANK", "EXTNAME", "EXTVER", "TFIELDS", "THEAP", "TFORM1",
    "TTYPE1", "TSCAL1", "TNULL1", "TDIM1", "ZIMAGE", "ZBITPIX", "ZNAXIS", "ZNAXIS1", "ZNAXIS2",
    "ZTILE1", "ZTILE2", "ZCMPTYPE", "ZNAME1", "ZVAL1", "ZNAME2", "ZVAL2", "ZBLANK", "ZQUANTIZ",
    "ZDITHER0", "ZSCALE", "ZZERO", "CHECKSUM", "DATASUM", "CONTINUE", "HIERARCH", "END", "COMMENT",
    "ROWORDER", "CTYPE1", "CRPIX2", "CD1_1", "CDELT2", "PC1_2", "CUNIT1", "A_ORDER", "PV1_1",
    "BAYERPAT", "GAIN", "EXPTIME", "WCSAXES", "AP_ORDER", "CROTA2", "LONPOLE", "CPDIS1",
)  # fmt: skip
XISF_WORDS = (
    "Gray", "RGB", "UInt8", "UInt64", "Float32", "Float64", "Complex32", "zlib:100", "lz4+sh:884:4",
    "zstd:884", "zlib+sh:99999999999:8", "attachment:0:10", "attachment:4096:884", "inline:base64",
    "embedded", "1:1:1", "13:17:1", "17:13:3", "99999:99999:9", "0:0:0", "big", "Normal", "sha-1:0",
)  # fmt: skip
JSON_VALUES = (
    None, True, False, 0, -1, 1, 2.5, 1e308, 10**19, 10**40, "", "text", "\ud800", [], [1], {},
    {"a": 1}, [[1]], ["a"], float("nan"), float("inf"), -1e-320,
)  # fmt: skip
MAX_BYTES = 200_000  # of an input: repeated repetition would grow without end
BYTES = (0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x27, 0x22, 0x3C)


def mutate(content, suffix, rng):
    """Return a damaged copy of a file's bytes; `rng` is a `random.Random`."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        ways = [*WAYS.get(suffix, ()), damage_bytes]
        damaged = rng.choice(ways)(content, rng)
        content = damaged if len(damaged) < MAX_BYTES else content
    return content


def damage_bytes(content, rng):
    """Flip, set, cut, insert, repeat."""
    data = bytearray(content)
    if not data:
        return bytes(rng.choice(BYTES) for _ in range(rng.randrange(9)))
    way, at = rng.randrange(8), rng.randrange(len(data))
    if way == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        data[at] = rng.choice(BYTES)
    elif way == 2:
        del data[at:]
    elif way == 3:
        del data[at : at + rng.choice((1, 2, 4, 80, 2880))]
    elif way == 4:
        data[at:at] = bytes([rng.choice(BYTES)]) * rng.choice((1, 4, 80, 2880))
    elif way == 5:
        size = rng.choice((1, 2, 4, 8))
        value = rng.choice((0, 1, -1, 2**31 - 1, 2**32, 2**63 - 1, rng.randrange(2**16)))
        value %= 1 << (8 * size)
        data[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))
    elif way == 6:
        other = rng.randrange(len(data))
        data[at : at + 16] = data[other : other + 16]
    else:
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def damage_numbers(content, rng):
    """Put an extreme in place of a number in the text."""
    found = list(re.finditer(rb"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", content))
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(EXTREMES).encode() + content[one.end() :]


def damage_cards(content, rng):
    """Change, swap, repeat or drop 80-byte cards of a FITS header."""
    places = [
        at for at in range(0, len(content) - 79, 80)
        if re.match(rb"[A-Z][A-Z0-9_-]{0,7} *(= |$| )", content[at : at + 10])
    ]  # fmt: skip
    if not places:
        return content
    data, at, other = bytearray(content), rng.choice(places), rng.choice(places)
    card, way = bytes(data[at : at + 80]), rng.randrange(9)
    if way <= 3:
        value = rng.choice(EXTREMES)
        shown = f"{value:>20}" if rng.random() < 0.7 else value
        new = (card[:8] + b"= " + shown.encode())[:80].ljust(80)
    elif way == 4:
        new = rng.choice(FITS_KEYWORDS).ljust(8).encode() + card[8:]
    elif way == 5:
        new = bytes(data[other : other + 80])
        data[other : other + 80] = card
    elif way == 6:
        new = card[:8] + bytes(data[other + 8 : other + 80])
    elif way == 7:
        number = str(rng.choice((rng.randrange(40), rng.randrange(-5, 3000))))
        new = (card[:10] + number.rjust(20).encode()).ljust(80)
    else:
        new = b" " * 80 if rng.random() < 0.5 else bytes(data[other : other + 80])
    data[at : at + 80] = new
    return bytes(data)


def add_card(content, rng):
    """Put a card before END, in place of a blank one behind it."""
    end = content.find(b"END" + b" " * 77)
    if end < 0 or end % 2880 > 2720:
        return content
    keyword, value = rng.choice(FITS_KEYWORDS), rng.choice(EXTREMES)
    card = f"{keyword:<8}= {value:>20}"[:80].ljust(80).encode()
    return content[:end] + card + b"END".ljust(80) + content[end + 160 :]


def damage_table(content, rng):
    """Write extremes over 32-bit words of the data, where the descriptors of tiles are."""
    data = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(0, max(len(data) - 4, 1)) // 4 * 4
        value = rng.choice((0, 1, -1, 7, 100, 2**31 - 1, -(2**31), rng.randrange(5000)))
        data[at : at + 4] = struct.pack(">i", value)
    return bytes(data)


def damage_attributes(content, rng):
    """Change, drop, swap or repeat attributes of the XML of an XISF file; mend its length."""
    length = int.from_bytes(content[8:12], "little")
    header, rest = content[16 : 16 + length], content[16 + length :]
    found = list(re.finditer(rb'([\w:]+)="([^"]*)"', header))
    if not found:
        return content
    one, other, way = rng.choice(found), rng.choice(found), rng.randrange(7)
    if way <= 1:
        new = b'%s="%s"' % (one[1], rng.choice((*EXTREMES, *XISF_WORDS)).encode())
    elif way == 2:
        new = b'%s="%s"' % (one[1], other[2])
    elif way == 3:
        new = b""
    elif way == 4:
        new = b'%s="%s"' % (other[1], one[2])
    elif way == 5:
        new = one[0] + b"><a/><FITSKeyword " + other[0]
    else:
        new = b'%s="%s"' % (one[1], damage_bytes(one[2], rng).replace(b'"', b"'"))
    header = header[: one.start()] + new + header[one.end() :]
    room = len(header) - length
    rest = rest[room:] if 0 < room < len(rest) and not any(rest[:room]) else rest
    return content[:8] + len(header).to_bytes(4, "little") + bytes(4) + header + rest


def damage_json(content, rng):
    """Replace, drop, move or repeat an entry anywhere in a JSON file."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if rng.random() < 0.02:
        return b"[" * 100_000
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    if isinstance(value, (dict, list)):
        walk(value)
    if not places:
        return json.dumps(rng.choice(JSON_VALUES)).encode()
    (node, key), (other, there), way = rng.choice(places), rng.choice(places), rng.randrange(6)
    if way <= 2:
        node[key] = rng.choice(JSON_VALUES)
    elif way == 3:
        del node[key]
    elif way == 4:
        text = json.dumps(other[there])
        node[key] = json.loads(text)
    elif isinstance(node, dict):
        node[rng.choice(("", "name", "x" * 500, "\udcff"))] = node.pop(key)
    else:
        node *= rng.choice((0, 2, 50))
    return json.dumps(value).encode("utf-8", "replace")


def damage_members(content, rng):
    """Rewrite a zip archive with a damaged, renamed, repeated or missing member."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(one.filename, archive.read(one)) for one in archive.infolist()]
    except Exception:  # a member that was damaged before
        return damage_bytes(content, rng)
    if not members:
        return content
    place, way = rng.randrange(len(members)), rng.randrange(7)
    name, data = members[place]
    if way <= 2:
        head = damage_numbers(data[:128], rng) if rng.random() < 0.7 else data[:128]
        data = damage_bytes(head, rng) + data[128:] if way else head + data[128:]
    elif way == 3:
        data = damage_bytes(data, rng)
    elif way == 4:
        name = rng.choice(
            ("state.npy", "../up.npy", "clean", " ", "a" * 300 + ".npy", members[0][0])
        )
    elif way == 5:
        data = json_state(data, rng)
    else:
        data = rng.choice(members)[1]
    members[place] = (name, data)
    if rng.random() < 0.1:
        members.pop()
    packed = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, data in members:
            if name not in archive.namelist():
                archive.writestr(name, data)
    return packed.getvalue()


def json_state(data, rng):
    """Damage the JSON that a text array holds, and write the array anew."""
    import numpy as np

    try:
        text = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        damaged = damage_json(str(text).encode(), rng).decode("utf-8", "replace")
    except Exception:
        return data
    new = io.BytesIO()
    np.lib.format.write_array(new, np.array(damaged), allow_pickle=False)
    return new.getvalue()


def damage_directory(content, rng):
    """Write extremes over sizes, methods and flags in the headers of a zip archive."""
    places = [one.start() for one in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", content)]
    if not places:
        return content
    data, at = bytearray(content), rng.choice(places) + rng.randrange(4, 46)
    value = rng.choice((0, 1, 8, 12, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    size = rng.choice((1, 2, 4))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(data)


def inside_gzip(content, rng):
    """Damage what is packed, and pack it again."""
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, ValueError):
        return damage_bytes(content, rng)
    except Exception:  # zlib.error
        return content
    return gzip.compress(rng.choice((damage_cards, add_card))(plain, rng), 1, mtime=0)


_FITS_WAYS = (damage_cards, damage_cards, add_card)
# suffix -> ways to damage such a file
WAYS = {
    ".fits": _FITS_WAYS,
    ".fits.fz": (*_FITS_WAYS, damage_table),
    ".fits.gz": (inside_gzip, inside_gzip),
    ".xisf": (damage_attributes, damage_attributes, damage_attributes),
    ".json": (damage_json, damage_json, damage_json, damage_numbers),
    ".npz": (damage_members, damage_members, damage_directory),
}
