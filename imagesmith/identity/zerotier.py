"""ZeroTier's identities: the key that a node shows to be who it is, with the proof of work that its address comes from.

Called by `vault`: keys drawn there are tried and encoded here. Touches nothing. Sources: node/Identity.cpp and
node/C25519.cpp of ZeroTierOne; the tests hold this to the identity that its self-test publishes.
"""

from __future__ import annotations

import hashlib
import operator
import re
import sys
from array import array
from itertools import accumulate

from Crypto.Cipher import Salsa20
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from imagesmith.errors import ContentMalformed
from imagesmith.formats.zerotier import Member, is_reserved
from imagesmith.secret import Secret

KEY_BYTES = 64
"""Of both halves: X25519 in the first 32, Ed25519 in the others."""
_MEMORY_WORDS = 2 * 1024 * 1024 // 8
_ROUNDS = _MEMORY_WORDS // 2
_WORDS, _BYTES = 8, 64
"""Of a digest, and of a block of Salsa20."""
_FIRST_BYTE_BELOW = 17
_SECRET = re.compile(r"([0-9a-f]{10}):0:([0-9a-f]{128}):([0-9a-f]{128})")
_SHAPE = "one line, ADDRESS:0:PUBLIC:SECRET, as the file identity.secret of a node has it"


def tried(private: bytes) -> Member | None:
    """Whose key it is that was drawn, where it proves the work to be done; else another is to be drawn: 14 of 15."""
    public = public_of(private)
    digest = proof(public)
    address = digest[-5:].hex()
    return Member(address, public) if digest[0] < _FIRST_BYTE_BELOW and not is_reserved(address) else None


def public_of(private: bytes) -> bytes:
    exchange, signing = private[:32], private[32:]
    return (
        X25519PrivateKey.from_private_bytes(exchange).public_key().public_bytes_raw()
        + Ed25519PrivateKey.from_private_bytes(signing).public_key().public_bytes_raw()
    )


def secret_text(member: Member, private: bytes) -> Secret:
    """The file identity.secret."""
    return Secret(f"{member}:{private.hex()}".encode())


def read_secret(content: Secret, where: str = "") -> Member:
    """Whose the file identity.secret is. Raises ContentMalformed where it is none, or its halves are not of one key.

    Whether its work was done is not looked at: `tried` with `private_of` does that, and takes a moment.
    """
    found = _fields(content, where)
    member = Member(found[1], bytes.fromhex(found[2]))
    if public_of(bytes.fromhex(found[3])) != member.public:
        raise ContentMalformed("the halves of this identity are not of one key", where=where, hint=_SHAPE)
    return member


def private_of(content: Secret, where: str = "") -> bytes:
    return bytes.fromhex(_fields(content, where)[3])


def proof(public: bytes) -> bytes:
    """The hash that takes 2 MiB of memory: 64 bytes.

    Every block of the cipher's stream is laid over all that came before it, in the memory as in the digest, so the
    running XOR of the stream is computed once, by column. What the digest's words are swapped for is then all that is
    left to be done step by step: each word is kept without the stream that lies over it by now.
    """
    digest = hashlib.sha512(public).digest()
    length = _MEMORY_WORDS * 8 + _ROUNDS * _BYTES
    stream = _words(Salsa20.new(key=digest[:32], nonce=digest[32:40]).encrypt(bytes(length)))
    for column in range(_WORDS):
        stream[column::_WORDS] = array("Q", accumulate(stream[column::_WORDS], operator.xor))
    memory, over = stream[:_MEMORY_WORDS], stream[_MEMORY_WORDS - _WORDS :]
    kept = [word ^ laid for word, laid in zip(_words(digest), over, strict=False)]
    for step in range(0, _MEMORY_WORDS, 2):
        mine, theirs = memory[step] % _WORDS, memory[step + 1] % _MEMORY_WORDS
        laid = over[step // 2 * _WORDS + mine]
        memory[theirs], kept[mine] = kept[mine] ^ laid, memory[theirs] ^ laid
    return _bytes(array("Q", (word ^ laid for word, laid in zip(kept, over[-_WORDS:], strict=True))))


def _fields(content: Secret, where: str) -> re.Match[str]:
    text = content.reveal().decode("ascii", "replace").strip()
    found = _SECRET.fullmatch(text)
    if found:
        return found
    what = "it is the public half of an identity" if _SECRET.fullmatch(f"{text}:{'0' * 128}") else "it is no identity"
    raise ContentMalformed(f"{what} of ZeroTier", where=where, hint=_SHAPE) from None


def _words(data: bytes) -> array[int]:
    """64-bit words, big-endian."""
    words = array("Q", data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _bytes(words: array[int]) -> bytes:
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()
