"""The operator's way into a cluster before it exists: an admin's kubeconfig, from the vault alone.

Called by `cli.access`. Opens one secret of the vault, the client authority's key; writes the file that it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from imagesmith.cluster.parts import reached_at
from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.identity import certificates, tokens
from imagesmith.identity.authorities import Authority
from imagesmith.identity.kubeconfig import ADMIN_LIFETIME, admin, kubeconfig
from imagesmith.model import Cluster
from imagesmith.secret import Secret
from imagesmith.vault import authorities
from imagesmith.vault.files import write_whole
from imagesmith.vault.names import CA_HASH, CLIENT_CA, SERVER_CA
from imagesmith.vault.store import Opened
from imagesmith.workflow.target import catalogue_of

PORT = 6443
"""Where k3s has the API of Kubernetes."""


@dataclass(frozen=True, slots=True)
class Admin:
    """A kubeconfig that was made."""

    content: Secret
    server: str
    until: str
    """UTC, as 2026-11-23T11:44:00Z."""


def api_of(cluster: Cluster) -> str:
    """The URL of the cluster's API: at the VIP, else at its first server. Raises UsageError where there is none."""
    profiles = catalogue_of(cluster).profiles
    servers = [node for node in cluster.nodes if (node.role or profiles[node.profile].role) == "server"]
    if not servers:
        raise UsageError("the inventory has no server", where=cluster.path, hint="a server has role: server")
    host = cluster.network.vip or reached_at(servers[0], cluster.domain)
    # No name has a colon in it.
    return f"https://[{host}]:{PORT}" if ":" in host else f"https://{host}:{PORT}"


def checked_api(server: str) -> str:
    """The URL of an API, as a person gave it. Raises UsageError where it is none."""
    try:
        parts = urlsplit(server)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(char.isspace() for char in server):
        raise UsageError(f"{server[:80]!r} is no address of a cluster's API", hint=f"as https://192.168.1.10:{PORT}")
    return server


def admin_kubeconfig(
    cluster: Cluster, opened: Opened, server: str, lifetime: timedelta = ADMIN_LIFETIME, now: datetime | None = None
) -> Admin:
    """A kubeconfig with a certificate of its own, which is good from now on for `lifetime`.

    Raises UsageError where it would outlive its authority or the address is none, ContentMalformed where the vault's
    index does not fit together.
    """
    checked_api(server)
    bundle = opened.index.secrets[SERVER_CA].public.encode()
    if tokens.ca_hash(bundle) != opened.index.facts.get(CA_HASH):
        raise ContentMalformed(
            "what the vault's index tells of the authorities does not fit together", where=str(opened.folder),
            hint="somebody changed the vault by hand: restore it from a backup, see docs/vault.md",
        )  # fmt: skip
    client = Authority(opened.index.secrets[CLIENT_CA].public.encode(), opened.open(CLIENT_CA))
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    # As early as its authority at most, and for the same reason as there.
    begin = max(now - authorities.SLACK, certificates.read(client.bundle)[0].not_valid_before_utc)
    files = admin(client, authorities.lone_key(begin), now + lifetime - begin)
    until = f"{now + lifetime:%Y-%m-%dT%H:%M:%SZ}"
    head = f"{_head(cluster)}, which may do everything until {until}: keep it to yourself\n"
    text = head.encode() + kubeconfig(files, bundle, server, cluster.name).reveal()
    return Admin(Secret(text), server, until)


def write_kubeconfig(made: Admin, cluster: Cluster, path: Path, *, replace: bool) -> None:
    """Into a file that only its owner can read; one that was made before for this cluster gives way.

    Raises UsageError where another is there and `replace` does not say that it may go.
    """
    if path.is_symlink() or path.exists():
        with failures(path, "reading the kubeconfig that is there"):
            ours = path.is_file() and path.read_bytes().startswith(_head(cluster).encode() + b",")
        if not ours and not (replace and path.is_file()):
            hint = "name another by --output, or give --replace if it may go" if path.is_file() else "name a file"
            raise UsageError("it is there already, and is not from here", where=str(path), hint=hint)
    write_whole(path, made.content.reveal(), "writing the kubeconfig")


def _head(cluster: Cluster) -> str:
    return f"# Made by imagesmith for the admin of the cluster {cluster.name}"
