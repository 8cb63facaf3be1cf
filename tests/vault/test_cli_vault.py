"""`imagesmith vault` and `known-hosts` as a person meets them: what they do, and what they never show."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from vault.conftest import PASSPHRASE, Rack

from imagesmith.identity.ssh import Kind
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.index import read_index
from imagesmith.vault.names import KINDS, UPPER, stays
from imagesmith.workflow.doctor import vault_trouble

OPENED = ("--vault-key", "rack.key")
HOST_KEY = "nodes/node-1/host-key.ed25519"


def keygen(*words: str | Path) -> str:
    return subprocess.run(["ssh-keygen", *words], check=True, capture_output=True, text=True).stdout


def all_secrets(folder: Path) -> list[bytes]:
    """Everything in the vault that nobody may see, and pieces of it that could be shown."""
    opened = store.open_by_passphrase(folder, Secret(PASSPHRASE.encode()))
    whole = [opened.open(name).reveal() for name in opened.index.secrets if not stays(name)]
    whole += [opened.open_upper(name).key.to_seal() for name in UPPER]
    assert opened.identity
    public = (folder / "index.json").read_bytes()
    # A private key's file has its public half in it, too.
    lines = [line for one in whole for line in one.splitlines() if len(line) > 30 and line not in public]
    return [PASSPHRASE.encode(), opened.identity.reveal(), *lines]


def test_the_kinds_of_host_keys_are_those_of_identity() -> None:
    assert tuple(KINDS) == tuple(kind.value for kind in Kind)


def test_known_hosts_is_what_ssh_itself_finds_and_needs_no_passphrase(rack: Rack) -> None:
    rack.create()
    (rack.folder / "passphrase").unlink()
    (rack.folder / "known_hosts").write_text(rack.done("known-hosts").out)
    kept = read_index(rack.vault).secrets
    for node, names in (
        ("node-1", ("node-1", "node-1.home.arpa", "192.168.1.10")),
        ("node-2", ("node-2", "node-2.home.arpa", "fd00::2")),
    ):
        for name in names:
            found = keygen("-l", "-F", name, "-f", rack.folder / "known_hosts")
            for kind in ("ed25519", "ecdsa"):
                assert kept[f"nodes/{node}/host-key.{kind}"].fingerprint in found
    as_json = rack.done("known-hosts", "--json").result["nodes"]
    assert [line for own in as_json.values() for line in own] == rack.done("known-hosts").out.splitlines()


def test_a_node_that_came_later_gets_its_keys_when_they_are_asked_for(rack: Rack) -> None:
    rack.create()
    before = rack.done("known-hosts").out
    rack.inventory((rack.folder / "cluster.yaml").read_text() + "  - {name: node-3, profile: rpi3-worker}\n")
    done = rack.done("known-hosts")
    assert done.out.startswith(before)
    assert "node-3,node-3.home.arpa ssh-ed25519 " in done.out
    assert "drawn now: the host keys of node-3" in done.err


@pytest.mark.slow
def test_nothing_secret_is_ever_shown_or_left_open(rack: Rack) -> None:
    made = rack.create_by_passphrase()
    rack.draw_cluster()
    told = [
        made,
        rack.done("vault", "list"),
        rack.done("vault", "list", "--json"),
        rack.done("known-hosts"),
    ]
    told += [rack.done("plan", "node-1"), rack.done("plan", "--all", "--json"), rack.done("vault", "backup", "b")]
    told += [rack.done("vault", "rotate", "cluster/server-token"), rack.run("vault", "export", "nothing")]
    told += [rack.done("vault", "export", HOST_KEY, "exported"), rack.run("vault", "import", HOST_KEY, "exported")]
    told += [rack.done("vault", "import", HOST_KEY, "exported", "--replace"), rack.done("doctor", "--json")]
    secrets = all_secrets(rack.vault)
    assert len(secrets) > 20
    for done in told:
        assert not any(secret in (done.out + done.err).encode() for secret in secrets)
    files = [path for path in rack.folder.rglob("*") if path.is_file() and path.name not in ("exported", "passphrase")]
    assert not any(secret in path.read_bytes() for secret in secrets for path in files)


def test_no_program_and_no_other_process_gets_the_passphrase(rack: Rack) -> None:
    log = rack.folder / "strace"
    rack.create_by_passphrase()
    prefix = ("strace", "-f", "-v", "-s", "65536", "-e", "trace=execve", "-o", str(log))
    assert rack.program("vault", "export", HOST_KEY, "exported", prefix=prefix).code == 0
    assert PASSPHRASE not in log.read_text()


def test_a_wrong_passphrase_is_12_and_said(rack: Rack) -> None:
    rack.create_by_passphrase()
    (rack.folder / "passphrase").write_text("another passphrase\n")
    done = rack.run("vault", "export", HOST_KEY, "exported")
    assert done.code == 12
    assert "the passphrase is wrong" in done.err
    assert not (rack.folder / "exported").exists()


def test_without_a_terminal_nobody_is_asked(rack: Rack) -> None:
    rack.create_by_passphrase()
    empty = {"IMAGESMITH_VAULT_PASSPHRASE_FILE": ""}
    done = rack.program("vault", "export", HOST_KEY, prefix=("setsid", "--wait"), env=empty)
    assert done.code == 12
    assert "there is no terminal to ask at" in done.err
    assert "IMAGESMITH_VAULT_PASSPHRASE_FILE" in done.err


def test_a_passphrase_file_that_others_can_read_is_warned_of(rack: Rack) -> None:
    (rack.folder / "passphrase").chmod(0o644)
    assert "other users of this machine can read it (mode 0644)" in rack.create_by_passphrase().err


def test_an_exported_key_is_closed_and_is_the_nodes(rack: Rack) -> None:
    rack.create()
    rack.done("vault", "export", HOST_KEY, "key", *OPENED)
    assert stat.S_IMODE((rack.folder / "key").stat().st_mode) == 0o600
    public = read_index(rack.vault).secrets[HOST_KEY].public
    assert keygen("-y", "-f", rack.folder / "key").split()[:2] == public.split()[:2]
    again = rack.run("vault", "export", HOST_KEY, "key", *OPENED)
    assert again.code == 2
    assert "not overwritten" in again.err


def test_a_pipe_gets_exactly_the_bytes(rack: Rack) -> None:
    rack.create()
    rack.done("vault", "export", HOST_KEY, "key", *OPENED)
    assert rack.piped(HOST_KEY, *OPENED) == (rack.folder / "key").read_bytes()


def test_a_nodes_own_key_can_be_brought_in(rack: Rack) -> None:
    rack.create()
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "old", "-f", rack.folder / "old")
    refused = rack.run("vault", "import", HOST_KEY, "old")
    assert refused.code == 2
    assert "--replace" in refused.err
    rack.done("vault", "import", HOST_KEY, "old", "--replace")
    assert read_index(rack.vault).secrets[HOST_KEY].fingerprint in keygen("-l", "-f", rack.folder / "old.pub")
    assert f"{HOST_KEY}.old" in read_index(rack.vault).secrets


@pytest.mark.parametrize("content", ["", "no key", "ssh-ed25519 AAAA public"])
def test_what_is_no_key_is_not_taken_for_one(rack: Rack, content: str) -> None:
    rack.create()
    (rack.folder / "old").write_text(content)
    before = (rack.vault / "index.json").read_bytes()
    assert rack.run("vault", "import", HOST_KEY, "old", "--replace").code == 4
    assert (rack.vault / "index.json").read_bytes() == before


def test_anything_else_comes_in_and_out_as_it_was(rack: Rack) -> None:
    rack.create()
    (rack.folder / "mine").write_bytes(b"two\nlines \n")
    rack.done("vault", "import", "wifi/home", "mine")
    assert rack.piped("wifi/home", *OPENED) == b"two\nlines \n"


def test_rotating_a_host_key_changes_known_hosts_and_says_what_must_follow(rack: Rack) -> None:
    rack.create()
    before, plan = rack.done("known-hosts").out.splitlines(), rack.done("plan", "node-1", "--json").result["id"]
    told = rack.done("vault", "rotate", HOST_KEY).out
    assert "Build and flash it anew" in told
    after = rack.done("known-hosts").out.splitlines()
    assert before[0] != after[0]
    assert before[1:] == after[1:]
    assert rack.done("plan", "node-1", "--json").result["id"] != plan


def test_rotating_a_clusters_secret_is_honest_about_running_clusters(rack: Rack) -> None:
    rack.create()
    rack.draw_cluster()
    old = rack.piped("cluster/server-token", *OPENED)
    told = rack.done("vault", "rotate", "cluster/server-token").out
    assert "a running cluster goes on with the old one" in told
    assert "k3s token rotate" in told
    assert rack.piped("cluster/server-token.old", *OPENED) == old
    assert rack.piped("cluster/server-token", *OPENED) != old


def test_what_no_node_has_yet_is_drawn_as_often_as_one_likes(rack: Rack) -> None:
    rack.create()
    rack.draw_cluster()
    for _ in range(2):
        rack.done("vault", "rotate", "cluster/server-token")


def test_what_all_nodes_have_by_new_cards_can_be_drawn_anew(rack: Rack) -> None:
    rack.create()
    assert "no node waits for" in rack.run("vault", "rotate", HOST_KEY, "--done").err
    rack.done("vault", "rotate", HOST_KEY)
    shown = rack.piped(HOST_KEY, *OPENED)
    assert "lock nodes out" in rack.run("vault", "rotate", HOST_KEY).err
    assert "give it alone" in rack.run("vault", "rotate", HOST_KEY, "--done", "--apply").err
    assert rack.done("vault", "rotate", HOST_KEY, "--done", "--json").result == {"done": HOST_KEY}
    rack.done("vault", "rotate", HOST_KEY)
    assert rack.piped(f"{HOST_KEY}.old", *OPENED) == shown


def test_a_key_of_ones_own_takes_the_place_of_what_no_node_got(rack: Rack) -> None:
    rack.create()
    shown = rack.piped(HOST_KEY, *OPENED)
    rack.done("vault", "rotate", HOST_KEY)
    (rack.folder / "shown").write_bytes(shown)
    rack.done("vault", "import", HOST_KEY, "shown", "--replace")
    assert rack.piped(HOST_KEY, *OPENED) == rack.piped(f"{HOST_KEY}.old", *OPENED) == shown


def test_what_is_not_there_is_not_rotated(rack: Rack) -> None:
    rack.create()
    for words in ((), ("--apply",)):
        told = rack.run("vault", "rotate", HOST_KEY.replace("25519", "2519"), *words).err
        assert f"did you mean '{HOST_KEY}'?" in told and "imagesmith vault list" in told
    assert "the vault has no nonsense\n" in rack.run("vault", "rotate", "nonsense").err
    assert (
        "the vault has no nodes/node-9/node-password" in rack.run("vault", "rotate", "nodes/node-9/node-password").err
    )


@pytest.mark.slow
def test_a_vault_is_locked_anew_by_passphrase_by_key_file_and_plain(rack: Rack) -> None:
    rack.create_by_passphrase()
    rack.draw_cluster()
    secret = rack.piped("cluster/agent-token")
    (rack.folder / "second").write_text("a second passphrase\n")
    (rack.folder / "second").chmod(0o600)
    rack.env["IMAGESMITH_VAULT_NEW_PASSPHRASE_FILE"] = str(rack.folder / "second")
    rack.done("vault", "rekey")
    assert rack.run("vault", "export", HOST_KEY, "x").code == 12
    rack.env["IMAGESMITH_VAULT_PASSPHRASE_FILE"] = str(rack.folder / "second")
    assert rack.piped("cluster/agent-token") == secret
    rack.done("vault", "rekey", "--key", "rack.key")
    assert stat.S_IMODE((rack.folder / "rack.key").stat().st_mode) == 0o600
    assert "give it: --vault-key FILE" in rack.run("vault", "export", HOST_KEY, "x").err
    assert rack.piped("cluster/agent-token", "--vault-key", "rack.key") == secret
    rack.done("vault", "rekey", "--vault-key", "rack.key", "--plain")
    assert rack.piped("cluster/agent-token") == secret
    assert not list(rack.vault.rglob("*.age"))


def test_another_key_file_is_12(rack: Rack) -> None:
    rack.create()
    (rack.folder / "other.key").write_bytes(sealing.new_identity().reveal())
    for name, said in (("other.key", "not the key of this vault"), ("cluster.yaml", "not one key of age")):
        done = rack.run("vault", "export", HOST_KEY, "x", "--vault-key", name)
        assert (done.code, said in done.err) == (12, True)


@pytest.mark.parametrize("words", [("--key", "rack.key"), pytest.param(("--plain",), marks=pytest.mark.slow)])
def test_a_lost_vault_comes_back_from_its_backup_by_age_and_tar(rack: Rack, words: tuple[str, ...]) -> None:
    rack.create(*words)
    known = rack.done("known-hosts").out
    told = rack.done("vault", "backup", "stick").out
    (sealed,) = (rack.folder / "stick").iterdir()
    assert re.fullmatch(r"cluster\.vault-\d{4}-\d{2}-\d{2}T\d{6}Z\.tar\.age", sealed.name)
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert sealed.name in told
    shutil.rmtree(rack.vault)
    # What `age -d` does; the program itself is not at hand everywhere.
    if "--key" in words:
        tar = sealing.unseal(sealed.read_bytes(), Secret((rack.folder / "rack.key").read_bytes().strip()), "")
    else:
        tar = sealing.unseal_by_passphrase(sealed.read_bytes(), Secret(PASSPHRASE.encode()), "")
    subprocess.run(["tar", "-x"], cwd=rack.folder, input=tar.reveal(), check=True)
    assert rack.done("known-hosts").out == known
    opening = ("--vault-key", "rack.key") if "--key" in words else ()
    assert b"OPENSSH" in rack.piped(HOST_KEY, *opening)
    assert stat.S_IMODE(rack.vault.stat().st_mode) == 0o700
    assert "never backed up" not in vault_trouble(rack.vault)


def test_a_backup_by_a_wrong_passphrase_is_not_made(rack: Rack) -> None:
    rack.create_by_passphrase()
    (rack.folder / "passphrase").write_text("another passphrase\n")
    assert rack.run("vault", "backup", "stick").code == 12
    assert not (rack.folder / "stick").exists()


def test_list_tells_what_is_there_by_names_and_fingerprints(rack: Rack) -> None:
    rack.create()
    (rack.vault / "stray").write_text("")
    (rack.vault / "nodes").chmod(0o755)
    (rack.folder / "passphrase").unlink()
    done = rack.done("vault", "list")
    fingerprint = read_index(rack.vault).secrets[HOST_KEY].fingerprint
    assert re.search(rf"^{HOST_KEY} .* {re.escape(fingerprint)}$", done.out, re.MULTILINE)
    assert "NO BACKUP yet" in done.out
    assert "stray is no part of the vault" in done.err
    assert "others can get at" in done.err
    assert len(rack.done("vault", "list", "--json").result["secrets"]) == 6


def test_doctor_says_what_is_to_be_done_about_the_vault(rack: Rack) -> None:
    rack.create()
    assert "never backed up" in rack.run("doctor").out
    rack.done("vault", "backup", "stick")
    assert vault_trouble(rack.vault) == ""
    assert "more than 30 days ago" in vault_trouble(rack.vault, time.time() + 31 * 86400)
    assert vault_trouble(rack.vault, time.time() + 29 * 86400) == ""
    time.sleep(1.1)
    rack.done("vault", "rotate", HOST_KEY)
    assert f"made after the last backup, as {HOST_KEY}" in vault_trouble(rack.vault)
    (rack.vault / "index.json").chmod(0o644)
    assert "others can get at" in vault_trouble(rack.vault)
    (rack.vault / "index.json").write_text("{}")
    assert "damaged or foreign" in rack.run("doctor").out


def test_a_starter_can_have_a_vault_at_once(rack: Rack) -> None:
    rack.env["HOME"] = str(rack.folder)
    rack.done("init", "new", "--vault")
    assert read_index(rack.folder / "new/cluster.vault").lock == "passphrase"


def test_a_plan_needs_no_passphrase_and_holds_the_public_halves(rack: Rack) -> None:
    rack.create()
    (rack.folder / "passphrase").unlink()
    entry = read_index(rack.vault).secrets[HOST_KEY]
    told = rack.done("plan", "node-1").out
    assert f"host_key.ed25519 is {entry.fingerprint}" in told
    assert f"the secret vault:{HOST_KEY}" in told
    plan = json.dumps(rack.done("plan", "node-1", "--json").result)
    assert str(rack.folder) not in plan


def test_without_a_vault_every_plan_is_as_before(rack: Rack) -> None:
    bare = rack.done("plan", "node-1", "--json").result
    rack.create()
    kept = rack.done("plan", "node-1", "--json").result
    assert kept["id"] != bare["id"]
    rack.vault.rename(rack.folder / "elsewhere")
    assert rack.done("plan", "node-1", "--json").result == bare
    assert rack.done("plan", "node-1", "--vault", "elsewhere", "--json").result == kept


def test_a_plan_says_where_keys_are_not_drawn_yet(rack: Rack) -> None:
    rack.create()
    rack.inventory((rack.folder / "cluster.yaml").read_text() + "  - {name: node-3, profile: rpi3-worker}\n")
    before = (rack.vault / "index.json").read_bytes()
    assert "no host keys for node-3 yet: build draws them" in rack.done("plan", "--all").err
    assert (rack.vault / "index.json").read_bytes() == before
