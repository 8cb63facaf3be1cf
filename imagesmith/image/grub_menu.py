"""Words for the kernel in a GRUB menu of an installer's medium. Bytes in, bytes out.

Called by `image.remaster`. Only lines that start a kernel of /casper are changed; a memory test is no such kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagesmith.image.text import refuse_strange

_KERNEL = re.compile(rb"^[ \t]*linux(?:efi|16)?[ \t]+[^\s]*/casper/[^\s]*vmlinuz", re.MULTILINE)
_END = re.compile(rb"(?:^|[ \t])---(?=[ \t]|$)")
_SPECIAL = re.compile(r"([\\;&|<>(){}$'\"#*?\[\]~!])")


def kernel_lines(text: bytes) -> int:
    """How many lines of the menu start a kernel of the medium."""
    return len(_KERNEL.findall(text))


def with_boot_words(text: bytes, installer: Iterable[str], installed: Iterable[str]) -> bytes:
    """The menu with the words on every kernel line: `installer` before the `---`, `installed` behind it.

    Words that are there stay; where there is no `---` one is added. Raises ValueError, with a clause that goes on after
    the file's name, on text that is no plain menu.
    """
    refuse_strange(text)
    before, behind = [_quoted(word) for word in installer], [_quoted(word) for word in installed]
    lines = text.split(b"\n")
    return b"\n".join(_line(line, before, behind) if _KERNEL.match(line) else line for line in lines)


def _line(line: bytes, before: list[bytes], behind: list[bytes]) -> bytes:
    line, end = (line[:-1], b"\r") if line.endswith(b"\r") else (line, b"")
    mark = _END.search(line)
    head, tail = (line[: mark.start()], line[mark.end() :]) if mark else (line, b"")
    return b" ".join([_with(head, before), b"---", *_with(tail, behind).split()]) + end


def _with(words: bytes, wanted: list[bytes]) -> bytes:
    missing = [word for word in wanted if word not in words.split()]
    return b" ".join([words.rstrip(), *missing])


def _quoted(word: str) -> bytes:
    """As GRUB's language wants it, in which `;` would end the command."""
    if not word or word.split() != [word]:
        raise ValueError(f"can't get {word!r} as one word")
    return _SPECIAL.sub(r"\\\1", word).encode()
