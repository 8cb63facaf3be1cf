"""How publishers lay out a release: which files, under which names, in which dialect of checksums and signatures.

One function for each publisher: the image's bytes and a key in, a `Release` out, which is put on a server. What a test
wants otherwise it changes in between: `replace(release, files={**release.files, path: b"..."})`, or by
`Server.at_first`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from publishers.server import Server
from publishers.signing import Signer

from imagesmith.model import HttpSource, Signature


@dataclass(frozen=True)
class Key:
    """Who signs: the maker of keys, and the fingerprint of the one that is used."""

    signer: Signer
    fingerprint: str

    def sign(self, data: bytes, *options: str) -> bytes:
        return self.signer.sign(data, self.fingerprint, *options)


@dataclass(frozen=True)
class Release:
    """One release as it lies on its publisher's server. Paths begin with a slash, and hold no query."""

    image: str
    """Path of the image's file."""
    files: Mapping[str, bytes]
    """Bytes by path: the image, its checksums, its signature, whatever lies beside them."""
    address: str = ""
    """The path that people are given, where it only leads to the image; "" = the image's own."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    """Where a path leads, by path."""
    checksums: str = ""
    """Path of the list that names the image."""
    signature: str = ""
    """Path of the detached signature, "" where there is none."""
    covers: Literal["file", "checksums"] = "file"
    """What that signature is made over."""

    def put(self, server: Server) -> None:
        """Let the server have all of it, from now on."""
        for path, body in self.files.items():
            server.file(path, body, etag=f'"{hashlib.md5(body).hexdigest()}"')
        for path, to in self.redirects.items():
            server.redirect(path, to)

    def source(self, server: Server, key: Key | None = None) -> HttpSource:
        """As a profile names it, with `key` pinned: its keyring must lie in the `keyrings` folder that is used."""
        listed = server.url(self.checksums) if self.checksums else ""
        signature = None
        if key and self.signature:
            ring = key.signer.keyring(key.fingerprint).name
            signature = Signature(server.url(self.signature), self.covers, (key.fingerprint,), ring)
        return HttpSource(server.url(self.address or self.image), checksums_url=listed, signature=signature)


def raspberry_pi(packed: bytes, key: Key, *, folder: str = "2026-10-06", file: str = "2026-10-05") -> Release:
    """A list of one and a binary signature of the image beside it; the folder's date is not always the file's."""
    image = f"/raspios_lite_arm64/images/raspios_lite_arm64-{folder}/{file}-raspios-trixie-arm64-lite.img.xz"
    files = {image: packed, f"{image}.sha256": line(packed, image), f"{image}.sig": key.sign(packed)}
    moving = "/raspios_lite_arm64_latest"
    return Release(image, files, moving, {moving: image}, f"{image}.sha256", f"{image}.sig")


def armbian(packed: bytes, key: Key, *, version: str = "26.8.1", slug: str = "bananapim5") -> Release:
    """A moving address for the image, its one-space checksum and its armoured signature: each leads to the archive."""
    archive = f"/{slug}/archive/Armbian_{version}_{slug.capitalize()}_trixie_current_6.18.42_minimal.img.xz"
    moving = f"/{slug}/Trixie_current_minimal"
    files = {
        archive: packed,
        f"{archive}.sha": line(packed, archive, gap=" "),
        f"{archive}.asc": key.sign(packed, "--armor"),
    }
    redirects = {moving + ending: archive + ending for ending in ("", ".sha", ".asc")}
    return Release(archive, files, moving, redirects, f"{moving}.sha", f"{moving}.asc")


def ubuntu(image: bytes, key: Key, *, version: str = "24.04", suite: str = "noble") -> Release:
    """A qcow2 called .img, a list with stars that names other files too, and a signature of that list."""
    folder = f"/releases/{suite}/release"
    path = f"{folder}/ubuntu-{version}-server-cloudimg-amd64.img"
    others = (f"ubuntu-{version}-server-cloudimg-{end}" for end in ("amd64-root.tar.xz", "amd64.squashfs", "arm64.img"))
    sums = b"".join(line(other.encode(), other, gap=" *") for other in others) + line(image, path, gap=" *")
    files = {path: image, f"{folder}/SHA256SUMS": sums, f"{folder}/SHA256SUMS.gpg": key.sign(sums)}
    return Release(
        path, files, checksums=f"{folder}/SHA256SUMS", signature=f"{folder}/SHA256SUMS.gpg", covers="checksums"
    )


def debian(image: bytes, *, stamp: str = "20261005-2262", suffix: str = "raw") -> Release:
    """A list of sha512 that nobody signed; `latest` has names without the date, the dated folder names with it."""
    folder, latest, name = f"/images/cloud/trixie/{stamp}", "/images/cloud/trixie/latest", "debian-13-generic-arm64"
    path, short = f"{folder}/{name}-{stamp}.{suffix}", f"{latest}/{name}.{suffix}"
    files = {
        path: image,
        f"{folder}/SHA512SUMS": line(b"x", "other.tar.xz", "sha512") + line(image, path, "sha512"),
        short: image,
        f"{latest}/SHA512SUMS": line(b"x", "other.tar.xz", "sha512") + line(image, short, "sha512"),
    }
    return Release(path, files, short, checksums=f"{latest}/SHA512SUMS")


def line(data: bytes, path: str, algorithm: str = "sha256", *, gap: str = "  ") -> bytes:
    """A line of a checksum list, with the file's name alone."""
    return f"{hashlib.new(algorithm, data).hexdigest()}{gap}{path.rpartition('/')[2]}\n".encode()
