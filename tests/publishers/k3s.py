"""The releases of k3s as their publisher lays them out, on a server of the tests; the program is made up."""

from __future__ import annotations

import hashlib

from publishers.server import Server

RELEASES = """\
schema: 1
channels: {url}/channels/{{channel}}
files: {url}/download/{{version}}/
sums: {{amd64: sha256sum-amd64.txt, arm64: sha256sum-arm64.txt}}
program: {{amd64: k3s, arm64: k3s-arm64}}
images: {{amd64: images-amd64.tar.zst, arm64: images-arm64.tar.zst}}
"""
"""For profiles/releases/k3s.yaml; `url` is where the server is."""


def program(version: str, architecture: str = "arm64") -> bytes:
    return b"\x7fELF" + f"{version} {architecture}".encode() * 2000


def offer(server: Server, version: str, content: bytes = b"", images: bytes = b"") -> None:
    """A release, to which the channel `stable` leads from now on; `content` is the program, if not what is usual."""
    folder = f"/download/{version.replace('+', '%2B')}/"
    server.redirect("/channels/stable", f"/releases/tag/{version}")
    for architecture, name in (("arm64", "k3s-arm64"), ("amd64", "k3s")):
        files = {name: content or program(version, architecture)}
        files[f"images-{architecture}.tar.zst"] = images or b"images of " + version.encode()
        sums = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in files.items())
        server.file(f"{folder}sha256sum-{architecture}.txt", sums.encode())
        for name, body in files.items():
            server.file(folder + name, body, etag=f'"{hashlib.sha256(body).hexdigest()}"')
