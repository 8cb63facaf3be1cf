"""Publishers' checksum files (SHA256SUMS and its dialects): text in, names and digests out.

Called by `sources` (promise, follow), `workflow` (beside, address) and `output`. Touches nothing; whether the text may
be trusted is decided by its callers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagesmith.errors import ContentMalformed
from imagesmith.model import Digest

_HEX = r"[0-9a-fA-F]{64}|[0-9a-fA-F]{128}"
# `hex  name`, `hex *name`, `hex name` (Armbian), or a bare hex.
_PLAIN = re.compile(rf"({_HEX})(?:[ \t]+\*?(.+))?")
_BSD = re.compile(rf"(SHA256|SHA512) ?\((.+)\) ?= ?({_HEX})")
_ARMOUR_BEGIN = "-----BEGIN PGP SIGNED MESSAGE-----"
_ARMOUR_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_ARMOUR_END = "-----END PGP SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class ChecksumLine:
    """One file's digest. `name` has no leading `./`; it is empty where the line is the digest alone."""

    name: str
    digest: Digest


def parse(text: str) -> tuple[ChecksumLine, ...]:
    """The sha256 and sha512 lines of a checksum file, in its order; other lines' kinds (md5, sha1) are left out.

    Skips empty lines, `#` comments and the armour of a clear-signed message. Raises ContentMalformed, with the
    line's number, on a line that is none of these: an HTML page instead of a list must not pass as an empty one.
    """
    found = []
    for number, line in _signed_lines(text):
        if not line or line.startswith("#") or _is_other_kind(line):
            continue
        found.append(_line(number, line))
    return tuple(found)


def digest_for(text: str, filename: str) -> Digest:
    """The digest that a checksum file gives `filename` (a name without folders).

    A list of one bare digest is about any file. A list of both kinds yields the sha512. Raises ContentMalformed when
    the file is absent or listed with contradicting digests.
    """
    lines = parse(text)
    bare = len(lines) == 1 and not lines[0].name
    digests = {line.digest for line in lines if bare or line.name == filename}
    if not digests:
        # Some publishers list paths; only where the name alone is not there.
        digests = {line.digest for line in lines if line.name.endswith(f"/{filename}")}
    if not digests:
        raise ContentMalformed(
            f"the checksum list does not name {filename} among its {len(lines)} files",
            hint="the publisher may have replaced the file by a newer one: run `imagesmith update`",
        )
    by_kind = {digest.algorithm: digest for digest in digests}
    if len(by_kind) < len(digests):
        listed = ", ".join(sorted(str(digest) for digest in digests))
        raise ContentMalformed(f"the checksum list contradicts itself about {filename}: {listed}")
    return by_kind.get("sha512") or by_kind["sha256"]


def _signed_lines(text: str) -> list[tuple[int, str]]:
    """The numbered lines, stripped; of a clear-signed message what was signed and nothing around it."""
    lines = [(number, line.strip()) for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1)]
    texts = [line for _, line in lines]
    if _ARMOUR_BEGIN not in texts:
        return lines
    if texts.count(_ARMOUR_BEGIN) != 1 or texts.count(_ARMOUR_SIGNATURE) != 1 or _ARMOUR_END not in texts:
        raise ContentMalformed("the clear-signed checksum list is incomplete, or is more than one")
    begin, end = texts.index(_ARMOUR_BEGIN), texts.index(_ARMOUR_SIGNATURE)
    # Armour headers ("Hash: SHA512") end at the first empty line.
    start = next((at + 1 for at in range(begin, end) if not texts[at]), end)
    return [(number, line.removeprefix("- ")) for number, line in lines[start:end]]


def _is_other_kind(line: str) -> bool:
    bsd = re.fullmatch(r"(?:MD5|SHA1|SHA224|SHA384|RMD160|SIZE|CRC) ?\(.+\) ?= ?\S+", line)
    plain = re.fullmatch(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}|[0-9a-fA-F]{96})[ \t]+\S.*", line)
    return bool(bsd or plain)


def _line(number: int, line: str) -> ChecksumLine:
    if match := _BSD.fullmatch(line):
        kind, name, digits = match[1].lower(), match[2], match[3]
    elif match := _PLAIN.fullmatch(line):
        kind, name, digits = "", match[2] or "", match[1]
    else:
        raise ContentMalformed(
            f"line {number} of the checksum list is no checksum: {line[:60]!r}",
            hint="this is probably a web page instead of the list; look at the address in the profile",
        )
    true_kind = {64: "sha256", 128: "sha512"}[len(digits)]
    if kind and kind != true_kind:
        raise ContentMalformed(f"line {number} of the checksum list calls {len(digits)} hex digits a {kind}")
    return ChecksumLine(name.strip().removeprefix("./"), Digest.parse(f"{true_kind}:{digits}"))
