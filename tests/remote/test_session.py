"""Commands on a machine behind a real sshd: what comes back, and what every failure is told as."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from remote.machines import Machine, free_port, keygen

from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.remote.session import session
from imagesmith.remote.way import Way
from imagesmith.secret import Secret

SECRET = b"s3cret-token-0123456789"


def failure(way: Way, *argv: str, limit_s: float = 30) -> NodeUnreachable:
    with session([way]) as nodes, pytest.raises(NodeUnreachable) as caught:
        nodes.run(way.node, argv or ("true",), limit_s=limit_s)
    assert caught.value.exit_code == 13
    assert caught.value.where == way.node
    return caught.value


def test_a_command_runs_as_root_and_tells(machine: Machine) -> None:
    with session([machine.way]) as nodes:
        done = nodes.run("node-1", ("sh", "-c", 'echo "$0 $1"', "a b", "it's"))
    assert done.text == "a b it's\n"
    assert machine.calls == ['sh -c echo "$0 $1" a b it\'s']


def test_a_machine_with_another_host_key_gets_nothing(machine: Machine, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    error = failure(replace(machine.way, known=(other,)))
    assert "does not have the host key that the vault keeps" in error.what
    assert "another machine at this address" in error.hint
    assert machine.calls == []


def test_who_is_not_let_in_is_told_of_keys(machine: Machine, tmp_path: Path) -> None:
    error = failure(replace(machine.way, identity=keygen(tmp_path / "stranger")))
    assert "not in with the keys that ssh offers" in error.what
    assert "--identity" in error.hint


def test_a_machine_that_is_off_is_told_with_its_address(machine: Machine) -> None:
    port = free_port()
    error = failure(replace(machine.way, port=port))
    assert f"it does not answer at 127.0.0.2, port {port}: " in error.what
    assert "refused" in error.what


def test_a_name_that_nobody_knows_is_told(machine: Machine) -> None:
    assert "it does not answer at nowhere.invalid" in failure(replace(machine.way, host="nowhere.invalid")).what


def test_sudo_that_asks_is_told_with_the_setting_that_ends_it(machine: Machine) -> None:
    machine.write("sudo-asks", "")
    error = failure(machine.way)
    assert "sudo asks" in error.what
    assert "sudo_nopasswd: true" in error.hint


def test_a_command_that_hangs_is_given_up(machine: Machine) -> None:
    begun = time.monotonic()
    error = failure(machine.way, "sleep", "60", limit_s=2)
    assert time.monotonic() - begun < 20
    assert error.what == "it did not finish in 2 s: sleep 60"


def test_a_command_that_fails_is_told_with_its_last_words(machine: Machine) -> None:
    error = failure(machine.way, "sh", "-c", "echo no room >&2; exit 3")
    assert error.what.endswith("exit code 3: no room")


def test_an_exit_code_that_was_expected_is_no_failure(machine: Machine) -> None:
    with session([machine.way]) as nodes:
        assert nodes.run("node-1", ("sh", "-c", "exit 3"), expect=(0, 3)).returncode == 3


def test_a_file_is_put_whole_with_its_mode_and_read_again(machine: Machine) -> None:
    with session([machine.way]) as nodes:
        nodes.put("node-1", "/etc/rancher/k3s/config.yaml", Secret(SECRET), 0o600)
        assert nodes.read("node-1", "/etc/rancher/k3s/config.yaml").reveal() == SECRET
    path = machine.file("/etc/rancher/k3s/config.yaml")
    assert path.read_bytes() == SECRET
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["config.yaml"]


def test_what_came_in_part_takes_nothings_place(machine: Machine) -> None:
    # As where the connection is cut: who reads it on the machine sees an end, and no error.
    machine.write("bad-card", "")
    path = machine.write("etc/rancher/k3s/config.yaml", "as it was")
    with session([machine.way]) as nodes, pytest.raises(NodeUnreachable, match=r"100 of 1000 bytes came"):
        nodes.put("node-1", "/etc/rancher/k3s/config.yaml", b"x" * 1000, 0o600)
    assert path.read_text() == "as it was"
    assert [one.name for one in path.parent.iterdir()] == ["config.yaml"]


def test_what_another_left_half_written_is_not_written_into(machine: Machine) -> None:
    left = machine.write("etc/rancher/k3s/config.yaml.imagesmith", "x")
    left.chmod(0o644)
    was = left.open()  # whoever has it open still sees what was in it, and no more
    with session([machine.way]) as nodes:
        nodes.put("node-1", "/etc/rancher/k3s/config.yaml", Secret(SECRET), 0o600)
    with was:
        assert was.read() == "x"


def test_what_is_put_is_in_no_command_line(machine: Machine) -> None:
    with session([machine.way]) as nodes:
        nodes.put("node-1", "/etc/rancher/k3s/config.yaml", Secret(SECRET), 0o600)
    assert SECRET.decode() not in "".join(machine.calls)


def test_a_host_that_ssh_would_take_for_an_option_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError), session([replace(machine.way, host="-oProxyCommand=x")]):
        pass


def test_nothing_is_left_of_a_session(machine: Machine) -> None:
    with session([machine.way]) as nodes:
        known = nodes.known
        assert known.parent.stat().st_mode & 0o077 == 0
    assert not known.parent.exists()
