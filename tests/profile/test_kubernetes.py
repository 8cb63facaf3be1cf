"""Shapes of what k3s and Kubernetes name: the good come out as they are, the hostile and the forbidden do not."""

import re

import pytest

from imagesmith.profile import kubernetes

HOSTILE = ["", " ", "a\n", "a;b", "$(x)", "`x`", "a b", "../x", "a'b", 'a"b', "{{ 7*7 }}", "ａ", "-rf", "a\x00"]
CHECKS = [
    kubernetes.version,
    kubernetes.channel,
    kubernetes.label_key,
    kubernetes.taint,
    kubernetes.network,
    kubernetes.interface,
    kubernetes.registry,
    kubernetes.endpoint,
    kubernetes.mirror,
    kubernetes.proxy,
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_nothing(check, text):
    with pytest.raises(ValueError):
        check(text)


@pytest.mark.parametrize("text", [one for one in HOSTILE if one not in ("", "a'b")])
def test_hostile_text_is_no_label_value(text):
    with pytest.raises(ValueError):
        kubernetes.label_value(text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (kubernetes.version, "v1.36.3+k3s1"),
        (kubernetes.version, "v1.37.10+k3s12"),
        (kubernetes.channel, "latest"),
        (kubernetes.channel, "v1.36"),
        (kubernetes.label_key, "disk"),
        (kubernetes.label_key, "example.org/Disk_1.x"),
        (kubernetes.label_key, "topology.kubernetes.io/zone"),
        (kubernetes.label_key, "node.kubernetes.io/speed"),
        (kubernetes.label_key, "rack.node.kubernetes.io/slot"),
        (kubernetes.label_key, "svccontroller.k3s.cattle.io/enablelb"),
        (kubernetes.label_key, "k8s.iot/x"),
        (kubernetes.label_value, ""),
        (kubernetes.label_value, "x" * 63),
        (kubernetes.taint, "dedicated=storage:NoSchedule"),
        (kubernetes.taint, "dedicated:NoExecute"),
        (kubernetes.taint, "dedicated=:PreferNoSchedule"),
        (kubernetes.taint, "node-role.kubernetes.io/control-plane=true:NoSchedule"),
        (kubernetes.network, "10.42.0.0/16"),
        (kubernetes.network, "fd00::/48"),
        (kubernetes.interface, "enp1s0.20"),
        (kubernetes.ports, "9100/tcp"),
        (kubernetes.ports, "65535/udp"),
        (kubernetes.ports, "1-65535/tcp"),
        (kubernetes.registry, "docker.io"),
        (kubernetes.registry, "nas.home.arpa:5000"),
        (kubernetes.registry, "10.0.0.1:5000"),
        (kubernetes.registry, "*"),
        (kubernetes.endpoint, "https://nas.home.arpa:5000/v2/cache"),
        (kubernetes.endpoint, "http://[fd00::5]:5000"),
        (kubernetes.proxy, "http://10.0.0.1:3128"),
        (kubernetes.login_name, "robot$puller"),
    ],
)
def test_what_is_right_stays_as_it_is(check, text):
    assert check(text) == text


@pytest.mark.parametrize(
    ("check", "text", "why"),
    [
        (kubernetes.label_key, "node-role.kubernetes.io/worker", "`kubectl label node NODE node-role."),
        (kubernetes.label_key, "kubernetes.io/hostname", "finds 'kubernetes.io/hostname' out by itself"),
        (kubernetes.label_key, "kubernetes.io/x", "choose a prefix of your own"),
        (kubernetes.label_key, "app.kubernetes.io/name", "choose a prefix of your own"),
        (kubernetes.label_key, "node-restriction.kubernetes.io/x", "choose a prefix of your own"),
        (kubernetes.label_key, "foo.k8s.io/x", "choose a prefix of your own"),
        (kubernetes.label_key, "x" * 64, "is not a label's key"),
        (kubernetes.label_key, "Example.org/x", "is not a label's key"),
        (kubernetes.label_key, "a/b/c", "is not a label's key"),
        (kubernetes.label_key, "/x", "is not a label's key"),
        (kubernetes.label_value, "x" * 64, "63 characters at most"),
        (kubernetes.label_value, "-x", "not first or last"),
        (kubernetes.taint, "dedicated", "is not a taint"),
        (kubernetes.taint, "a=b:noschedule", "is none of a taint's effects"),
        (kubernetes.taint, "a=b c:NoSchedule", "is not a label's value"),
        (kubernetes.taint, "=b:NoSchedule", "is not a taint's key"),
        (kubernetes.taint, "node.kubernetes.io/not-ready:NoExecute", "by Kubernetes itself"),
        (kubernetes.network, "0.0.0.0/0", "is not a network that a cluster can have"),
        (kubernetes.network, "169.254.0.0/16", "is not a network that a cluster can have"),
        (kubernetes.interface, "lo", "leads to no other node"),
        (kubernetes.ports, "9100", "is not a port with its protocol"),
        (kubernetes.ports, "9100/TCP", "is not a port with its protocol"),
        (kubernetes.ports, "0/tcp", "is not a port with its protocol"),
        (kubernetes.ports, "09/tcp", "is not a port with its protocol"),
        (kubernetes.ports, "9100/tcp accept", "is not a port with its protocol"),
        (kubernetes.ports, "9100/tcp\n", "is not a port with its protocol"),
        (kubernetes.ports, "65536/tcp", "above 65535"),
        (kubernetes.ports, "1-65536/tcp", "above 65535"),
        (kubernetes.ports, "20-10/tcp", "from a lower port to a higher"),
        (kubernetes.ports, "20-20/tcp", "from a lower port to a higher"),
        (kubernetes.interface, "x" * 16, "is not a network interface"),
        (kubernetes.registry, "docker.io/library", "is not a registry"),
        (kubernetes.endpoint, "ftp://nas", "is not a registry's address"),
        (kubernetes.endpoint, "https://nas:99999", "is not a registry's address"),
        (kubernetes.proxy, "http://proxy:3128/path", "is not a proxy"),
        (kubernetes.login_name, "a:b", "no colon"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(check, text, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        check(text)


def test_a_trailing_slash_of_an_address_is_taken_away():
    assert kubernetes.mirror("http://ftp.de.debian.org/debian/") == "http://ftp.de.debian.org/debian"
