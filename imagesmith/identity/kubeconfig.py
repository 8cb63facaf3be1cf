"""Certificates that let somebody into the cluster, and the kubeconfig that carries one.

Called by `workflow` (the operator's kubeconfig before the first power-on; a node's certificate for draining itself) and
by `vault`. Touches nothing: keys, serial numbers and times are given. k3s makes its nodes' own certificates itself, so
there are none here. Kubernetes has no revocation list: a certificate is good until it ends, whatever became of its
file, and what its name may do is all that can be taken away.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from imagesmith.identity import certificates
from imagesmith.identity.authorities import Authority
from imagesmith.identity.certificates import Drawn
from imagesmith.model import DRAIN_USER
from imagesmith.secret import Secret

ADMIN_LIFETIME = timedelta(days=7)
"""Long enough to flash the cards, switch the rack on and see it through its first days; short enough that a file which
was left on a laptop is soon worth nothing, since it can't be revoked. A new one is one command away."""
ADMIN, ADMIN_GROUP = "system:admin", "system:masters"

_TEMPLATE = """\
apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {cluster}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {cluster}
current-context: {cluster}
"""
"""Names and the address are put in as JSON, whose quoted text is YAML's too; base64 needs no quotes. PyYAML takes ten
times as long for the three long lines as everything else here takes together."""

ClientKey = Drawn[ec.EllipticCurvePrivateKey]


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """A client's certificate and its key."""

    certificate: bytes
    """PEM: the client's, and its authority's bundle after it, as k3s writes its own."""
    key: Secret
    """PEM (SEC 1)."""


def admin(client_ca: Authority, drawn: ClientKey, lifetime: timedelta = ADMIN_LIFETIME) -> ClientFiles:
    """Who may do everything: CN system:admin, O system:masters. Raises UsageError where it would outlive client-ca."""
    return _client(client_ca, drawn, ADMIN, (ADMIN_GROUP,), lifetime)


def drain(client_ca: Authority, drawn: ClientKey, node: str, lifetime: timedelta) -> ClientFiles:
    """A node that may drain itself as far as roles in the cluster let `imagesmith:drain:<node>`: it is in no group.

    Raises UsageError where it would outlive client-ca, or where the node's name makes more than 64 characters.
    """
    return _client(client_ca, drawn, DRAIN_USER + node, (), lifetime)


def kubeconfig(client: ClientFiles, server_ca: bytes, server: str, cluster: str) -> Secret:
    """A whole kubeconfig, YAML, for a file of mode 0600.

    `server_ca` is the file `server-ca.crt`, `server` the URL of the API (`https://192.0.2.10:6443`), `cluster` the name
    that its cluster, context and user have in it, so that several such files can be read together. Raises ValueError
    where the URL is not https: kubectl would send the certificate to whoever answers.
    """
    if not server.startswith("https://"):
        raise ValueError(f"the API is asked over https, not at {server}")
    fields = {"server": server, "cluster": cluster}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in fields.items()}
    text = _TEMPLATE.format(
        **quoted,
        authority=_base64(server_ca),
        certificate=_base64(client.certificate),
        key=_base64(client.key.reveal()),
    )
    return Secret(text.encode())


def _client(
    client_ca: Authority, drawn: ClientKey, name: str, groups: tuple[str, ...], lifetime: timedelta
) -> ClientFiles:
    certificate = certificates.client(drawn, name, groups, lifetime, client_ca.issuer())
    return ClientFiles(certificates.pem(certificate) + client_ca.bundle, certificates.key_pem(drawn.key))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
