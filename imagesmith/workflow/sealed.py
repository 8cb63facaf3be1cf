"""What everybody may know of an inventory's vault: where it lies, the public halves of host keys, known_hosts.

Called by the commands that plan, and by `known-hosts`. Reads the vault's index and opens nothing.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagesmith.cluster import access, contents, zerotier
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.model import Cluster, Node, Sealed, SealedCluster, SealedHostKey
from imagesmith.secret import VAULT, SecretRef, Written
from imagesmith.vault.founding import founding
from imagesmith.vault.index import INDEX, Entry, Index, read_index
from imagesmith.vault.names import (
    AGENT_TOKEN,
    BEGINS,
    CA_HASH,
    KINDS,
    LEAVES,
    SERVER_CA,
    SERVER_TOKEN,
    SERVICE_KEY,
    has_authorities,
    host_key_name,
    missing,
    node_password_name,
    of_node,
)
from imagesmith.workflow.target import DEFAULT_INVENTORY, TargetChoice

SUFFIX = ".vault"
_PORT = 22


def beside(inventory: Path) -> Path:
    """The vault of an inventory: cluster.yaml has cluster.vault, so that two inventories in a folder have two."""
    return inventory.with_suffix(SUFFIX)


def vault_of(choice: TargetChoice) -> Path | None:
    """The vault that a choice is about; None where there is none."""
    if choice.vault:
        return choice.vault
    inventory = None if choice.no_cluster else choice.cluster or DEFAULT_INVENTORY
    folder = beside(inventory) if inventory and inventory.exists() else None
    return folder if folder and os.path.lexists(folder) else None


def host_keys_of(vault: Path | None, node: str) -> tuple[SealedHostKey, ...]:
    """What a plan needs of a node's host keys; empty where there is no vault, or none was drawn yet.

    Raises what `read_index` does.
    """
    if vault is None:
        return ()
    kept = read_index(vault).secrets
    named = [(kind, host_key_name(node, kind)) for kind in KINDS]
    return tuple(_host_key(kind, name, kept[name], vault) for kind, name in named if name in kept)


def sealed_cluster(cluster: Cluster, vault: Path | None, node: str = "") -> SealedCluster | None:
    """What a plan needs of a cluster's secrets; None where there is no vault, or they were not drawn yet.

    With `node` that one's password must be there too; of the others it names those that are. Raises what `read_index`
    does, ContentMalformed where the index tells nonsense of the authorities.
    """
    if vault is None:
        return None
    index = read_index(vault)
    kept = index.secrets
    named = {one.name: node_password_name(one.name) for one in cluster.nodes}
    passwords = {name: _ref(vault, own, kept[own]) for name, own in named.items() if own in kept}
    more = contents.secrets(cluster)
    needed = [SERVER_TOKEN, AGENT_TOKEN, SERVICE_KEY, *([node_password_name(node)] if node else []), *more]
    if not has_authorities(kept) or any(name not in kept for name in needed):
        return None
    # It ends up in configuration files, so it is looked at, whoever wrote the index.
    ca_hash = index.facts.get(CA_HASH, "")
    if not re.fullmatch(r"[0-9a-f]{64}", ca_hash):
        hint = "restore the vault from a backup, see docs/vault.md"
        raise ContentMalformed("the vault's index has no hash of the authorities", where=str(vault / INDEX), hint=hint)
    known = founding(index.facts)
    return SealedCluster(
        ca_hash=ca_hash,
        bundles={f"{ca}.crt": kept[name].public.encode() for ca, name in LEAVES.items()},
        keys={
            name: _ref(vault, own, kept[own])
            for name, own in (("service.key", SERVICE_KEY), *((f"{ca}.key", own) for ca, own in LEAVES.items()))
        },
        server_token=_ref(vault, SERVER_TOKEN, kept[SERVER_TOKEN]),
        agent_token=_ref(vault, AGENT_TOKEN, kept[AGENT_TOKEN]),
        node_passwords=passwords,
        more={name: Sealed(_ref(vault, name, kept[name]), kept[name].public) for name in more},
        founder=known.founder,
        founded=known.founded,
        begins=_begins(index),
    )


def _begins(index: Index) -> int:
    """Since when the authorities are valid; 0 where the index tells it of others, or not at all, as older ones."""
    told = re.fullmatch(r"(\S+) ([1-9][0-9]{0,11})", index.facts.get(BEGINS, ""))
    return int(told[2]) if told and told[1] == index.secrets[SERVER_CA].fingerprint else 0


def known_hosts(cluster: Cluster, vault: Path) -> dict[str, tuple[str, ...]]:
    """The lines for ~/.ssh/known_hosts of every node, by its name: one a key, with all names, addresses and ports."""
    ports = access.ports(cluster.ssh)
    return {
        node.name: tuple(
            known_line(_called(node, cluster), ports, key.public) for key in host_keys_of(vault, node.name)
        )
        for node in cluster.nodes
    }


def _called(node: Node, cluster: Cluster) -> tuple[str, ...]:
    """All that a node is reached by: in a VPN too."""
    return tuple(name for name in (*names_of(node), zerotier.address_of(node, cluster)) if name)


def names_of(node: Node) -> tuple[str, ...]:
    """What a node may be called in a command: its name, with its domain too, its address or the one reserved for it."""
    fqdn = f"{node.name}.{node.domain}" if node.domain else ""
    address = node.network.address.partition("/")[0] or node.network.reserved
    # In the short form, as ssh looks it up.
    address = str(ipaddress.ip_address(address)) if address else ""
    return tuple(name for name in (node.name, fqdn, address) if name)


def known_line(names: Iterable[str], ports: Iterable[int], public: str) -> str:
    """A line of known_hosts, see sshd(8): every name at every port, then the key without its comment."""
    hosts = [name if port == _PORT else f"[{name}]:{port}" for port in ports for name in names]
    return " ".join((",".join(hosts), *public.split()[:2]))


def not_drawn(vault: Path, nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes that lack something of their own in the vault; `build` and `known-hosts` draw it."""
    kept: Mapping[str, Entry] = read_index(vault).secrets
    return tuple(node for node in nodes if missing(kept, of_node(node)))


def require_vault(cluster: Cluster | None, vault: Path | None) -> None:
    """Before an image for a k3s cluster is made: without the cluster's secrets its node could never join.

    Raises UsageError.
    """
    if vault is None and cluster is not None and has_k3s(cluster):
        own = Path(cluster.path)
        given = "" if own == DEFAULT_INVENTORY else f" --cluster {shlex.quote(str(own))}"
        raise UsageError(
            "its nodes are to be a k3s cluster, and there is no vault yet for the keys that make them one",
            where=cluster.path, hint=f"imagesmith vault create{given}",
        )  # fmt: skip


def has_k3s(cluster: Cluster | None) -> bool:
    """Whether an inventory's vault needs what a k3s cluster does."""
    return cluster is not None and cluster.k3s is not None


def _host_key(kind: str, name: str, entry: Entry, vault: Path) -> SealedHostKey:
    return SealedHostKey(kind, _ref(vault, name, entry), entry.public, entry.fingerprint)


def _ref(vault: Path, name: str, entry: Entry) -> SecretRef:
    return SecretRef(VAULT + name, Written(str(vault)), entry.made)
