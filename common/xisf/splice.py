"""Edits of an XISF header as text, so that every byte that is not ours to change stays.

Called by `xisf.write`.
"""

import html
import re

from common.reading.notice import warn_of_file
from common.xisf.blocks import Element

Keyword = tuple[str, str, str]  # name, value as FITS text, comment

XML_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'  # first line of a header
# name and value within a tag
_ATTRIBUTE_PATTERN = re.compile(rb"""(\s+)([^\s=/>]+)(\s*=\s*)("[^"]*"|'[^']*')""")
# characters that XML does not allow
_NOT_XML_PATTERN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def splice(
    header: bytes,
    root: Element,
    target: Element,
    attributes: dict[str, str | None],
    moved: dict[Element, str],
    keywords: list[Keyword],
) -> bytes:
    """Return a header with edits made and every other byte kept.

    Parameters
    ----------
    header : bytes
        The source's XML.
    root, target : Element
        Its root and the image that is written anew.
    attributes : dict
        The image's attributes to set, or to remove where None.
    moved : dict
        New locations of elements with attached blocks.
    keywords : list of (name, value as FITS text, comment)
        Set in place where the image has a keyword of that name, else added behind its last one.
    """
    declaration = re.match(rb"\s*<\?xml.*?\?>", header, re.DOTALL)
    edits = [(0, declaration.end() if declaration else 0, XML_DECLARATION)]
    for element, location in moved.items():
        tag = _edit_tag(header[element.start : element.tag_end], {"location": location})
        edits.append((element.start, element.tag_end, tag))
    for signature in root.find("Signature"):  # it signs the header, which is another one now
        warn_of_file("the digital signature of the XISF source is not kept")
        edits.append((signature.start, signature.end, b""))

    present = {e.attributes.get("name"): e for e in reversed(target.find("FITSKeyword"))}
    tag = header[target.start : target.tag_end]
    name = re.match(rb"<([^\s/>]+)", tag)[1]  # type: ignore[index]
    prefix = name.removesuffix(b"Image")
    last = max((e.end for e in target.find("FITSKeyword")), default=target.tag_end)
    added = b""
    for keyword in keywords:
        repeated = keyword[0] in ("HISTORY", "COMMENT", "")
        old = None if repeated else present.pop(keyword[0], None)
        text = b"<%sFITSKeyword name=%s value=%s comment=%s/>" % (prefix, *map(_quote, keyword))
        if old is None:
            added += text
        else:
            edits.append((old.start, old.end, text))
    tag = _edit_tag(tag, attributes)
    if target.end == target.tag_end:  # <Image .../>
        tag, added = tag[:-2].rstrip() + b">" + added + b"</" + name + b">", b""
    edits += [(target.start, target.tag_end, tag), (last, last, added)]
    edits += _clear_block(header, target)
    done, pieces = 0, []
    for begin, end, text in sorted(edits, key=lambda edit: edit[:2]):
        pieces += [header[done:begin], text]
        done = end
    return b"".join([*pieces, header[done:]])


def _clear_block(header: bytes, target: Element) -> list[tuple[int, int, bytes]]:
    """Return the edits that remove the image's block, if it lies within the header."""
    location = target.attributes.get("location", "")
    if location == "embedded":
        return [(data.start, data.end, b"") for data in target.find("Data")]
    if not location.startswith("inline"):
        return []
    ends = [target.tag_end, *(child.end for child in target.children)]
    starts = [*(child.start for child in target.children), header.rindex(b"<", 0, target.end)]
    text = re.compile(rb"(<!--.*?-->|<\?.*?\?>)|<!\[CDATA\[.*?\]\]>|[^<]+", re.DOTALL)
    return [
        (begin, end, text.sub(lambda found: found[1] or b"", header[begin:end]))
        for begin, end in zip(ends, starts, strict=True)
    ]


def _edit_tag(tag: bytes, changes: dict[str, str | None]) -> bytes:
    """Return a start tag with attributes replaced in place, added, or removed (None)."""
    left = {key: value for key, value in changes.items() if value is not None}

    def replace(found: re.Match[bytes]) -> bytes:
        key = found[2].decode()
        if key not in changes:
            return found[0]
        value = left.pop(key, None)
        return b"" if value is None else found[1] + found[2] + found[3] + _quote(value)

    tag = _ATTRIBUTE_PATTERN.sub(replace, tag)
    body, end = (tag[:-2], b"/>") if tag.endswith(b"/>") else (tag[:-1], b">")
    added = b"".join(b" %s=%s" % (key.encode(), _quote(value)) for key, value in left.items())
    return body.rstrip() + added + end


def _quote(text: str) -> bytes:
    """Return an XML attribute's value in quotes; what XML cannot hold becomes a question mark."""
    escaped = html.escape(_NOT_XML_PATTERN.sub("?", text)).replace("\n", "&#10;")
    return b'"' + escaped.encode() + b'"'
