"""Add-ons brought to a rack that runs and taken away again, and tokens: by real sshd, to stand-ins for k3s."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.addon_wishes import NAS, addons_of
from remote.machines import SSHD
from remote.racks import Running, running_rack

from imagesmith.cluster.addons.metrics import TIMER
from imagesmith.errors import Interrupted, NodeUnreachable, UsageError
from imagesmith.model.backup import Backup, SshStore
from imagesmith.vault.index import INDEX
from imagesmith.workflow.addons import apply, token
from imagesmith.workflow.nodes import Rack
from imagesmith.workflow.vault import draw_missing, names_for

pytestmark = [pytest.mark.skipif(not SSHD, reason="sshd is not installed"), pytest.mark.slow]
MANIFESTS = "var/lib/rancher/k3s/server/manifests"
BLOG = f"{MANIFESTS}/imagesmith-addon-wordpress.yaml"
PAGES = f"{MANIFESTS}/imagesmith-volume-nginx--nginx-pages.yaml"
STORAGE = f"{MANIFESTS}/imagesmith-storage.yaml"
HOOK = "etc/imagesmith/backup.d/addon-wordpress.sh"


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Running]:
    with running_rack(tmp_path) as found:
        yield found


def wanting(rack: Running, wishes: str) -> Rack:
    return replace(rack.rack, cluster=replace(rack.rack.cluster, addons=addons_of(wishes)))


def test_they_come_to_every_server_and_their_passwords_with_them(rack: Running) -> None:
    of = wanting(rack, "addons: {wordpress: {}, headlamp: {}}\n")
    count, left = apply(of, rack.opening, rack.agree())
    assert count > 0 and any(line.startswith("wordpress: The first who opens the site") for line in left)
    password = rack.secret("addons/wordpress/database")
    for name in ("s-1", "s-2"):
        file = rack.machines[name].file(BLOG)
        assert file.stat().st_mode & 0o777 == 0o600 and f'database: "{password}"' in file.read_text()
        assert rack.machines[name].file(HOOK).stat().st_mode & 0o777 == 0o755
    assert not rack.machines["a-1"].file(MANIFESTS).exists()
    assert password not in "".join([*rack.calls(""), *rack.shown])
    assert apply(of, rack.opening, rack.agree(False)) == (0, ())


def test_what_is_no_longer_wanted_is_deleted_once_and_its_files_everywhere(rack: Running) -> None:
    apply(wanting(rack, "addons: {wordpress: {}, headlamp: {}}\n"), rack.opening, rack.agree())
    apply(wanting(rack, "addons: {headlamp: {}}\n"), rack.opening, rack.agree())
    assert len(rack.calls(f"kubectl delete -f /{BLOG}")) == 1
    for name in ("s-1", "s-2"):
        assert not list(rack.machines[name].file(MANIFESTS).glob("*wordpress*"))
        assert not rack.machines[name].file(HOOK).exists()
        assert rack.machines[name].file(f"{MANIFESTS}/imagesmith-addon-headlamp.yaml").exists()


def test_an_apply_that_was_stopped_before_nodes_tell_of_themselves_goes_on_there(rack: Running) -> None:
    of = wanting(rack, "addons: {monitoring: {light: true}}\n")
    rack.machines["a-1"].write("enable-fails", "")
    with pytest.raises(NodeUnreachable, match="let it tell of its UPS and its backup"):
        apply(of, rack.opening, rack.agree())
    assert rack.machines["a-1"].file(f"etc/systemd/system/{TIMER}").exists()
    rack.machines["a-1"].file("enable-fails").unlink()
    count, _ = apply(of, rack.opening, rack.agree())
    assert count == 1 and rack.machines["a-1"].file(f"enabled-{TIMER}").exists()
    assert apply(of, rack.opening, rack.agree(False)) == (0, ())
    apply(wanting(rack, "addons: {nginx: {}}\n"), rack.opening, rack.agree())
    assert not rack.machines["a-1"].file(f"enabled-{TIMER}").exists()


def test_a_volume_that_is_no_longer_wanted_is_deleted_by_a_step_that_says_so(rack: Running) -> None:
    apply(wanting(rack, "addons: {nginx: {storage: local}}\n"), rack.opening, rack.agree())
    with pytest.raises(Interrupted):
        apply(wanting(rack, "addons: {nginx: {}}\n"), rack.opening, rack.agree(False))
    assert any("delete the volume nginx/nginx-pages, WITH ALL THAT IS IN IT" in line for line in rack.shown)
    assert rack.machines["s-2"].file(PAGES).exists() and rack.calls("kubectl delete") == []
    apply(wanting(rack, "addons: {nginx: {}}\n"), rack.opening, rack.agree())
    (deleted,) = rack.calls("kubectl delete -f")
    assert f"/{PAGES} " in deleted and not any(rack.machines[name].file(PAGES).exists() for name in ("s-1", "s-2"))


def test_a_volume_stays_where_it_is_and_as_large_as_it_is(rack: Running) -> None:
    apply(wanting(rack, "addons: {nginx: {storage: local}}\n"), rack.opening, rack.agree())
    before = rack.machines["s-1"].file(PAGES).read_text()
    with pytest.raises(UsageError, match=r"nginx/nginx-pages is on local-path, and wanted on nas; nothing was changed"):
        apply(wanting(rack, f"addons: {{nginx: {{storage: nas}}}}\n{NAS}"), rack.opening, rack.agree())
    larger = wanting(rack, "addons: {nginx: {storage: local, size: 3GiB}}\n")
    count, (told,) = apply(larger, rack.opening, rack.agree(False))
    assert count == 0 and "nginx/nginx-pages stays one of 1024Mi, not 3072Mi" in told
    assert rack.machines["s-1"].file(PAGES).read_text() == before


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (NAS.replace("nas.home.arpa", "new.home.arpa"), "new.home.arpa:/export/rack by the best version of both"),
        (NAS.replace("'}", "', version: 4.1}"), "nas.home.arpa:/export/rack by version 4.1"),
    ],
)
def test_a_storage_stays_what_it_was_made_as(rack: Running, other: str, words: str) -> None:
    kept = "addons: {nginx: {storage: nas}}\n"
    apply(wanting(rack, kept + NAS), rack.opening, rack.agree())
    before = {name: rack.machines[name].file(STORAGE).read_text() for name in ("s-1", "s-2")}
    with pytest.raises(UsageError, match=rf"nas is nas.home.arpa:/export/rack .* wanted as {words}; nothing was"):
        apply(wanting(rack, kept + other), rack.opening, rack.agree())
    assert {name: rack.machines[name].file(STORAGE).read_text() for name in before} == before
    # The stand-in nodes mount nothing, which is told, and nothing is to be done.
    count, left = apply(wanting(rack, kept + NAS), rack.opening, rack.agree(False))
    assert count == 0 and all("nfs-common" in line for line in left)
    # As the hint has it: away, and back as another.
    apply(wanting(rack, "addons: {headlamp: {}}\n"), rack.opening, rack.agree())
    assert not rack.machines["s-1"].file(STORAGE).exists()
    apply(wanting(rack, kept + other), rack.opening, rack.agree())
    assert rack.machines["s-1"].file(STORAGE).read_text() not in before.values()


@pytest.mark.parametrize("lost", ["cluster/server-token", "nodes/s-1/backup-key"])
def test_a_vault_that_lacks_anything_else_deletes_nothing(rack: Running, lost: str) -> None:
    of = wanting(rack, "addons: {wordpress: {}}\n")
    backup = Backup(SshStore("imagesmith", "nas", "/backups", "ssh-ed25519 AAAA"))
    of = replace(of, cluster=replace(of.cluster, backup=backup))
    draw_missing(rack.vault, names_for((), of.cluster))
    apply(of, rack.opening, rack.agree())
    index = json.loads((rack.vault / INDEX).read_text())
    del index["secrets"][lost]
    (rack.vault / INDEX).write_text(json.dumps(index))
    with pytest.raises(UsageError, match=rf"the vault lacks .*: {lost}; nothing was changed"):
        apply(of, rack.opening, rack.agree())
    assert rack.calls("kubectl delete") == [] and rack.machines["s-1"].file(BLOG).exists()


def test_without_a_vault_nothing_is_deleted_either(rack: Running) -> None:
    of = wanting(rack, "addons: {wordpress: {}}\n")
    apply(of, rack.opening, rack.agree())
    with pytest.raises(UsageError, match="there is no vault"):
        apply(replace(of, vault=None), rack.opening, rack.agree())
    assert rack.machines["s-1"].file(BLOG).exists()


def test_nothing_is_changed_where_nobody_agrees_or_a_node_is_away(rack: Running) -> None:
    of = wanting(rack, "addons: {nginx: {}}\n")
    with pytest.raises(Interrupted):
        apply(of, rack.opening, rack.agree(False))
    rack.machines["s-2"].write("sudo-asks", "")
    with pytest.raises(NodeUnreachable, match="nothing was changed"):
        apply(of, rack.opening, rack.agree())
    assert not rack.machines["s-1"].file(MANIFESTS).exists()


def test_a_token_is_asked_for_an_account_that_may_as_much_as_is_wanted(rack: Running) -> None:
    of = wanting(rack, "addons: {headlamp: {}}\n")
    made = token(of, "headlamp", read_only=False, hours=8).reveal()
    assert made.count(b".") == 2 and made.decode() not in "".join(rack.calls(""))
    token(of, "headlamp", read_only=True, hours=1)
    admin, viewer = rack.calls("create token")
    assert admin.endswith("-n headlamp create token headlamp-admin --duration=8h")
    assert viewer.endswith("-n headlamp create token headlamp-viewer --duration=1h")


def test_an_add_on_that_asks_for_none_is_told(rack: Running) -> None:
    with pytest.raises(UsageError, match=r"no add-on 'headlmp' here that asks for tokens; did you mean 'headlamp'\?"):
        token(wanting(rack, "addons: {headlamp: {}, nginx: {}}\n"), "headlmp", read_only=False, hours=8)
