"""What is wrong with a Pi's kernel command line, before words are added to it. Bytes in, clauses out.

Called by the families whose images keep it in a file of one line on the boot partition.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.families.findings import Findings


def objections(found: Findings, path: str, growers: Sequence[str]) -> tuple[str, ...]:
    """Why words added to `path` would not do what they should, or the image's own first boot would not run.

    `growers` are the words of which one starts that first boot: it grows the root and gives the disk a new id.
    """
    if not found.has("boot", path):
        return (f"its boot partition has no {path}, whose words are not made up",)
    text = found.contents["boot", path]
    trouble = unreadable(text)
    if trouble:
        return (f"{path} {trouble}",)
    words = text.decode("utf-8", "replace").split()
    missing = []
    if not any(word.startswith("root=PARTUUID=") for word in words):
        root = next((word for word in words if word.startswith("root=")), "no root= at all")
        missing.append(f"{path} has {root} where root=PARTUUID=... is expected")
    if not any(word in growers for word in words):
        line = " ".join(words) or "nothing"
        missing.append(f"{path} has neither {' nor '.join(growers)}, so its first boot was over; it says: {line}")
    return tuple(missing)


def unreadable(text: bytes) -> str:
    """What is wrong with the line, as the firmware would stumble over it; a missing newline at the end is fine."""
    if text.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark, which the firmware passes on to the kernel as part of the first word"
    if b"\0" in text:
        return "has zero bytes in it, so it is no text"
    if b"\r" in text:
        return "has carriage returns, which the firmware passes on to the kernel (was it saved on Windows?)"
    lines = text.removesuffix(b"\n").count(b"\n") + 1
    return f"has {lines} lines, and the firmware reads only the first" if lines > 1 else ""
