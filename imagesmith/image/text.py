"""Small texts inside an image: a line that must be there, a word that must be there. Bytes in, bytes out.

Called by `image.draft`. Both raise ValueError, with a clause that goes on after the file's name, on text that a
boot loader would read otherwise than we do.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


def with_line(text: bytes, line: str) -> bytes:
    """The text with `line` in it, added at the end where it is missing; the file's own line ends are kept."""
    if "\n" in line or "\r" in line:
        raise ValueError(f"can't get {line!r} as one line")
    refuse_strange(text)
    wanted = line.encode()
    end = b"\r\n" if b"\r\n" in text else b"\n"
    if wanted in [old.rstrip(b"\r") for old in text.split(b"\n")]:
        return text
    return text + (b"" if not text or text.endswith(b"\n") else end) + wanted + end


def with_token(text: bytes | None, token: str) -> bytes:
    """The one-line text with `token` among its words, added as the last; every other byte stays as it is."""
    if not token or token.split() != [token]:
        raise ValueError(f"can't get {token!r} as one word")
    if text is None:
        raise ValueError("is missing; it is not made up, since the words it should have are not known")
    refuse_strange(text)
    if b"\r" in text:
        raise ValueError("has carriage returns, which the boot loader would pass on to the kernel")
    line, end = (text[:-1], b"\n") if text.endswith(b"\n") else (text, b"")
    if b"\n" in line:
        raise ValueError(f"has {line.count(bytes([10])) + 1} lines, and the boot loader reads only the first")
    if token.encode() in line.split():
        return text
    gap = b"" if not line or line.endswith((b" ", b"\t")) else b" "
    return line + gap + token.encode() + end


def refuse_strange(text: bytes) -> None:
    """Raise ValueError for what is no plain text to a boot loader."""
    if text.startswith(_BOM):
        raise ValueError("begins with a byte order mark, which boot loaders don't understand")
    if b"\0" in text:
        raise ValueError("has zero bytes in it, so it is no text")
