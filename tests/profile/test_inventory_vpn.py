"""An inventory with VPNs: what its tables mean, and every mistake in them told with its place."""

from __future__ import annotations

import pytest
from inventories import ONE, RACK, changed, complaints, load

from imagesmith.model import Digest, Hamachi, ZeroTier, ZeroTierApi
from imagesmith.secret import SecretRef

NETWORK = "8056c2e21c000001"
ZEROTIER = f"vpn:\n  zerotier:\n    network: {NETWORK}\n"
K3S = "k3s: {channel: stable}"
URL = "https://vpn.example/logmein-hamachi_2.1.0.203-1_amd64.deb"
FIRST = "address: 192.168.1.10/24"
SECOND = "profile: pi-worker"


def with_vpn(text: str, base: str = ONE, *changes: tuple[str, str]) -> str:
    at = "k3s: {channel: stable}\n" if base is ONE else "network:\n"
    return changed(base, (at, f"{text}{at}"), *changes)


def on_both(text: str, first: str = "10.147.17.10", second: str = "10.147.17.11") -> str:
    return with_vpn(
        text, ONE, (FIRST, f"{FIRST}\n    zerotier: {first}"), (SECOND, f"{SECOND}\n    zerotier: {second}")
    )


def test_a_network_id_is_enough_and_all_nodes_are_members():
    vpn = load(with_vpn(ZEROTIER)).vpn
    assert vpn is not None
    assert vpn.zerotier == ZeroTier(NETWORK, members={"a": "", "d": ""})
    assert vpn.hamachi is None


def test_all_that_can_be_said_of_zerotier():
    text = (
        f"{ZEROTIER}    routes: [managed, dns, managed]\n    k3s: yes\n"
        "    central: {token_file: secrets/central.token, url: https://zt.example/api/v2/, scheme: bearer}\n"
        "    file: {arm64: zerotier-one_1.16.2_arm64.deb}\n"
    )
    assert load(on_both(text)).vpn.zerotier == ZeroTier(
        NETWORK,
        ("managed", "dns"),
        k3s=True,
        api=ZeroTierApi("central", "https://zt.example/api/v2", SecretRef("file:secrets/central.token"), "bearer"),
        members={"a": "10.147.17.10", "d": "10.147.17.11"},
        files={"arm64": "zerotier-one_1.16.2_arm64.deb"},
    )


def test_a_controller_of_one_s_own_is_asked_on_this_machine_unless_another_is_named():
    text = f"{ZEROTIER}    controller: {{token_file: secrets/authtoken}}\n"
    api = load(with_vpn(text)).vpn.zerotier.api
    assert (api.kind, api.url) == ("controller", "http://127.0.0.1:9993")


def test_a_node_may_stay_out():
    text = with_vpn(ZEROTIER, ONE, (SECOND, f"{SECOND}\n    zerotier: none"))
    assert load(text).vpn.zerotier.members == {"a": ""}


def test_without_the_key_there_is_no_vpn():
    assert load(ONE).vpn is None


def test_all_that_can_be_said_of_hamachi():
    text = (
        "vpn:\n  hamachi:\n    network: 123-456-789\n    nodes: [a]\n    account: me@example.org\n"
        f"    password_file: secrets/hamachi\n    url: {URL}\n    sha256: {'AB' * 32}\n"
    )
    assert load(with_vpn(text)).vpn.hamachi == Hamachi(
        "123-456-789",
        ("a",),
        "me@example.org",
        SecretRef("file:secrets/hamachi"),
        url=URL,
        digest=Digest("sha256", "ab" * 32),
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("vpn: {zerotier: {}}\n", 3, "'network' is required"),
        ("vpn:\n  # nothing\n  {}\n", 5, "names no network"),
        ("vpn:\n  zerotier:\n    network: 8056c2e21c00000\n", 5, "is not the id of a ZeroTier network"),
        ("vpn:\n  zerotier:\n    network: ff00160016000000\n", 5, "ad-hoc network"),
        (f"{ZEROTIER}    routes: [default, dns]\n", 6, "a default route needs the addresses that come with `managed`"),
        (f"{ZEROTIER}    routes: [manged]\n", 6, "did you mean 'managed'?"),
        (f"{ZEROTIER}    central: {{}}\n", 6, "'token_file' is required"),
        (f"{ZEROTIER}    central: {{token_file: abcdef}}\n", 6, "not the name of a file"),
        (f"{ZEROTIER}    central: {{token_file: a.b, url: 'http://zt.example/'}}\n", 6, "the token in the clear"),
        (f"{ZEROTIER}    central: {{token_file: a.b, url: 'https://u:p@x/'}}\n", 6, "is not an API's address"),
        (f"{ZEROTIER}    central: {{token_file: a.b}}\n    controller: {{token_file: a.c}}\n", 7, "has one controller"),
        (f"{ZEROTIER}    file: {{amd64: zerotier.rpm}}\n", 6, "ends in .deb"),
        ("vpn:\n  hamachi: {network: 123-456-789, file: h.deb}\n", 4, "'nodes' is required"),
        ("vpn:\n  hamachi: {network: 123-456-789, nodes: [a]}\n", 4, "where is it?"),
        ("vpn:\n  hamachi: {network: n, nodes: [a], file: h.deb}\n", 4, "is no network of Hamachi"),
        (f"vpn:\n  hamachi: {{network: 123-456-789, nodes: [a], url: {URL}}}\n", 4, "nobody signs this package"),
        (
            f"vpn:\n  hamachi: {{network: 123-456-789, nodes: [a], sha256: {'0' * 64}, url: https://x/h.deb}}\n",
            4,
            "is not the package of a PC",
        ),
        ("vpn:\n  hamachi: {network: 123-456-789, nodes: [b], file: h.deb}\n", 4, "there is no node 'b'"),
    ],
)  # fmt: skip
def test_mistakes_in_it_are_told_with_their_line(text: str, line: int, said: str):
    (problem,) = complaints(with_vpn(text))
    assert problem.startswith(f"cluster.yaml:{line}: ")
    assert said in problem


def test_hamachi_on_an_arm_board_is_refused_with_the_reason():
    (problem,) = complaints(with_vpn("vpn:\n  hamachi: {network: 123-456-789, nodes: [d], file: h.deb}\n"))
    assert "d is A Pi (arm64), and LogMeIn has no Hamachi for that (give it ZeroTier" in problem


def test_a_member_s_address_without_a_network_is_refused():
    (problem,) = complaints(changed(ONE, (FIRST, f"{FIRST}\n    zerotier: 10.147.17.10")))
    assert "there is none in this inventory" in problem


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("10.147.17.10", "10.147.17.10", "two nodes have the address 10.147.17.10"),
        ("10.147.17.10", "10.42.3.4", "is in the pods' network"),
        ("10.43.0.1", "10.147.17.11", "is in the services' network"),
        ("192.168.1.77", "10.147.17.11", "the network of a itself"),
        ("10.147.17.10/24", "10.147.17.11", "has a prefix length"),
    ],
)
def test_an_address_that_no_member_can_have(first: str, second: str, said: str):
    (problem,) = complaints(on_both(ZEROTIER, first, second))
    assert said in problem


# -- k3s over it ----------------------------------------------------------------------------------


def test_k3s_over_it_needs_every_node_s_address():
    found = complaints(with_vpn(f"{ZEROTIER}    k3s: true\n"))
    assert len(found) == 2
    assert "a has no address there" in found[0]


def test_k3s_over_it_is_refused_for_etcd_on_several_servers():
    addresses = [(f"  - name: {name}\n", f"  - name: {name}\n    zerotier: 10.147.17.{at}\n")
                 for at, name in enumerate("abcd", 1)]  # fmt: skip
    text = with_vpn(f"{ZEROTIER}    k3s: true\n", RACK, *addresses)
    found = "\n".join(complaints(text))
    assert "vpn.zerotier.k3s: k3s does not support etcd over a VPN, and there are 3 servers" in found
    assert "network.vip: k3s is to go over ZeroTier" in found


def test_a_package_for_no_board_is_refused():
    text = changed(ONE, (SECOND, "profile: pc-server\n    role: worker"))
    at = "k3s: {channel: stable}\n"
    text = changed(text, (at, f"{ZEROTIER}    file: {{arm64: z.deb}}\n{at}"))
    (problem,) = complaints(text)
    assert "there is a package for arm64, and no node with such a processor" in problem


def test_without_k3s_it_is_said_to_be_for_nothing():
    text = changed(ONE, (f"{K3S}\n", ZEROTIER))
    (problem,) = complaints(text)
    assert "vpn: this is for the nodes of a k3s cluster" in problem
