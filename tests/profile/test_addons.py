"""Add-ons, storage, charts and manifests of an inventory: what they mean, and every mistake told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from cluster.addon_wishes import BASE, EVERYTHING, NAS, RELEASE, addons_of, catalogue, read_cluster
from inventories import PROFILES

from imagesmith.errors import DocumentInvalid
from imagesmith.model.addons import NfsStorage, OwnManifest, Share
from imagesmith.profile.addons import Around
from imagesmith.profile.cluster import load_cluster
from imagesmith.units import GiB

OWN = (
    b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n"
)


def wrong(wishes: str, files: Mapping[str, bytes] | None = None, base: str = BASE) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        read_cluster(wishes, files, base)
    for problem in caught.value.problems:
        assert problem.line > 0 or problem.file in (files or {}), problem
    return [str(problem) for problem in caught.value.problems]


def test_nothing_wanted_is_nothing() -> None:
    assert read_cluster("").addons is None


def test_a_name_with_nothing_behind_it_is_the_add_on_as_it_comes() -> None:
    (addon,) = addons_of("addons:\n  mongodb:\n").wanted
    assert (addon.name, addon.storage, addon.replicas, addon.host) == ("mongodb", "", 1, "")


def test_what_is_written_is_meant() -> None:
    blog = addons_of(EVERYTHING).addon("wordpress")
    assert blog and (blog.host, blog.storage, blog.replicas) == ("blog.home.arpa", "nas", 2)
    assert [part.name for part in blog.recipe.parts] == ["wordpress", "database"]


@pytest.mark.parametrize(
    ("written", "storage"),
    [
        ("nas.home.arpa:/export/rack", NfsStorage("nas", "nas.home.arpa", "/export/rack")),
        ("192.168.1.5:/mnt/HD/HD_a2/Rack/", NfsStorage("nas", "192.168.1.5", "/mnt/HD/HD_a2/Rack")),
    ],
)
def test_a_nas_is_a_host_and_a_folder(written: str, storage: NfsStorage) -> None:
    assert addons_of(f"storage: {{nas: {{nfs: '{written}'}}}}\n").storage == (storage,)


def test_own_manifests_are_taken_as_they_are() -> None:
    assert addons_of("manifests: [apps/shop.yaml]\n", {"apps/shop.yaml": OWN}).manifests == (
        OwnManifest("shop", "apps/shop.yaml", OWN),
    )


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ("addons: {wordpres: {}}", "there is no add-on 'wordpres'; did you mean 'wordpress'?"),
        ("addons: {monitoring-light: {}}", "there is no add-on 'monitoring-light'; did you mean 'monitoring'?"),
        ("addons: {nfs: {}}", "there is no add-on 'nfs'"),
        ("addons: [nginx]", "expected names, each with a table"),
        ("addons: {nginx: {hosts: a.b}}", "the key 'hosts' is unknown; did you mean 'host'?"),
        ("addons: {mariadb: {host: a.b}}", "the key 'host' is unknown"),
        ("addons: {moodle: {host: a.b}}", "the key 'release' is required"),
        (f"addons: {{moodle: {{{RELEASE}}}}}", "the key 'host' is required"),
        ("addons: {moodle: {host: a.b, release: {url: https://a.b/c.tgz, sha256: 12}}}", "not a SHA-256 digest"),
        ("addons: {nginx: {host: 192.168.1.1}}", "an Ingress goes by names"),
        ("addons: {nginx: {host: 'a.b; rm -rf /'}}", "is not a domain"),
        ("addons: {nginx: {replicas: 0}}", "0 is not between 1 and 20"),
        ("addons: {nginx: {storage: nas}}", "there is no storage 'nas'"),
        (f"{NAS}addons: {{nginx: {{storage: nsa}}}}", "there is no storage 'nsa'; did you mean 'nas'?"),
        ("addons: {nginx: {size: 1GiB}}", "without `storage` it has no volume"),
        ("addons: {wordpress: {replicas: 2}}", "a local volume is on one node"),
        ("addons: {nginx: {storage: local, replicas: 2}}", "a local volume is on one node"),
        ("addons: {mariadb: {clients: [Shop]}}", "is not a host name"),
        ("storage: {local: {nfs: 'a.b:/c'}}", "is the nodes' own disks"),
        ("storage: {nas: {}}", "the key 'nfs' is required"),
        ("storage: {nas: {nfs: /export}}", "is not a folder on a NAS"),
        ("storage: {nas: {nfs: 'a.b:/c/../d'}}", "is not a folder on a NAS"),
        ("storage: {nas: {nfs: 'a.b:/c d'}}", "is not a folder on a NAS"),
        ("storage: {nas: {nfs: 'a.b:/c$(id)'}}", "is not a folder on a NAS"),
        ("charts: [{name: a, chart: 'oci://r.example/a'}]", "the key 'version' is required"),
        ("charts: [{name: a, chart: a, version: 1.2.3}]", "nobody knows where this chart is"),
        ("charts: [{name: a, chart: 'oci://r.example/a', repo: 'https://r.example/', version: 1.2.3}]", "keep one"),
        ("charts: [{name: a, chart: a, repo: 'https://r.example/', version: latest}]", "is not one version"),
        ("charts: [{name: a, chart: 'oci://r.example/bitnamicharts/a', version: 1.2.3}]", "no longer published"),
        ("charts: [{name: a, chart: a, repo: 'http://r.example/', version: 1.2.3}]", "is not an https:// address"),
        ("manifests: [apps/gone.yaml]", "apps/gone.yaml: it can't be read: No such file or directory"),
        ("manifests: [apps/my_app.yaml]", "k3s applies no file of the name 'my_app.yaml'"),
        ("manifests: [README.md]", "is no manifest's name"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(wishes: str, told: str) -> None:
    (complaint,) = wrong(wishes + "\n")
    assert told in complaint and complaint.startswith("cluster.yaml:")


def test_all_mistakes_are_told_at_once() -> None:
    assert len(wrong("addons: {nginx: {hst: a}, apach: {}}\nstorage: {nas: {}}\nmanifests: [gone.yaml]\n")) == 4


def test_a_host_name_is_one_add_ons_alone() -> None:
    (complaint,) = wrong("addons:\n  nginx: {host: a.b}\n  apache: {host: a.b}\n")
    assert complaint.startswith("cluster.yaml:11:") and "nginx and apache, lines 10 and 11" in complaint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "there is nothing in it"),
        (b"- a\n", "own.yaml:1: this is no object of Kubernetes"),
        (b"kind: A\nmetadata: {name: a}\n", "own.yaml:1: the object that begins here has no apiVersion"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: v1\nkind: B\n", "own.yaml:5"),
        (b"a: [\n", "not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: \x00\n", "a character in it that YAML does not allow"),
        (b"[" * 5000, "nested deeper"),
        (b"a" * (1024 * 1024 + 1), "larger than Kubernetes takes"),
    ],
)
def test_a_manifest_that_kubernetes_could_not_take_is_refused_at_its_own_line(content: bytes, told: str) -> None:
    assert any(told in complaint for complaint in wrong("manifests: [own.yaml]\n", {"own.yaml": content}))


def test_an_anchor_is_not_followed_without_end() -> None:
    bomb = b"a0: &a0 [x]\n" + b"".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n".encode() for n in range(1, 30)
    )
    assert wrong("manifests: [own.yaml]\n", {"own.yaml": bomb})


def test_two_of_one_name_are_refused() -> None:
    files = {"a/own.yaml": OWN, "b/own.yaml": OWN}
    (complaint,) = wrong("manifests: [a/own.yaml, b/own.yaml]\n", files)
    assert "two of them are called own" in complaint


def test_a_chart_leaves_an_add_ons_namespace_to_it() -> None:
    chart = "{name: a, chart: 'oci://r.example/a', version: 1.2.3, namespace: nginx}"
    (complaint,) = wrong(f"addons: {{nginx: {{}}}}\ncharts: [{chart}]\n")
    assert "which is the add-on's alone" in complaint


# -- what the nodes can bear ----------------------------------------------------------------------

ONE_SMALL = BASE.replace("  - {name: a, profile: pc-server, address: 192.168.1.10/24}\n", "").replace(
    "{name: b, profile: pi-worker}", "{name: b, profile: pi-worker, role: server, address: 192.168.1.11/24}"
)


def test_an_add_on_that_fits_no_processor_is_refused_with_the_reason() -> None:
    (complaint,) = wrong("addons:\n  mongodb: {}\n", base=ONE_SMALL)
    assert (
        "mongodb runs on amd64 alone" in complaint
        and "ARMv8.2" in complaint
        and complaint.startswith("cluster.yaml:9:")
    )


def test_the_large_monitoring_names_the_light_one_where_there_is_no_pc() -> None:
    (complaint,) = wrong("addons: {monitoring: {}}\n", base=ONE_SMALL)
    assert "`light: true`" in complaint
    assert read_cluster("addons: {monitoring: {light: true}}\n", base=ONE_SMALL).addons


def test_a_taint_keeps_the_only_node_for_it_away() -> None:
    tainted = BASE.replace("192.168.1.10/24}", "192.168.1.10/24, taints: ['only=disks:NoSchedule']}")
    (complaint,) = wrong("addons: {mongodb: {}}\n", base=tainted)
    assert "all that could are tainted" in complaint


def test_memory_that_no_node_has_left_is_told() -> None:
    big = Share(8 * GiB, 9 * GiB, 100, 100)
    nginx = catalogue()["nginx"]
    recipes = {"nginx": replace(nginx, parts=(replace(nginx.parts[0], share=big),))}
    with pytest.raises(DocumentInvalid, match=r"nginx \(nginx\) asks for 8.0 GiB of memory, which no node has left"):
        load_cluster(BASE + "addons: {nginx: {}}\n", "cluster.yaml", PROFILES, Around(lambda: recipes))


@pytest.mark.parametrize("part", ["traefik", "servicelb"])
def test_a_host_name_needs_what_serves_it(part: str) -> None:
    without = BASE.replace("{channel: stable}", f"{{channel: stable, disable: [{part}]}}")
    (complaint,) = wrong("addons: {nginx: {host: a.b}}\n", base=without)
    assert f"{part} is disabled in k3s" in complaint


def test_a_local_volume_needs_k3ss_own_storage() -> None:
    without = BASE.replace("{channel: stable}", "{channel: stable, disable: [local-storage]}")
    (complaint,) = wrong("addons: {mariadb: {}}\n", base=without)
    assert "local-storage is disabled" in complaint
    assert read_cluster(f"addons: {{mariadb: {{storage: nas}}, nginx: {{}}}}\n{NAS}", base=without).addons


def test_without_k3s_each_of_the_keys_is_refused() -> None:
    plain = BASE.replace("k3s: {channel: stable}\n", "")
    told = wrong(f"addons: {{nginx: {{}}}}\n{NAS}manifests: [own.yaml]\n", {"own.yaml": OWN}, plain)
    assert [("`k3s` here" in one) for one in told] == [True] * 3
