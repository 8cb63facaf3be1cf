"""A vault on the disk: closed to others, whole after every kill, opened by its own key and nobody else's."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imagesmith.errors import ContentMalformed, ImagesmithError, UsageError, VaultLocked
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.draw import Drawn, draw
from imagesmith.vault.files import alone, open_to_others
from imagesmith.vault.index import read_index
from imagesmith.vault.names import of_cluster, of_node, stays
from imagesmith.workflow.vault import draw_missing

CANARY = b"canary-secret-4711"
KEY = sealing.new_identity()
HOST_KEY = "nodes/node-1/host-key.ed25519"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """A vault that is opened by a key file, which costs no second."""
    folder = tmp_path / "cluster.vault"
    store.create(folder, store.Key("key-file", KEY))
    return folder


def put(folder: Path, name: str, content: bytes = CANARY) -> None:
    with store.changing(folder) as change:
        change.put(name, Drawn("imported", Secret(content)))


def opened(folder: Path, name: str) -> bytes:
    return store.open_by_key(folder, KEY).open(name).reveal()


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in folder.rglob("*")}


def test_a_secret_comes_back_as_it_was(vault: Path) -> None:
    put(vault, "a/b", bytes(range(256)))
    assert opened(vault, "a/b") == bytes(range(256))


def test_everything_is_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    code = (
        "import os; os.umask(0)\n"
        "from pathlib import Path; from imagesmith.vault import sealing, store\n"
        "from imagesmith.vault.draw import draw\n"
        "folder = Path('v'); store.create(folder, store.Key('key-file', sealing.new_identity()))\n"
        "with store.changing(folder) as change: change.put('nodes/n/node-password', draw('nodes/n/node-password'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "v").stat().st_mode) == 0o700
    assert modes(tmp_path / "v") == {
        ".lock": "0600", "index.json": "0600", "nodes": "0700", "nodes/n": "0700",
        "nodes/n/node-password.1.age": "0600",
    }  # fmt: skip
    assert open_to_others(tmp_path / "v") == ()


def test_what_others_can_read_is_told(vault: Path) -> None:
    put(vault, "a")
    (vault / "a.1.age").chmod(0o640)
    assert open_to_others(vault) == (vault / "a.1.age",)


def test_no_byte_of_a_secret_lies_open(vault: Path) -> None:
    put(vault, "a")
    assert not any(CANARY in path.read_bytes() for path in vault.rglob("*") if path.is_file())


def test_age_itself_would_know_the_files(vault: Path) -> None:
    put(vault, "a")
    assert (vault / "a.1.age").read_bytes().startswith(b"age-encryption.org/v1\n-> X25519 ")


def test_another_key_opens_nothing(vault: Path) -> None:
    put(vault, "a")
    with pytest.raises(VaultLocked, match="not the key of this vault") as caught:
        store.open_by_key(vault, sealing.new_identity())
    assert caught.value.exit_code == 12


def test_a_passphrase_opens_all_by_one_stretching_and_a_wrong_one_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v"
    store.create(folder, store.Key("passphrase", sealing.new_identity(), Secret(b"correct horse")))
    for node in range(5):
        put(folder, f"nodes/n{node}/x", CANARY + str(node).encode())
    stretched = [path for path in folder.rglob("*.age") if sealing.work_of(path.read_bytes())]
    assert [path.name for path in stretched] == ["identity.1.age"]
    assert sealing.work_of(stretched[0].read_bytes()) >= 15
    opened = store.open_by_passphrase(folder, Secret(b"correct horse"))
    stretched[0].unlink()
    assert [opened.open(f"nodes/n{node}/x").reveal()[-1:] for node in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    store.create(tmp_path / "w", store.Key("passphrase", sealing.new_identity(), Secret(b"correct horse")))
    with pytest.raises(VaultLocked, match="the passphrase is wrong"):
        store.open_by_passphrase(tmp_path / "w", Secret(b"correct house"))


def test_a_short_passphrase_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 8"):
        store.create(tmp_path / "v", store.Key("passphrase", sealing.new_identity(), Secret(b"1234567")))
    assert not (tmp_path / "v").exists()


def test_a_vault_is_not_made_over_something(vault: Path) -> None:
    before = (vault / "index.json").read_bytes()
    with pytest.raises(UsageError, match="there already"):
        store.create(vault, store.Key("plain"))
    assert (vault / "index.json").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:40], lambda data: data[:-1] + b"\x00"])
def test_a_damaged_secret_is_told_by_its_file(vault: Path, damage: object) -> None:
    put(vault, "a")
    path = vault / "a.1.age"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ContentMalformed, match="damaged or cut off") as caught:
        opened(vault, "a")
    assert str(path) in str(caught.value)
    assert "backup" in caught.value.hint


def test_a_missing_secret_is_told(vault: Path) -> None:
    put(vault, "a")
    (vault / "a.1.age").unlink()
    with pytest.raises(ContentMalformed, match="a is missing from the vault"):
        opened(vault, "a")


def test_a_link_in_place_of_a_secret_is_not_followed(vault: Path, tmp_path: Path) -> None:
    put(vault, "a")
    (tmp_path / "elsewhere").write_bytes((vault / "a.1.age").read_bytes())
    (vault / "a.1.age").unlink()
    (vault / "a.1.age").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImagesmithError):
        opened(vault, "a")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not JSON", '{"vault": "imagesmith", "schema": 2}', "[" * 100_000,
     '{"vault": "imagesmith", "schema": 1, "lock": "glass"}'],
)  # fmt: skip
def test_a_damaged_index_is_told(vault: Path, text: str) -> None:
    (vault / "index.json").write_text(text)
    with pytest.raises(ContentMalformed, match="damaged or foreign") as caught:
        read_index(vault)
    assert "backup" in caught.value.hint


def test_an_index_never_leads_out_of_the_vault(vault: Path) -> None:
    put(vault, "a")
    plain = json.loads((vault / "index.json").read_text())
    plain["secrets"]["a"]["file"] = "../../etc/shadow"
    (vault / "index.json").write_text(json.dumps(plain))
    with pytest.raises(ContentMalformed, match="a lies under a strange name"):
        read_index(vault)


def test_a_folder_without_an_index_is_no_vault(tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match="no vault"):
        read_index(tmp_path)
    with pytest.raises(UsageError, match="there is no vault"):
        read_index(tmp_path / "none")


def test_two_exchanged_host_keys_are_noticed(vault: Path) -> None:
    names = [f"nodes/node-{number}/host-key.ed25519" for number in (1, 2)]
    with store.changing(vault) as change:
        for name in names:
            change.put(name, draw(name))
    one, two = (vault / f"{name}.1.age" for name in names)
    one_data, two_data = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_data)
    two.write_bytes(one_data)
    with pytest.raises(ContentMalformed, match="not the key whose public half the index tells"):
        opened(vault, names[0])


def test_everything_that_is_drawn_opens_and_is_what_the_index_tells(vault: Path) -> None:
    names = (*of_node("node-1"), *of_cluster())
    assert draw_missing(vault, names) == names
    index = read_index(vault)
    assert set(index.secrets) == set(names)
    for name in names:
        if not stays(name):
            opened(vault, name)
        assert bool(index.secrets[name].public) == ("key" in name or "/ca/" in name)


def test_no_two_secrets_are_alike(vault: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.vault"
    store.create(other, store.Key("key-file", KEY))
    names = (*of_node("a"), *of_node("b"), *of_cluster())
    drawn = list[bytes]()
    for folder in (vault, other):
        draw_missing(folder, names)
        drawn += [opened(folder, name) for name in names if not stays(name)]
    assert len(drawn) == 2 * (3 + 3 + 8)
    assert len(set(drawn)) == len(drawn)


def test_a_change_that_fails_changes_nothing(vault: Path) -> None:
    put(vault, "a")
    before = {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()}
    with pytest.raises(RuntimeError), store.changing(vault) as change:
        change.put("a", Drawn("imported", Secret(b"new")))
        change.put("b", Drawn("imported", Secret(b"new")))
        raise RuntimeError
    assert {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()} == before


def test_what_was_replaced_is_gone_and_kept_only_on_request(vault: Path) -> None:
    put(vault, "a", b"first")
    with store.changing(vault) as change:
        change.keep_old("a")
        change.put("a", Drawn("imported", Secret(b"second")))
    assert (opened(vault, "a"), opened(vault, "a.old")) == (b"second", b"first")
    assert sorted(path.name for path in vault.glob("a*")) == ["a.2.age", "a.old.1.age"]


def test_two_at_once_lose_nothing(vault: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagesmith.secret import Secret\n"
        "from imagesmith.vault import store; from imagesmith.vault.draw import Drawn\n"
        "for n in range(8):\n"
        "    with store.changing(Path('cluster.vault')) as change:\n"
        "        change.put(f'{sys.argv[1]}/{n}', Drawn('imported', Secret(b'x')))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, who], cwd=vault.parent) for who in ("a", "b")]
    assert [one.wait(60) for one in running] == [0, 0]
    assert set(read_index(vault).secrets) == {f"{who}/{number}" for who in ("a", "b") for number in range(8)}


def test_who_waits_too_long_is_told(vault: Path) -> None:
    said: list[str] = []

    def second() -> None:
        try:
            with alone(vault, 0.1):
                pass
        except UsageError as error:
            said.append(str(error))

    with alone(vault):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another imagesmith is changing this vault" in said[0]


def test_a_new_lock_leaves_nothing_that_the_old_key_opens(vault: Path) -> None:
    put(vault, "a/b")
    new = sealing.new_identity()
    with store.changing(vault) as change:
        change.lock_anew(store.open_by_key(vault, KEY), store.Key("key-file", new))
    assert store.open_by_key(vault, new).open("a/b").reveal() == CANARY
    with pytest.raises(VaultLocked):
        store.open_by_key(vault, KEY)
    assert store.unnamed(vault, read_index(vault)) == ()
    for path in vault.rglob("*.age"):
        with pytest.raises(VaultLocked):
            sealing.unseal(path.read_bytes(), KEY, "")


def test_a_lock_becomes_plain_and_closed_again(vault: Path) -> None:
    put(vault, "a")
    with store.changing(vault) as change:
        change.lock_anew(store.open_by_key(vault, KEY), store.Key("plain"))
    assert (vault / "a.2.plain").read_bytes() == CANARY
    with store.changing(vault) as change:
        change.lock_anew(store.open_plain(vault), store.Key("key-file", KEY))
    assert opened(vault, "a") == CANARY
    assert not any(CANARY in path.read_bytes() for path in vault.rglob("*") if path.is_file())


CHANGES = """\
import os, sys
from pathlib import Path
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.draw import Drawn
key, new = (Secret(Path(name).read_bytes()) for name in ("key", "new"))
folder = Path("cluster.vault")
with store.changing(folder) as change:
    if sys.argv[1] == "put":
        change.keep_old("a")
        change.put("a", Drawn("imported", Secret(b"second")))
    else:
        change.lock_anew(store.open_by_key(folder, key), store.Key("key-file", new))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["put", "lock"])
def test_killed_at_any_moment_it_is_as_before_or_as_after(tmp_path: Path, what: str) -> None:
    """SIGKILL at every single fsync, rename and unlink of the change, one run each."""
    new = sealing.new_identity()
    (tmp_path / "key").write_bytes(KEY.reveal())
    (tmp_path / "new").write_bytes(new.reveal())
    states = {call: _states(tmp_path, what, call, new) for call in ("fsync", "rename", "unlink")}
    first, after = {"a": b"first", "b": b"other"}, {"a": b"second", "a.old": b"first", "b": b"other"}
    old, done = f"old {sorted(first.items())}", f"old {sorted(after.items())}"
    if what == "lock":
        done = f"new {sorted(first.items())}"
    assert all(found[0] == old and found[-1] == done and set(found) == {old, done} for found in states.values())
    # Of two files, their folder, the index, its folder.
    assert len(states["fsync"]) > 5
    assert len(states["rename"]) > 3


def _states(tmp_path: Path, what: str, call: str, new: Secret) -> list[str]:
    """What is in the vault after a kill at the first `call`, the second and so on; at last after none."""
    folder, states = tmp_path / "cluster.vault", list[str]()
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        store.create(folder, store.Key("key-file", KEY))
        put(folder, "a", b"first")
        put(folder, "b", b"other")
        inject = f"inject={call}:signal=KILL:when={len(states) + 1}"
        argv = ["strace", "-f", "-o", "/dev/null", "-e", inject, sys.executable, "-c", CHANGES, what]
        done = subprocess.run(argv, cwd=tmp_path, check=False, capture_output=True)
        for key in (KEY, new):
            try:
                vault = store.open_by_key(folder, key)
            except VaultLocked:
                continue
            contents = {name: vault.open(name).reveal() for name in vault.index.secrets}
            states.append(f"{'new' if key is new else 'old'} {sorted(contents.items())}")
        # And it can be changed again, whatever was left half-made.
        put(folder, "c", b"later")
        assert not list(folder.rglob(".*.new"))
        if done.returncode == 0:
            return states


def test_a_create_that_was_killed_can_be_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir(mode=0o700)
    for left in (".lock", "identity.1.age", ".index.json.new"):
        (folder / left).write_bytes(b"half")
    store.create(folder, store.Key("key-file", KEY))
    put(folder, "a")
    assert opened(folder, "a") == CANARY
    assert not list(folder.glob(".*.new"))
