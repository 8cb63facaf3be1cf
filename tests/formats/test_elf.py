"""Which processor a program is for, as the system's own programs and hand-made headers tell it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from imagesmith.formats.elf import HEAD, architecture_of, is_program

_HERE = {"x86_64": "amd64", "aarch64": "arm64"}


def header(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little")


@pytest.mark.skipif(platform.machine() not in _HERE, reason="no board has this machine's processor")
def test_a_program_of_this_machine_is_for_its_processor() -> None:
    assert architecture_of(Path("/bin/sh").read_bytes()[:HEAD]) == _HERE[platform.machine()]


@pytest.mark.parametrize(("machine", "kind"), [(0x3E, "amd64"), (0xB7, "arm64"), (0x28, None)])
def test_the_header_names_the_processor(machine: int, kind: str | None) -> None:
    assert architecture_of(header(machine)) == kind


def test_a_script_is_a_program_for_none_in_particular() -> None:
    assert is_program(b"#!/bin/sh\n") and architecture_of(b"#!/bin/sh\nxxxxxxxxxx") is None


@pytest.mark.parametrize("head", [b"", b"<!DOCTYPE html>\n<htm", b"\x1f\x8b\x08\x00" + bytes(16)])
def test_a_page_an_archive_and_nothing_are_no_programs(head: bytes) -> None:
    assert not is_program(head) and architecture_of(head) is None
