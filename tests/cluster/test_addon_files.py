"""Which nodes' images have manifests, who may read them, and that nothing changes for who wants none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from cluster.addon_wishes import EVERYTHING, NAS, SMALL, addons_of, read_cluster, sealed
from cluster.node_parts import BOARD, MATERIALS, PROFILE
from cluster.sealed_parts import HA, edits, files, part, written

from imagesmith.cluster import contents
from imagesmith.cluster.addons import manifests
from imagesmith.cluster.addons.dumps import LIST, hook
from imagesmith.cluster.addons.metrics import PROGRAM, TIMER
from imagesmith.cluster.parts import cautions, part_of
from imagesmith.cluster.vip import MANIFESTS
from imagesmith.model import K3s, Link, Part, PutFile
from imagesmith.secret import SecretText

PASSWORDS = manifests.secrets(read_cluster(EVERYTHING))


def with_addons(name: str, wishes: str = EVERYTHING) -> Part:
    """A part whose vault has what its add-ons need."""
    cluster = replace(HA, addons=addons_of(wishes))
    made = part(name, cluster)
    assert made.sealed
    roles = {one.name: one.role or "worker" for one in cluster.nodes}
    return part_of(cluster, made.node, roles, replace(made.sealed, more=sealed(manifests.secrets(cluster))))


def of_addons(made: Part) -> dict[str, PutFile]:
    return {path: edit for path, edit in files(edits(made)).items() if path.startswith(f"{MANIFESTS}/imagesmith-")}


@pytest.mark.parametrize(("name", "there"), [("head-1", True), ("head-3", True), ("arm-1", False)])
def test_every_server_has_them_and_no_agent(name: str, there: bool) -> None:
    found = of_addons(with_addons(name))
    assert bool(found) is there
    dumps = {hook("wordpress"), hook("mysql"), LIST}
    assert dumps & set(files(edits(with_addons(name)))) == (dumps if there else set())


def test_all_servers_have_the_same() -> None:
    first, second = (of_addons(with_addons(name)) for name in ("head-1", "head-2"))
    assert first == second


def test_they_hold_passwords_so_they_are_roots_alone() -> None:
    found = of_addons(with_addons("head-1"))
    assert {edit.mode for edit in found.values()} == {0o600}
    text = found[f"{MANIFESTS}/imagesmith-addon-mysql.yaml"]
    assert isinstance(text.content, SecretText)
    assert isinstance(found[f"{MANIFESTS}/imagesmith-addon-headlamp.yaml"].content, bytes)
    told = written(text, {f"vault:{name}": f"the {name}".encode() for name in PASSWORDS})
    (secret,) = (one for one in yaml.safe_load_all(told) if one["kind"] == "Secret")
    assert secret["stringData"] == {"root": "the addons/mysql/root"}


def test_the_vault_is_asked_for_every_password_by_add_on_and_purpose() -> None:
    assert set(PASSWORDS) == {
        "addons/monitoring/admin", "addons/mariadb/root", "addons/mysql/root", "addons/mongodb/root",
        *(f"addons/{site}/{purpose}" for site in ("wordpress", "joomla", "moodle") for purpose in ("database", "root")),
        "addons/drupal/root", "addons/drupal/database",
    }  # fmt: skip
    assert set(PASSWORDS) <= set(contents.secrets(read_cluster(EVERYTHING)))


def test_without_any_of_it_nothing_is_there() -> None:
    assert of_addons(part("head-1", HA)) == {}
    assert manifests.secrets(HA) == () == manifests.packages(part("head-1", HA))


def test_every_node_can_mount_a_nas_where_there_is_one() -> None:
    assert "nfs-common" in contents.packages(with_addons("arm-1", NAS))
    assert "nfs-common" not in contents.packages(with_addons("arm-1", "addons: {nginx: {}}\n"))


def test_databases_are_named_for_the_backup() -> None:
    edits = manifests.edits(with_addons("head-1"), PROFILE, MATERIALS)
    (listed,) = (edit for edit in edits if isinstance(edit, PutFile) and edit.path == LIST)
    assert listed.content == (
        b"mariadb mariadb\nmysql mysql\nmongodb mongodb\nwordpress database\ndrupal database\njoomla database\n"
        b"moodle database\n"
    )


def test_a_server_without_databases_has_no_hook() -> None:
    assert not [path for path in files(edits(with_addons("head-1", SMALL))) if path == LIST or "backup.d" in path]


def test_a_manifest_of_ones_own_is_put_there_as_it_is() -> None:
    own = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    addons = addons_of("manifests: [apps/shop.yaml]\n", {"apps/shop.yaml": own})
    assert manifests.manifests(addons, {}) == {"imagesmith-own-shop.yaml": own}


@pytest.mark.parametrize("name", ["head-1", "arm-1"])
def test_every_node_tells_of_its_ups_and_backup_where_somebody_looks(name: str) -> None:
    link = f"/etc/systemd/system/timers.target.wants/{TIMER}"
    for wishes, there in ((EVERYTHING, True), ("addons: {nginx: {}}\n", False)):
        made = edits(with_addons(name, wishes))
        assert (PROGRAM in files(made)) is there
        assert any(isinstance(edit, Link) and edit.path == link for edit in made) is there


@pytest.mark.parametrize(("k3s", "minded"), [(K3s(airgap=True), True), (K3s(), False)])
def test_a_rack_without_internet_is_told_that_it_lacks_their_images(k3s: K3s, minded: bool) -> None:
    made = with_addons("head-1", SMALL)
    told = cautions(replace(made, cluster=replace(made.cluster, k3s=k3s)), BOARD)
    assert any("the add-ons' images" in line for line in told) is minded
