"""What brings add-ons to nodes that run: what differs, and what nobody wants any more, in an order that can stop."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cluster.addon_wishes import addons_of, texts_of

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.model.addons import Kept, NfsStorage
from imagesmith.planning.applying import SURVEY, File, There, Wanted, apply_steps, read_survey
from imagesmith.planning.life import ByHand, Put, Run, shown

M = "/var/lib/rancher/k3s/server/manifests"
NGINX, BLOG = f"{M}/imagesmith-addon-nginx.yaml", f"{M}/imagesmith-addon-wordpress.yaml"
HOOK = "/etc/imagesmith/backup.d/addon-wordpress.sh"
ONE = "1" * 64


VOLUME = f"{M}/imagesmith-volume-nginx--nginx-pages.yaml"
GRAFANA = f"{M}/imagesmith-volume-monitoring--grafana-settings.yaml"


NAS = NfsStorage("nas", "nas.home.arpa", "/export/rack")


def wanted(*paths: str, storage: tuple[NfsStorage, ...] = (), volumes: dict[str, Kept] | None = None) -> Wanted:
    files = tuple(File(path, ONE, 0o600) for path in paths)
    notes = {"nginx": ("mind this",)}
    return Wanted({"s-1": files, "s-2": files, "a-1": ()}, ("s-1", "s-2"), storage, notes, volumes or {})


def there(first: dict[str, str], second: dict[str, str] | None = None) -> dict[str, There]:
    return {"s-1": There(first, True), "s-2": There(first if second is None else second, True), "a-1": There({})}


def test_where_all_is_as_it_is_to_be_nothing_is_done() -> None:
    assert apply_steps(wanted(NGINX), there({NGINX: ONE})) == ()


def test_what_differs_is_written_where_it_differs() -> None:
    steps = apply_steps(wanted(NGINX, BLOG), there({NGINX: ONE, BLOG: ONE}, {NGINX: ONE, BLOG: "2" * 64}))
    assert [(step.node, step.path, step.mode) for step in steps if isinstance(step, Put)] == [("s-2", BLOG, 0o600)]


def test_what_is_new_comes_with_its_notes() -> None:
    *_, last = apply_steps(wanted(NGINX), there({}))
    assert last == ByHand("nginx: mind this")


def test_what_nobody_wants_goes_from_all_servers_but_one_is_deleted_and_goes_there() -> None:
    steps = apply_steps(wanted(NGINX), there({NGINX: ONE, BLOG: ONE, HOOK: ONE}))
    assert all(isinstance(step, Run) for step in steps)
    told = [(step.node, " ".join(step.argv)) for step in steps if isinstance(step, Run)]
    assert told[0] == ("s-1", f"rm -f {BLOG}")
    assert told[1][0] == "s-2" and told[1][1].startswith(f"k3s kubectl delete -f {BLOG} --ignore-not-found")
    assert "delete addon imagesmith-addon-wordpress" in told[2][1]
    assert told[3:] == [("s-2", f"rm -f {BLOG}"), ("s-1", f"rm -f {HOOK}"), ("s-2", f"rm -f {HOOK}")]


def test_what_was_broken_off_goes_on_where_its_file_is_left() -> None:
    steps = apply_steps(wanted(), there({}, {BLOG: ONE}))
    assert {step.node for step in steps if isinstance(step, Run)} == {"s-2"}


def test_that_volumes_go_with_an_add_on_is_said_before() -> None:
    lines = [shown(step) for step in apply_steps(wanted(), there({BLOG: ONE}))]
    assert any("delete the add-on wordpress, WITH ITS VOLUMES" in line for line in lines)


def test_a_volume_of_what_stays_is_deleted_once_nothing_has_it_and_not_before_it_is_said() -> None:
    steps = apply_steps(wanted(NGINX), there({NGINX: "2" * 64, VOLUME: ONE}))
    lines = [shown(step) for step in steps]
    (deleting,) = (
        number for number, line in enumerate(lines) if "delete the volume nginx/nginx-pages, WITH ALL" in line
    )
    assert max(number for number, step in enumerate(steps) if isinstance(step, Put)) < deleting


def test_a_volume_goes_after_its_add_on_and_before_the_nas() -> None:
    nas = f"{M}/imagesmith-storage.yaml"
    steps = apply_steps(wanted(), there({nas: ONE, NGINX: ONE, VOLUME: ONE}))
    deleted = [step.argv[4] for step in steps if isinstance(step, Run) and step.argv[2:4] == ("delete", "-f")]
    assert deleted == [NGINX, VOLUME, nas]


def test_volumes_that_would_have_to_be_elsewhere_are_refused_all_at_once() -> None:
    local, nas = Kept("local-path", "1024Mi"), Kept("nas", "1024Mi")
    has = {name: There({}, volumes={VOLUME: local, GRAFANA: local}) for name in ("s-1", "s-2", "a-1")}
    with pytest.raises(UsageError) as caught:
        apply_steps(wanted(VOLUME, GRAFANA, volumes={VOLUME: nas, GRAFANA: nas}), has)
    assert "nginx/nginx-pages is on local-path, and wanted on nas; monitoring/grafana-settings is" in str(caught.value)
    assert "take nginx, monitoring out of the inventory" in caught.value.hint


def test_a_volume_that_is_wanted_larger_stays_as_it_is_and_is_told() -> None:
    has = {name: There({VOLUME: "2" * 64}, volumes={VOLUME: Kept("nas", "1024Mi")}) for name in ("s-1", "s-2", "a-1")}
    (step,) = apply_steps(wanted(VOLUME, volumes={VOLUME: Kept("nas", "2048Mi")}), has)
    assert isinstance(step, ByHand) and "nginx/nginx-pages stays one of 1024Mi, not 2048Mi" in step.doing


def test_an_answer_tells_where_volumes_were_made() -> None:
    told = f"volume local-path 1024Mi {VOLUME.rpartition('/')[2]}\nend\n".encode()
    assert read_survey(told, "s-1", ()).volumes == {VOLUME: Kept("local-path", "1024Mi")}


def has_storage(*storage: NfsStorage) -> dict[str, There]:
    made = {one.name: one for one in storage}
    return {"s-1": There({}, True, storage=made), "s-2": There({}, True, storage=made), "a-1": There({}, True)}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (NfsStorage("nas", "new.home.arpa", "/export/rack"), "new.home.arpa:/export/rack by the best version of both"),
        (NfsStorage("nas", "nas.home.arpa", "/export/more"), "nas.home.arpa:/export/more by the best version of both"),
        (NfsStorage("nas", "nas.home.arpa", "/export/rack", "4.1"), "nas.home.arpa:/export/rack by version 4.1"),
    ],
)
def test_a_storage_that_would_have_to_be_another_is_refused(other: NfsStorage, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        apply_steps(wanted(NGINX, VOLUME, storage=(other,), volumes={VOLUME: Kept("nas", "1024Mi")}), has_storage(NAS))
    was = "nas is nas.home.arpa:/export/rack by the best version of both"
    assert f"{was}, and wanted as {words}; nothing was changed" in str(caught.value)
    assert "take nginx out of the inventory" in caught.value.hint and "Another NAS" in caught.value.hint


def test_one_that_nothing_is_on_may_go_and_come_back() -> None:
    with pytest.raises(UsageError) as caught:
        apply_steps(wanted(storage=(NfsStorage("nas", "new.home.arpa", "/export/rack"),)), has_storage(NAS))
    assert "take nas out of `storage`, imagesmith addons apply, and put it back" in caught.value.hint
    assert apply_steps(wanted(), has_storage(NAS)) == ()


def test_a_storage_that_stays_as_it_is_and_one_beside_it_are_none_of_that() -> None:
    beside = NfsStorage("nas-2", "new.home.arpa", "/export/rack", "4.2")
    assert apply_steps(wanted(storage=(NAS,)), has_storage(NAS)) == ()
    assert apply_steps(wanted(storage=(NAS, beside)), has_storage(NAS)) == ()
    assert apply_steps(wanted(storage=(NAS, beside)), has_storage()) == ()


def test_a_server_tells_what_every_storage_was_made_as(tmp_path: Path) -> None:
    wish = """\
storage:
  nas: {nfs: nas.home.arpa:/export/rack}
  old: {nfs: 192.168.1.5:/volume1/rack, version: "3"}
  whole: {nfs: nas.home.arpa:/, version: "4.1"}
"""
    for name, text in texts_of(wish).items():
        (tmp_path / name).write_text(text)
    told = subprocess.run(["sh", "-c", SURVEY, "sh", tmp_path, tmp_path], capture_output=True, check=True)
    found = read_survey(told.stdout, "s-1", ())
    assert found.storage == {one.name: one for one in addons_of(wish).storage} and len(found.storage) == 3


@pytest.mark.parametrize("path", [f"{M}/imagesmith-kube-vip.yaml", f"{M}/traefik.yaml", f"{M}/my-own.yaml"])
def test_what_is_none_of_these_is_let_be(path: str) -> None:
    assert apply_steps(wanted(), there({path: ONE})) == ()


def test_a_node_that_can_mount_no_nas_is_named() -> None:
    (step,) = apply_steps(wanted(storage=(NAS,)), there({}))
    assert isinstance(step, ByHand) and step.doing.startswith("on a-1: sudo apt-get install nfs-common")


def test_an_answer_is_digests_by_path() -> None:
    name = NGINX.rpartition("/")[2]
    told = f"manifest {ONE} {name}\nfile {ONE} 1\nmount.nfs\nend\n".encode()
    assert read_survey(told, "s-1", ("/etc/a", "/etc/b")) == There({NGINX: ONE, "/etc/b": ONE}, True)


def test_one_that_is_cut_off_is_none() -> None:
    with pytest.raises(ContentMalformed):
        read_survey(f"manifest {ONE} imagesmith-addon-nginx.yaml\n".encode(), "s-1", ())
