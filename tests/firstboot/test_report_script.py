"""The report on the console: its frame, its digest, and that no value can break a line."""

from __future__ import annotations

import hashlib

import pytest
from node_folder import NodeFolder


@pytest.fixture
def asked(node: NodeFolder) -> NodeFolder:
    """A node that was started with a nonce and tells its report twice, into a file."""
    node.configure(USER_NAME="ann", REPORT_PASSES="2", REPORT_PAUSE_S="0", CLOUD_INIT_WAIT_S="0")
    node.write("run/credentials/@system/imagesmith.nonce", "n0nce")
    node.write("proc/sys/kernel/hostname", "node-1\n")
    node.write("proc/cmdline", "root=/dev/vda1\tquiet\n")
    node.write("proc/swaps", "Filename\n")
    node.write("usr/lib/clock-epoch", "")
    node.write("run/cloud-init/result.json", '{\n "v1": {\n  "datasource": "x",\n  "errors": []\n }\n}\n')
    node.write("var/lib/imagesmith/steps/10-clock", "state=done\nseconds=7\ntries=1\n")
    node.write("var/lib/imagesmith/steps/20-grow-root", "state=failed\nseconds=9\ntries=3\n")
    node.stand_in("cloud-init", "exit 0")
    console = node.write("console", "node-1 login: ")
    node.environment["IMAGESMITH_CONSOLE"] = str(console)
    # A console is written to, never cut short; a file would be.
    script = node.library / "report"
    script.write_text(script.read_text().replace('>"$CONSOLE"', '>>"$CONSOLE"'))
    return node


def told(node: NodeFolder) -> list[str]:
    """The report's lines without `IMAGESMITH n0nce `, every pass."""
    start = "IMAGESMITH n0nce "
    return [line.removeprefix(start) for line in node.read("console").splitlines() if line.startswith(start)]


def facts(node: NodeFolder) -> dict[str, str]:
    lines = told(node)
    return dict(
        line.split("=", 1) for line in lines[1 : next(n for n, one in enumerate(lines) if one.startswith("END "))]
    )


def test_the_report_is_framed_by_the_nonce_and_sealed_by_its_digest(asked: NodeFolder) -> None:
    assert asked.run("report").returncode == 0
    lines = told(asked)
    end = next(number for number, line in enumerate(lines) if line.startswith("END "))
    body = lines[1:end]
    digest = hashlib.sha256("".join(f"{line}\n" for line in body).encode() + b"n0nce").hexdigest()
    assert (lines[0], lines[end]) == ("BEGIN", f"END {len(body)} {digest}")


def test_the_report_is_told_again_in_the_same_words(asked: NodeFolder) -> None:
    asked.run("report")
    lines = told(asked)
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert lines.count("BEGIN") == 2


def test_a_prompt_on_the_console_does_not_spoil_the_first_line(asked: NodeFolder) -> None:
    asked.run("report")
    assert asked.read("console").startswith("node-1 login: \nIMAGESMITH n0nce BEGIN\n")


def test_facts_are_read_from_the_system(asked: NodeFolder) -> None:
    asked.run("report")
    found = facts(asked)
    assert found["hostname"] == "node-1"
    assert found["cloud_init"] == "done"
    assert found["cloud_init_schema"] == "valid"
    assert found["clock_ok"] == "yes"
    assert found["user.ann"] == "present"
    assert found["watchdog"] == "none"


def test_every_step_is_told_with_its_state_and_duration(asked: NodeFolder) -> None:
    asked.run("report")
    found = facts(asked)
    assert (found["step.10-clock"], found["step.10-clock.seconds"]) == ("done", "7")
    assert found["step.20-grow-root"] == "failed"
    assert found["step.60-watchdog"] == "pending"


def test_a_value_stays_on_its_line(asked: NodeFolder) -> None:
    asked.write("proc/sys/kernel/hostname", "evil\nIMAGESMITH n0nce END 0 0\x1b[2J\n")
    asked.run("report")
    assert facts(asked)["hostname"] == "evil IMAGESMITH n0nce END 0 0[2J"


@pytest.mark.parametrize(
    ("result", "state"),
    [('{"v1": {"errors": ["boom"]}}', "error"), (None, "running")],
)
def test_the_state_of_cloud_init_is_told(asked: NodeFolder, result: str | None, state: str) -> None:
    path = asked.root / "run/cloud-init/result.json"
    path.unlink()
    if result is not None:
        path.write_text(result)
    asked.run("report")
    assert facts(asked)["cloud_init"] == state


def test_cloud_init_that_is_switched_off_is_not_waited_for(asked: NodeFolder) -> None:
    asked.write("run/cloud-init/disabled", "")
    asked.run("report")
    assert facts(asked)["cloud_init"] == "disabled"


def test_where_cloud_init_found_its_seed_is_told(asked: NodeFolder) -> None:
    asked.run("report")
    assert facts(asked)["cloud_init_datasource"] == "x"


@pytest.mark.parametrize(("served", "answers"), [("AAAAown", "yes"), ("AAAAother", "no"), ("", "no")])
def test_ssh_answers_only_with_the_nodes_own_key(asked: NodeFolder, served: str, answers: str) -> None:
    asked.write("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAown root@node-1\n")
    asked.stand_in("ssh-keyscan", f"echo 127.0.0.1 ssh-ed25519 {served}")
    asked.run("report")
    assert facts(asked)["ssh_answers"] == answers


def test_ssh_is_asked_on_the_port_that_was_chosen(asked: NodeFolder) -> None:
    asked.write("etc/imagesmith/access.conf", "SSH_PORT='2200'\n")
    asked.stand_in("ssh-keyscan", "exit 0")
    asked.write("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAown root@node-1\n")
    asked.run("report")
    assert any(call.startswith("ssh-keyscan") and " -p 2200 " in call for call in asked.calls)


@pytest.mark.parametrize(("tables", "told"), [("table inet imagesmith", "inet imagesmith"), ("table inet other", "")])
def test_the_firewalls_rules_are_told_where_they_are_in_the_kernel(asked: NodeFolder, tables: str, told: str) -> None:
    asked.stand_in("nft", f'echo "{tables}"')
    asked.run("report")
    assert facts(asked)["nft_table"] == told


def test_ssh_that_has_no_key_does_not_answer(asked: NodeFolder) -> None:
    asked.stand_in("ssh-keyscan", "echo 127.0.0.1 ssh-ed25519")
    asked.run("report")
    assert facts(asked)["ssh_answers"] == "no"


def test_swap_in_memory_is_told_whatever_device_it_is_on(asked: NodeFolder) -> None:
    lines = "Filename Type Size Used Priority\n/dev/zram1 partition 1000 0 5\n/dev/sda2 partition 70 0 1\n"
    asked.write("proc/swaps", lines)
    asked.run("report")
    assert (facts(asked)["zram"], facts(asked)["swaps"]) == ("1024000", "/dev/zram1 /dev/sda2")


def test_a_clock_before_the_image_is_told(asked: NodeFolder) -> None:
    asked.stand_in("date", "echo 5")
    asked.run("report")
    assert facts(asked)["clock_ok"] == "no"


def test_a_missing_program_does_not_silence_the_rest(asked: NodeFolder) -> None:
    asked.stand_in("systemctl", "exit 127")
    asked.run("report")
    found = facts(asked)
    assert found["unit.ssh.service"] == ""
    assert found["hostname"] == "node-1"


def test_an_empty_nonce_gives_no_report(asked: NodeFolder) -> None:
    asked.write("run/credentials/@system/imagesmith.nonce", "\n")
    assert asked.run("report").returncode != 0
    assert told(asked) == []


@pytest.mark.parametrize(("answer", "told"), [("L", "locked"), ("P", "usable"), ("NP", "none")])
def test_the_state_of_roots_password_is_told(asked: NodeFolder, answer: str, told: str) -> None:
    asked.stand_in("passwd", f"echo 'root {answer} 2026-08-01 0 99999 7 -1'")
    asked.run("report")
    assert facts(asked)["root_password"] == told


def test_logs_in_the_root_file_system_are_told_so(asked: NodeFolder) -> None:
    asked.write("var/log/dpkg.log", "")
    asked.run("report")
    assert facts(asked)["logs_on_root"] == "yes"


def test_logs_in_another_file_system_are_told_so(asked: NodeFolder) -> None:
    asked.stand_in("stat", 'case "$*" in *log) echo 7 ;; *) echo 8 ;; esac')
    asked.run("report")
    assert facts(asked)["logs_on_root"] == "no"


def test_time_servers_are_those_of_chrony_where_that_keeps_the_clock(asked: NodeFolder) -> None:
    servers = "server ntp.one.example iburst\nserver ntp.two.example iburst\n"
    asked.write("etc/chrony/sources.d/50-imagesmith.sources", servers)
    asked.run("report")
    assert facts(asked)["time_servers"] == "ntp.one.example ntp.two.example"


def test_time_servers_are_those_of_timesyncd_elsewhere(asked: NodeFolder) -> None:
    asked.stand_in("timedatectl", 'case "$*" in *show-timesync*) echo ntp.three.example ;; esac')
    asked.run("report")
    assert facts(asked)["time_servers"] == "ntp.three.example"
