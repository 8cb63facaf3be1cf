"""`status`, `replace`, `add`, `upgrade`, `vault rotate --apply` as a person meets them, on machines behind real sshds.

An inventory has no loopback addresses and no user root, so an `ssh` of the tests' own stands before the real one: it
says where the names lead, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from building import Done, Workshop
from image.made_disks import Disk
from remote.machines import SSHD, USER, Machine, machines, program_text

from imagesmith.secret import Secret
from imagesmith.vault.index import read_index
from imagesmith.workflow.foreign import take

pytestmark = pytest.mark.skipif(not SSHD, reason="sshd is not installed")
NEW = "v1.37.1+k3s1"


@dataclass
class Desk(Workshop):
    machines: dict[str, Machine] = field(default_factory=dict)

    def asks(self, *words: str) -> Done:
        """A command with the key that opens the machines."""
        return self.run(*words, "--identity", str(self.machines["s-1"].identity))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with machines(tmp_path, {"s-1": "server", "a-1": "agent"}) as found:
        _stand_before_ssh(tmp_path / "bin" / "ssh", found)
        env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NO_COLOR": "1"}
        made = Desk(tmp_path, Disk(tmp_path / "none.img"), env, found)
        (tmp_path / "cluster.yaml").write_text(
            "schema: 1\nname: rack\ndomain: rack.test\n"
            "k3s: {version: v1.36.3+k3s1, datastore: sqlite}\n"
            f"ssh: {{port: {found['s-1'].port}}}\n"
            "defaults: {user: ann, sudo_nopasswd: true}\n"
            "nodes:\n"
            "  - {name: s-1, profile: qemu-x86-server, resolvable: true}\n"
            "  - {name: a-1, profile: qemu-x86-worker}\n"
        )
        assert made.run("vault", "create", "--plain").code == 0
        for name, machine in found.items():
            key = Secret((machine.folder / "host").read_bytes())
            take(tmp_path / "cluster.vault", f"nodes/{name}/host-key.ed25519", key, "test", replace=True)
        yield made


def _stand_before_ssh(path: Path, found: dict[str, Machine]) -> None:
    led = {f"{name}.rack.test": machine.address for name, machine in found.items()} | {"ann": USER}
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable} -S\nimport os, sys\nled = {led!r}\n"
        f"os.execv({shutil.which('ssh')!r}, ['ssh', *(led.get(word, word) for word in sys.argv[1:])])\n"
    )
    path.chmod(0o755)


def well_but_for_clocks(done: Done) -> bool:
    """Nobody keeps the clock of a machine that tests run on."""
    return all("clock" in line for line in done.err.splitlines() if line.startswith("  "))


def test_status_is_a_table_with_a_line_for_each_node(desk: Desk) -> None:
    done = desk.asks("status")
    head, *rows = done.out.splitlines()
    assert head.split()[:3] == ["NODE", "DUTY", "ANSWERS"]
    assert [row.split()[:6] for row in rows] == [
        ["s-1", "founder", "yes", "nothing", "active", "v1.36.3+k3s1"],
        ["a-1", "agent", "yes", "nothing", "active", "v1.36.3+k3s1"],
    ]
    assert well_but_for_clocks(done), done.err
    assert "founded" in desk.run("vault", "list").out


def test_status_ends_with_13_and_the_list_of_what_is_wrong(desk: Desk) -> None:
    desk.machines["a-1"].write("state", "failed")
    done = desk.asks("status")
    assert done.code == 13
    assert "  a-1: k3s-agent.service is failed" in done.err
    assert "see docs/life.md" in done.err


def test_status_in_json_has_every_fact_and_no_secret(desk: Desk) -> None:
    desk.machines["a-1"].write("sudo-asks", "")
    done = desk.asks("status", "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    result = next(line["result"] for line in lines if "result" in line)
    first, second = result["nodes"]
    assert result["asked"] == "s-1"
    assert first["facts"]["unit.ActiveState"] == "active"
    assert first["cluster"]["ready"] is True
    assert second["answers"] is False
    assert "sudo asks" in second["silence"]
    assert lines[-1]["error"]["exit_code"] == 13
    assert "K10" not in done.out + done.err


def test_a_node_that_is_off_is_told_and_the_rest_is_answered(desk: Desk) -> None:
    text = (desk.folder / "cluster.yaml").read_text()
    (desk.folder / "cluster.yaml").write_text(text + "  - {name: a-2, profile: qemu-x86-worker}\n")
    desk.run("known-hosts")
    done = desk.asks("status")
    assert "  a-2: it does not answer at a-2.rack.test" in done.err
    assert done.out.splitlines()[1].startswith("s-1 ")
    assert done.code == 13


def test_without_a_terminal_nothing_is_changed_unasked(desk: Desk) -> None:
    done = desk.asks("replace", "a-1")
    assert done.code == 2
    assert "k3s kubectl drain a-1" in done.err
    assert "--yes does what was shown" in done.err
    assert not any("drain" in call for call in desk.machines["s-1"].calls)


def test_replace_says_what_is_left(desk: Desk) -> None:
    done = desk.asks("replace", "a-1", "--yes")
    assert done.code == 0, done.err
    assert "  2. imagesmith build a-1" in done.out
    assert any(call.startswith("k3s kubectl delete node a-1") for call in desk.machines["s-1"].calls)


def test_the_only_server_needs_a_word(desk: Desk) -> None:
    done = desk.asks("replace", "s-1", "--yes")
    assert done.code == 2
    assert "is the only server" in done.err
    assert "--empty" in done.err
    assert desk.asks("replace", "s-1", "--empty", "--yes", "--json").result["replaced"] == "s-1"


def test_add_draws_what_the_node_lacks(desk: Desk) -> None:
    text = (desk.folder / "cluster.yaml").read_text()
    (desk.folder / "cluster.yaml").write_text(text + "  - {name: a-2, profile: qemu-x86-worker}\n")
    result = desk.asks("add", "a-2", "--json").result
    assert "nodes/a-2/node-password" in result["drawn"]
    assert result["left"][0] == "imagesmith build a-2"
    assert "nodes/a-2/node-password" in read_index(desk.folder / "cluster.vault").secrets


@pytest.mark.slow
def test_upgrade_tells_who_got_it_and_what_the_inventory_should_say(desk: Desk) -> None:
    (desk.folder / "k3s").write_text(program_text("k3s").replace('VERSION = "v1.36.3+k3s1"', f'VERSION = "{NEW}"'))
    done = desk.asks("upgrade", "--k3s", NEW, "--file", "amd64=k3s", "--yes")
    assert done.code == 0, done.err
    assert f"2 nodes got {NEW}" in done.out
    assert f"set k3s: version: {NEW} in cluster.yaml" in done.out
    again = desk.asks("upgrade", "--k3s", NEW, "--file", "amd64=k3s", "--json").result
    assert again == {"version": NEW, "changed": [], "before": ["s-1", "a-1"]}


def test_a_version_too_far_is_refused_before_anything_is_fetched(desk: Desk) -> None:
    done = desk.asks("upgrade", "--k3s", "v1.38.0+k3s1", "--yes")
    assert done.code == 2
    assert "no minor version may be skipped" in done.err


@pytest.mark.slow
def test_rotate_can_bring_a_token_to_the_nodes(desk: Desk) -> None:
    told = desk.run("vault", "rotate", "cluster/agent-token")
    assert "imagesmith vault rotate cluster/agent-token --apply --resume" in told.out
    done = desk.asks("vault", "rotate", "cluster/agent-token", "--apply", "--resume", "--yes")
    assert done.code == 0, done.err
    new = desk.program("vault", "export", "cluster/agent-token").out
    assert new in desk.machines["a-1"].file("etc/rancher/k3s/config.yaml").read_text()
    assert new not in done.out + done.err


def test_resume_alone_is_refused(desk: Desk) -> None:
    assert desk.asks("vault", "rotate", "cluster/agent-token", "--resume").code == 2
