"""Secrets in files: found from the inventory's folder, held to what they must be, told by name and never by value."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid, UsageError, VaultLocked
from imagesmith.events import Event, Warned
from imagesmith.model import Base, BuildPlan, FileSource, Node, PutFile
from imagesmith.secret import PasswordHash, Secret, SecretRef, SecretText, WpaKey, Written
from imagesmith.workflow.secrets import open_secrets

HASH = b"$6$abcdefgh$" + b"x" * 86
PLAN = BuildPlan(
    "n", Node("n", "p"), "worker", "p", "b", "arm64", Base("b", "debian", FileSource("a.img")), (), (), None
)


def planned(*contents: SecretRef | SecretText) -> BuildPlan:
    return replace(PLAN, edits=tuple(PutFile("root", f"/f{n}", one, 0o600) for n, one in enumerate(contents)))


def ref(folder: Path, name: str, line: int = 7) -> SecretRef:
    return SecretRef(f"file:{name}", Written(str(folder / "cluster.yaml"), line, "defaults.password_file"))


def hashed(folder: Path, name: str = "admin.hash", line: int = 7) -> SecretText:
    return SecretText((PasswordHash(ref(folder, name, line)), b"\n"))


def keyed(folder: Path, name: str = "wifi.key", line: int = 9) -> SecretText:
    return SecretText((b"psk=", WpaKey(ref(folder, name, line), "IEEE")))


def put(folder: Path, name: str, content: bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(*contents: SecretRef | SecretText) -> DocumentInvalid:
    with pytest.raises(DocumentInvalid) as caught:
        open_secrets([planned(*contents)])
    return caught.value


def test_a_secret_lies_beside_the_inventory_that_names_it(tmp_path: Path) -> None:
    put(tmp_path, "secrets/admin.hash", HASH)
    named = ref(tmp_path, "secrets/admin.hash")
    assert open_secrets([planned(named)])(named).reveal() == HASH


def test_two_inventories_may_call_their_secrets_alike(tmp_path: Path) -> None:
    refs = [ref(tmp_path / folder, "token") for folder in ("a", "b")]
    for folder in ("a", "b"):
        put(tmp_path / folder, "token", folder.encode())
    opened = open_secrets([planned(one) for one in refs])
    assert [opened(one).reveal() for one in refs] == [b"a", b"b"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_end_of_the_line_is_no_part_of_a_secret(tmp_path: Path, end: bytes) -> None:
    put(tmp_path, "wifi.key", b" spaces at both ends " + end)
    assert open_secrets([planned(keyed(tmp_path))])(ref(tmp_path, "wifi.key")).reveal() == b" spaces at both ends "


def test_everything_wrong_is_told_at_once_with_its_place_and_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "wifi.key", b"hunter2")
    put(tmp_path, "plain", b"hunter2hunter2")
    told = str(refused(hashed(tmp_path), keyed(tmp_path), hashed(tmp_path, "plain", 12)))
    inventory = tmp_path / "cluster.yaml"
    assert f"{inventory}:7: defaults.password_file: the file admin.hash: there is no such file" in told
    assert f"openssl passwd -6 > {tmp_path}/admin.hash" in told
    assert f"{inventory}:9: " in told
    assert "fewer than the 8" in told
    assert f"{inventory}:12: " in told
    assert "a plain password never goes into an image" in told
    assert "hunter2" not in told


def test_one_mistake_in_five_nodes_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        open_secrets([planned(hashed(tmp_path))] * 5)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"x" * 5000, "far too large"),
        (b"one\ntwo\n", "several lines"),
        (b"one\rtwo\n", "several lines"),
    ],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    put(tmp_path, "token", content)
    assert told in str(refused(ref(tmp_path, "token")))


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    assert "no file with something in it" in str(refused(ref(tmp_path, "token")))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    assert "no file with something in it" in str(refused(ref(tmp_path, "token")))


def test_a_kind_that_is_not_known_is_refused() -> None:
    assert "a kind that this imagesmith does not know" in str(refused(SecretRef("safe:admin")))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of_once(tmp_path: Path, mode: int, warned: bool) -> None:
    path = put(tmp_path, "admin.hash", HASH, mode)
    events: list[Event] = []
    open_secrets([planned(hashed(tmp_path))] * 3, events.append)
    hints = [event.hint for event in events if isinstance(event, Warned)]
    assert hints == ([f"chmod 600 {path}"] if warned else [])
    assert HASH.decode() not in str(events)


def in_vault(folder: Path, name: str) -> SecretRef:
    return SecretRef(f"vault:{name}", Written(str(folder)))


def test_what_lies_in_a_vault_is_asked_of_it_by_its_folder_and_name(tmp_path: Path) -> None:
    asked: list[tuple[Path, str]] = []

    def open_vault(folder: Path) -> Callable[[str], Secret]:
        def give(name: str) -> Secret:
            asked.append((folder, name))
            return Secret(b"of\nseveral\nlines\n")

        return give

    named = in_vault(tmp_path / "a.vault", "nodes/n/key")
    open_secret = open_secrets([planned(named), planned(named)], open_vault=open_vault)
    assert open_secret(named).reveal() == b"of\nseveral\nlines\n"
    assert asked == [(tmp_path / "a.vault", "nodes/n/key")]


def test_a_vault_that_nobody_opens_stays_locked(tmp_path: Path) -> None:
    with pytest.raises(VaultLocked) as caught:
        open_secrets([planned(in_vault(tmp_path / "a.vault", "x"))])
    assert str(tmp_path / "a.vault") in str(caught.value)


@pytest.mark.parametrize("name", ["cluster/ca/root", "cluster/ca/intermediate", "cluster/ca/root.old"])
def test_a_key_that_stays_in_its_vault_gets_into_no_plan_s_files(tmp_path: Path, name: str) -> None:
    """Tried with a vault that would give it: nobody even asks for the passphrase."""
    opened: list[Path] = []

    def generous(folder: Path) -> Callable[[str], Secret]:
        opened.append(folder)
        return lambda name: Secret(b"-----BEGIN PRIVATE KEY-----")

    sealed = SecretRef(f"vault:{name}", Written(str(tmp_path)))
    for content in (sealed, SecretText((b"key: ", sealed))):
        with pytest.raises(UsageError, match="never leaves the vault"):
            open_secrets([planned(content)], open_vault=generous)
    assert opened == []
