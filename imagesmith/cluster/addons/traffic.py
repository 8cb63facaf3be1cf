"""Who may speak to whom: an add-on's network policies; all else is dropped there. Called by `parts`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.cluster.addons.objects import NAME, NAMESPACE_NAME, Object, network_policy
from imagesmith.model.addons import Addon, RecipePart

_SYSTEM = "kube-system"
_DNS_PORT, _KUBELET_PORT = 53, 10250
_API_PORTS = (443, 6443)
"""The service's, and that of the servers behind it, which is what a policy sees."""
_INTERNET_PORTS = (80, 443, 465, 587)
"""Updates and plug-ins, and mail by a provider's server."""
_PRIVATE = {
    "0.0.0.0/0": ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    "::/0": ("fc00::/7", "fe80::/10"),
}
"""The internet, and what is at home instead: a site that was broken into must not look about there."""


def policies(addon: Addon, place: str) -> list[Object]:
    """Those of the namespace, and one of each part."""
    everything = network_policy(place, "nothing-but", {}, egress=[_dns()])
    return [everything, *(_of_part(addon, part, place) for part in addon.recipe.parts)]


def _of_part(addon: Addon, part: RecipePart, place: str) -> Object:
    parts = {one.name: one for one in addon.recipe.parts}
    sources: list[Object] = [_pods(one.name) for one in addon.recipe.parts if part.name in one.reaches]
    if part.site and addon.host:
        sources.append({"namespaceSelector": _namespace(_SYSTEM), "podSelector": {"matchLabels": {NAME: "traefik"}}})
    if part is addon.recipe.parts[0]:
        sources += [{"namespaceSelector": _namespace(one)} for one in addon.clients]
    ingress = [{"from": sources, "ports": _ports([part.port])}] if sources and part.port else []
    egress: list[Object] = [
        {"to": [_pods(name)], "ports": _ports([parts[name].port])} for name in part.reaches if name in parts
    ]
    if "api" in part.reaches:
        egress.append({"ports": _ports(_API_PORTS)})
    if "nodes" in part.reaches:
        egress.append({"ports": _ports([_KUBELET_PORT])})
    if "internet" in part.reaches:
        blocks = [{"ipBlock": {"cidr": all_, "except": list(home)}} for all_, home in _PRIVATE.items()]
        egress.append({"to": blocks, "ports": _ports(_INTERNET_PORTS)})
    return network_policy(place, part.name, {NAME: part.name}, ingress, egress)


def _dns() -> Object:
    server = {"namespaceSelector": _namespace(_SYSTEM), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    return {"to": [server], "ports": [*_ports([_DNS_PORT], "UDP"), *_ports([_DNS_PORT])]}


def _pods(name: str) -> Object:
    return {"podSelector": {"matchLabels": {NAME: name}}}


def _namespace(name: str) -> Object:
    return {"matchLabels": {NAMESPACE_NAME: name}}


def _ports(numbers: Iterable[int], protocol: str = "TCP") -> list[Object]:
    return [{"protocol": protocol, "port": number} for number in numbers]
