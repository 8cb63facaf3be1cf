"""What a NAS lets a node do: its own backups by their names, thinned out by days and weeks; in any shell."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from nas import NODE, busybox

RECEIVE = Path(__file__).parents[2] / "firstboot/backup/imagesmith-receive"
NAME = f"{NODE}-20261123T023000Z.tar.zst"
SAID = b"said\n-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n"
SHELLS = ["/bin/sh", "busybox", "bash --posix"]


class Kept:
    """The script in one shell, on a folder."""

    def __init__(self, shell: str, folder: Path) -> None:
        if not shutil.which(shell.split()[0]):
            pytest.skip(f"{shell} is not here")
        self.argv = (busybox(folder / "busybox") if shell == "busybox" else shell).split()
        self.folder = folder / "kept"
        self.folder.mkdir()

    def ask(self, command: str, sent: bytes = b"", node: str = NODE) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.argv, RECEIVE, self.folder, node], input=sent, capture_output=True, check=False,
            env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": command},
        )  # fmt: skip

    def told(self, command: str, sent: bytes = b"") -> str:
        done = self.ask(command, sent)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def has(self, *days: datetime) -> list[str]:
        """Puts backups of these times there."""
        names = [f"{NODE}-{day:%Y%m%dT%H%M%SZ}.tar.zst" for day in days]
        (self.folder / NODE).mkdir(exist_ok=True)
        for name in names:
            (self.folder / NODE / name).touch()
            (self.folder / NODE / f"{name}.about").touch()
        return names

    @property
    def names(self) -> list[str]:
        return [line.split()[0] for line in self.told("list").splitlines()]


@pytest.fixture(params=SHELLS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    return Kept(request.param, tmp_path)


def test_what_is_sent_counts_once_it_is_kept(kept: Kept) -> None:
    data = os.urandom(5000)
    assert kept.told(f"put {NAME}", data) == "5000\n"
    assert kept.told("list") == ""
    assert kept.told(f"digest {NAME}") == f"{hashlib.sha256(data).hexdigest()}\n"
    kept.told(f"keep {NAME}", SAID)
    assert kept.told("list") == f"{NAME} 5000\n"
    assert kept.told(f"about {NAME}") == SAID.decode()
    assert kept.ask(f"get {NAME}").stdout == data


def test_what_was_dropped_is_gone(kept: Kept) -> None:
    kept.told(f"put {NAME}", b"x")
    kept.told(f"drop {NAME}")
    assert kept.ask(f"keep {NAME}", SAID).returncode == 1
    assert kept.names == []


@pytest.mark.parametrize("said", [b"", b"said\n", SAID[:-6]])
def test_a_statement_that_is_not_whole_is_none(kept: Kept, said: bytes) -> None:
    kept.told(f"put {NAME}", b"x")
    assert b"did not arrive whole" in kept.ask(f"keep {NAME}", said).stderr
    assert kept.names == []
    kept.told(f"keep {NAME}", SAID)


def test_a_backup_is_never_written_over(kept: Kept) -> None:
    for _ in range(2):
        kept.told(f"put {NAME}", b"one")
        done = kept.ask(f"keep {NAME}", SAID)
    assert b"already" in done.stderr
    assert kept.names == [NAME]


@pytest.mark.parametrize(
    "command",
    [
        "", "sh", "put", f"put ../{NAME}", f"get {NODE}/../../../etc/passwd", "get /etc/passwd", "get .ssh",
        "get node-2-20261123T023000Z.tar.zst", f"get {NAME}.about", f"put {NAME};reboot", f"put $(reboot){NAME}",
        "put *", "prune 0 4", "prune 7", "prune 7 x", "prune -1 4", f"rm {NAME}", f"drop {NAME} {NAME}",
    ],
)  # fmt: skip
def test_a_nodes_key_opens_nothing_else(kept: Kept, command: str) -> None:
    (kept.folder / "node-2").mkdir()
    (kept.folder / "node-2/node-2-20261123T023000Z.tar.zst").write_text("theirs")
    before = sorted(kept.folder.rglob("*"))
    done = kept.ask(command, b"x")
    assert done.returncode != 0
    assert done.stdout == b"" and done.stderr
    assert [path for path in sorted(kept.folder.rglob("*")) if path != kept.folder / NODE] == before


@pytest.mark.parametrize("node", ["../node-1", "", ".", "a b", "a;b"])
def test_a_node_is_one_folder(kept: Kept, node: str) -> None:
    assert kept.ask("list", node=node).returncode == 1
    assert list(kept.folder.iterdir()) == []


def test_days_and_weeks_are_thinned_out(kept: Kept) -> None:
    """Against the same done with Python's calendar."""
    end = datetime(2028, 3, 2, 2, 30)
    names = kept.has(*(end - timedelta(hours=8 * number) for number in range(400)))
    kept.told("prune 7 5")
    by_day, by_week = {}, {}
    for name in sorted(names):
        when = datetime.strptime(name[len(NODE) + 1 :], "%Y%m%dT%H%M%SZ.tar.zst")
        by_day[when.date()] = by_week[when.isocalendar()[:2]] = name
    newest = [list(found.values())[-count:] for found, count in ((by_day, 7), (by_week, 5))]
    assert kept.names == sorted({*newest[0], *newest[1]})


def test_the_newest_stays_whatever_its_age(kept: Kept) -> None:
    (name,) = kept.has(datetime(1999, 12, 31))
    assert kept.told("prune 1 0") == ""
    assert kept.names == [name]


def test_what_was_cut_off_goes_with_the_next(kept: Kept) -> None:
    kept.told(f"put {NAME}", b"half")
    other = NAME.replace("23T", "24T")
    kept.told(f"put {other}", b"whole")
    assert [path.name for path in (kept.folder / NODE).iterdir()] == [f"{other}.part"]
