"""Authorities of a cluster and an operator's kubeconfig, made by the openssl program alone.

A root, the leaf authorities under it as bundles (leaf first), a service key: what k3s is given before it starts.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

LEAVES = ("server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca")
_CA = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign")


def make_authorities(folder: Path) -> Path:
    """`folder` is what /var/lib/rancher/k3s/server/tls shall be; the root's key stays beside it."""
    (folder / "etcd").mkdir(parents=True)
    root = folder.with_name(f"{folder.name}-root")
    _certificate(root, "/CN=root", _CA, None)
    for name in LEAVES:
        leaf = folder / name
        _certificate(leaf, f"/CN=k3s-{name.replace('/', '-')}", _CA, root)
        crt = leaf.with_suffix(".crt")
        crt.write_text(crt.read_text() + root.with_suffix(".crt").read_text())
    _openssl("genrsa", "-traditional", "-out", str(folder / "service.key"), "2048")
    return folder


def root_hash(folder: Path) -> str:
    """By openssl and SHA-256, from the root that the leaves were signed with."""
    root = folder.with_name(f"{folder.name}-root.crt")
    return hashlib.sha256(_openssl("x509", "-in", str(root), "-outform", "DER")).hexdigest()


def make_kubeconfig(folder: Path, server: str, path: Path) -> Path:
    """For an administrator: CN=system:admin, O=system:masters, signed by the client authority."""
    pair = path.with_name(f"{path.stem}-admin")
    _certificate(pair, "/O=system:masters/CN=system:admin", ("extendedKeyUsage=clientAuth",), folder / "client-ca")
    data = [base64.b64encode(one.read_bytes()).decode()
            for one in (folder / "server-ca.crt", pair.with_suffix(".crt"), pair.with_suffix(".key"))]  # fmt: skip
    path.write_text(_KUBECONFIG.format(server, *data))
    return path


_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{0}", certificate-authority-data: {1}}}}}]
users: [{{name: u, user: {{client-certificate-data: {2}, client-key-data: {3}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


def _certificate(out: Path, subject: str, extensions: tuple[str, ...], signer: Path | None) -> None:
    argv = ["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", subject, "-config", "/dev/stdin", "-keyout", f"{out}.key", "-out", f"{out}.crt"]  # fmt: skip
    for extension in (*extensions, "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"):
        argv += ["-addext", extension]
    if signer:
        argv += ["-CA", f"{signer}.crt", "-CAkey", f"{signer}.key"]
    _openssl(*argv)


def _openssl(*argv: str) -> bytes:
    settings = b"[req]\nprompt=no\ndistinguished_name=d\n[d]\n"
    return subprocess.run(["openssl", *argv], input=settings, capture_output=True, check=True).stdout
