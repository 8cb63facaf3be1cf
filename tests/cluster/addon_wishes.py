"""Inventories with add-ons, read as a user's are, for the tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from inventories import PROFILES

from imagesmith import resources
from imagesmith.cluster.addons.manifests import manifests, objects_of
from imagesmith.cluster.addons.objects import Object
from imagesmith.formats.credentials import revealed
from imagesmith.model import Cluster, Sealed
from imagesmith.model.addons import Addons, Recipe
from imagesmith.profile.addons import Around
from imagesmith.profile.cluster import load_cluster
from imagesmith.profile.power import load_drivers
from imagesmith.secret import Secret, SecretRef, SecretText
from imagesmith.workflow.target import recipes_near

DRIVERS = resources.folder("profiles") / "cluster" / "ups-drivers.yaml"
BASE = """\
schema: 1
name: rack
domain: home.arpa
k3s: {channel: stable}
nodes:
  - {name: a, profile: pc-server, address: 192.168.1.10/24}
  - {name: b, profile: pi-worker}
  - {name: c, profile: small-worker}
"""
NAS = "storage: {nas: {nfs: 'nas.home.arpa:/export/rack'}}\n"
RELEASE = f"release: {{url: https://download.example/moodle-4.5.11.tgz, sha256: {'ab' * 32}}}"
EVERYTHING = f"""\
addons:
  headlamp: {{}}
  monitoring: {{host: grafana.home.arpa}}
  nginx: {{host: www.home.arpa, replicas: 2}}
  apache: {{host: files.home.arpa, storage: nas, replicas: 3, size: 2GiB}}
  mariadb: {{clients: [shop]}}
  mysql: {{storage: nas}}
  mongodb:
  wordpress: {{host: blog.home.arpa, storage: nas, replicas: 2}}
  drupal: {{host: drupal.home.arpa}}
  joomla: {{host: joomla.home.arpa}}
  moodle: {{host: moodle.home.arpa, {RELEASE}}}
{NAS}"""
"""Every add-on of the catalogue, each way of keeping data."""
WATCHED = """\
backup: {to: {nfs: 'nas.home.arpa:/backup'}}
power:
  ups: {driver: riello_usb}
  runtime: 20m
  stages: {workers: {after: 2m, below: 60%}, primary: {after: 6m, below: 30%}}
"""
"""What there are alerts for."""
SMALL = """\
addons:
  monitoring: {light: true}
  headlamp: {host: admin.home.arpa, replicas: 2}
  nginx: {storage: local, size: 3GiB}
charts:
  - {name: podinfo, chart: podinfo, repo: 'https://charts.example/podinfo', version: 6.7.1, values: {count: 2, on: yes}}
storage:
  nas: {nfs: 192.168.1.5:/volume1/rack, version: "3"}
"""


@cache
def catalogue() -> Mapping[str, Recipe]:
    return recipes_near(None)


def read_cluster(wishes: str, files: Mapping[str, bytes] | None = None, base: str = BASE) -> Cluster:
    """The cluster of an inventory with `wishes` in it, and these files beside it."""
    around = Around(catalogue, reader(files or {}), lambda: load_drivers(DRIVERS.read_text(), str(DRIVERS)))
    return load_cluster(base + wishes, "cluster.yaml", PROFILES, around)


def reader(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return read


def addons_of(wishes: str, files: Mapping[str, bytes] | None = None) -> Addons:
    found = read_cluster(wishes, files).addons
    assert found is not None
    return found


def all_objects(wishes: str) -> list[Object]:
    return [one for made in objects_of(addons_of(wishes)).values() for one in made]


def texts_of(wishes: str, files: Mapping[str, bytes] | None = None) -> dict[str, str]:
    """Every manifest as a server has it, by its file's name; a password is its own name, turned around."""
    return {
        name: revealed(as_text(made), lambda ref: Secret(secret_of(ref.name).encode())).reveal().decode()
        for name, made in manifests(addons_of(wishes, files), {}).items()
    }


def as_text(made: bytes | SecretText) -> SecretText:
    return SecretText((made,)) if isinstance(made, bytes) else made


def secret_of(name: str) -> str:
    return name.removeprefix("vault:")[::-1]


def sealed(names: tuple[str, ...]) -> dict[str, Sealed]:
    return {name: Sealed(SecretRef(f"vault:{name}", drawn="2026-01-01T00:00:00Z")) for name in names}
