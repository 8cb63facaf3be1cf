"""The texts of k3s on a node: its configuration, its registries, its proxy, and what its gate and founding go by.

Called by `cluster.k3s`. Pure; no secret is here, only names of them. Keys of config.yaml are k3s's flags without the
dashes; those of docs/cli/server.md, "Critical Configuration Values", come from the cluster alone, so that they are the
same on every server.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from imagesmith.cluster.parts import interface_of, joined_at, spoken_at, tls_names
from imagesmith.formats.assignments import assignments
from imagesmith.model import K3s, Node, Part, Registry, SealedCluster
from imagesmith.secret import Quoted, SecretRef, SecretText

PORT = 6443
REGISTRY_CAS = "/etc/rancher/k3s/registries"
"""The folder of the certificates that vouch for registries."""
DNS_INDEX = 10
"""The cluster's name server is the tenth address of the services, as k3s has it by itself."""
GRACE_S, CRITICAL_GRACE_S = 30, 10
"""How long a node that is shut down waits for its pods; the critical ones have the last part of it."""
_SNAPSHOTS = {"etcd-snapshot-schedule-cron": "0 */12 * * *", "etcd-snapshot-retention": "5"}
_Value = str | bool | tuple[str, ...]


def config(part: Part, sealed: SealedCluster) -> SecretText:
    """config.yaml. What a node decides when it starts (founding, whom to join) is in config.yaml.d/10-start.yaml."""
    agent = _token(sealed, "node", sealed.agent_token)
    if part.duty == "agent":
        return SecretText((*_secret_line("token", agent), _lines(_of_node(part))))
    server = _token(sealed, "server", sealed.server_token)
    plain = _lines({**_of_cluster(part), **_of_server(part), **_of_node(part)})
    return SecretText((*_secret_line("token", server), *_secret_line("agent-token", agent), plain))


def registries(registries: Iterable[Registry]) -> SecretText:
    """registries.yaml: what stands in for a registry, and how those are reached that are asked."""
    registries = tuple(registries)
    pieces: list[bytes | Quoted] = []
    mirrored = [registry for registry in registries if registry.endpoints]
    if mirrored:
        pieces.append(b"mirrors:\n")
        pieces += [
            f"  {json.dumps(one.name)}:\n    endpoint: {json.dumps(list(one.endpoints))}\n".encode() for one in mirrored
        ]
    known: dict[str, Registry] = {}
    for registry in registries:
        if registry.login or registry.ca_file:
            for host in _hosts(registry):
                known.setdefault(host, registry)
    if known:
        pieces.append(b"configs:\n")
        for host, registry in known.items():
            pieces += _reached(host, registry)
    return SecretText(tuple(pieces))


def registry_ca(registry: Registry) -> str:
    """Where on a node the certificate lies that vouches for a registry."""
    return f"{REGISTRY_CAS}/{re.sub('[^A-Za-z0-9.-]', '-', registry.name.replace('*', 'all'))}.crt"


def proxy(part: Part) -> bytes:
    """The unit's environment where there is a proxy; the cluster's own networks and names go past it."""
    address, network = part.cluster.upkeep.proxy, part.cluster.network
    past = ["127.0.0.0/8", "::1", "localhost", ".svc", ".cluster.local"]
    past += [*network.pods.split(","), *network.services.split(",")]
    past += [f".{part.cluster.domain}"] if part.cluster.domain else []
    past += [str(net) for net in _networks(part.cluster.nodes)]
    past += [name for name in (*tls_names(part), network.vip) if name]
    return "".join(
        f"{key}={json.dumps(value)}\n"
        for key, value in (
            ("HTTP_PROXY", address),
            ("HTTPS_PROXY", address),
            ("NO_PROXY", ",".join(dict.fromkeys(past))),
        )
    ).encode()


def kubelet() -> bytes:
    """The kubelet's own file, read after k3s's: pods are ended in order when the node is shut down."""
    return (
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        f"shutdownGracePeriod: {GRACE_S}s\nshutdownGracePeriodCriticalPods: {CRITICAL_GRACE_S}s\n"
    ).encode()


def cluster_conf(part: Part, sealed: SealedCluster) -> bytes:
    """/etc/imagesmith/cluster.conf: what the node's scripts go by. Public."""
    k3s = part.cluster.k3s or K3s()
    others = [server for server in part.servers if server.name != part.node.name]
    return assignments(
        {
            "CLUSTER_NAME": part.cluster.name,
            "CLUSTER_DUTY": part.duty,
            "CLUSTER_SERVERS": " ".join(url(server, part) for server in others),
            "CLUSTER_DATASTORE": k3s.datastore,
            "CLUSTER_CA_HASH": sealed.ca_hash,
            "CLUSTER_NOT_BEFORE": str(_not_before(sealed)),
            "CLUSTER_ADDRESS": spoken_at(part.node, part.cluster),
            "CLUSTER_INTERFACE": interface_of(part.node, part.cluster),
            "CLUSTER_VIP": part.cluster.network.vip,
        }
    )


def url(server: Node, part: Part) -> str:
    """Where the other nodes reach a server: its own address or name, never the VIP, which is nobody's at first."""
    host = joined_at(server, part.cluster)
    return f"https://{f'[{host}]' if ':' in host else host}:{PORT}"


def _of_cluster(part: Part) -> dict[str, _Value]:
    """The same on every server, whichever it is."""
    network, k3s = part.cluster.network, part.cluster.k3s or K3s()
    first = ipaddress.ip_network(network.services.split(",")[0].strip(), strict=False)
    found: dict[str, _Value] = {
        "cluster-cidr": network.pods,
        "service-cidr": network.services,
        "cluster-dns": str(first[DNS_INDEX]),
        "tls-san": tls_names(part),
        "disable": k3s.disable,
        "secrets-encryption": k3s.secrets_encryption,
        "write-kubeconfig-mode": "0600",
    }
    return {**found, **(_SNAPSHOTS if k3s.datastore == "etcd" else {})}


def _of_server(part: Part) -> dict[str, _Value]:
    return {"advertise-address": spoken_at(part.node, part.cluster)}


def _of_node(part: Part) -> dict[str, _Value]:
    node = part.node
    return {
        "node-name": node.name,
        "node-ip": spoken_at(node, part.cluster),
        "flannel-iface": interface_of(node, part.cluster),
        "node-label": tuple(f"{key}={value}" for key, value in node.labels.items()),
        "node-taint": node.taints,
    }


def _lines(values: Mapping[str, _Value]) -> bytes:
    """YAML, one line a value; what is empty or false is k3s's default and left out."""
    # A JSON text is YAML too, and no value here needs more than ASCII.
    told = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in told.items()).encode()


def _token(sealed: SealedCluster, user: str, password: SecretRef) -> tuple[bytes, Quoted]:
    """`K10<hash>::<user>:<password>`. With it k3s takes no other cluster's server for its own."""
    return f"K10{sealed.ca_hash}::{user}:".encode(), Quoted(password)


def _secret_line(key: str, value: tuple[bytes, Quoted]) -> tuple[bytes, bytes, Quoted, bytes]:
    return f'{key}: "'.encode(), *value, b'"\n'


def _hosts(registry: Registry) -> tuple[str, ...]:
    """What is asked for a registry's images; logins and certificates go by it."""
    return tuple(urlsplit(endpoint).netloc for endpoint in registry.endpoints) or (registry.name,)


def _reached(host: str, registry: Registry) -> list[bytes | Quoted]:
    pieces: list[bytes | Quoted] = [f"  {json.dumps(host)}:\n".encode()]
    if registry.login:
        name = json.dumps(registry.login.username)
        pieces.append(f'    auth:\n      username: {name}\n      password: "'.encode())
        pieces += [Quoted(registry.login.password), b'"\n']
    if registry.ca_file:
        pieces.append(f"    tls:\n      ca_file: {json.dumps(registry_ca(registry))}\n".encode())
    return pieces


def _networks(nodes: Iterable[Node]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Those that the nodes' own addresses are of, each once; a reserved address stands for itself."""
    found = [ipaddress.ip_interface(address).network for node in nodes if (address := _written(node))]
    return tuple(dict.fromkeys(found))


def _written(node: Node) -> str:
    return node.network.address or node.network.reserved


def _not_before(sealed: SealedCluster) -> int:
    """Since when the cluster's certificates are valid, in seconds since 1970: no clock of a node can be before it."""
    if sealed.begins:
        return sealed.begins
    # Here, since cryptography takes long to import, and plans need it for nothing else.
    from imagesmith.identity import certificates

    bundle = sealed.bundles.get("server-ca.crt")
    chain = certificates.read(bundle, "server-ca.crt") if bundle else ()
    return max((int(certificate.not_valid_before_utc.timestamp()) for certificate in chain), default=0)
