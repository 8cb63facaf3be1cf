"""Manifests of all add-ons: valid by Kubernetes' own schemas, pinned, limited, shut off, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cluster.addon_wishes import EVERYTHING, NAS, SMALL, WATCHED, addons_of, all_objects, catalogue, texts_of

from imagesmith.cluster.addons.manifests import kept
from imagesmith.cluster.addons.objects import Object
from imagesmith.cluster.vip import MANIFESTS
from imagesmith.model.addons import Kept
from imagesmith.profile.k3s import PARTS

WISHES = {"everything": EVERYTHING, "small": SMALL}
OBJECTS = {name: all_objects(wishes) for name, wishes in WISHES.items()}
ALL = [one for made in OBJECTS.values() for one in made]
WORKLOADS = [one for one in ALL if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]


def named(one: Object) -> str:
    return f"{one['kind']}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"


def pod(workload: Object) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"]["template"]["spec"]
    return found


def containers(workload: Object) -> list[dict[str, Any]]:
    return [*pod(workload)["containers"], *pod(workload).get("initContainers", [])]


def of_kind(kind: str, made: list[Object]) -> Iterator[Object]:
    return (one for one in made if one["kind"] == kind)


def the(kind: str, place: str, name: str, made: list[Object] | None = None) -> Object:
    (found,) = (one for one in made or OBJECTS["everything"] if named(one) == f"{kind}/{place}/{name}")
    return found


# -- what holds for all of them -------------------------------------------------------------------


def test_the_catalogue_is_whole_in_these_tests() -> None:
    listed = {name for name, recipe in catalogue().items() if recipe.listed}
    assert listed == {addon.name for addon in addons_of(EVERYTHING).wanted}


@pytest.mark.parametrize("version", ["1.36", "1.37"])
@pytest.mark.parametrize("wishes", WISHES)
def test_kubernetes_own_schemas_find_nothing_wrong(wishes: str, version: str) -> None:
    for name, text in texts_of(WISHES[wishes]).items():
        for document in yaml.safe_load_all(text):
            # k3s's own kind has no schema there.
            if document["kind"] != "HelmChart":
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    pytest.fail(f"{name}, {named(document)}: {error}")


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_every_image_is_of_one_version_and_none_of_bitnami(workload: Object) -> None:
    for container in containers(workload):
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        assert any(digit.isdigit() for digit in tag) and "latest" not in tag, container["image"]
        assert "bitnami" not in container["image"]


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_every_container_asks_for_little_and_is_given_so_much_and_no_more(workload: Object) -> None:
    for container in containers(workload):
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert set(asked) == set(most) == {"memory", "cpu"}
        assert int(asked["memory"].removesuffix("Mi")) <= 384
        assert int(most["memory"].removesuffix("Mi")) <= 1024


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_nobody_may_do_what_root_may(workload: Object) -> None:
    security = pod(workload)["securityContext"]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(workload):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"]["drop"] == ["ALL"]
        assert bool(own["capabilities"].get("add")) != bool(security.get("runAsNonRoot"))


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_what_there_is_several_of_is_spread_and_not_drained_at_once(workload: Object) -> None:
    place, name = workload["metadata"]["namespace"], workload["metadata"]["name"]
    several = workload["spec"].get("replicas", 1) > 1
    assert several == ("topologySpreadConstraints" in pod(workload))
    made = next(made for made in OBJECTS.values() if workload in made)
    assert several == any(named(one) == f"PodDisruptionBudget/{place}/{name}" for one in made)


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_whatever_a_pod_names_is_there(workload: Object) -> None:
    made, place = next(made for made in OBJECTS.values() if workload in made), workload["metadata"]["namespace"]
    there = {named(one) for one in made}
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            assert f"PersistentVolumeClaim/{place}/{claim['claimName']}" in there
        if config := volume.get("configMap"):
            data = the("ConfigMap", place, config["name"], made)["data"]
            assert {item["key"] for item in config["items"]} <= set(data)
    for container in containers(workload):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        for variable in container["env"]:
            if source := variable.get("valueFrom"):
                keys = the("Secret", place, source["secretKeyRef"]["name"], made)["stringData"]
                assert source["secretKeyRef"]["key"] in keys
    if account := pod(workload).get("serviceAccountName"):
        assert f"ServiceAccount/{place}/{account}" in there
    assert pod(workload)["automountServiceAccountToken"] == bool(account)


@pytest.mark.parametrize("wishes", WISHES)
def test_every_namespace_lets_nothing_through_by_itself(wishes: str) -> None:
    made = OBJECTS[wishes]
    for place in (one["metadata"]["name"] for one in of_kind("Namespace", made)):
        policy = the("NetworkPolicy", place, "nothing-but", made)["spec"]
        assert (policy["podSelector"], policy["policyTypes"], policy["ingress"]) == ({}, ["Ingress", "Egress"], [])
        assert [sorted({port["port"] for port in rule["ports"]}) for rule in policy["egress"]] == [[53]]


@pytest.mark.parametrize("wishes", WISHES)
def test_no_object_is_there_twice(wishes: str) -> None:
    names = [named(one) for one in OBJECTS[wishes]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("wishes", WISHES)
def test_k3s_takes_the_files_names_and_has_none_of_them_itself(wishes: str) -> None:
    for name in texts_of(WISHES[wishes]):
        stem = name.removesuffix(".yaml")
        assert stem.replace("-", "").isalnum() and stem == stem.lower() and stem.startswith("imagesmith-")
        assert stem not in (*PARTS, "ccm", "rolebindings", "runtimes")
    assert MANIFESTS == "/var/lib/rancher/k3s/server/manifests"


# -- each in its way ------------------------------------------------------------------------------


def test_mongodb_is_kept_off_processors_that_it_does_not_run_on() -> None:
    assert pod(the("StatefulSet", "mongodb", "mongodb"))["nodeSelector"] == {"kubernetes.io/arch": "amd64"}


def test_the_large_monitoring_measures_on_a_pc_and_exports_everywhere() -> None:
    for name in ("prometheus", "grafana"):
        assert pod(the("Deployment", "monitoring", name))["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    exporter = pod(the("DaemonSet", "monitoring", "node-exporter"))
    assert exporter["tolerations"] == [{"operator": "Exists"}] and "nodeSelector" not in exporter


def test_the_light_monitoring_runs_on_any_node_without_grafana() -> None:
    made = OBJECTS["small"]
    assert "nodeSelector" not in pod(the("Deployment", "monitoring", "prometheus", made))
    assert "Deployment/monitoring/grafana" not in [named(one) for one in made]


def test_exporters_read_what_nodes_write_of_their_ups_and_backup() -> None:
    exporter = pod(the("DaemonSet", "monitoring", "node-exporter"))
    (metrics,) = (one for one in exporter["volumes"] if one.get("hostPath", {}).get("path", "").endswith("metrics"))
    assert metrics["hostPath"] == {"path": "/var/lib/imagesmith/metrics", "type": "DirectoryOrCreate"}
    (mount,) = (one for one in exporter["containers"][0]["volumeMounts"] if one["name"] == metrics["name"])
    assert (
        mount["readOnly"]
        and f"--collector.textfile.directory={mount['mountPath']}" in exporter["containers"][0]["args"]
    )


def test_headlamp_is_on_no_network_unless_it_is_given_a_name() -> None:
    assert not [one for one in of_kind("Ingress", OBJECTS["everything"]) if one["metadata"]["namespace"] == "headlamp"]
    assert the("NetworkPolicy", "headlamp", "headlamp")["spec"]["ingress"] == []
    assert the("Ingress", "headlamp", "headlamp", OBJECTS["small"])["spec"]["rules"][0]["host"] == "admin.home.arpa"


def test_headlamp_itself_may_ask_for_nothing_and_its_people_for_what_they_are() -> None:
    bound = {
        one["subjects"][0]["name"]: one["roleRef"]["name"]
        for one in of_kind("ClusterRoleBinding", OBJECTS["everything"])
        if one["subjects"][0]["namespace"] == "headlamp"
    }
    assert bound == {"headlamp-admin": "cluster-admin", "headlamp-viewer": "view"}


def test_nobody_but_the_site_reaches_its_database() -> None:
    (rule,) = the("NetworkPolicy", "wordpress", "database")["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "wordpress"}}}]
    assert [port["port"] for port in rule["ports"]] == [3306]


def test_a_database_is_reached_from_the_namespaces_that_are_named() -> None:
    (rule,) = the("NetworkPolicy", "mariadb", "mariadb")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]
    assert the("NetworkPolicy", "mysql", "mysql")["spec"]["ingress"] == []


def test_a_site_reaches_the_internet_and_nothing_at_home() -> None:
    rules = the("NetworkPolicy", "wordpress", "wordpress")["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]
    assert "192.168.0.0/16" in blocks[0]["except"] and "fc00::/7" in blocks[1]["except"]


def test_grafana_sends_alerts_and_fetches_plug_ins_from_the_internet_and_prometheus_does_not() -> None:
    grafana, prometheus = (
        the("NetworkPolicy", "monitoring", name)["spec"]["egress"] for name in ("grafana", "prometheus")
    )
    (out,) = (rule for rule in grafana if any("ipBlock" in to for to in rule["to"]))
    assert {443, 587} <= {port["port"] for port in out["ports"]}
    assert "192.168.0.0/16" in out["to"][0]["ipBlock"]["except"]
    assert not any("ipBlock" in to for rule in prometheus for to in rule.get("to", []))


def test_volumes_lie_where_the_inventory_says() -> None:
    classes = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": (
            one["spec"]["storageClassName"],
            one["spec"]["accessModes"],
            one["spec"]["resources"]["requests"]["storage"],
        )
        for made in OBJECTS.values()
        for one in of_kind("PersistentVolumeClaim", made)
    }
    assert classes["wordpress/wordpress-files"] == ("nas", ["ReadWriteMany"], "5120Mi")
    assert classes["drupal/drupal-sites"] == ("local-path", ["ReadWriteOnce"], "5120Mi")
    assert classes["apache/apache-pages"] == ("nas", ["ReadWriteMany"], "2048Mi")
    assert classes["nginx/nginx-pages"] == ("local-path", ["ReadWriteOnce"], "3072Mi")


@pytest.mark.parametrize("wishes", WISHES)
def test_a_volume_is_in_a_file_of_its_own_so_that_k3s_prunes_none(wishes: str) -> None:
    """k3s deletes what a file that changes has no more, and nothing of a file that is gone."""
    for name, text in texts_of(WISHES[wishes]).items():
        documents = list(yaml.safe_load_all(text))
        claims = [f"imagesmith-volume-{one['metadata']['namespace']}--{one['metadata']['name']}.yaml"
                  for one in documents if one["kind"] == "PersistentVolumeClaim"]  # fmt: skip
        assert claims == [name] * len(documents) or claims == [], name


def test_where_volumes_are_kept_is_what_their_manifests_say() -> None:
    found = kept(addons_of(EVERYTHING))
    assert found["imagesmith-volume-wordpress--wordpress-files.yaml"] == Kept("nas", "5120Mi")
    assert set(found) == {name for name in texts_of(EVERYTHING) if name.startswith("imagesmith-volume-")}


@pytest.mark.parametrize(
    ("told", "size", "most"),
    [("size: 50GiB", "51200Mi", "40960"), ("", "10240Mi", "8192"), ("light: true, size: 5GiB", "5120Mi", "4096")],
)
def test_the_size_of_monitoring_is_that_of_what_was_measured(told: str, size: str, most: str) -> None:
    made = all_objects(f"addons: {{monitoring: {{{told}}}}}\n")
    claim = the("PersistentVolumeClaim", "monitoring", "prometheus-measured", made)
    assert claim["spec"]["resources"]["requests"]["storage"] == size
    (prometheus,) = pod(the("Deployment", "monitoring", "prometheus", made))["containers"]
    assert {"name": "MEASURED_MIB", "value": most} in prometheus["env"]
    assert "--storage.tsdb.retention.size=$(MEASURED_MIB)MB" in prometheus["args"]


def test_the_size_of_monitoring_is_not_grafanas() -> None:
    made = all_objects("addons: {monitoring: {size: 50GiB}}\n")
    claim = the("PersistentVolumeClaim", "monitoring", "grafana-settings", made)
    assert claim["spec"]["resources"]["requests"]["storage"] == "1024Mi"


def test_a_server_without_a_volume_shows_the_catalogues_page() -> None:
    assert "index.html" in the("ConfigMap", "nginx", "nginx-files")["data"]
    assert "ConfigMap/nginx/nginx-files" not in [named(one) for one in OBJECTS["small"]]


def test_what_keeps_files_alone_ends_before_another_begins() -> None:
    assert the("Deployment", "drupal", "drupal")["spec"]["strategy"] == {"type": "Recreate"}
    assert the("Deployment", "wordpress", "wordpress")["spec"]["strategy"] == {"type": "RollingUpdate"}


def test_other_files_of_the_catalogue_make_new_pods() -> None:
    pages = {
        one["spec"]["template"]["metadata"]["annotations"]["imagesmith/files"]
        for made in OBJECTS.values()
        for one in of_kind("Deployment", made)
        if one["metadata"]["name"] == "nginx"
    }
    assert len(pages) == 2


def test_a_nas_has_a_class_of_storage_that_keeps_what_nobody_asks_for() -> None:
    made = all_objects(NAS)
    kept = the("StorageClass", "", "nas", made)
    assert kept["parameters"] == {"pathPattern": "${.PVC.namespace}/${.PVC.name}", "onDelete": "retain"}
    nas = next(volume["nfs"] for volume in pod(the("Deployment", "storage-nas", "nas", made))["volumes"])
    assert nas == {"server": "nas.home.arpa", "path": "/export/rack"}
    assert "nfsvers=3" in the("StorageClass", "", "nas", OBJECTS["small"])["mountOptions"]


def test_moodle_is_fetched_from_the_address_with_the_digest_of_the_inventory() -> None:
    (fetch,) = pod(the("Deployment", "moodle", "moodle"))["initContainers"]
    told = {one["name"]: one.get("value") for one in fetch["env"]}
    assert (told["RELEASE_URL"], told["RELEASE_SHA256"]) == ("https://download.example/moodle-4.5.11.tgz", "ab" * 32)
    assert fetch["command"] == ["sh", "/imagesmith/scripts/fetch.sh"]


@pytest.mark.parametrize("site", ["wordpress", "drupal", "joomla", "moodle"])
def test_a_site_does_its_work_where_nobody_visits(site: str) -> None:
    main, cron = pod(the("Deployment", site, site))["containers"]
    assert cron["command"] == ["sh", "/imagesmith/scripts/cron.sh"] and cron["securityContext"]["runAsUser"] == 33
    assert cron["image"] == main["image"] and cron["env"] == main["env"]


def test_wordpress_leaves_its_work_to_that() -> None:
    told = {
        one["name"]: one.get("value")
        for one in pod(the("Deployment", "wordpress", "wordpress"))["containers"][0]["env"]
    }
    assert told["WORDPRESS_CONFIG_EXTRA"] == "define('DISABLE_WP_CRON', true);"


def test_a_charts_values_are_what_was_written() -> None:
    chart = the("HelmChart", "kube-system", "podinfo", OBJECTS["small"])["spec"]
    assert yaml.safe_load(chart["valuesContent"]) == {"count": 2, "on": "yes"}
    assert (chart["version"], chart["targetNamespace"]) == ("6.7.1", "podinfo")


def alerts(made: list[Object]) -> dict[str, str]:
    """By their names, of the files that Prometheus reads in this pod."""
    spec = pod(the("Deployment", "monitoring", "prometheus", made))
    files = the("ConfigMap", "monitoring", "prometheus-files", made)["data"]
    items = {one["name"]: one.get("configMap", {}).get("items", []) for one in spec["volumes"]}
    seen = {
        f"{mount['mountPath']}/{item['path']}": files[item["key"]]
        for mount in spec["containers"][0]["volumeMounts"]
        for item in items[mount["name"]]
    }
    globs = yaml.safe_load(seen["/etc/prometheus/prometheus.yml"])["rule_files"]
    read = [text for path, text in seen.items() if any(fnmatch(path, one) for one in globs)]
    groups = [group for text in read for group in yaml.safe_load(text)["groups"]]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("light", ["true", "false"])
def test_alerts_watch_the_ups_and_the_backups_age_where_there_are_any(light: str) -> None:
    wish = f"addons: {{monitoring: {{light: {light}}}}}\n"
    without, told = alerts(all_objects(wish)), alerts(all_objects(wish + WATCHED))
    assert "NodeSilent" in without and not [name for name in without if name.startswith(("Ups", "Backup"))]
    assert "imagesmith_ups_on_battery" in told["UpsOnBattery"]
    assert "imagesmith_backup_last_success_timestamp_seconds" in told["BackupOld"]


def test_a_node_that_tells_nothing_of_them_is_an_alert_too() -> None:
    told = alerts(all_objects("addons: {monitoring: {}}\n" + WATCHED))
    for name in ("MetricsFileMissing", "UpsUnknown", "BackupUnknown"):
        assert told[name].startswith('up{job="nodes"} == 1 unless on (node) '), name
