"""What a program says of itself in its first bytes: which processor it is for.

Called by `workflow`, for programs that a person gives by a file. Pure.
"""

from __future__ import annotations

from imagesmith.model import Architecture

ELF = b"\x7fELF"
HEAD = 20
"""So many bytes tell it."""
_MACHINES: dict[int, Architecture] = {0x3E: "amd64", 0xB7: "arm64"}


def is_program(head: bytes) -> bool:
    """Whether Linux would start it, or hand it to the interpreter that it names."""
    return head.startswith((ELF, b"#!"))


def architecture_of(head: bytes) -> Architecture | None:
    """What an ELF program runs on; None for what is none, a script, and processors that no board here has."""
    return _MACHINES.get(int.from_bytes(head[18:20], "little")) if head.startswith(ELF) else None
