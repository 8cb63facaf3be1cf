"""What everybody may know of an inventory's vault: where it lies, the public halves of host keys, known_hosts.

Called by the commands that plan, and by `known-hosts`. Reads the vault's index and opens nothing.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagesmith.model import Cluster, Node, SealedCluster, SealedHostKey
from imagesmith.secret import VAULT, SecretRef, Written
from imagesmith.vault.index import Entry, read_index
from imagesmith.workflow.target import DEFAULT_INVENTORY, TargetChoice

SUFFIX = ".vault"
KINDS = ("ed25519", "ecdsa")
"""Those of `identity.ssh`, which is not imported here: it takes cryptography along, and a plan needs none of it."""
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
    named = [(kind, f"nodes/{node}/host-key.{kind}") for kind in KINDS]
    return tuple(_sealed(kind, name, kept[name], vault) for kind, name in named if name in kept)


def sealed_cluster(cluster: Cluster, vault: Path | None) -> SealedCluster | None:
    """What a plan needs of a cluster's secrets; None where there is no vault, or not all of them were drawn yet.

    Raises what `read_index` does.
    """
    return None


def known_hosts(cluster: Cluster, vault: Path, ports: Iterable[int] = (_PORT,)) -> dict[str, tuple[str, ...]]:
    """The lines for ~/.ssh/known_hosts of every node, by its name: one a key, with all names, addresses and ports."""
    ports = tuple(ports)
    return {
        node.name: tuple(known_line(names_of(node), ports, key.public) for key in host_keys_of(vault, node.name))
        for node in cluster.nodes
    }


def names_of(node: Node) -> tuple[str, ...]:
    """What a node may be called in a command: its name, with its domain too, its address."""
    fqdn = f"{node.name}.{node.domain}" if node.domain else ""
    address = node.network.address.partition("/")[0]
    # In the short form, as ssh looks it up.
    address = str(ipaddress.ip_address(address)) if address else ""
    return tuple(name for name in (node.name, fqdn, address) if name)


def known_line(names: Iterable[str], ports: Iterable[int], public: str) -> str:
    """A line of known_hosts, see sshd(8): every name at every port, then the key without its comment."""
    hosts = [name if port == _PORT else f"[{name}]:{port}" for port in ports for name in names]
    return " ".join((",".join(hosts), *public.split()[:2]))


def not_drawn(vault: Path, nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes that have no host key in the vault yet; `build` and `known-hosts` draw them."""
    kept: Mapping[str, Entry] = read_index(vault).secrets
    return tuple(node for node in nodes if any(f"nodes/{node}/host-key.{kind}" not in kept for kind in KINDS))


def _sealed(kind: str, name: str, entry: Entry, vault: Path) -> SealedHostKey:
    return SealedHostKey(kind, SecretRef(VAULT + name, Written(str(vault))), entry.public, entry.fingerprint)
