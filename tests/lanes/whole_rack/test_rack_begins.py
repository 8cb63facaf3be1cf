"""From one inventory to a cluster: three images, the agents switched on first, seen by the host's own kubectl and ssh.

k3s is the tests' stand-in unless IMAGESMITH_K3S names the real program; which of them it was is in every output. The
tests look at one rack, in this order; the last ones switch its machines off and on again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from lanes.racks import AGENTS, LANE, NODES, PATIENCE_S, SERVER, fat_copy, passwords_of, secrets_of
from rack.desk import Desk
from rack.running import Rack

from imagesmith.boot.report import judge
from imagesmith.formats import manifest

pytestmark = LANE

# What everybody can read, the programs of the base apart. The patterns come by standard input, never by a command line.
SEARCH = """
umask 077
cat >/run/patterns
known='-path /usr/share -o -path /usr/lib/x86_64-linux-gnu -o -path /usr/lib/modules -o -path /usr/lib/python3'
{
    find / /run /boot/efi /tmp -xdev \\( $known -o -path /usr/bin \\) -prune -o -type f -perm -004 -print0
    printf '%s\\0' /proc/[0-9]*/cmdline
} | xargs -0 grep -slF -f /run/patterns | sort -u
rm /run/patterns
"""
BAIT = "a text that this test alone knows"


@pytest.mark.parametrize("node", AGENTS)
def test_agents_that_were_on_first_waited_for_the_server(rack: Rack, ready: object, node: str) -> None:
    gate = rack.asked(node, "journalctl", "-b", "-u", "k3s-agent", "-o", "cat", "--no-pager")
    assert "waiting: https://10.77.0.1:6443 does not answer" in gate
    assert rack.status(node)["state"] == "joined"


def test_the_nodes_become_a_cluster(rack: Rack, ready: object) -> None:
    """The proof is the host's kubectl, with the kubeconfig that was there before the first power-on."""
    table = rack.kubectl.table()
    print(f"{rack.desk.k3s.words if rack.desk.k3s else ''}\n{table}")
    assert [line.split()[:2] for line in sorted(table.splitlines()[1:])] == [[node, "Ready"] for node in sorted(NODES)]


def test_nodes_have_their_addresses_and_labels(rack: Rack, ready: object) -> None:
    shown = rack.kubectl.nodes()
    for node in NODES:
        addresses = {one["type"]: one["address"] for one in shown[node]["status"]["addresses"]}
        assert addresses == {"InternalIP": rack.addresses[node], "Hostname": node}
    assert shown["agent-2"]["metadata"]["labels"]["disk"] == "slow"


@pytest.mark.parametrize("node", NODES)
def test_first_boots_kept_their_promises(rack_desk: Desk, ready: Mapping[str, Mapping[str, str]], node: str) -> None:
    promised = manifest.parse(rack_desk.image(node).with_suffix(".manifest.json").read_bytes()).promises
    # What an agent waits for at the end is promised of one that is booted alone.
    kept, broken = judge([one for one in promised if one.fact != "k3s.waits_for"], ready[node])
    assert len(kept) > 20
    assert not broken, "\n".join(map(str, broken))


@pytest.mark.parametrize("port", [22, 2222], ids=["openssh", "dropbear"])
@pytest.mark.parametrize("node", NODES)
def test_ssh_asks_nothing(rack: Rack, ready: object, node: str, port: int) -> None:
    """By the known_hosts that was there before; the greeting shows who answers."""
    done = rack.ssh(node, "hostname", port=port)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{node}\n", "")
    assert ("dropbear" in rack.greeting(node, port)) == (port == 2222)


@pytest.mark.parametrize("node", NODES)
def test_what_everybody_can_read_holds_no_secret(rack: Rack, ready: object, node: str) -> None:
    """In the running guest; a file of the test's own shows that the search would find one."""
    rack.asked(node, "sh", "-c", f"umask 022; echo {BAIT} >/tmp/bait")
    drawn = {*secrets_of(rack.desk, node).values(), *passwords_of(rack.desk).values()}
    assert len(drawn) > 6
    patterns = "\n".join([*drawn, BAIT]) + "\n"
    found = rack.asked(node, "sh", "-c", SEARCH, given=patterns, within_s=400)
    rack.asked(node, "rm", "/tmp/bait")
    assert found.splitlines() == ["/tmp/bait"]


@pytest.mark.parametrize("node", NODES)
def test_fat_holds_no_secret(rack_desk: Desk, node: str, tmp_path: Path) -> None:
    """FAT keeps no modes: whoever holds the card reads it, and so does every program on the node."""
    secrets, files = (
        {**secrets_of(rack_desk, node), **passwords_of(rack_desk)},
        fat_copy(rack_desk, node, tmp_path / "fat"),
    )
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        assert not [name for name, secret in secrets.items() if secret.encode() in data], path
        assert b"PRIVATE KEY-----" not in data, path


def test_no_node_has_more_than_its_share(rack_desk: Desk) -> None:
    """Agents get the agents' token, never the server's; every node has a password of its own."""
    server, *agents = (secrets_of(rack_desk, node) for node in NODES)
    assert sorted(server) == ["agent-token of user node", "node password", "token of user server"]
    for agent in agents:
        assert sorted(agent) == ["node password", "token of user node"]
        assert agent["token of user node"] == server["agent-token of user node"]
        assert server["token of user server"] not in agent.values()
    assert len({one["node password"] for one in (server, *agents)}) == 3


def test_agents_come_back_after_a_power_cut_and_after_a_shutdown(rack: Rack, ready: object) -> None:
    one, two = (rack.machines[node] for node in AGENTS)
    one.cut_power()
    assert two.shut_down()
    for machine in (one, two):
        machine.switch_on()
    rack.wait_until_back(AGENTS, PATIENCE_S)


def test_the_cluster_bears_a_server_that_is_down_for_a_while(rack: Rack, ready: object) -> None:
    """Its power is cut; the agents run on, one is even restarted, waits, and finds the server again."""
    rack.machines[SERVER].cut_power()
    rack.asked(AGENTS[0], "systemctl", "--no-block", "restart", "k3s-agent")
    said = rack.wait_for_status(AGENTS[0], lambda status: status["waits_for"] == "server", PATIENCE_S)
    assert said["state"] == "waiting"
    assert rack.asked(AGENTS[1], "systemctl", "show", "-P", "ActiveState", "k3s-agent") == "active\n"
    rack.machines[SERVER].switch_on()
    rack.wait_until_back([SERVER], PATIENCE_S)
    rack.wait_for_status(AGENTS[0], lambda status: status["state"] == "joined", PATIENCE_S)
    rack.wait_until_ready(NODES, PATIENCE_S)
