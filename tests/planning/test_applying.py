"""What brings add-ons to nodes that run: what differs, and what nobody wants any more, in an order that can stop."""

from __future__ import annotations

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.planning.applying import File, There, Wanted, apply_steps, read_survey
from imagesmith.planning.life import ByHand, Put, Run, shown

M = "/var/lib/rancher/k3s/server/manifests"
NGINX, BLOG = f"{M}/imagesmith-addon-nginx.yaml", f"{M}/imagesmith-addon-wordpress.yaml"
HOOK = "/etc/imagesmith/backup.d/addon-wordpress.sh"
ONE = "1" * 64


def wanted(*paths: str, nas: bool = False) -> Wanted:
    files = tuple(File(path, ONE, 0o600) for path in paths)
    return Wanted({"s-1": files, "s-2": files, "a-1": ()}, ("s-1", "s-2"), nas, {"nginx": ("mind this",)})


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


@pytest.mark.parametrize("path", [f"{M}/imagesmith-kube-vip.yaml", f"{M}/traefik.yaml", f"{M}/my-own.yaml"])
def test_what_is_none_of_these_is_let_be(path: str) -> None:
    assert apply_steps(wanted(), there({path: ONE})) == ()


def test_a_node_that_can_mount_no_nas_is_named() -> None:
    (step,) = apply_steps(wanted(nas=True), there({}))
    assert isinstance(step, ByHand) and step.doing.startswith("on a-1: sudo apt-get install nfs-common")


def test_an_answer_is_digests_by_path() -> None:
    name = NGINX.rpartition("/")[2]
    told = f"manifest {ONE} {name}\nfile {ONE} 1\nmount.nfs\nend\n".encode()
    assert read_survey(told, "s-1", ("/etc/a", "/etc/b")) == There({NGINX: ONE, "/etc/b": ONE}, True)


def test_one_that_is_cut_off_is_none() -> None:
    with pytest.raises(ContentMalformed):
        read_survey(f"manifest {ONE} imagesmith-addon-nginx.yaml\n".encode(), "s-1", ())
