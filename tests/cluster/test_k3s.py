"""What of k3s is in which node's image: authorities with the founder alone, units, the kernel's share, promises."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.node_parts import MATERIALS, PROFILE, RACK
from cluster.sealed_parts import HA, PASSWORDS, edits, files, part, sealed, written

from imagesmith.cluster import contents, k3s, vip
from imagesmith.cluster.parts import part_of
from imagesmith.formats.canonical import canonical_json
from imagesmith.identity.authorities import TLS_FOLDER
from imagesmith.identity.tokens import NODE_PASSWORD_FILE
from imagesmith.model import Link, MakeDir, Part, PutFile
from imagesmith.secret import SecretRef, SecretText

UNITS = "/etc/systemd/system"
NAMES = ("head-1", "head-2", "arm-1")


def in_tls(part: Part) -> dict[str, PutFile]:
    return {path: put for path, put in files(edits(part)).items() if path.startswith(k3s.TLS)}


def test_the_founder_has_every_file_of_the_authorities_where_k3s_looks_for_it() -> None:
    assert k3s.TLS == TLS_FOLDER
    names = {path.removeprefix(f"{k3s.TLS}/") for path in in_tls(part("head-1", HA))}
    leaves = ("server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca")
    assert names == {f"{leaf}.{end}" for leaf in leaves for end in ("crt", "key")} | {"service.key"}


def test_the_founders_keys_are_roots_alone() -> None:
    assert {put.mode for path, put in in_tls(part("head-1", HA)).items() if path.endswith(".key")} == {0o600}
    folders = {edit.path: edit.mode for edit in edits(part("head-1", HA)) if isinstance(edit, MakeDir)}
    assert folders[k3s.TLS] == folders[f"{k3s.TLS}/etcd"] == 0o700


@pytest.mark.parametrize("name", ["head-2", "arm-1"])
def test_who_joins_has_no_file_of_the_authorities(name: str) -> None:
    assert in_tls(part(name, HA)) == {}


def test_a_server_that_is_built_anew_has_none_either() -> None:
    roles = {one.name: one.role or "worker" for one in HA.nodes}
    assert in_tls(part_of(HA, HA.nodes[0], roles, sealed("2026-10-06T12:00:00Z"))) == {}


def test_the_roots_key_is_in_no_image() -> None:
    for name in NAMES:
        told = canonical_json(edits(part(name, HA))).decode()
        assert "cluster/ca/root" not in told
        assert "cluster/ca/intermediate" not in told


@pytest.mark.parametrize("name", NAMES)
def test_secrets_are_in_files_of_roots_alone(name: str) -> None:
    for edit in edits(part(name, HA)):
        if isinstance(edit, PutFile) and isinstance(edit.content, SecretRef | SecretText):
            assert (edit.mode, edit.uid) == (0o600, 0), edit.path


def test_the_node_password_is_the_vaults_with_a_line_end() -> None:
    put = files(edits(part()))[NODE_PASSWORD_FILE]
    assert (written(put), put.mode) == (f"{PASSWORDS['vault:nodes/head/node-password'].decode()}\n", 0o600)


def test_without_a_vault_there_is_nothing_of_k3s() -> None:
    roles = {one.name: one.role or "worker" for one in RACK.nodes}
    unsealed = part_of(RACK, RACK.nodes[0], roles, None)
    for share in (k3s, vip):
        assert share.edits(unsealed, PROFILE, MATERIALS) == ()
        assert share.promises(unsealed) == ()


def test_its_packages_can_be_fetched_before_there_is_a_vault() -> None:
    roles = {one.name: one.role or "worker" for one in RACK.nodes}
    assert k3s.packages(part_of(RACK, RACK.nodes[0], roles, None)) == k3s.packages(part())


@pytest.mark.parametrize(("name", "unit"), [("head", "k3s.service"), ("arm-1", "k3s-agent.service")])
def test_a_node_has_one_unit_and_the_first_boot_wants_it(name: str, unit: str) -> None:
    made = edits(part(name))
    own = [path for path in files(made) if path.startswith(f"{UNITS}/k3s")]
    assert own == [f"{UNITS}/{unit}"]
    links = {edit.path: edit.target for edit in made if isinstance(edit, Link)}
    assert links[f"{UNITS}/imagesmith-firstboot.service.wants/{unit}"] == f"{UNITS}/{unit}"
    assert not [path for path in links if "multi-user" in path and "k3s" in path]


def test_kubectl_and_its_like_are_k3s() -> None:
    links = {edit.path: edit.target for edit in edits(part()) if isinstance(edit, Link)}
    assert {links[f"/usr/local/bin/{name}"] for name in ("kubectl", "crictl", "ctr")} == {"k3s"}


def test_what_the_unit_runs_is_there_and_can_be_run() -> None:
    put = files(edits(part()))
    unit = written(put[f"{UNITS}/k3s.service"])
    run = [line.partition("=")[2].lstrip("-") for line in unit.splitlines() if "/usr/lib/imagesmith/" in line]
    assert run == [f"/usr/lib/imagesmith/{name}" for name in ("k3s-gate", "k3s-start", "k3s-settled")]
    assert {put[path].mode for path in run} == {0o755}
    assert "/usr/lib/imagesmith/cluster-lib.sh" in put


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["head", "arm-1"])
def test_k3s_after_the_first_boot_is_no_cycle(name: str, tmp_path: Path) -> None:
    made = edits(part(name))
    unit = k3s.unit_of(part(name).duty)
    first = "imagesmith-firstboot.service"
    texts = {unit: written(files(made)[f"{UNITS}/{unit}"]), first: MATERIALS.files[f"firstboot/{first}"].decode()}
    for file, text in texts.items():
        lines = ["ExecStart=/usr/bin/true" if line.startswith("ExecStart=") else line for line in text.splitlines()]
        (tmp_path / file).write_text("\n".join(line for line in lines if not line.startswith("ExecStartP")))
    for wanting, wanted in ((first, unit), ("multi-user.target", first)):
        (tmp_path / f"{wanting}.wants").mkdir()
        (tmp_path / f"{wanting}.wants" / wanted).symlink_to(tmp_path / wanted)
    done = subprocess.run(
        ["systemd-analyze", "verify", "multi-user.target"],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:/usr/lib/systemd/system", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "cycle" in line or "k3s" in line or "firstboot" in line] == []


def test_the_kernels_settings_are_lines_that_sysctl_d_has() -> None:
    text = written(files(edits(part()))["/etc/sysctl.d/90-imagesmith-k3s.conf"])
    found = dict(line.split(" = ") for line in text.splitlines())
    assert found["net.ipv4.ip_forward"] == "1"
    assert found["-net.bridge.bridge-nf-call-iptables"] == "1"


def test_an_image_alone_goes_as_far_as_it_can_alone() -> None:
    promised = {name: {p.fact: p.value for p in contents.promises(part(name, HA))} for name in NAMES}
    assert [promised[name]["k3s.waits_for"] for name in NAMES] == ["nothing", "server", "server"]
    assert {promised[name]["open_secrets"] for name in NAMES} == {"0"}


def test_what_asks_the_servers_is_among_the_packages() -> None:
    assert {"openssl", "iputils-arping"} <= set(contents.packages(part("arm-1")))


def test_a_plan_of_a_node_holds_no_password() -> None:
    told = canonical_json(edits(replace(part(), node=RACK.nodes[0])))
    assert all(value not in told for value in PASSWORDS.values())
