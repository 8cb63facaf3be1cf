"""Authorities made by openssl alone, for what must be right without our own code."""

from __future__ import annotations

from pathlib import Path

from identity.drawing import said

EXTENSIONS = """\
subjectKeyIdentifier = hash
{aki}
basicConstraints = critical, CA:true{path}
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
{more}
"""


class Openssl:
    """Authorities made by openssl alone, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(
        self, name: str, above: str = "", *, rsa: bool = False, aki: bool = True, path: str = "", more: str = ""
    ) -> bytes:
        """The PEM of an authority signed by the one called `above`, or by itself."""
        here = self.folder
        drawing = ("genrsa", "-traditional", "-out", here / f"{name}.key", "2048")
        if not rsa:
            drawing = ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", here / f"{name}.key")
        said("openssl", *drawing)
        said("openssl", "req", "-new", "-subj", f"/CN={name}", "-key", here / f"{name}.key", "-out", here / "csr")
        line = "authorityKeyIdentifier = keyid:always" if aki else "authorityKeyIdentifier = none"
        (here / "ext").write_text(EXTENSIONS.format(aki=line, path=path, more=more))
        signer = ["-CA", here / f"{above}.pem", "-CAkey", here / f"{above}.key"] if above else []
        signer = signer or ["-signkey", here / f"{name}.key"]
        said(
            *("openssl", "x509", "-req", "-in", here / "csr", "-days", "3700", "-out", here / f"{name}.pem"),
            *("-extfile", here / "ext", "-set_serial", "7", *signer),
        )
        return (here / f"{name}.pem").read_bytes()

    def der_digest(self, name: str) -> str:
        der = self.folder / "der"
        said("openssl", "x509", "-in", self.folder / f"{name}.pem", "-outform", "DER", "-out", der)
        return said("sha256sum", der).split()[0]
