"""Shapes of what k3s and Kubernetes name: versions, labels, taints, networks of pods and services, registries.

Like `names`: every function takes the text as written and returns it cleaned, or raises ValueError with what is wrong
and how to write it. Used by the readers of an inventory.
"""

from __future__ import annotations

import ipaddress
import re

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS = rf"{_LABEL}(\.{_LABEL})*"

# What a kubelet may say of its own node: Kubernetes' documentation of the admission plugin NodeRestriction.
_KUBELETS_OWN = (
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
)
_KUBELETS_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_FOUND_OUT = ("hostname", "arch", "os")


def version(text: str) -> str:
    """A release of k3s, as `v1.36.3+k3s1`."""
    if not re.fullmatch(r"v[1-9][0-9]?\.[0-9]{1,3}\.[0-9]{1,3}\+k3s[1-9][0-9]?", text):
        raise ValueError(f"{text[:60]!r} is not a version of k3s; write all of it, like v1.36.3+k3s1")
    return text


def channel(text: str) -> str:
    """`stable`, `latest`, or a minor version."""
    if not re.fullmatch(r"stable|latest|v[1-9][0-9]?\.[0-9]{1,3}", text):
        raise ValueError(f"{text[:60]!r} is not a channel of k3s; write stable, latest, or a minor version like v1.36")
    return text


def label_key(text: str) -> str:
    """A label's key that a kubelet may give its own node, as `disk` or `example.org/rack`."""
    prefix, name = _qualified(text, "a label's key; write it like disk or example.org/rack")
    if not prefix or not _is_kubernetes(prefix):
        return text
    if prefix == "node-role.kubernetes.io":
        raise ValueError(
            f"a kubelet may not set {text!r} on its own node, or any node could call itself a server: "
            f"give it once the node has joined, by `kubectl label node NODE {text}=true`"
        )
    if prefix in ("kubernetes.io", "beta.kubernetes.io") and name in _FOUND_OUT:
        raise ValueError(f"the kubelet finds {text!r} out by itself; leave it away")
    allowed = any(prefix == one or prefix.endswith(f".{one}") for one in _KUBELETS_PREFIXES)
    if text not in _KUBELETS_OWN and not allowed:
        raise ValueError(
            f"{prefix}/ is Kubernetes' own, and a kubelet that is to set {text!r} does not start; "
            "choose a prefix of your own, like example.org/, or node.kubernetes.io/"
        )
    return text


def label_value(text: str) -> str:
    if text and not re.fullmatch(_WORD, text):
        raise ValueError(
            f"{text[:80]!r} is not a label's value; use letters, digits, -, _ and . (not first or last), "
            "63 characters at most"
        )
    return text


def taint(text: str) -> str:
    """`key=value:NoSchedule`, or `key:NoSchedule`."""
    written, colon, effect = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text[:80]!r} is not a taint; write it like dedicated=storage:NoSchedule")
    if effect not in EFFECTS:
        raise ValueError(f"{effect[:40]!r} is none of a taint's effects: {', '.join(EFFECTS)}")
    key, _, value = written.partition("=")
    prefix, _ = _qualified(key, "a taint's key; write it like dedicated or example.org/storage")
    if prefix in ("node.kubernetes.io", "node.cloudprovider.kubernetes.io"):
        raise ValueError(f"{key!r} is set and taken away by Kubernetes itself, as the node's state changes")
    label_value(value)
    return text


def network(text: str) -> str:
    """A whole network, as `10.42.0.0/16`."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not a network; write it like 10.42.0.0/16") from None
    if "/" not in text:
        raise ValueError(f"{text[:60]!r} lacks the prefix length; write it like 10.42.0.0/16")
    if ipaddress.ip_address(text.partition("/")[0]) != found.network_address:
        raise ValueError(f"{text[:60]!r} is an address in a network; the network is {found}")
    if found.is_multicast or found.is_loopback or found.is_link_local or not found.prefixlen:
        raise ValueError(f"{found} is not a network that a cluster can have")
    return str(found)


def interface(text: str) -> str:
    """A network interface, as `ip link` names it."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", text):
        raise ValueError(f"{text[:40]!r} is not a network interface; write it as `ip link` does, like eth0 or enp1s0")
    if text == "lo" or text.startswith(("flannel", "cni", "veth")):
        raise ValueError(f"{text!r} leads to no other node; name the one with the node's address")
    return text


def ports(text: str) -> str:
    """Ports that a firewall leaves open, as `9100/tcp` or `27015-27030/udp`."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?/(?:tcp|udp)", text)
    if not found:
        raise ValueError(f"{text[:40]!r} is not a port with its protocol; write it like 9100/tcp or 27015-27030/udp")
    low, high = int(found[1]), int(found[2] or 65535)
    if max(low, high) > 65535:
        raise ValueError(f"{text!r} has a port above 65535, and there is none")
    if low >= high and found[2]:
        raise ValueError(f"{text!r} does not go from a lower port to a higher one; write it like 27015-27030/udp")
    return text


def registry(text: str) -> str:
    """As images name it: `docker.io`, `nas.home.arpa:5000`; or `*`."""
    if text != "*" and not (re.fullmatch(rf"{_DNS}(:[0-9]{{1,5}})?", text) and len(text) <= 255 and _port(text)):
        raise ValueError(
            f"{text[:80]!r} is not a registry; write it as images do, like docker.io or nas.home.arpa:5000; "
            "or '*' for all"
        )
    return text


def endpoint(text: str) -> str:
    """Where a registry answers, as `https://nas.home.arpa:5000`."""
    return _address(text, "a registry's address, like https://nas.home.arpa:5000", path=True)


def mirror(text: str) -> str:
    """Where packages come from, as `http://ftp.de.debian.org/debian`."""
    return _address(text, "a mirror's address, like http://ftp.de.debian.org/debian", path=True)


def proxy(text: str) -> str:
    return _address(text, "a proxy, like http://proxy.home.arpa:3128", path=False)


def login_name(text: str) -> str:
    """Who logs in to a registry: no colon, since HTTP ends the name there."""
    if not re.fullmatch(r"[\x21-\x39\x3b-\x7e]{1,128}", text):
        raise ValueError(f"{text[:40]!r} is not a user's name: no spaces, no colon, 128 characters at most")
    return text


def _address(text: str, what: str, *, path: bool) -> str:
    rest = r"(/[A-Za-z0-9._~%+=-]+)*/?" if path else "/?"
    if "@" in text:
        raise ValueError(f"a name or password has no place in {what.partition(',')[0]}: every program could read it")
    host = rf"({_DNS}|\[[0-9a-fA-F:]+\])"
    if not re.fullmatch(rf"https?://{host}(:[0-9]{{1,5}})?{rest}", text) or not _port(text.partition("://")[2]):
        raise ValueError(f"{text[:80]!r} is not {what}")
    return text.removesuffix("/")


def _port(text: str) -> bool:
    """Whether the port in it, if there is one, is a port."""
    found = re.search(r":([0-9]+)(/|$)", text)
    return not found or 0 < int(found[1]) < 65536


def _qualified(text: str, what: str) -> tuple[str, str]:
    """The prefix and the name of a key; no prefix is fine."""
    prefix, slash, name = text.rpartition("/")
    good = re.fullmatch(_WORD, name) and (not slash or (re.fullmatch(_DNS, prefix) and len(prefix) <= 253))
    if not good:
        raise ValueError(f"{text[:80]!r} is not {what}")
    return prefix, name


def _is_kubernetes(prefix: str) -> bool:
    return any(prefix == one or prefix.endswith(f".{one}") for one in ("kubernetes.io", "k8s.io"))
