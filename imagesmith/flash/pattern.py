"""Bytes that tell where they belong: a pattern over a whole card, different at every byte and from run to run.

Called by `flash.probe` and `flash.findings`. Touches nothing. The pattern is AES-CTR's stream under a key drawn for one
run: no zeros, nothing that a card could pack or share between places; and, decrypted, every 16 bytes tell their place.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_SIZE = 32
_STEP = 16
"""Bytes of AES's block."""


class Pattern:
    """The pattern of one key."""

    def __init__(self, key: bytes) -> None:
        self._key = algorithms.AES(key)

    def at(self, offset: int, size: int) -> bytes:
        """What belongs at `offset`, a multiple of 16."""
        counter = modes.CTR((offset // _STEP).to_bytes(_STEP, "big"))
        return Cipher(self._key, counter).encryptor().update(bytes(size))

    def origin(self, data: bytes, limit: int) -> int | None:
        """Where bytes found somewhere were made for; None when they are no whole piece of the pattern below `limit`."""
        whole = len(data) // _STEP * _STEP
        plain = Cipher(self._key, modes.ECB()).decryptor().update(data[:whole])
        offset = int.from_bytes(plain[:_STEP], "big") * _STEP
        if not whole or offset >= limit:
            return None
        return offset if self.at(offset, len(data)) == data else None
