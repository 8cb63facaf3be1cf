"""Reads `network:`, `ssh:` and `upkeep:` of an inventory: what the nodes of a cluster share beside k3s itself.

Called by `profile.cluster`; what these mean for the nodes is checked by `network_checks` and `cluster_checks`.
"""

from __future__ import annotations

from imagesmith.model import ClusterNetwork, SshAccess, Upkeep
from imagesmith.profile import kubernetes, names
from imagesmith.profile.schema import Fields, boolean, choice, integer, listed, mapping, one_of, text

ARCHIVES = ("debian", "ubuntu", "raspberrypi", "armbian")
_PORT = integer(1, 65535)

_K3S_PORTS = {
    2379: "etcd's",
    2380: "etcd's",
    2381: "etcd's",
    2382: "etcd's",
    5001: "k3s's own registry's",
    6443: "the Kubernetes API's",
    6444: "k3s's own",
    10010: "containerd's",
    **dict.fromkeys((*range(10248, 10251), *range(10256, 10260)), "the kubelet's or its neighbours'"),
}
_NODE_PORTS = range(30000, 32768)
_VXLAN = 8472
"""Whoever can send to it sends as a pod; the firewall alone keeps strangers from it."""


def read_network(fields: Fields) -> ClusterNetwork:
    default = ClusterNetwork()
    network = ClusterNetwork(
        pods=fields.take("pods", text(kubernetes.network), default.pods),
        services=fields.take("services", text(kubernetes.network), default.services),
        vip=fields.take("vip", text(names.ip_address), ""),
        interface=fields.take("interface", text(kubernetes.interface), ""),
        names=tuple(dict.fromkeys(fields.take("names", listed(text(names.host_or_address)), ()))),
        firewall=fields.take("firewall", boolean, True),
        open=tuple(dict.fromkeys(fields.take("open", listed(text(kubernetes.ports)), ()))),
        open_to_all=tuple(dict.fromkeys(fields.take("open_to_all", listed(text(kubernetes.ports)), ()))),
    )
    _check_open(fields, network)
    return network


def _check_open(fields: Fields, network: ClusterNetwork) -> None:
    for key in ("open", "open_to_all"):
        if fields.has(key) and not network.firewall:
            fields.complain(key, "without a firewall every port is open", "take it away, or `firewall: true`")
    for written in network.open_to_all:
        ports, _, protocol = written.partition("/")
        low, _, high = ports.partition("-")
        if protocol == "udp" and int(low) <= _VXLAN <= int(high or low):
            message = f"{written} has {_VXLAN}/udp in it, the pods' network, which asks nobody for a key"
            fields.complain("open_to_all", message, "leave that port out; the nodes have it open among themselves")


def read_ssh(fields: Fields) -> SshAccess:
    default = SshAccess()
    ssh = SshAccess(
        server=fields.take("server", choice("openssh", "dropbear", "both"), default.server),
        port=fields.take("port", _PORT, default.port),
        dropbear_port=fields.take("dropbear_port", _PORT, default.dropbear_port),
    )
    if ssh.server != "both" and fields.has("dropbear_port"):
        what = "Dropbear is alone, and answers on `port`" if ssh.server == "dropbear" else "there is no Dropbear"
        fields.complain("dropbear_port", f"{what}: this port is for `server: both`", "take it away, or ask for both")
    if ssh.server == "both" and ssh.port == ssh.dropbear_port:
        key = "dropbear_port" if fields.has("dropbear_port") else "port"
        message = f"OpenSSH and Dropbear can't both answer on port {ssh.port}"
        fields.complain(key, message, "give each a port of its own, like 22 and 2222")
    for key, port in ports_of(ssh).items():
        if taken := port_taken(port):
            fields.complain(key, f"port {port} is {taken}", "choose another, like 22 or 2222")
    return ssh


def ports_of(ssh: SshAccess) -> dict[str, int]:
    """The ports that SSH answers on, by the key that says so."""
    both = {"port": ssh.port, "dropbear_port": ssh.dropbear_port}
    return both if ssh.server == "both" else {"port": ssh.port}


def port_taken(port: int) -> str:
    """Whose a port is on a node of k3s; empty = nobody's."""
    if port in _NODE_PORTS:
        return f"among those that Kubernetes gives to services ({_NODE_PORTS[0]} to {_NODE_PORTS[-1]})"
    return _K3S_PORTS.get(port, "")


def read_upkeep(fields: Fields) -> Upkeep:
    default = Upkeep()
    return Upkeep(
        updates=fields.take("updates", choice("off", "security"), default.updates),
        packages=fields.take("packages", choice("offline", "online"), default.packages),
        mirrors=fields.take("mirrors", mapping(one_of(*ARCHIVES), text(kubernetes.mirror)), {}),
        proxy=fields.take("proxy", text(kubernetes.proxy), ""),
        serve_time=fields.take("serve_time", boolean, default.serve_time),
    )
