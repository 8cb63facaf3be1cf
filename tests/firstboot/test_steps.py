"""The steps, each tried in a folder: what it writes and asks of the system, and that a second run changes nothing."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from node_folder import NodeFolder

from imagesmith.families.payload_files import zram_conf

STEPS = sorted(path.name for path in (Path(__file__).parents[2] / "firstboot" / "steps").iterdir())
NO_KEYS = pytest.mark.skipif(not Path("/usr/bin/ssh-keygen").exists(), reason="ssh-keygen is not installed")


@pytest.fixture
def whole(node: NodeFolder) -> NodeFolder:
    """A node on which every step finds something to do."""
    node.configure(
        NODE_NAME="node-1",
        USER_NAME="ann",
        USER_GROUPS="adm sudo",
        SUDO_NOPASSWD="yes",
        TIME_SERVERS="ntp.one.example ntp.two.example",
        JOURNAL_MAX="1000000",
        ZRAM_PERCENT="25",
        WATCHDOG_S="15",
    )
    node.write("usr/lib/clock-epoch", "")
    node.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    node.write("etc/fstab", "# root\nUUID=1 / ext4 defaults,relatime 0 1\n/swapfile none swap sw 0 0\n")
    node.write("etc/imagesmith/authorized_keys", "ssh-ed25519 AAAA ann@desk\n")
    node.write("proc/swaps", "Filename Type Size Used Priority\n/swapfile file 1 0 -2\n/dev/zram0 partition 1 0 100\n")
    node.write("usr/lib/systemd/system-generators/zram-generator", "").chmod(0o755)
    node.write("dev/watchdog", "")
    (node.root / "etc/ssh").mkdir()
    node.stand_in("findmnt", 'case "$*" in *FSTYPE*) echo ext4 ;; *) echo 0:99 ;; esac')
    (node.root / "home").mkdir()
    node.stand_in(
        "useradd", 'echo "ann:x:1000:1000::/home/ann:/bin/bash" >>"$ROOT/passwd"; mkdir -p "$ROOT/home/ann"; exit 0'
    )
    node.stand_in("getent", 'if [ "$1" = passwd ]; then grep "^$2:" "$ROOT/passwd" 2>/dev/null; else exit 2; fi')
    return node


@NO_KEYS
@pytest.mark.parametrize("step", STEPS)
def test_a_second_run_changes_nothing(whole: NodeFolder, step: str) -> None:
    first = whole.run(f"steps/{step}")
    after = whole.files()
    second = whole.run(f"steps/{step}")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert whole.files() == after


# -- clock --------------------------------------------------------------------------------------------------


def test_a_clock_before_the_image_is_set_to_the_images_time(node: NodeFolder) -> None:
    epoch = int(time.time()) + 1000
    os.utime(node.write("usr/lib/clock-epoch", ""), (epoch, epoch))
    assert node.run("steps/10-clock").returncode == 0
    assert f"date -u -s @{epoch}" in node.calls


def test_a_clock_after_the_image_is_left_alone(node: NodeFolder) -> None:
    os.utime(node.write("usr/lib/clock-epoch", ""), (1000, 1000))
    assert node.run("steps/10-clock").returncode == 0
    assert not any("-s" in call for call in node.calls)


def test_an_image_without_an_epoch_sets_no_clock(node: NodeFolder) -> None:
    assert node.run("steps/10-clock").returncode == 0
    assert not any("-s" in call for call in node.calls)


def test_a_clock_that_cannot_be_set_fails_the_step(node: NodeFolder) -> None:
    epoch = int(time.time()) + 1000
    os.utime(node.write("usr/lib/clock-epoch", ""), (epoch, epoch))
    node.stand_in("date", 'case "$*" in *-s*) exit 1 ;; esac\nexec /bin/date "$@"')
    result = node.run("steps/10-clock")
    assert result.returncode != 0
    assert "can't be set" in result.stderr


# -- account ------------------------------------------------------------------------------------------------


def test_a_missing_user_is_made_with_keys_and_sudo(whole: NodeFolder) -> None:
    whole.run("steps/15-account")
    assert "useradd --create-home --shell /bin/bash --groups adm,sudo -- ann" in whole.calls
    keys = whole.root / "home/ann/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA ann@desk\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert whole.read("etc/sudoers.d/90-imagesmith") == "ann ALL=(ALL) NOPASSWD:ALL\n"


def test_a_user_that_is_there_is_not_made_again(whole: NodeFolder) -> None:
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    whole.run("steps/15-account")
    assert not any(call.startswith("useradd") for call in whole.calls)


def test_a_user_that_is_there_without_keys_and_sudo_gets_them(whole: NodeFolder) -> None:
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    assert whole.run("steps/15-account").returncode == 0
    keys = whole.root / "home/ann/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA ann@desk\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert any(call.startswith("chown ann:") for call in whole.calls)
    assert whole.read("etc/sudoers.d/90-imagesmith") == "ann ALL=(ALL) NOPASSWD:ALL\n"


def test_keys_and_sudo_that_are_right_are_not_written_again(whole: NodeFolder) -> None:
    whole.run("steps/15-account")
    files = [whole.root / "home/ann/.ssh/authorized_keys", whole.root / "etc/sudoers.d/90-imagesmith"]
    before = [file.stat().st_ino for file in files]
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    assert whole.run("steps/15-account").returncode == 0
    assert [file.stat().st_ino for file in files] == before


def test_keys_that_are_there_stay_beside_the_configured_one(whole: NodeFolder) -> None:
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    whole.write("home/ann/.ssh/authorized_keys", "ssh-ed25519 BBBB other@desk")
    assert whole.run("steps/15-account").returncode == 0
    assert whole.read("home/ann/.ssh/authorized_keys") == "ssh-ed25519 BBBB other@desk\nssh-ed25519 AAAA ann@desk\n"


def test_keys_are_not_written_through_a_link(whole: NodeFolder) -> None:
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    (whole.root / "home/ann").mkdir(parents=True)
    (whole.root / "elsewhere").mkdir()
    (whole.root / "home/ann/.ssh").symlink_to(whole.root / "elsewhere")
    assert whole.run("steps/15-account").returncode == 0
    assert list((whole.root / "elsewhere").iterdir()) == []


def test_a_password_is_set_once_and_its_hash_is_gone(whole: NodeFolder) -> None:
    whole.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    hashed = whole.write("etc/imagesmith/password", "$6$salt$hash\n")
    whole.stand_in("chpasswd", 'cat >>"$ROOT/shadow"')
    for _ in range(2):
        assert whole.run("steps/15-account").returncode == 0
    assert whole.read("shadow") == "ann:$6$salt$hash\n"
    assert whole.calls.count("chpasswd --encrypted") == 1
    assert not hashed.exists()


def test_a_password_is_shown_to_nobody(whole: NodeFolder) -> None:
    whole.write("etc/imagesmith/password", "$6$salt$hash\n")
    whole.stand_in("chpasswd", "cat >/dev/null")
    result = whole.run("steps/15-account")
    assert "$6$" not in result.stdout + result.stderr + " ".join(whole.calls)


def test_a_password_that_can_not_be_set_is_kept_for_the_next_try(whole: NodeFolder) -> None:
    whole.write("etc/imagesmith/password", "$6$salt$hash\n")
    whole.stand_in("chpasswd", "exit 1")
    result = whole.run("steps/15-account")
    assert result.returncode != 0
    assert "the password of ann can't be set" in result.stderr
    assert whole.exists("etc/imagesmith/password")


def test_root_is_locked_whether_or_not_there_is_a_password(whole: NodeFolder) -> None:
    whole.write("etc/imagesmith/password", "$6$salt$hash\n")
    whole.stand_in("chpasswd", "cat >/dev/null")
    whole.run("steps/15-account")
    assert whole.calls[-1] == "passwd --quiet --lock root"


def test_root_has_no_password_afterwards(whole: NodeFolder) -> None:
    whole.run("steps/15-account")
    assert "passwd --quiet --lock root" in whole.calls


# -- identity -----------------------------------------------------------------------------------------------


@NO_KEYS
@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32 + "\n", "b00c\n"])
def test_a_machine_id_that_is_none_is_made_anew(whole: NodeFolder, text: str) -> None:
    whole.write("etc/machine-id", text)
    whole.stand_in("systemd-machine-id-setup", 'echo fedcba9876543210fedcba9876543210 >"$ROOT/etc/machine-id"')
    assert whole.run("steps/30-identity").returncode == 0
    assert "machine_id=fedcba9876543210fedcba9876543210" in whole.read("var/lib/imagesmith/identity")


def test_a_machine_id_that_cannot_be_made_fails_the_step(whole: NodeFolder) -> None:
    whole.write("etc/machine-id", "")
    assert whole.run("steps/30-identity").returncode != 0


@NO_KEYS
def test_missing_host_keys_are_made_and_the_server_told(whole: NodeFolder) -> None:
    whole.run("steps/30-identity")
    for kind in ("ed25519", "ecdsa"):
        assert (whole.root / f"etc/ssh/ssh_host_{kind}_key").stat().st_mode & 0o777 == 0o600
    assert "systemctl try-restart ssh.service" in whole.calls
    assert whole.read("var/lib/imagesmith/identity").count("host_key=256 SHA256:") == 2


@NO_KEYS
def test_a_host_key_that_a_power_cut_left_empty_is_made_anew(whole: NodeFolder) -> None:
    whole.run("steps/30-identity")
    key = whole.write("etc/ssh/ssh_host_ed25519_key", "")
    assert whole.run("steps/30-identity").returncode == 0
    assert "PRIVATE KEY" in key.read_text()


# -- time sync ----------------------------------------------------------------------------------------------


def test_time_servers_are_handed_to_timesyncd(whole: NodeFolder) -> None:
    whole.run("steps/40-time-sync")
    assert whole.read("etc/systemd/timesyncd.conf.d/50-imagesmith.conf") == (
        "[Time]\nNTP=ntp.one.example ntp.two.example\n"
    )
    assert "systemctl try-restart systemd-timesyncd.service" in whole.calls


def test_time_servers_are_handed_to_chrony_where_it_keeps_the_time(whole: NodeFolder) -> None:
    (whole.root / "etc/chrony").mkdir()
    whole.run("steps/40-time-sync")
    assert whole.read("etc/chrony/sources.d/50-imagesmith.sources").splitlines() == [
        "server ntp.one.example iburst",
        "server ntp.two.example iburst",
    ]


def test_without_time_servers_the_bases_own_stay(node: NodeFolder) -> None:
    assert node.run("steps/40-time-sync").returncode == 0
    assert not node.exists("etc/systemd")


def test_a_node_that_is_to_tell_the_time_does_not_wait_before_its_clock_service_runs(whole: NodeFolder) -> None:
    whole.write("etc/imagesmith/chrony.conf", "allow 192.168.7.0/24\n")
    whole.stand_in("timedatectl", "echo no")
    begun = time.monotonic()
    assert whole.run("steps/40-time-sync").returncode == 0
    assert time.monotonic() - begun < 5
    assert not [call for call in whole.calls if call.startswith("timedatectl")]


def test_without_a_route_nothing_is_waited_for(whole: NodeFolder) -> None:
    whole.stand_in("timedatectl", "echo no")
    begun = time.monotonic()
    assert whole.run("steps/40-time-sync").returncode == 0
    assert time.monotonic() - begun < 5


def test_the_wait_for_a_time_server_is_bounded_and_no_failure(node: NodeFolder) -> None:
    node.configure(TIME_SYNC_WAIT_S="1")
    node.stand_in("ip", "echo default via 10.0.0.1")
    node.stand_in("timedatectl", "echo no")
    result = node.run("steps/40-time-sync")
    assert result.returncode == 0
    assert "no time server has answered" in result.stdout


# -- card life ----------------------------------------------------------------------------------------------


def test_the_journal_is_bounded_and_told_so(whole: NodeFolder) -> None:
    whole.run("steps/50-card-life")
    assert "SystemMaxUse=1000000" in whole.read("etc/systemd/journald.conf.d/50-imagesmith.conf")
    assert "systemctl restart systemd-journald.service" in whole.calls


def test_what_was_logged_is_there_after_a_power_cut_also_where_the_image_keeps_it_in_memory(whole: NodeFolder) -> None:
    """As Raspberry Pi OS does, in 40-rpi-volatile-storage.conf; of such files the last by name counts."""
    whole.run("steps/50-card-life")
    assert "Storage=persistent\n" in whole.read("etc/systemd/journald.conf.d/50-imagesmith.conf")
    assert whole.calls.index("journalctl --flush") > whole.calls.index("systemctl restart systemd-journald.service")


def test_a_log_that_cannot_be_flushed_is_no_failure(whole: NodeFolder) -> None:
    whole.stand_in("journalctl", "exit 1")
    assert whole.run("steps/50-card-life").returncode == 0


def test_reading_writes_no_access_times_now_and_after_the_next_start(whole: NodeFolder) -> None:
    whole.run("steps/50-card-life")
    assert "UUID=1 / ext4 defaults,noatime 0 1" in whole.read("etc/fstab")
    assert any(re.fullmatch(r"mount -o remount,noatime \S+", call) for call in whole.calls)


def test_swap_on_the_card_is_off_now_and_after_the_next_start(whole: NodeFolder) -> None:
    whole.run("steps/50-card-life")
    assert [call for call in whole.calls if call.startswith("swapoff")] == ["swapoff /swapfile"]
    assert "# no swap on the card: /swapfile none swap sw 0 0" in whole.read("etc/fstab")


def test_other_lines_of_fstab_stay_byte_for_byte(whole: NodeFolder) -> None:
    line = "LABEL=DATA\t/srv  xfs\tdefaults,atime 0  2"
    whole.write("etc/fstab", f"# a comment /\n{line}\nUUID=1 / ext4 rw 0 1\n")
    whole.run("steps/50-card-life")
    assert whole.read("etc/fstab").splitlines() == ["# a comment /", line, "UUID=1 / ext4 rw,noatime 0 1"]


@pytest.mark.parametrize(("percent", "started"), [("25", True), ("0", False)])
def test_swap_in_memory_is_as_large_as_configured(whole: NodeFolder, percent: str, started: bool) -> None:
    whole.configure(ZRAM_PERCENT=percent)
    whole.run("steps/50-card-life")
    assert (f"ram * {percent} / 100" in whole.read("etc/systemd/zram-generator.conf")) is started
    assert ("systemctl start dev-zram0.swap" in whole.calls) is started


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_the_image_brings_swap_in_memory_as_the_step_keeps_it(whole: NodeFolder, percent: int) -> None:
    """A device that is set up anew while the system starts fails now and then."""
    whole.configure(ZRAM_PERCENT=str(percent))
    whole.write("etc/systemd/zram-generator.conf", zram_conf(percent).decode())
    assert whole.run("steps/50-card-life").returncode == 0
    assert not any("zram" in call for call in whole.calls)


def test_a_base_without_zram_generator_keeps_its_swap_in_memory(whole: NodeFolder) -> None:
    (whole.root / "usr/lib/systemd/system-generators/zram-generator").unlink()
    assert whole.run("steps/50-card-life").returncode == 0
    assert not whole.exists("etc/systemd/zram-generator.conf")


# -- watchdog -----------------------------------------------------------------------------------------------


def test_a_watchdog_is_used_where_there_is_one(whole: NodeFolder) -> None:
    whole.run("steps/60-watchdog")
    assert "RuntimeWatchdogSec=15s" in whole.read("etc/systemd/system.conf.d/50-imagesmith-watchdog.conf")
    assert "systemctl daemon-reload" in whole.calls


def test_a_watchdog_that_is_off_already_costs_no_reload(whole: NodeFolder) -> None:
    whole.configure(WATCHDOG_S="0")
    whole.stand_in("systemctl", "echo 0")
    assert whole.run("steps/60-watchdog").returncode == 0
    assert "RuntimeWatchdogSec=0s\n" in whole.read("etc/systemd/system.conf.d/50-imagesmith-watchdog.conf")
    assert "systemctl daemon-reload" not in whole.calls


def test_no_watchdog_is_no_failure_and_no_setting(whole: NodeFolder) -> None:
    (whole.root / "dev/watchdog").unlink()
    assert whole.run("steps/60-watchdog").returncode == 0
    assert not whole.exists("etc/systemd/system.conf.d")


def test_a_watchdog_that_is_not_wanted_is_off_also_where_the_image_has_it_on(whole: NodeFolder) -> None:
    """As Raspberry Pi OS has, in 40-rpi-enable-watchdog.conf; of such files the last by name counts."""
    whole.configure(WATCHDOG_S="0")
    assert whole.run("steps/60-watchdog").returncode == 0
    assert "RuntimeWatchdogSec=0s\n" in whole.read("etc/systemd/system.conf.d/50-imagesmith-watchdog.conf")
    assert "systemctl daemon-reload" in whole.calls
