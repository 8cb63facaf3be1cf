"""Final names are earned: whole sets only, never over something foreign, never two at once, also after a kill."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_disks import tool

from imagesmith.errors import IOFailed, NoSpace, UsageError
from imagesmith.events import Event
from imagesmith.output.publish import SUMS, Staging


def build(final: Path, content: bytes = b"image", **more: bytes) -> Path:
    with Staging(final) as staging:
        staging.write("node.img", content, mode=0o600)
        for name, data in more.items():
            staging.write(name, data)
        return staging.publish({})


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock")


def test_a_published_set_has_sums_that_sha256sum_accepts(tmp_path: Path) -> None:
    final = build(tmp_path / "out/node", manifest=b"{}")
    assert "node.img: OK" in tool("sha256sum", "-c", SUMS, cwd=final)
    assert leftovers(tmp_path / "out") == []
    assert (final / "node.img").stat().st_mode & 0o777 == 0o600


def test_digests_that_are_known_are_taken_as_they_are(tmp_path: Path) -> None:
    with Staging(tmp_path / "node") as staging:
        staging.write("node.img", b"x")
        final = staging.publish({"node.img": "a" * 64})
    assert (final / SUMS).read_text() == f"{'a' * 64}  node.img\n"


def test_nothing_has_the_final_name_before_publishing(tmp_path: Path) -> None:
    with Staging(tmp_path / "node") as staging:
        staging.write("node.img", b"x")
        assert not (tmp_path / "node").exists()
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "node").exists()


def test_a_failure_leaves_the_old_set_as_it_was(tmp_path: Path) -> None:
    final = build(tmp_path / "node", b"old")
    with pytest.raises(RuntimeError), Staging(final) as staging:
        staging.write("node.img", b"new")
        raise RuntimeError
    assert (final / "node.img").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_new_set_replaces_the_old_one_whole(tmp_path: Path) -> None:
    build(tmp_path / "node", b"old", extra=b"x")
    final = build(tmp_path / "node", b"new")
    assert sorted(path.name for path in final.iterdir()) == [SUMS, "node.img"]
    assert (final / "node.img").read_bytes() == b"new"
    assert leftovers(tmp_path) == []


def test_the_name_always_leads_to_a_whole_set_while_sets_are_exchanged(tmp_path: Path) -> None:
    final = build(tmp_path / "node", b"0" * 1000)
    code = (
        "import sys; from pathlib import Path; from imagesmith.output.publish import Staging\n"
        "for number in range(60):\n"
        "    with Staging(Path(sys.argv[1])) as staging:\n"
        "        staging.write('node.img', str(number).encode() * 1000)\n"
        "        staging.publish({})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, final]) as builder:
        looked = 0
        while builder.poll() is None:
            assert (final / SUMS).exists() and (final / "node.img").exists()
            looked += 1
    assert builder.returncode == 0 and looked > 60


def test_foreign_files_are_never_lost(tmp_path: Path) -> None:
    final = tmp_path / "node"
    final.mkdir()
    (final / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(UsageError, match=r"holiday\.jpg"), Staging(final):
        pass
    build(tmp_path / "other")
    (tmp_path / "other/notes.txt").write_bytes(b"dear")
    with pytest.raises(UsageError, match=r"notes\.txt"), Staging(tmp_path / "other"):
        pass
    assert (final / "holiday.jpg").read_bytes() == b"dear"


def test_a_foreign_file_that_appears_while_building_is_not_lost_either(tmp_path: Path) -> None:
    final = build(tmp_path / "node")
    with pytest.raises(UsageError, match="late"), Staging(final) as staging:
        staging.write("node.img", b"new")
        (final / "late").write_bytes(b"dear")
        staging.publish({})
    assert (final / "late").exists()


def test_names_that_are_also_ours_are_replaced(tmp_path: Path) -> None:
    final = build(tmp_path / "node")
    (final / "boot.log").write_bytes(b"transcript")
    with Staging(final, also_ours=("*.log",)) as staging:
        staging.write("node.img", b"new")
        staging.publish({})
    assert not (final / "boot.log").exists()


def test_an_empty_folder_is_fine_and_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    build(tmp_path / "node")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="a file is in the way"), Staging(tmp_path / "file"):
        pass


def test_a_target_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "node").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("node", "dangling"):
        with pytest.raises(UsageError, match="symbolic link"), Staging(tmp_path / name):
            pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_output_folder_that_leads_elsewhere_is_refused_and_one_that_stays_is_not(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "home/out").symlink_to("../disk")
    with pytest.raises(UsageError, match="somewhere else"), Staging(tmp_path / "home/out/node"):
        pass
    (tmp_path / "home/real").mkdir()
    (tmp_path / "home/near").symlink_to("real")
    build(tmp_path / "home/near/node")
    assert (tmp_path / "home/real/node" / SUMS).exists()


@pytest.mark.parametrize("name", ["..", ".hidden"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError), Staging(Path(f"{tmp_path}/{name}")):
        pass


def test_two_builds_of_one_name_the_second_waits_and_says_so(tmp_path: Path) -> None:
    told: list[Event] = []
    with (
        Staging(tmp_path / "node"),
        pytest.raises(IOFailed, match="still running"),
        Staging(tmp_path / "node", wait_s=0.2, listener=told.append),
    ):
        pass
    assert "waiting" in str(told[0])
    build(tmp_path / "node")


HOLD = """
import sys, time
from pathlib import Path
from imagesmith.output.publish import Staging
with Staging(Path(sys.argv[1])) as staging:
    staging.write("node.img", b"half")
    print("in", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_build_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    build(tmp_path / "node", b"old")
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "node"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout and killed.stdout.readline() == b"in\n"
        killed.send_signal(signal.SIGKILL)
    assert leftovers(tmp_path) == [".node.staging"]
    assert (tmp_path / "node/node.img").read_bytes() == b"old"
    build(tmp_path / "node", b"new")
    assert leftovers(tmp_path) == []


def test_a_build_killed_between_two_renames_gets_its_old_set_back(tmp_path: Path) -> None:
    final = build(tmp_path / "node", b"old")
    final.rename(tmp_path / ".node.replaced")
    with Staging(final):
        assert (final / "node.img").read_bytes() == b"old"


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_where_sets_cannot_be_exchanged_a_failure_between_two_renames_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    final = build(tmp_path / "node", b"old")
    rename = Path.rename

    def second_fails(self: Path, target: Path) -> Path:
        if self.name == ".node.staging":
            raise failure
        return rename(self, target)

    # A C library without renameat2.
    monkeypatch.setattr(ctypes, "CDLL", lambda *words, **options: object())
    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises((IOFailed, KeyboardInterrupt)), Staging(final) as staging:
        staging.write("node.img", b"new")
        staging.publish({})
    assert (final / "node.img").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_link_in_the_staged_set_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(IOFailed), Staging(tmp_path / "node") as staging:
        (staging.path / "node.img").symlink_to("/etc/hostname")
        staging.publish({})
    assert not (tmp_path / "node").exists()


@pytest.mark.root
def test_a_full_disk_is_no_space_and_nothing_has_the_final_name(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=1m", "none", small)
    try:
        final = build(small / "node", b"old")
        with pytest.raises(NoSpace), Staging(final) as staging:
            staging.write("node.img", bytes(4 << 20))
        assert (final / "node.img").read_bytes() == b"old"
        assert leftovers(small) == []
        build(final, b"after")
    finally:
        tool("umount", small)


@pytest.mark.root
def test_under_sudo_the_files_are_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1")  # daemon, there on every system
    final = build(tmp_path / "out/node")
    assert {path.stat().st_uid for path in (final, final.parent, *final.iterdir())} == {1}


def test_the_sums_are_written_last(tmp_path: Path) -> None:
    final = build(tmp_path / "node", b"x" * 100, a=b"1")
    newest = max(final.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == SUMS
    assert hashlib.sha256(b"1").hexdigest() in newest.read_text()
