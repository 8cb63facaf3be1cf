"""A power cut in a rack of guests, with their system's NUT: nodes go in order, disks stay clean, the UPS is told last.

The UPS is NUT's dummy-ups on the server. Its program is the tests' own, which hands on to NUT's, and says on the
console when it is to switch the UPS off: after everything else, with the disks read-only. The tests look at one rack,
in this order.
"""

from __future__ import annotations

import subprocess
import time

import pytest
from lanes.racks import AGENTS, LANE, NODES, PATIENCE_S, SERVER, volumes
from rack.desk import Desk
from rack.running import Rack

pytestmark = LANE
SWITCHED_OFF = "the UPS is told to switch off"
DRIVERS = "/usr/local/lib/nut-of-tests"
DRIVER = f"""\
#!/bin/sh
case " $* " in *" -k "*) echo "{SWITCHED_OFF}" >/dev/console; exit 0 ;; esac
exec /lib/nut/dummy-ups "$@"
"""
LOST, LAST = AGENTS
"""The agent that loses its primary, and the one that goes in its stage."""


@pytest.fixture(scope="module")
def plugged(rack: Rack, ready: object) -> None:
    """A UPS on mains that every node hears of, and the tests' driver for it."""
    for node in NODES:
        assert "done" in rack.asked(node, "cat", "/var/lib/imagesmith/steps/72-power")
    plug_in(rack)


def plug_in(rack: Rack) -> None:
    """The driver of the tests' own, and a UPS on mains that every node hears of."""
    rack.asked(SERVER, "mkdir", "-p", DRIVERS)
    rack.asked(SERVER, "tee", f"{DRIVERS}/dummy-ups", given=DRIVER)
    rack.asked(SERVER, "chmod", "755", f"{DRIVERS}/dummy-ups")
    rack.asked(SERVER, "sed", "-i", f"1i driverpath = {DRIVERS}", "/etc/nut/ups.conf")
    say(rack, "OL", 100)
    rack.asked(SERVER, "systemctl", "restart", "nut-driver@ups.service", within_s=120)
    wait_for_mains(rack)


def wait_for_mains(rack: Rack) -> None:
    for node in NODES:
        rack.wait_until(f"the UPS on {node}", PATIENCE_S, lambda node=node: "" if "OL" in status(rack, node) else "-")


def say(rack: Rack, told: str, charge: int) -> None:
    """What the UPS tells from now on; in one step, as dummy-ups may read at any time."""
    text = f"ups.status: {told}\nbattery.charge: {charge}\n"
    rack.asked(SERVER, "sh", "-c", "cat >/etc/nut/new && chmod 644 /etc/nut/new && mv /etc/nut/new /etc/nut/state.dev",
               given=text)  # fmt: skip


def status(rack: Rack, node: str) -> str:
    """What NUT on the node says of the UPS."""
    host = "localhost" if node == SERVER else rack.addresses[SERVER]
    return rack.ssh(node, "upsc", f"ups@{host}", "ups.status").stdout.strip()


def wait_for_log(rack: Rack, node: str, words: str) -> None:
    def look() -> str:
        return "" if words in rack.ssh(node, "sudo", "-n", "journalctl", "-b", "-u", "imagesmith-ups").stdout else words

    rack.wait_until(f"{node} to say so", PATIENCE_S, look)


def wait_until_battery(rack: Rack, node: str) -> None:
    """Until upsmon has surely heard of it too, which looks as often as we do."""
    rack.wait_until(f"battery on {node}", PATIENCE_S, lambda: "" if "OB" in status(rack, node) else "mains")
    time.sleep(15)


def wait_until_off(rack: Rack, node: str) -> float:
    """Until its machine is off by its own doing; the seconds that it took."""
    machine, begun = rack.machines[node], time.monotonic()
    while machine.is_on:
        assert time.monotonic() < begun + PATIENCE_S, f"{node} is still on\n{machine.tail()}"
        time.sleep(0.5)
    machine.switch_off()
    return time.monotonic() - begun


def check_of_root(rack: Rack, rack_desk: Desk, node: str) -> str:
    """What e2fsck says of the disk that the machine left, of which nothing is repaired; its exit code first."""
    overlay = rack.machines[node].log.with_name("disk.qcow2")
    raw = overlay.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, raw], check=True, timeout=600)
    disk = f"{raw}?offset={volumes(rack_desk, node)['root']}"
    done = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True, timeout=600, check=False)
    raw.unlink()
    return f"{done.returncode} {done.stdout}{done.stderr}"


def test_status_tells_nothing_of_a_ups_on_mains(rack: Rack, plugged: None) -> None:
    assert "battery" not in rack.wait_until_well(PATIENCE_S)


def test_mains_that_come_back_in_time_cancel_it(rack: Rack, plugged: None) -> None:
    say(rack, "OB DISCHRG", 95)
    for node in NODES:
        wait_for_log(rack, node, "mains are away")
    rack.wait_for_word("on battery", "status")
    say(rack, "OL CHRG", 95)
    for node in NODES:
        wait_for_log(rack, node, "mains are back")
    assert all(rack.machines[node].is_on for node in NODES)


def test_a_ups_that_is_unplugged_is_told_of_and_brings_nobody_down(rack: Rack, plugged: None) -> None:
    rack.asked(SERVER, "systemctl", "stop", "nut-driver@ups.service", within_s=120)
    for node in NODES:
        wait_for_log(rack, node, "says: nothing")
    rack.wait_for_word("it hears nothing of the UPS", "status")
    time.sleep(60)
    assert all(rack.machines[node].is_on for node in NODES)
    rack.asked(SERVER, "systemctl", "start", "nut-driver@ups.service", within_s=120)
    wait_for_mains(rack)


def test_nodes_go_in_order_and_the_ups_is_switched_off_last(rack: Rack, plugged: None) -> None:
    say(rack, "OB DISCHRG", 90)
    wait_until_battery(rack, LOST)
    # To the host it still speaks, to its primary no more.
    rack.asked(LOST, "ip", "route", "add", "blackhole", f"{rack.addresses[SERVER]}/32")
    print(f"{LOST}, which lost its primary, was off after {wait_until_off(rack, LOST):.0f} s")
    assert rack.machines[LAST].is_on and rack.machines[SERVER].is_on
    say(rack, "OB DISCHRG", 50)
    print(f"{LAST} was off {wait_until_off(rack, LAST):.0f} s after the battery fell below its stage")
    assert rack.machines[SERVER].is_on
    say(rack, "OB DISCHRG", 20)
    log = rack.machines[SERVER].log
    print(f"{SERVER} was off {wait_until_off(rack, SERVER):.0f} s after the battery fell below its stage")
    assert SWITCHED_OFF in log.read_text(errors="replace")


@pytest.mark.parametrize("node", NODES)
def test_a_node_left_its_disk_clean(rack: Rack, rack_desk: Desk, node: str) -> None:
    told = check_of_root(rack, rack_desk, node)
    assert told.startswith("0 "), told
    assert "skipping journal recovery" not in told
