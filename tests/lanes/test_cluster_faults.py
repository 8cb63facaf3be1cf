"""A rack that has a bad day: power cuts in first boots, a clock of long ago, a server of another cluster in between.

Nothing is repaired by hand: at the end all nodes are Ready. k3s is the tests' stand-in unless IMAGESMITH_K3S names the
real program. The times of the power cuts are random: the seed is printed, and IMAGESMITH_SEED repeats it. Times are
seconds of processor that the guest has used, which tell how far it has come on a busy machine too. The tests look at
one rack, in this order.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator

import pytest
from lanes.racks import AGENTS, INVENTORY, LANE, NODES, PATIENCE_S, SERVER, read
from rack.desk import Desk
from rack.guests import Machine
from rack.network import Lan
from rack.running import Rack

from imagesmith.boot.report import judge
from imagesmith.formats import manifest

pytestmark = [*LANE, pytest.mark.long]

TELLS_TIME = False
SEED = int(os.environ.get("IMAGESMITH_SEED") or time.time())
FIRST_BOOT_S = (12.0, 90.0)
"""Between the kernel's first line and the last of the first boot's steps, in processor time."""
CLOUD_INIT_S = 12.0
"""Of processor time, from cloud-init's first word to its last."""
CUT, LATE = AGENTS


@pytest.fixture(scope="module")
def rack(rack_desk: Desk, lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with Rack(rack_desk, lan, tmp_path_factory.mktemp("bad-day")) as made:
        yield made


@pytest.fixture(scope="module")
def chance() -> random.Random:
    print(f"IMAGESMITH_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory, rack_desk: Desk) -> Desk:
    """Another cluster, whose server has our server's address."""
    desk = Desk(tmp_path_factory.mktemp("strangers"), INVENTORY.replace("NAME", "strangers"), rack_desk.k3s)
    desk.draw()
    desk.build(SERVER)
    return desk


@pytest.fixture(scope="module")
def agents_on(rack: Rack, chance: random.Random) -> None:
    """One agent's power is cut twice in its first boot, once while cloud-init writes; the other's battery is empty."""
    rack.insert(LATE).switch_on(clock="2000-01-01T00:00:00")
    cut = rack.insert(CUT)
    cut.switch_on()
    wait_for_console(cut, b"running 'init-local'")
    cut_after(cut, cut.busy_s + chance.uniform(0.5, CLOUD_INIT_S))
    cut.switch_on()
    cut_after(cut, chance.uniform(*FIRST_BOOT_S))
    cut.switch_on()


def wait_for_console(machine: Machine, words: bytes) -> None:
    until = time.monotonic() + PATIENCE_S
    while words not in machine.log.read_bytes():
        assert time.monotonic() < until and not machine.died, machine.tail()
        time.sleep(0.1)


def cut_after(machine: Machine, busy_s: float) -> None:
    """Pull the plug once the guest has used so much of a processor."""
    until = time.monotonic() + PATIENCE_S
    while machine.busy_s < busy_s and time.monotonic() < until and not machine.died:
        time.sleep(0.1)
    print(f"{machine.name}: power cut after {machine.busy_s:.1f} s of processor, {machine.elapsed:.0f} s on the wall")
    machine.cut_power()


def test_a_first_boot_that_lost_its_power_is_made_good(rack: Rack, rack_desk: Desk, agents_on: None) -> None:
    facts = rack.machines[CUT].report(PATIENCE_S)
    promised = manifest.parse(rack_desk.image(CUT).with_suffix(".manifest.json").read_bytes()).promises
    kept, broken = judge(promised, facts)
    assert kept and not broken, "\n".join(map(str, broken))


def test_a_clock_of_long_ago_is_set_forward_and_told_about(rack: Rack, agents_on: None) -> None:
    """No certificate would be good then; without a time server it goes on, and says what that may mean.

    A PC's firmware takes no year before 1998; an arm64 node starts in 1970 in test_cluster_ha.py.
    """
    facts = rack.machines[LATE].report(PATIENCE_S)
    kernel = rack.asked(LATE, "journalctl", "-b", "-k", "--no-pager", "-g", "setting system clock to")
    assert "2000-01-01T00:0" in kernel
    assert facts["clock_ok"] == "yes" and facts["clock_synchronized"] == "no"
    gate = rack.asked(LATE, "journalctl", "-b", "-u", "k3s-agent", "--no-pager")
    assert "no time server has answered yet" in gate
    assert facts["k3s.waits_for"] == "server"


def test_another_clusters_server_is_refused_by_name(rack: Rack, strangers: Desk, agents_on: None) -> None:
    """A machine in the middle: at the right address, with k3s, and not ours. The agent's token never goes there."""
    rack.insert(SERVER, desk=strangers, called="stranger").switch_on()
    said = rack.wait_for_status(CUT, lambda status: "refused" in status["reason"], PATIENCE_S)
    assert said["state"] == "waiting" and said["waits_for"] == "server"
    assert "https://10.77.0.1:6443 is refused: it is another cluster's" in said["reason"]
    started = rack.asked(CUT, "journalctl", "-u", "k3s-agent", "--no-pager", "-o", "cat")
    assert "refused" in started and "Starting" in started and "Started" not in started


def test_all_are_ready_once_the_right_server_is_there(rack: Rack, chance: random.Random, agents_on: None) -> None:
    """Its power is cut too while it founds the cluster; it founds it once."""
    if "stranger" in rack.machines:
        rack.machines["stranger"].switch_off()
    server = rack.insert(SERVER)
    server.switch_on()
    cut_after(server, chance.uniform(*FIRST_BOOT_S))
    server.switch_on()
    rack.wait_until_ready(NODES, PATIENCE_S)
    print(rack.kubectl.table())
    assert rack.status(SERVER)["state"] == "founded"
    assert {rack.status(node)["state"] for node in AGENTS} == {"joined"}


def test_a_token_of_another_cluster_is_refused(rack: Rack, strangers: Desk, agents_on: None) -> None:
    """As after a mix-up of cards: the server is ours, the token is not; k3s itself holds the one against the other."""
    config = "/etc/rancher/k3s/config.yaml"
    ours = rack.asked(CUT, "cat", config)
    (theirs,) = re.findall(r'^agent-token: ("K10.+")$', read(strangers, SERVER, config), re.MULTILINE)
    rack.asked(CUT, "tee", config, given=re.sub(r'^token: ".+"$', f"token: {theirs}", ours, flags=re.MULTILINE))
    rack.asked(CUT, "systemctl", "--no-block", "restart", "k3s-agent")

    def refused() -> str:
        told = rack.asked(CUT, "journalctl", "-b", "-u", "k3s-agent", "--no-pager", "-o", "cat")
        return "" if "token CA hash does not match the Cluster CA certificate hash" in told else told[-400:]

    rack.wait_until("the refusal", PATIENCE_S, refused)
    assert rack.asked(CUT, "systemctl", "show", "-P", "ActiveState", "k3s-agent") != "active\n"
    rack.asked(CUT, "tee", config, given=ours)
    rack.asked(CUT, "imagesmith-apply", "80-k3s")
    rack.wait_for_status(CUT, lambda status: status["state"] == "joined", PATIENCE_S)
    rack.wait_until_ready(NODES, PATIENCE_S)


def test_the_server_has_told_the_late_node_the_time(rack: Rack, agents_on: None) -> None:
    """A rack without the internet, and a clock that stood still: its server has the time."""

    def late_s() -> str:
        off = abs(time.time() - float(rack.asked(LATE, "date", "+%s.%N")))
        return "" if off < 5 else f"{LATE} is {off:.0f} s off"

    rack.wait_until(f"the time on {LATE}", PATIENCE_S, late_s)


def test_a_card_of_a_node_that_is_still_on_waits_until_that_one_is_off(rack: Rack, agents_on: None) -> None:
    """`replace`, and nobody took the old card out: two machines with one identity, of which the new one holds back."""
    rack.imagesmith("replace", LATE, "--yes", "--identity", str(rack.desk.key))
    assert LATE not in rack.kubectl.nodes()
    new = rack.insert(LATE, called="new-card")
    new.switch_on()
    facts = new.report(PATIENCE_S)
    assert facts["k3s.waits_for"] == "address", facts
    assert f"another machine has the address {rack.addresses[LATE]} too" in facts["k3s.reason"]
    assert LATE not in rack.kubectl.nodes()
    rack.machines[LATE].switch_off()
    rack.wait_until_back([LATE], PATIENCE_S)
    rack.wait_until_ready(NODES, PATIENCE_S)
