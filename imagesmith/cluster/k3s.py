"""k3s on a node: its unit with the gate before it, its configuration, and what a founder is given beside.

Called by `cluster.contents`. Pure. Only a founder gets the cluster's authorities: k3s hands them to the servers that
join, and takes other files on their disks for a cluster that is about to break. See docs/cluster.md.
"""

from __future__ import annotations

from imagesmith.cluster import zerotier
from imagesmith.cluster.config import cluster_conf, config, kubelet, proxy, registries
from imagesmith.model import Edit, Link, MakeDir, Materials, Part, Profile, Promise, PutFile, SealedCluster
from imagesmith.secret import SecretText

CONFIG = "/etc/rancher/k3s"
DATA = "/var/lib/rancher/k3s"
TLS = f"{DATA}/server/tls"
NODE_PASSWORD = "/etc/rancher/node/password"
LIBRARY = "/usr/lib/imagesmith"
UNITS = "/etc/systemd/system"
APPLY = "/usr/local/sbin/imagesmith-apply"
PROGRAM = "/usr/local/bin/k3s"
_WANTED = f"{UNITS}/imagesmith-firstboot.service.wants"
_SCRIPTS = ("k3s-gate", "k3s-start", "k3s-settled")
_MODULES = ("br_netfilter", "overlay", "vxlan")
_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.bridge.bridge-nf-call-iptables": 1,
    "net.bridge.bridge-nf-call-ip6tables": 1,
    # Each container that watches files takes of these; the kernel's 128 instances are used up by a dozen of them.
    "fs.inotify.max_user_instances": 1024,
    "fs.inotify.max_user_watches": 524288,
}


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """All of it; nothing as long as there is no vault, since k3s would then start a cluster of its own."""
    sealed = part.sealed
    if sealed is None:
        return ()
    return (
        *_programs(part, materials),
        *_system(),
        *_configuration(part, sealed),
        *(_authorities(sealed) if part.duty == "founder" else ()),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """What an image that is booted alone shows: a founder goes ahead, the others ask for a server, for days."""
    if part.sealed is None:
        return ()
    alone = "nothing" if part.duty == "founder" else "server"
    because = "a founder waits for nobody" if part.duty == "founder" else "a node that joins waits for a server"
    return (
        Promise("k3s.waits_for", "equals", alone, because),
        Promise("open_secrets", "equals", "0", "no file that everybody can read holds a token or a key"),
    )


def packages(part: Part) -> tuple[str, ...]:
    """The gate asks the servers who they are by openssl, and whether another machine has the node's address by arping.
    All else k3s brings along.

    With or without a vault, so that they can be looked up and fetched before there is one.
    """
    return ("openssl", "iputils-arping")


def unit_of(duty: str) -> str:
    """The unit that runs k3s on a node of this duty."""
    return "k3s-agent.service" if duty == "agent" else "k3s.service"


def _programs(part: Part, materials: Materials) -> tuple[Edit, ...]:
    """The unit, what it runs before and after k3s, and what a person runs."""
    files, name = materials.files, unit_of(part.duty)
    return (
        PutFile("root", f"{LIBRARY}/cluster-lib.sh", files["firstboot/cluster/cluster-lib.sh"]),
        *(PutFile("root", f"{LIBRARY}/{one}", files[f"firstboot/cluster/{one}"], 0o755) for one in _SCRIPTS),
        PutFile("root", APPLY, files["firstboot/cluster/imagesmith-apply"], 0o755),
        PutFile("root", f"{UNITS}/{name}", files[f"firstboot/cluster/{name}"]),
        # Not by multi-user.target, which the first boot comes after: that would be a cycle.
        Link("root", f"{_WANTED}/{name}", f"{UNITS}/{name}"),
        *(Link("root", f"/usr/local/bin/{one}", "k3s") for one in ("kubectl", "crictl", "ctr")),
    )


def _system() -> tuple[Edit, ...]:
    """What k3s needs of the kernel and of systemd."""
    # The dash: a kernel without the bridge's filter has no such file, and the rest is set all the same.
    sysctls = "".join(f"{'-' if '.bridge.' in key else ''}{key} = {value}\n" for key, value in _SYSCTLS.items())
    return (
        PutFile("root", "/etc/modules-load.d/imagesmith-k3s.conf", "".join(f"{one}\n" for one in _MODULES).encode()),
        PutFile("root", "/etc/sysctl.d/90-imagesmith-k3s.conf", sysctls.encode()),
        # The kubelet may hold a shutdown up for its pods' sake as long as logind lets it. Read after the file of
        # unattended-upgrades, which says less (kubernetes#102818).
        PutFile("root", "/etc/systemd/logind.conf.d/zz-imagesmith-k3s.conf", b"[Login]\nInhibitDelayMaxSec=30\n"),
    )


def _configuration(part: Part, sealed: SealedCluster) -> tuple[Edit, ...]:
    """What differs between nodes. Everything with a secret in it is root's alone."""
    k3s, node_password = part.cluster.k3s, sealed.node_passwords.get(part.node.name)
    edits: list[Edit] = [
        PutFile("root", "/etc/imagesmith/cluster.conf", cluster_conf(part, sealed)),
        MakeDir("root", f"{CONFIG}/config.yaml.d", 0o700),
        PutFile("root", f"{CONFIG}/config.yaml", config(part, sealed), 0o600),
        PutFile("root", f"{DATA}/agent/etc/kubelet.conf.d/50-imagesmith.conf", kubelet()),
    ]
    if node_password:
        edits.append(MakeDir("root", NODE_PASSWORD.rpartition("/")[0], 0o700))
        edits.append(PutFile("root", NODE_PASSWORD, SecretText((node_password, b"\n")), 0o600))
    if k3s and k3s.registries:
        edits.append(PutFile("root", f"{CONFIG}/registries.yaml", registries(k3s.registries), 0o600))
    if zerotier.carries_k3s(part.cluster):
        drop_in = f"{UNITS}/{unit_of(part.duty)}.d/20-zerotier.conf"
        edits.append(PutFile("root", drop_in, _AFTER_ZEROTIER.format(unit=zerotier.UNIT).encode()))
    if part.cluster.upkeep.proxy:
        edits.append(PutFile("root", f"{UNITS}/{unit_of(part.duty)}.env", proxy(part), 0o600))
    return tuple(edits)


def _authorities(sealed: SealedCluster) -> tuple[Edit, ...]:
    """The cluster's authorities with their keys, for the one server that founds. The root's key is not among them."""
    folders = (f"{DATA}/server", TLS, f"{TLS}/etcd")
    return (
        *(MakeDir("root", folder, 0o700) for folder in folders),
        *(PutFile("root", f"{TLS}/{name}", sealed.bundles[name]) for name in sorted(sealed.bundles)),
        *(PutFile("root", f"{TLS}/{name}", sealed.keys[name], 0o600) for name in sorted(sealed.keys)),
    )


_AFTER_ZEROTIER = """\
# k3s speaks over ZeroTier: its gate waits until this node has its address there.
[Unit]
Wants={unit}
After={unit}
"""
