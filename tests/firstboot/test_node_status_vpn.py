"""What a node tells of its VPNs, by its clients' own words, and what is made of it."""

from __future__ import annotations

import subprocess

import pytest
from node_folder import NodeFolder

from imagesmith.planning.health import read_facts
from imagesmith.planning.vpn_health import vpn_word, vpn_wrong

NETWORK, MEMBER = "8056c2e21c000001", "8e4df28b72"
HEAD = "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>"
ROW = f"200 listnetworks {NETWORK} my own net 02:aa:bb:cc:dd:ee %s PRIVATE ztmjfmfyq5 %s"


def told(node: NodeFolder) -> dict[str, str]:
    script = (node.library / "node-status").read_bytes()
    done = subprocess.run(["sh", "-s"], input=script, env=node.environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return dict(read_facts(done.stdout, "node-1").told)


def zerotier(node: NodeFolder, state: str = "OK", addresses: str = "10.147.17.10/24", runs_as: str = MEMBER) -> None:
    conf = {"NETWORK": NETWORK, "MEMBER": MEMBER, "ADDRESS": "10.147.17.10"}
    node.write("etc/imagesmith/zerotier.conf", "".join(f"ZEROTIER_{key}='{one}'\n" for key, one in conf.items()))
    row = ROW % (state, addresses)
    node.stand_in(
        "zerotier-cli",
        f"case $1 in info) echo '200 info {runs_as} 1.16.2 ONLINE' ;; *) echo '{HEAD}'; echo '{row}' ;; esac",
    )


def test_a_node_in_no_vpn_tells_nothing_of_it(node: NodeFolder) -> None:
    facts = told(node)
    assert not [key for key in facts if key.startswith("vpn.")]
    assert (vpn_word(facts), list(vpn_wrong(facts))) == ("", [])


def test_a_member_tells_its_address_whatever_its_network_is_called(node: NodeFolder) -> None:
    zerotier(node, addresses="fd80::1/88,10.147.17.10/24")
    facts = told(node)
    assert (facts["vpn.zerotier.state"], facts["vpn.zerotier.device"]) == ("OK", "ztmjfmfyq5")
    assert list(vpn_wrong(facts)) == []


def test_a_member_s_word_is_its_address(node: NodeFolder) -> None:
    zerotier(node)
    assert vpn_word(told(node)) == "10.147.17.10"


@pytest.mark.parametrize(
    ("state", "addresses", "word", "said"),
    [
        ("ACCESS_DENIED", "-", "waits to be let in", f"it waits to be let into {NETWORK}, as {MEMBER}: imagesmith vpn"),
        ("NOT_FOUND", "-", "not_found", "there is no such network"),
        ("REQUESTING_CONFIGURATION", "-", "requesting_configuration", "controller, which has not answered yet"),
        ("OK", "10.147.17.99/24", "10.147.17.99", "it has not 10.147.17.10 there, but 10.147.17.99"),
        ("OK", "-", "no address", "it has not 10.147.17.10 there, but no address"),
        ("SOMETHING_NEW", "-", "something_new", "is SOMETHING_NEW"),
    ],
)
def test_what_a_member_waits_for_is_told(node: NodeFolder, state: str, addresses: str, word: str, said: str) -> None:
    zerotier(node, state, addresses)
    facts = told(node)
    (wrong,) = vpn_wrong(facts)
    assert said in wrong
    assert vpn_word(facts) == word


def test_a_daemon_that_does_not_run_is_told(node: NodeFolder) -> None:
    zerotier(node)
    node.stand_in("zerotier-cli", "echo 'zerotier-cli: missing port' >&2; exit 2")
    facts = told(node)
    assert list(vpn_wrong(facts)) == ["ZeroTier: it does not run: systemctl status zerotier-one"]
    assert vpn_word(facts) == "not running"


def test_a_daemon_with_another_identity_is_told(node: NodeFolder) -> None:
    zerotier(node, runs_as="1111111111")
    assert "it runs as 1111111111, and this node is 8e4df28b72" in "".join(vpn_wrong(told(node)))


@pytest.mark.parametrize(
    ("client", "joined", "said"),
    [
        ("echo ' status     : logged in'; echo ' address    : 25.1.2.3    2620::1'", "active", []),
        ("echo ' status     : offline'", "failed", ["Hamachi: offline"]),
        ("exit 1", "failed", ["Hamachi: it does not run: systemctl status logmein-hamachi"]),
        (
            "echo ' status     : logged in'",
            "activating",
            ["Hamachi: it is not in its network yet: journalctl -u imagesmith-hamachi"],
        ),
    ],
)
def test_hamachi_is_told_too(node: NodeFolder, client: str, joined: str, said: list[str]) -> None:
    node.write("etc/imagesmith/hamachi.conf", "HAMACHI_NETWORK='123-456-789'\n")
    node.stand_in("hamachi", client)
    node.stand_in("systemctl", f"case $1 in is-active) echo {joined} ;; esac")
    facts = told(node)
    assert list(vpn_wrong(facts)) == said
    if not said:
        assert vpn_word(facts) == "25.1.2.3"
