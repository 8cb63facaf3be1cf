"""Authorities made by openssl alone, for what must be right without our own code."""

from __future__ import annotations

from pathlib import Path

from identity.drawing import said

EXTENSIONS = """\
subjectKeyIdentifier = {ski}
authorityKeyIdentifier = {aki}
basicConstraints = critical, {basic}
keyUsage = critical, {usage}
{more}
"""
USUAL = {
    "ski": "hash", "aki": "keyid:always", "basic": "CA:true", "more": "",
    "usage": "digitalSignature, keyEncipherment, keyCertSign",
}  # fmt: skip
BARE = {"version": "1"}
"""For a certificate of the first version, which has no extensions."""


class Openssl:
    """Authorities made by openssl alone, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str, above: str = "", *, key: str = "", rsa: bool = False, **extensions: str) -> bytes:
        """The PEM of an authority, whose files are `name`.pem and `name`.key, signed by `above` or by itself.

        With `key` it has that one's key and subject, as a certificate that was renewed has. `digest` is what is
        signed, sha256 unless told otherwise.
        """
        here, own = self.folder, key or name
        if not key:
            elliptic = ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", here / f"{name}.key")
            said("openssl", *(("genrsa", "-traditional", "-out", here / f"{name}.key", "2048") if rsa else elliptic))
        said("openssl", "req", "-new", "-subj", f"/CN={own}", "-key", here / f"{own}.key", "-out", here / "csr")
        digest = extensions.pop("digest", "sha256")
        (here / "ext").write_text(EXTENSIONS.format_map(USUAL | extensions) if extensions != BARE else "")
        signer = ["-signkey", here / f"{own}.key"]
        if above:
            signer = ["-CA", here / f"{above}.pem", "-CAkey", here / f"{above}.key"]
        said(
            *("openssl", "x509", "-req", "-in", here / "csr", "-days", "3700", "-out", here / f"{name}.pem"),
            *("-extfile", here / "ext", "-set_serial", "7", f"-{digest}", *signer),
        )
        return (here / f"{name}.pem").read_bytes()

    def der_digest(self, name: str) -> str:
        der = self.folder / "der"
        said("openssl", "x509", "-in", self.folder / f"{name}.pem", "-outform", "DER", "-out", der)
        return said("sha256sum", der).split()[0]
