"""A rack that runs gets another k3s over a real SSH: in order, checked, stopped at a node that fails, and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from remote.machines import SSHD, program_text
from remote.racks import Running, running_rack

from imagesmith.errors import Interrupted, NodeUnreachable, UsageError
from imagesmith.workflow.upgrade import Release, Upgraded, upgrade_nodes

pytestmark = [pytest.mark.skipif(not SSHD, reason="sshd is not installed"), pytest.mark.slow]
OLD, NEW = "v1.36.3+k3s1", "v1.37.1+k3s1"
PROGRAM = "usr/local/bin/k3s"


@pytest.fixture(params=["etcd"])
def rack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running_rack(tmp_path, request.param) as found:
        yield found


def program(folder: Path, version: str = NEW) -> Path:
    path = folder / f"k3s-{version}"
    path.write_text(program_text("k3s").replace(f'VERSION = "{OLD}"', f'VERSION = "{version}"'))
    return path


def upgrade(rack: Running, path: Path, **words: object) -> Upgraded:
    return upgrade_nodes(rack.rack, NEW, Release([("amd64", path)]), rack.agree(), **words)  # type: ignore[arg-type]


def versions(rack: Running) -> dict[str, str]:
    return {file.stem: file.read_text() for file in rack.cluster.glob("*.version")}


def test_every_node_runs_the_new_program_and_keeps_the_old_one(rack: Running, tmp_path: Path) -> None:
    path = program(tmp_path)
    done = upgrade(rack, path)
    assert done == Upgraded(("s-1", "s-2", "a-1"), ())
    assert versions(rack) == dict.fromkeys(("s-1", "s-2", "a-1"), NEW)
    for machine in rack.machines.values():
        assert machine.file(PROGRAM).read_bytes() == path.read_bytes()
        assert machine.file(PROGRAM).stat().st_mode & 0o777 == 0o755
        assert OLD in machine.file(f"{PROGRAM}.before").read_text()
        assert not machine.file(f"{PROGRAM}.imagesmith").exists()
    assert rack.calls("etcd-snapshot") == ["s-1: k3s etcd-snapshot save --name before-v1.37.1-k3s1"]
    assert [line.split(" ")[1] for line in rack.shown if "restart k3s" in line] == ["s-1:", "s-2:", "a-1:"]


def test_a_second_run_finds_nothing_to_do(rack: Running, tmp_path: Path) -> None:
    upgrade(rack, program(tmp_path))
    before = rack.calls("restart", "cat >")
    assert upgrade(rack, program(tmp_path)) == Upgraded((), ("s-1", "s-2", "a-1"))
    assert rack.calls("restart", "cat >") == before


def test_a_node_that_does_not_start_stops_it_and_it_goes_on_there(rack: Running, tmp_path: Path) -> None:
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable) as caught:
        upgrade(rack, program(tmp_path))
    assert caught.value.where == "s-2"
    assert "journalctl -u k3s.service" in caught.value.hint
    assert f"mv /{PROGRAM}.before /{PROGRAM}" in caught.value.hint
    assert versions(rack) == {"s-1": NEW, "s-2": OLD, "a-1": OLD}
    assert rack.machines["a-1"].file(PROGRAM).read_text().count(NEW) == 0
    rack.machines["s-2"].file("fails-to-start").unlink()
    assert upgrade(rack, program(tmp_path)) == Upgraded(("s-2", "a-1"), ("s-1",))
    assert versions(rack) == dict.fromkeys(("s-1", "s-2", "a-1"), NEW)


def test_a_program_that_arrives_broken_is_not_put_in_place(rack: Running, tmp_path: Path) -> None:
    # As a full disk or a bad card would: what is written is not what was sent.
    rack.machines["s-1"].write("bad-card", "")
    path = program(tmp_path)
    with pytest.raises(NodeUnreachable) as caught:
        upgrade(rack, path)
    assert "compare what arrived" in caught.value.what
    assert OLD in rack.machines["s-1"].file(PROGRAM).read_text()
    assert rack.calls("restart") == []


def test_a_program_of_another_version_is_not_put_in_place(rack: Running, tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match="ask it for its version"):
        upgrade(rack, program(tmp_path, "v1.37.0+k3s1"))
    assert OLD in rack.machines["s-1"].file(PROGRAM).read_text()
    assert rack.calls("restart") == []


def test_nothing_is_sent_that_was_not_agreed(rack: Running, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        upgrade_nodes(rack.rack, NEW, Release([("amd64", program(tmp_path))]), rack.agree(False))
    assert rack.calls("cat >", "restart", "snapshot") == []


def test_an_agent_that_is_away_can_be_left_out_and_a_server_not(rack: Running, tmp_path: Path) -> None:
    rack.machines["a-1"].write("sudo-asks", "")
    with pytest.raises(NodeUnreachable) as caught:
        upgrade(rack, program(tmp_path))
    assert "--without a-1" in caught.value.hint
    with pytest.raises(UsageError, match="s-2 is a server"):
        upgrade(rack, program(tmp_path), without=["s-2"])
    assert upgrade(rack, program(tmp_path), without=["a-1"]).changed == ("s-1", "s-2")


@pytest.mark.parametrize("rack", ["sqlite"], indirect=True)
def test_sqlites_files_are_copied_once_while_k3s_is_stopped(rack: Running, tmp_path: Path) -> None:
    upgrade(rack, program(tmp_path))
    kept = rack.machines["s-1"].file(f"var/lib/rancher/k3s/server/db.before-{NEW}")
    assert (kept / "state.db").read_text() == "data"
    assert rack.calls("etcd-snapshot") == []


def test_a_file_that_is_no_program_is_refused(rack: Running, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>404")
    with pytest.raises(UsageError, match="no program for amd64 or arm64"):
        upgrade_nodes(rack.rack, NEW, Release([("", tmp_path / "page.html")]), rack.agree())


IMAGES = "var/lib/rancher/k3s/agent/images"
TARBALL = "k3s-airgap-images-amd64.tar.zst"


@pytest.fixture
def without_internet(rack: Running, tmp_path: Path) -> Running:
    """The same rack, airgap; its nodes have the images of their k3s, but for one that was never given any."""
    k3s = rack.rack.cluster.k3s
    assert k3s
    for name in ("s-1", "s-2"):
        rack.machines[name].write(f"{IMAGES}/{TARBALL}", f"images of {OLD}")
    (tmp_path / TARBALL).write_text(f"images of {NEW}")
    cluster = replace(rack.rack.cluster, k3s=replace(k3s, airgap=True))
    return replace(rack, rack=replace(rack.rack, cluster=cluster))


def with_images(rack: Running, folder: Path) -> Upgraded:
    given = Release([("amd64", program(folder))], [("", folder / TARBALL)])
    return upgrade_nodes(rack.rack, NEW, given, rack.agree())


def images(rack: Running) -> dict[str, list[tuple[str, str]]]:
    """What k3s would load on every machine, and what lies beside."""
    found = {}
    for name, machine in rack.machines.items():
        files = [*machine.file(IMAGES).glob("*"), *machine.file(IMAGES).parent.glob("images.*")]
        found[name] = [(file.name, file.read_text()) for file in files]
    return found


def test_nodes_without_internet_get_the_images_before_their_k3s_starts(
    without_internet: Running, tmp_path: Path
) -> None:
    rack = without_internet
    with_images(rack, tmp_path)
    assert images(rack) == {name: [(TARBALL, f"images of {NEW}")] for name in rack.machines}
    for name in rack.machines:
        done = [word for line in rack.machines[name].calls for word in ("ln ", "systemctl restart") if word in line]
        assert done.index("ln ") < done.index("systemctl restart")


def test_images_of_before_stay_beside_until_the_node_is_ready(without_internet: Running, tmp_path: Path) -> None:
    rack = without_internet
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable) as caught:
        with_images(rack, tmp_path)
    assert f"mv /{IMAGES}.before /{IMAGES}/{TARBALL}" in caught.value.hint
    assert images(rack)["s-2"] == [(TARBALL, f"images of {NEW}"), ("images.before", f"images of {OLD}")]
    rack.machines["s-2"].file("fails-to-start").unlink()
    with_images(rack, tmp_path)
    assert images(rack)["s-2"] == [(TARBALL, f"images of {NEW}")]


def test_images_that_an_older_upgrade_kept_are_no_way_back(without_internet: Running, tmp_path: Path) -> None:
    rack = without_internet
    rack.machines["s-2"].write(f"{IMAGES}.before", "images of two before")
    rack.machines["s-2"].write("fails-to-start", "")
    with pytest.raises(NodeUnreachable):
        with_images(rack, tmp_path)
    assert images(rack)["s-2"] == [(TARBALL, f"images of {NEW}"), ("images.before", f"images of {OLD}")]


def test_images_given_to_a_cluster_with_internet_are_sent_once(rack: Running, tmp_path: Path) -> None:
    (tmp_path / TARBALL).write_text(f"images of {NEW}")
    assert with_images(rack, tmp_path) == Upgraded(("s-1", "s-2", "a-1"), ())
    assert with_images(rack, tmp_path) == Upgraded((), ("s-1", "s-2", "a-1"))


def test_images_that_arrive_broken_are_not_put_in_place(without_internet: Running, tmp_path: Path) -> None:
    (tmp_path / TARBALL).write_text("images " * 100)
    without_internet.machines["s-1"].write("bad-card", "")
    with pytest.raises(NodeUnreachable, match="compare the images that arrived"):
        with_images(without_internet, tmp_path)
    assert without_internet.machines["s-1"].file(f"{IMAGES}/{TARBALL}").read_text() == f"images of {OLD}"
    assert without_internet.calls("restart") == []


def test_without_their_images_nodes_without_internet_are_left_alone(without_internet: Running, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no container images for amd64") as caught:
        upgrade(without_internet, program(tmp_path))
    assert "--images FILE" in caught.value.hint
    assert without_internet.calls("cat >", "restart", "snapshot") == []


def test_a_file_whose_name_says_no_architecture_is_refused(without_internet: Running, tmp_path: Path) -> None:
    (tmp_path / "mine.tar").write_text("x")
    with pytest.raises(UsageError, match="for which architecture"):
        upgrade_nodes(without_internet.rack, NEW, Release(images=[("", tmp_path / "mine.tar")]), rack_agrees)


def rack_agrees(lines: object) -> bool:
    raise AssertionError(lines)
