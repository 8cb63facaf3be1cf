"""A node's wired network as NetworkManager keeps it: a keyfile, nm-settings-keyfile(5). Values in, one edit out.

Called by the families whose images have NetworkManager and no netplan.
"""

from __future__ import annotations

import uuid
from ipaddress import ip_address, ip_interface

from imagesmith.model import Network, Node, PutFile

FOLDER = "/etc/NetworkManager/system-connections"
_ROOM = uuid.UUID("6a0a3f0e-6f2c-5d0b-9d5e-3b1d5a1f7c42")


def wired(node: Node) -> PutFile:
    """The keyfile of the wired connection. NetworkManager reads it only where root alone can (0600)."""
    return PutFile("root", f"{FOLDER}/imagesmith-wired.nmconnection", keyfile(node).encode(), 0o600)


def keyfile(node: Node) -> str:
    network = node.network
    # The same image bytes at every build, and another id for another node.
    lines = ["[connection]", "id=imagesmith-wired", f"uuid={uuid.uuid5(_ROOM, node.name)}", "type=ethernet"]
    if not network.address and not network.mac:
        # On every wired card at once; 3 = multiple.
        lines.append("multi-connect=3")
    if network.mac:
        lines += ["", "[ethernet]", f"mac-address={network.mac}"]
    for version in (4, 6):
        lines += ["", f"[ipv{version}]", *_addresses(network, version)]
    return "\n".join(lines) + "\n"


def _addresses(network: Network, version: int) -> list[str]:
    servers = [server for server in network.nameservers if ip_address(server).version == version]
    lines = ["method=auto"]
    if network.address and ip_interface(network.address).version == version:
        gateway = f",{network.gateway}" if network.gateway else ""
        lines = ["method=manual", f"address1={network.address}{gateway}"]
    elif network.address and version == 4:
        return ["method=disabled"]
    return [*lines, *([f"dns={';'.join(servers)};"] if servers else [])]
