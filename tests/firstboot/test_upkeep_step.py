"""The steps of a node's house-keeping, 64-firewall to 68-upkeep, and the script that restarts it in its turn."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from node_folder import NodeFolder

from imagesmith.cluster.upkeep import ARCHIVES

MIRROR = "http://mirror.example/debian"
DEB822 = """\
Types: deb deb-src
# See /usr/share/doc/apt
URIs: http://ftp.zz.debian.org/debian
 https://ftp.zz.debian.org/debian/
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://ftp.zz.debian.org/debian-security
Suites: trixie-security
Components: main
"""
ONE_LINE = """\
deb [signed-by=/x.gpg] http://ftp.zz.debian.org/debian trixie main
deb\thttp://archive.raspberrypi.com/debian/ trixie main
"""
SOURCES, LIST = "etc/apt/sources.list.d/debian.sources", "etc/apt/sources.list"


@pytest.fixture
def kept(node: NodeFolder) -> NodeFolder:
    node.write("etc/imagesmith/upkeep.conf", "UPDATES='off'\n")
    node.write(SOURCES, DEB822)
    node.write(LIST, ONE_LINE)
    return node


def mirrors(node: NodeFolder, **chosen: str) -> None:
    node.write("etc/imagesmith/mirrors.conf", "".join(f"{ARCHIVES[name]} {url}\n" for name, url in chosen.items()))


def run(node: NodeFolder) -> str:
    done = node.run("steps/68-upkeep")
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- mirrors ------------------------------------------------------------------------------------------------


def test_without_a_wish_nothing_is_done(kept: NodeFolder) -> None:
    (kept.root / "etc/imagesmith/upkeep.conf").unlink()
    before = kept.files()
    run(kept)
    assert (kept.files(), kept.calls) == (before, [])


def test_sources_without_a_mirror_stay_as_they_are(kept: NodeFolder) -> None:
    run(kept)
    assert (kept.read(SOURCES), kept.read(LIST)) == (DEB822, ONE_LINE)


def test_every_address_of_an_archive_becomes_the_mirrors_and_no_other(kept: NodeFolder) -> None:
    mirrors(kept, debian=MIRROR)
    run(kept)
    mark, _, text = kept.read(SOURCES).partition("\n")
    assert mark.startswith("# ")
    expected = DEB822.replace("http://ftp.zz.debian.org/debian\n", f"{MIRROR}\n")
    assert text == expected.replace("https://ftp.zz.debian.org/debian/", MIRROR)
    assert "http://ftp.zz.debian.org/debian-security\n" in text
    assert kept.read(LIST).partition("\n")[2] == ONE_LINE.replace("http://ftp.zz.debian.org/debian", MIRROR)


def test_each_archive_has_its_own_mirror(kept: NodeFolder) -> None:
    mirrors(kept, debian=MIRROR, raspberrypi="http://mirror.example/pi")
    run(kept)
    assert kept.read(LIST).splitlines()[1:] == [
        f"deb [signed-by=/x.gpg] {MIRROR} trixie main",
        "deb\thttp://mirror.example/pi trixie main",
    ]


def test_two_addresses_beside_each_other_are_both_seen(kept: NodeFolder) -> None:
    kept.write(SOURCES, "URIs: http://ftp.zz.debian.org/debian http://ftp.de.debian.org/debian\n")
    mirrors(kept, debian=MIRROR)
    run(kept)
    assert kept.read(SOURCES).splitlines()[1] == f"URIs: {MIRROR} {MIRROR}"


def test_ubuntus_addresses_are_seen_in_a_list_of_mirrors(kept: NodeFolder) -> None:
    kept.write("etc/apt/mirrors/ubuntu.list", "http://de.archive.ubuntu.com/ubuntu/\tpriority:1\n")
    mirrors(kept, ubuntu="http://mirror.example/ubuntu")
    run(kept)
    assert kept.read("etc/apt/mirrors/ubuntu.list").splitlines()[1] == "http://mirror.example/ubuntu\tpriority:1"


def test_another_mirror_takes_the_place_of_the_first(kept: NodeFolder) -> None:
    mirrors(kept, debian=MIRROR)
    run(kept)
    mirrors(kept, debian="http://other.example/debian")
    run(kept)
    assert MIRROR not in kept.read(SOURCES)
    assert "other.example" in kept.read(SOURCES)


def test_without_mirrors_again_the_sources_are_as_before(kept: NodeFolder) -> None:
    mirrors(kept, debian=MIRROR)
    run(kept)
    (kept.root / "etc/imagesmith/mirrors.conf").unlink()
    run(kept)
    assert (kept.read(SOURCES), kept.read(LIST)) == (DEB822, ONE_LINE)


def test_a_second_run_changes_nothing(kept: NodeFolder) -> None:
    mirrors(kept, debian=MIRROR)
    run(kept)
    before = kept.files()
    run(kept)
    assert kept.files() == before


@pytest.mark.skipif(not shutil.which("apt-get"), reason="apt is not here")
def test_apt_itself_reads_what_was_made_of_them(kept: NodeFolder, tmp_path: Path) -> None:
    kept.write(LIST, "deb http://ftp.zz.debian.org/debian trixie main\n")
    mirrors(kept, debian=MIRROR)
    run(kept)
    (kept.root / "var/lib/apt/lists/partial").mkdir(parents=True)
    (kept.root / "var/lib/dpkg").mkdir(parents=True)
    (kept.root / "var/lib/dpkg/status").touch()
    done = subprocess.run(
        ["apt-get", "update", "--print-uris", "-o", f"Dir={kept.root}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    asked = {line.split("'")[1].partition("/dists/")[0] for line in done.stdout.splitlines()}
    assert asked == {MIRROR, "http://ftp.zz.debian.org/debian-security"}


# -- updates ------------------------------------------------------------------------------------------------


def test_security_updates_start_by_apts_timers_and_restarts_by_ours(kept: NodeFolder) -> None:
    kept.write("etc/imagesmith/upkeep.conf", "UPDATES='security'\n")
    kept.stand_in("unattended-upgrade", "exit 0")
    run(kept)
    timers = "apt-daily.timer apt-daily-upgrade.timer imagesmith-reboot.timer"
    calls = kept.calls
    on = calls.index(f"systemctl enable --no-reload {timers}")
    assert calls[on + 1] == f"systemctl start {timers}"


def test_updates_without_the_program_for_them_fail_the_step(kept: NodeFolder) -> None:
    kept.write("etc/imagesmith/upkeep.conf", "UPDATES='security'\n")
    kept.environment["PATH"] = f"{kept.bin}:{_without(kept, 'unattended-upgrade')}"
    done = kept.run("steps/68-upkeep")
    assert done.returncode != 0
    assert "unattended-upgrades is not installed" in done.stderr


def test_off_stops_the_timers_that_there_are(kept: NodeFolder) -> None:
    kept.stand_in("systemctl", 'case "$*" in *is-enabled*reboot*) exit 1 ;; esac')
    run(kept)
    assert [call for call in kept.calls if "is-enabled" not in call and call.startswith("systemctl")] == [
        "systemctl disable --no-reload apt-daily.timer",
        "systemctl stop apt-daily.timer",
        "systemctl disable --no-reload apt-daily-upgrade.timer",
        "systemctl stop apt-daily-upgrade.timer",
    ]


def _without(folder: NodeFolder, program: str) -> Path:
    """A folder with all that /usr/bin and /usr/sbin have but one program."""
    programs = folder.bin.parent / "programs"
    programs.mkdir()
    for path in (*Path("/usr/sbin").iterdir(), *Path("/usr/bin").iterdir()):
        if path.name != program and not (programs / path.name).is_symlink():
            (programs / path.name).symlink_to(path)
    return programs


# -- the node's turn to restart -----------------------------------------------------------------------------

NODES = """\
head    Ready                      control-plane   9d   v1.36.3+k3s1
arm-1   NotReady                   <none>          9d   v1.36.3+k3s1
arm-2   Ready,SchedulingDisabled   <none>          9d   v1.36.3+k3s1
"""


@pytest.fixture
def due(node: NodeFolder) -> NodeFolder:
    """An update asks for a restart, and all other nodes are well."""
    node.configure(NODE_NAME="arm-1")
    node.write("run/reboot-required", "*** System restart required ***\n")
    k3s(node, f"case $* in *'get nodes'*) cat <<E\n{NODES}E\n;; esac")
    return node


def k3s(node: NodeFolder, script: str) -> None:
    node.write("usr/local/bin/k3s", f'#!/bin/sh\necho "k3s $*" >>"$CALLS"\n{script}\n').chmod(0o755)


def turn(node: NodeFolder) -> str:
    done = node.run("reboot-turn")
    assert done.returncode == 0, done.stderr
    return done.stdout


def restarted(node: NodeFolder) -> bool:
    return "systemctl reboot" in node.calls


def test_a_node_restarts_when_all_others_are_well(due: NodeFolder) -> None:
    # It is not ready itself, and a node that takes no new pods is ready.
    turn(due)
    assert restarted(due)


def test_a_node_that_no_update_asks_to_restart_does_not(due: NodeFolder) -> None:
    (due.root / "run/reboot-required").unlink()
    turn(due)
    assert not restarted(due)


def test_a_node_waits_while_another_is_away(due: NodeFolder) -> None:
    due.configure(NODE_NAME="arm-2")
    assert "not ready are arm-1" in turn(due)
    assert not restarted(due)


def test_an_agent_that_is_shown_no_nodes_asks_whether_a_server_is_well(due: NodeFolder) -> None:
    k3s(due, "case $* in *'get nodes'*) exit 1 ;; *'--raw /readyz') echo ok ;; esac")
    turn(due)
    assert restarted(due)
    assert "agent/kubelet.kubeconfig" in next(call for call in due.calls if call.startswith("k3s"))


def test_a_node_whose_servers_do_not_answer_waits(due: NodeFolder) -> None:
    k3s(due, "exit 1")
    assert "not ready are the cluster's servers" in turn(due)
    assert not restarted(due)


def test_a_server_asks_as_the_administrator(due: NodeFolder) -> None:
    due.write("etc/rancher/k3s/k3s.yaml", "")
    turn(due)
    assert "--kubeconfig" in due.calls[0]
    assert f"{os.sep}etc/rancher/k3s/k3s.yaml" in due.calls[0]


def test_a_node_without_k3s_restarts_in_its_turn(due: NodeFolder) -> None:
    (due.root / "usr/local/bin/k3s").unlink()
    turn(due)
    assert restarted(due)


# -- firewall and clock -------------------------------------------------------------------------------------


def test_without_rules_there_is_no_firewall(node: NodeFolder) -> None:
    node.stand_in("systemctl", "exit 1")
    assert node.run("steps/64-firewall").returncode == 0
    assert not any("enable --now" in call for call in node.calls)


def test_rules_that_nft_refuses_are_not_loaded(node: NodeFolder) -> None:
    node.write("etc/imagesmith/firewall.nft", "no rules\n")
    node.stand_in("nft", 'echo "syntax error" >&2; exit 1')
    done = node.run("steps/64-firewall")
    assert done.returncode != 0
    assert "syntax error" in done.stderr
    assert not any("enable" in call for call in node.calls)


def test_rules_are_loaded_now_and_at_every_start(node: NodeFolder) -> None:
    node.write("etc/imagesmith/firewall.nft", "rules\n")
    node.stand_in("nft", "exit 0")
    assert node.run("steps/64-firewall").returncode == 0
    calls = node.calls
    on = calls.index("systemctl enable --no-reload imagesmith-firewall.service")
    assert calls[on + 1] == "systemctl reload-or-restart imagesmith-firewall.service"
    assert "nft list table inet imagesmith" in calls[on + 2 :]


def test_rules_that_are_not_in_the_kernel_fail_the_step(node: NodeFolder) -> None:
    node.write("etc/imagesmith/firewall.nft", "rules\n")
    node.stand_in("nft", "case $1 in list) exit 1 ;; esac")
    assert "not in the kernel" in node.run("steps/64-firewall").stderr


SERVED = "etc/chrony/conf.d/50-imagesmith.conf"


@pytest.fixture
def telling(node: NodeFolder) -> NodeFolder:
    node.write("etc/imagesmith/chrony.conf", "allow 192.168.7.0/24\nlocal stratum 10 orphan\n")
    node.write("etc/chrony/chrony.conf", "")
    node.stand_in("chronyd", "exit 0")
    return node


def test_a_server_serves_the_time(telling: NodeFolder) -> None:
    assert telling.run("steps/66-clock-service").returncode == 0
    assert telling.read(SERVED) == "allow 192.168.7.0/24\nlocal stratum 10 orphan\n"
    assert "systemctl restart chrony.service" in telling.calls


def test_it_is_enabled_where_somebody_disabled_it(telling: NodeFolder) -> None:
    telling.run("steps/66-clock-service")
    assert not any("systemctl enable" in call for call in telling.calls)
    telling.stand_in("systemctl", "case $1 in is-enabled) exit 1 ;; esac")
    telling.run("steps/66-clock-service")
    assert "systemctl enable --no-reload chrony.service" in telling.calls


def test_it_is_not_restarted_for_what_it_has_already(telling: NodeFolder) -> None:
    telling.run("steps/66-clock-service")
    before = len(telling.calls)
    assert telling.run("steps/66-clock-service").returncode == 0
    assert "systemctl restart chrony.service" not in telling.calls[before:]


def test_what_chrony_took_the_place_of_is_no_failed_unit(telling: NodeFolder) -> None:
    """Its package was removed while it ran: it is stopped before chrony starts, and how it ended is forgotten."""
    telling.run("steps/66-clock-service")
    forgotten = telling.calls.index("systemctl reset-failed systemd-timesyncd.service")
    stopped = telling.calls.index("systemctl stop systemd-timesyncd.service")
    assert stopped < forgotten < telling.calls.index("systemctl restart chrony.service")


def test_a_time_client_that_is_still_installed_is_left_to_systemd(telling: NodeFolder) -> None:
    telling.write("usr/lib/systemd/systemd-timesyncd", "")
    telling.run("steps/66-clock-service")
    assert not any("timesyncd" in call for call in telling.calls)


def test_settings_that_chrony_refuses_are_taken_away_again(telling: NodeFolder) -> None:
    telling.stand_in("chronyd", 'echo "Fatal error" >&2; exit 1')
    done = telling.run("steps/66-clock-service")
    assert done.returncode != 0
    assert "Fatal error" in done.stderr
    assert not telling.exists(SERVED)
    assert not any(call.startswith("systemctl") for call in telling.calls)


def test_a_server_no_more_serves_no_time_any_more(telling: NodeFolder) -> None:
    telling.run("steps/66-clock-service")
    (telling.root / "etc/imagesmith/chrony.conf").unlink()
    assert telling.run("steps/66-clock-service").returncode == 0
    assert not telling.exists(SERVED)


def test_nodes_that_serve_no_time_are_left_alone(node: NodeFolder) -> None:
    assert node.run("steps/66-clock-service").returncode == 0
    assert node.calls == []
