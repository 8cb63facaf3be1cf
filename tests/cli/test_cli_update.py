"""`imagesmith update` as a person meets it: a diff, a word when there is none, and the failure's exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from publishers.fixtures import listening, server
from publishers.server import Server

from imagesmith.cli.main import main
from imagesmith.model import Digest
from imagesmith.sources import lock

__all__ = ["listening", "server"]
PROFILE = """\
schema: 1
title: A board with two bases that follow an index
board: qemu-x86
role: worker
base: one
bases:
{bases}"""
BASE = """\
  - name: {name}
    family: debian-generic
    http:
      url: {url}
      follow:
        publisher: raspberrypi
        index: {index}
        choose: {{name: {name}}}
"""


@dataclass
class Told:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def once(*words: str) -> Told:
        code = main(words)
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return once


class Place:
    """A folder with an inventory of a node for each base, whose indexes lie on a server."""

    def __init__(self, folder: Path, server: Server) -> None:
        server.forget()
        self.folder, self.server = folder, server
        bases = ""
        for name in ("one", "two"):
            index = server.url(f"/{name}.json")
            bases += BASE.format(name=name, url=server.url(f"/{name}.img"), index=index)
        (folder / "profiles").mkdir()
        (folder / "profiles" / "mine.yaml").write_text(PROFILE.format(bases=bases))
        nodes = "".join(f"  - {{name: node-{name}, profile: mine, base: {name}}}\n" for name in ("one", "two"))
        (folder / "cluster.yaml").write_text(f"schema: 1\nname: home\nnodes:\n{nodes}")
        self.offer("one", "2026-10-06")
        self.offer("two", "2026-10-06")

    def offer(self, name: str, day: str) -> None:
        url = self.server.url(f"/{name}-{day}.img")
        entry = {"name": name, "url": url, "release_date": day, "image_download_sha256": self.digest(name, day).hex}
        self.server.file(f"/{name}.json", json.dumps({"os_list": [{**entry, "image_download_size": 4096}]}).encode())

    @staticmethod
    def digest(name: str, day: str) -> Digest:
        return Digest.of(f"{name} {day}".encode())

    def versions(self) -> dict[str, str]:
        return {name: entry.version for name, entry in lock.read(self.folder / "imagesmith.lock").entries.items()}


@pytest.fixture
def place(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESMITH_CACHE", str(tmp_path / "cache"))
    return Place(tmp_path, server)


def test_every_node_of_the_inventory_is_updated_and_told(place: Place, run: Callable[..., Told]) -> None:
    done = run("update")
    server = place.server.url("").removeprefix("https://")
    assert (done.code, done.err) == (0, "".join(f"  asking {server} for {name}.json\n" for name in ("one", "two")))
    assert place.versions() == {"qemu-x86/one": "2026-10-06", "qemu-x86/two": "2026-10-06"}
    assert "qemu-x86/one\n  + url" in done.out
    assert f"  + digest         {place.digest('one', '2026-10-06')}\n" in done.out
    assert "  + size           4.0 KiB\n" in done.out


def test_a_change_is_shown_as_a_diff(place: Place, run: Callable[..., Told]) -> None:
    run("update")
    place.offer("one", "2026-11-20")
    told = run("update").out
    assert "  - version        2026-10-06\n  + version        2026-11-20\n" in told
    assert "qemu-x86/two" not in told
    assert "size" not in told


def test_nothing_new_is_told(place: Place, run: Callable[..., Told]) -> None:
    run("update")
    assert run("update").out == "nothing has changed\n"


def test_one_node_is_updated_alone(place: Place, run: Callable[..., Told]) -> None:
    assert run("update", "node-two").code == 0
    assert place.versions() == {"qemu-x86/two": "2026-10-06"}


def test_a_board_is_updated_with_all_its_bases(place: Place, run: Callable[..., Told]) -> None:
    done = run("update", "qemu-x86")
    assert done.out == "nothing has changed\nnot looked up, as they follow no index: qemu-x86/debian\n"


def test_the_exit_code_is_that_of_the_failure_and_the_others_are_updated(
    place: Place, run: Callable[..., Told]
) -> None:
    place.server.file("/one.json", b"<html>log in</html>")
    done = run("update")
    assert done.code == 4
    assert "is not JSON" in done.err
    assert "what to do:" in done.err
    assert place.versions() == {"qemu-x86/two": "2026-10-06"}
    assert "qemu-x86/two" in done.out


def test_every_failure_is_told(place: Place, run: Callable[..., Told]) -> None:
    for name in ("one", "two"):
        place.server.on(f"/{name}.json", lambda request: request.send_error(404))
    done = run("update")
    assert done.code == 3
    assert "/one.json" in done.err
    assert "/two.json" in done.err
    assert "nothing has changed" not in done.out


def test_every_failure_is_told_with_what_to_do(place: Place, run: Callable[..., Told]) -> None:
    run("update")
    for name in ("one", "two"):
        place.offer(name, "2026-09-15")
    refused = run("update")
    assert "--allow-rollback qemu-x86/one" in refused.err
    assert "--allow-rollback qemu-x86/two" in refused.err


def test_a_rollback_of_what_is_not_there_is_told_before_anybody_is_asked(
    place: Place, run: Callable[..., Told]
) -> None:
    done = run("update", "--allow-rollback", "qemu-x86/onne")
    assert done.code == 2
    assert "did you mean 'qemu-x86/one'" in done.err
    assert place.server.seen == []


def test_a_rollback_is_refused_and_can_be_allowed_by_name(place: Place, run: Callable[..., Told]) -> None:
    run("update")
    place.offer("one", "2026-09-15")
    refused = run("update", "node-one")
    assert refused.code == 4
    assert "--allow-rollback qemu-x86/one" in refused.err
    assert place.versions()["qemu-x86/one"] == "2026-10-06"
    assert run("update", "node-one", "--allow-rollback", "qemu-x86/one").code == 0
    assert place.versions()["qemu-x86/one"] == "2026-09-15"


def test_scripts_get_the_changes_and_the_failures(place: Place, run: Callable[..., Told]) -> None:
    place.server.on("/one.json", lambda request: request.send_error(404))
    done = run("update", "--json")
    result, error = (json.loads(line) for line in done.out.splitlines()[-2:])
    changes = result["result"]["changes"]
    assert {"base": "qemu-x86/two", "name": "version", "before": "nothing", "after": "2026-10-06"} in changes
    assert [failure["exit_code"] for failure in result["result"]["failures"]] == [3] == [error["error"]["exit_code"]]
    assert sum(result["result"]["asked"].values()) == 2


def test_an_unknown_target_is_told(place: Place, run: Callable[..., Told]) -> None:
    done = run("update", "qemu-x68")
    assert done.code == 2
    assert "qemu-x68" in done.err
