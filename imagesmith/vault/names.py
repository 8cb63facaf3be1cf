"""What the secrets of a node and of a cluster are called in a vault, and which of them never leave it. Touches nothing.

Called by all others here, and by `workflow` where only names and public parts are wanted: nothing here takes
cryptography along, so that a plan is fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imagesmith.vault.index import Entry

KINDS = ("ed25519", "ecdsa")
"""Of host keys; those of `identity.ssh`."""
CA = "cluster/ca"
"""All authorities together: they are drawn, replaced and brought in as one."""
UPPER = (f"{CA}/root", f"{CA}/intermediate")
"""They sign the five below, and their keys never leave the vault."""
LEAVES: Mapping[str, str] = {
    "server-ca": f"{CA}/server",
    "client-ca": f"{CA}/client",
    "request-header-ca": f"{CA}/request-header",
    "etcd/peer-ca": f"{CA}/etcd-peer",
    "etcd/server-ca": f"{CA}/etcd-server",
}
"""The five that k3s uses: their names in its folder `tls`, as `identity.authorities.Ca` has them, and here."""
SERVER_TOKEN, AGENT_TOKEN = TOKENS = ("cluster/server-token", "cluster/agent-token")
SERVICE_KEY = "cluster/service-account-key"
CLIENT_CA, SERVER_CA = LEAVES["client-ca"], LEAVES["server-ca"]
OLD = ".old"
"""What the name of a secret ends in that another has replaced."""
CA_HASH, FOUNDER, FOUNDED = "ca_hash", "founder", "founded"
"""Facts in the index: what tokens carry of the authorities, the node whose image was first built to found the cluster,
and since when the cluster is known to exist."""
BEGINS = "begins"
"""A fact: since when the authorities' certificates are valid, in seconds since 1970, after the fingerprint of the one
that it was read from."""
FOUNDING_OF = "founding_of"
"""A fact: of which authorities' cluster the two before it are; see `founding`."""
ROTATING = "rotating "
"""Before a secret's name, a fact: since when it is drawn anew, and not all nodes that run are known to have it yet. Of
`cluster/ca`: since when there are new authorities, and nothing was built with them."""
CERTIFICATE = "-----BEGIN CERTIFICATE-----"
"""Of an authority's bundle, with whatever stands before it."""


def host_key_name(node: str, kind: str) -> str:
    return f"nodes/{node}/host-key.{kind}"


def node_password_name(node: str) -> str:
    return f"nodes/{node}/node-password"


def is_signed(name: str) -> bool:
    """Whether it is a certificate of the client authority's, which has to be opened to make it."""
    return name.startswith("nodes/") and name.endswith("/drain-certificate")


def is_backup_identity(name: str) -> bool:
    """Whether it opens a node's backups, or did: of those that it sealed nothing else does."""
    while name.endswith(OLD):
        name = name.removesuffix(OLD)
    return name.startswith("nodes/") and name.endswith("/backup-identity")


def of_node(node: str) -> tuple[str, ...]:
    """The names of all that one node has in a vault."""
    return (*(host_key_name(node, kind) for kind in KINDS), node_password_name(node))


def of_cluster() -> tuple[str, ...]:
    """The names of all that a k3s cluster has in a vault, beside its nodes' own."""
    return (*TOKENS, *UPPER, *LEAVES.values(), SERVICE_KEY)


def stays(name: str) -> bool:
    """Whether it never leaves the vault, under its own name or that of one which was replaced."""
    while name.endswith(OLD):
        name = name.removesuffix(OLD)
    return name in UPPER


def missing(kept: Mapping[str, Entry], wanted: Iterable[str]) -> tuple[str, ...]:
    """What of `wanted` is to be drawn. The authorities are there together or not at all.

    Those of another making have no root and no intermediate here, and lack nothing. Keys without certificates, as older
    vaults have them, were never used, and are drawn anew.
    """
    whole = has_authorities(kept)
    return tuple(name for name in wanted if (not whole if is_authority(name) else name not in kept))


def is_authority(name: str) -> bool:
    """Whether it is one of the seven authorities' keys."""
    return name in UPPER or name in LEAVES.values()


def is_begun(facts: Mapping[str, str], name: str) -> bool:
    """Whether nodes that run are still to get it, so that what they have is what is under NAME.old."""
    return ROTATING + name in facts or (is_authority(name) and ROTATING + CA in facts)


def ends_with_cluster(name: str) -> bool:
    """Whether only a cluster that runs goes by it, so that with that cluster nobody has the one before any more. A UPS,
    a NAS, a database in a volume and a node's sshd go by theirs whatever becomes of k3s."""
    return name in (CA, *TOKENS, SERVICE_KEY) or is_authority(name) or name.endswith("/node-password")


def has_authorities(kept: Mapping[str, Entry]) -> bool:
    """Whether all five are there, with their certificates."""
    return all(name in kept and CERTIFICATE in kept[name].public for name in LEAVES.values())
