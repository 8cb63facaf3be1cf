"""ZeroTier's identities: held to the one that ZeroTierOne's self-test publishes, and to its hash written out."""

from __future__ import annotations

import hashlib
import struct

import pytest
from Crypto.Cipher import Salsa20
from hypothesis import given, settings
from hypothesis import strategies as st
from identity.published_zerotier import ADDRESS, GOOD, PRIVATE, PUBLIC

from imagesmith.errors import ContentMalformed
from imagesmith.formats.zerotier import Member, interface, network_id, read_member
from imagesmith.identity import zerotier
from imagesmith.secret import Secret

MEMORY = 2 * 1024 * 1024


def test_the_published_key_has_the_published_address() -> None:
    assert zerotier.tried(bytes.fromhex(PRIVATE)) == Member(ADDRESS, bytes.fromhex(PUBLIC))


def test_the_published_hash_begins_just_below_what_is_asked_for() -> None:
    assert zerotier.proof(bytes.fromhex(PUBLIC))[0] == 16


def written_out(public: bytes) -> bytes:
    """The hash step by step, as ZeroTier computes it."""
    digest = bytearray(hashlib.sha512(public).digest())
    cipher = Salsa20.new(key=bytes(digest[:32]), nonce=bytes(digest[32:40]))
    memory = bytearray(MEMORY)
    block = bytes(64)
    for at in range(0, MEMORY, 64):
        block = cipher.encrypt(block)
        memory[at : at + 64] = block
    for at in range(0, MEMORY, 16):
        first, second = struct.unpack_from(">QQ", memory, at)
        mine, theirs = first % 8 * 8, second % (MEMORY // 8) * 8
        kept = bytes(memory[theirs : theirs + 8])
        memory[theirs : theirs + 8] = digest[mine : mine + 8]
        digest[mine : mine + 8] = kept
        digest = bytearray(cipher.encrypt(bytes(digest)))
    return bytes(digest)


@settings(max_examples=5, deadline=None)
@given(st.binary(min_size=64, max_size=64))
def test_the_hash_is_that_of_every_step_done_one_by_one(public: bytes) -> None:
    assert zerotier.proof(public) == written_out(public)


def test_a_file_with_both_halves_tells_whose_it_is() -> None:
    content = Secret(f"{GOOD}\n".encode())
    assert str(zerotier.read_secret(content)) == f"{ADDRESS}:0:{PUBLIC}"
    assert zerotier.private_of(content).hex() == PRIVATE


def test_what_is_written_is_the_published_file() -> None:
    member = read_member(f"{ADDRESS}:0:{PUBLIC}")
    assert zerotier.secret_text(member, bytes.fromhex(PRIVATE)).reveal().decode() == GOOD


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{ADDRESS}:0:{PUBLIC}", "public half"),
        (GOOD[:-2], "no identity"),
        (GOOD.replace(":0:", ":1:"), "no identity"),
        (GOOD[:-2] + "00", "not of one key"),
        ("", "no identity"),
        ("\xff" * 40, "no identity"),
    ],
)
def test_what_is_no_identity_is_refused_without_showing_it(content: str, said: str) -> None:
    with pytest.raises(ContentMalformed, match=said) as caught:
        zerotier.read_secret(Secret(content.encode("latin-1")), "identity.secret")
    assert PRIVATE[:16] not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["", f"{ADDRESS}:0:{PUBLIC}00", f"ff4df28b72:0:{PUBLIC}", f"0000000000:0:{PUBLIC}"])
def test_a_member_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no identity"):
        read_member(text)


def test_the_interface_of_a_network_has_the_name_that_people_see() -> None:
    """ZeroTier's public network Earth, as many a log shows it."""
    assert interface("8056c2e21c000001") == "ztmjfmfyq5"


@given(st.integers(min_value=1, max_value=2**64 - 1))
def test_an_interface_has_a_name_that_linux_takes(number: int) -> None:
    name = interface(f"{number:016x}")
    assert len(name) == 10
    assert name.isascii() and name.isalnum() and name == name.lower()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("8056c2e21c00001", "16 of 0-9"),
        ("8056c2e21c0000010", "16 of 0-9"),
        ("8056c2e21g000001", "16 of 0-9"),
        ("ff00160016000000", "ad-hoc"),
        ("0000000000123456", "no controller"),
    ],
)
def test_a_network_that_can_not_be_is_refused_with_the_reason(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        network_id(written)


def test_a_network_in_capitals_is_the_same_network() -> None:
    assert network_id("8056C2E21C000001") == "8056c2e21c000001"
