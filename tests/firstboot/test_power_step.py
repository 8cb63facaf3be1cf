"""The step 72-power, the drain of a node and its end, on stand-ins that write down what they are asked."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from node_folder import NodeFolder

K3S = """\
case "$*" in
*jsonpath*) cat "$ROOT/held" 2>/dev/null; exit "$(cat "$ROOT/silent" 2>/dev/null || echo 0)" ;;
esac
exit 0
"""
CORDONED = "var/lib/imagesmith/cordoned-for-ups"


@pytest.fixture
def powered(node: NodeFolder) -> NodeFolder:
    node.configure(NODE_NAME="arm-1")
    node.write("etc/imagesmith/power.conf", "UPS='ups@10.0.0.1'\nUPS_NAME='ups'\nSTAGE='workers'\nDRAIN_S='30'\n")
    node.write("etc/nut/nut.conf", "MODE=netclient\n")
    node.write("etc/nut/upsmon.conf", "MONITOR ups@10.0.0.1 1 secondary x secondary\n")
    (node.root / "usr/local/bin").mkdir(parents=True)
    (node.root / "usr/local/bin/k3s").symlink_to(node.bin / "k3s")
    node.stand_in("k3s", K3S)
    for program in ("upsmon", "upsd", "udevadm"):
        node.stand_in(program, "exit 0")
    return node


def asked(node: NodeFolder, program: str) -> list[str]:
    return [call for call in node.calls if call.startswith(f"{program} ")]


def test_without_a_ups_nothing_is_done(node: NodeFolder) -> None:
    done = node.run("steps/72-power")
    assert (done.stdout, node.calls) == ("there is no UPS here\n", [])


def test_files_of_nut_become_its_groups(powered: NodeFolder) -> None:
    powered.run("steps/72-power")
    path = powered.root / "etc/nut/upsmon.conf"
    assert f"chown root:nut {path}" in powered.calls
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_secondary_starts_what_listens(powered: NodeFolder) -> None:
    powered.run("steps/72-power")
    assert asked(powered, "systemctl") == ["systemctl restart nut-monitor.service imagesmith-ups.service"]


def test_the_primary_starts_the_driver_too_and_does_not_wait_for_it(powered: NodeFolder) -> None:
    powered.write("etc/nut/upsd.users", "[primary]\n")
    powered.run("steps/72-power")
    assert asked(powered, "systemctl")[0] == "systemctl --no-block restart nut-driver@ups.service nut-server.service"
    assert asked(powered, "udevadm")[0] == "udevadm control --reload"


def test_without_nut_the_step_fails(powered: NodeFolder) -> None:
    (powered.bin / "upsmon").unlink()
    powered.environment["PATH"] = f"{powered.bin}:/usr/bin:/bin"
    done = powered.run("steps/72-power")
    assert (done.returncode, done.stderr) == (1, "NUT is not installed (nut-client), so nobody hears of a power cut\n")


# -- draining -----------------------------------------------------------------------------------------------


def test_a_node_is_cordoned_and_its_pods_are_moved_by_its_own_credentials(powered: NodeFolder) -> None:
    assert powered.run("ups-drain").returncode == 0
    calls = asked(powered, "k3s")
    assert all(f"--kubeconfig {powered.root}/etc/imagesmith/drain/kubeconfig" in call for call in calls)
    assert [call.split("/kubeconfig ")[1].split()[0] for call in calls] == ["get", "cordon", "drain", "drain"]
    assert powered.exists(CORDONED)


def test_pods_of_no_controller_are_never_deleted(powered: NodeFolder) -> None:
    powered.run("ups-drain")
    assert "--force" not in " ".join(asked(powered, "k3s"))


def test_a_node_that_a_person_cordoned_stays_so(powered: NodeFolder) -> None:
    powered.write("held", "true")
    powered.run("ups-drain")
    powered.run("ups-undrain")
    assert not powered.exists(CORDONED)
    assert not [call for call in asked(powered, "k3s") if "cordon" in call]


def test_a_cluster_that_does_not_answer_is_not_waited_for(powered: NodeFolder) -> None:
    powered.write("silent", "1")
    done = powered.run("ups-drain")
    assert (done.returncode, len(asked(powered, "k3s"))) == (1, 1)
    assert not powered.exists(CORDONED)


def test_a_node_that_was_cordoned_for_the_ups_takes_pods_again(powered: NodeFolder) -> None:
    powered.run("ups-drain")
    powered.run("ups-undrain")
    assert "uncordon arm-1" in asked(powered, "k3s")[-1]
    assert not powered.exists(CORDONED)


@pytest.mark.parametrize(("away", "left"), [("", False), ("5", True)])
def test_a_ups_that_is_silent_after_the_start_leaves_no_node_cordoned(
    powered: NodeFolder, away: str, left: bool
) -> None:
    """Unless it was on battery when it fell silent."""
    powered.write(CORDONED, "arm-1\n")
    powered.stand_in("upsc", "exit 1")
    powered.write("etc/imagesmith/power.conf", "UPS='ups@10.0.0.1'\nSTAGE='workers'\nPOLL_S='1'\nAFTER_S='999999999'\n")
    if away:
        powered.write("run/imagesmith/ups-away", f"{away}\n")
    with subprocess.Popen([powered.library / "ups-watch"], env=powered.environment) as watch:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and len(asked(powered, "upsc")) < 3:
            time.sleep(0.1)
        watch.terminate()
    assert len(asked(powered, "upsc")) >= 3
    assert powered.exists(CORDONED) == left


def test_as_long_as_the_cluster_is_silent_it_stays_to_be_done(powered: NodeFolder) -> None:
    powered.write(CORDONED, "arm-1\n")
    powered.stand_in("k3s", "exit 1")
    assert powered.run("ups-undrain").returncode != 0
    assert powered.exists(CORDONED)


# -- the end ------------------------------------------------------------------------------------------------


def test_what_is_left_of_containers_ends(powered: NodeFolder) -> None:
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo here; while :; do sleep 0.1; done"],
                                stdout=subprocess.PIPE)  # fmt: skip
    assert stubborn.stdout and stubborn.stdout.readline() == b"here\n"
    powered.write("sys/fs/cgroup/kubepods.slice/pod/one.scope/cgroup.procs", f"{stubborn.pid}\n")
    powered.configure(CONTAINERS_WAIT_S="1")
    done = powered.run("k3s-end")
    assert (done.returncode, done.stdout) == (0, "1 processes of containers are left\n")
    assert stubborn.wait(10) == -9


def test_a_node_whose_containers_have_ended_waits_for_nothing(powered: NodeFolder) -> None:
    assert powered.run("k3s-end").stdout == ""


def test_a_primary_waits_for_those_that_went_last(powered: NodeFolder, tmp_path: Path) -> None:
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    powered.write("etc/imagesmith/power.conf", "OTHERS_STOP_S='2'\nPOLL_S='1'\nHOST_SYNC_S='60'\n")
    powered.write("run/imagesmith/ups-others", f"{now - 1}\n")
    assert powered.run("ups-off").stdout.splitlines()[0].startswith("waits ")
    assert powered.calls[-1] == "systemctl poweroff"


def test_what_upsmon_has_waited_is_not_waited_again(powered: NodeFolder) -> None:
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    powered.write("etc/imagesmith/power.conf", "OTHERS_STOP_S='50'\nPOLL_S='1'\nHOST_SYNC_S='60'\n")
    powered.write("run/imagesmith/ups-others", f"{now}\n")
    powered.write("run/imagesmith/ups-forced", f"{now - 60}\n")
    assert powered.run("ups-off").stdout == "goes down\n"


def watched(node: NodeFolder, told: str, *, until: str) -> None:
    """Runs ups-watch on the primary, where upsc tells that, until such a file is there or it asked four times."""
    node.stand_in("upsc", f'case "$*" in *-c*) echo 10.0.0.2 ;; *) echo "ups.status: {told}" ;; esac')
    conf = "UPS='ups@localhost'\nSTAGE='primary'\nPOLL_S='1'\nAFTER_S='999999999'\nBELOW='1'\n"
    node.write("etc/imagesmith/power.conf", conf)
    with subprocess.Popen([node.library / "ups-watch"], env=node.environment) as watch:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(asked(node, "upsc")) < 8 and not node.exists(until):
            time.sleep(0.05)
        watch.terminate()


def test_a_word_that_upsmon_gave_is_marked_when_it_came(powered: NodeFolder) -> None:
    """At an empty battery upsmon gives it, and calls ups-off after its own wait."""
    watched(powered, "FSD OB LB", until="run/imagesmith/ups-forced")
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    assert now - 30 <= int(powered.read("run/imagesmith/ups-forced")) <= now


def test_a_cut_without_the_word_marks_nothing(powered: NodeFolder) -> None:
    watched(powered, "OB", until="run/imagesmith/ups-forced")
    assert powered.exists("run/imagesmith/ups-others")
    assert not powered.exists("run/imagesmith/ups-forced")


def test_mains_that_come_back_take_no_word_back(powered: NodeFolder) -> None:
    powered.write("run/imagesmith/ups-away", "1\n")
    powered.write("run/imagesmith/ups-forced", "17\n")
    watched(powered, "FSD OL", until="never")
    assert powered.read("run/imagesmith/ups-forced") == "17\n"


@pytest.mark.parametrize("others", ["0", "17"])
def test_a_primary_that_is_alone_waits_for_nobody(powered: NodeFolder, others: str) -> None:
    powered.write("etc/imagesmith/power.conf", "OTHERS_STOP_S='2'\nPOLL_S='1'\nHOST_SYNC_S='60'\n")
    powered.write("run/imagesmith/ups-others", f"{others}\n")
    assert powered.run("ups-off").stdout == "goes down\n"


def test_a_shutdown_that_logind_does_not_take_is_forced(powered: NodeFolder) -> None:
    powered.stand_in("systemctl", 'case "$*" in *--force*) exit 0 ;; esac\nexit 1')
    assert powered.run("ups-off").returncode == 0
    assert powered.calls[-1] == "systemctl poweroff --force"
