"""Makes a node's folder that of a cluster's node, with nothing amiss, and reads what its scripts say of themselves."""

from __future__ import annotations

import socket

from node_folder import NodeFolder

CLUSTER_CONF = "etc/imagesmith/cluster.conf"
STATUS = "var/lib/imagesmith/cluster/status"
ADDRESSES = "2: eth0 inet 192.168.7.10/24 brd 192.168.7.255 scope global\n"
CONF = {
    "CLUSTER_NAME": "rack",
    "CLUSTER_DUTY": "founder",
    "CLUSTER_SERVERS": "",
    "CLUSTER_DATASTORE": "sqlite",
    "CLUSTER_CA_HASH": "0" * 64,
    "CLUSTER_NOT_BEFORE": "0",
    "CLUSTER_ADDRESS": "192.168.7.10",
    "CLUSTER_INTERFACE": "",
}


def clustered(node: NodeFolder, addresses: str = ADDRESSES, **conf: str) -> NodeFolder:
    """The node with these settings of its cluster; the others as those of a lone founder."""
    node.write(CLUSTER_CONF, "".join(f"{key}='{value}'\n" for key, value in {**CONF, **conf}.items()))
    node.configure(NODE_NAME="node-1")
    node.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    node.write("proc/sys/kernel/hostname", "node-1\n")
    node.write("proc/cmdline", "root=/dev/vda1\n")
    node.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    node.write("addresses", addresses)
    node.write("usr/local/bin/k3s", "").chmod(0o755)
    if not (node.root / "usr/lib/clock-epoch").exists():
        node.write("usr/lib/clock-epoch", "")
    node.stand_in("ip", 'cat "$ROOT/addresses"')
    node.stand_in("timedatectl", "echo yes")
    # Nobody's network is asked anything by tests.
    node.stand_in("arping", "exit 2")
    node.stand_in("busybox", "exit 127")
    # Every pause is short here; how long it should have been is on record.
    node.stand_in("sleep", "exec /bin/sleep 0.05")
    return node


def status(node: NodeFolder) -> dict[str, str]:
    if not node.exists(STATUS):
        return {}
    return dict(line.split("=", 1) for line in node.read(STATUS).splitlines())


def told(node: NodeFolder, key: str) -> str:
    return status(node).get(key, "")


def silent_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
