"""All that an image of a cluster's node gets, held up to the programs that read it there; of every family.

A plan is taken whole, so that what a part of it forgets to test is here too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
import yaml
from cluster.node_parts import RACK
from cluster.sealed_parts import part, written
from families.test_families import MATERIALS, NODE, profile

from imagesmith.families import FAMILIES
from imagesmith.model import PutFile, SshAccess, Upkeep
from imagesmith.planning.build import plan_build

WITHOUT_CLOUD_INIT = ("armbian", "raspios-legacy")
UNIT_FOLDERS = ("/etc/systemd/system/", "/usr/lib/systemd/system/")
UNIT_TYPES = (".mount", ".path", ".service", ".socket", ".target", ".timer")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
SSHD, NFT, CLOUD_INIT, VERIFY = (
    shutil.which(program, path=PATH) for program in ("sshd", "nft", "cloud-init", "systemd-analyze")
)
every_node = pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in FAMILIES for name in ("head", "arm-1")]
)


@cache
def files(family: str, name: str) -> dict[str, PutFile]:
    """Every file of a node with all that an inventory can ask for, by its path, the FAT's with a colon before it."""
    upkeep = Upkeep("security", mirrors={"debian": "http://mirror.example/debian"}, proxy="http://proxy.example:3128")
    own = part(name, RACK, ssh=SshAccess("both", 2200, 2222), upkeep=upkeep)
    chosen = profile(family)
    node = replace(own.node, disk=NODE.disk, settings=replace(own.node.settings, ssh_keys=NODE.settings.ssh_keys))
    edits = plan_build(chosen, node, chosen.board.bases[0], MATERIALS, part=replace(own, node=node)).edits
    mark = {"root": ""}
    return {mark.get(e.partition, ":") + e.path: e for e in edits if isinstance(e, PutFile)}


def named(family: str, name: str, *names: str) -> dict[str, str]:
    return {
        path: written(edit)
        for path, edit in files(family, name).items()
        if PurePosixPath(path.lstrip(":")).name in names
    }


def said(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, timeout=60, env={"PATH": PATH}
    )


@pytest.mark.skipif(not CLOUD_INIT, reason="cloud-init is not installed")
@every_node
def test_cloud_init_finds_its_documents_valid(family: str, name: str, tmp_path: Path) -> None:
    found = named(family, name, "user-data")
    assert bool(found) is (family not in WITHOUT_CLOUD_INIT)
    for number, text in enumerate(found.values()):
        document = tmp_path / f"user-data-{number}"
        document.write_text(text)
        done = said("cloud-init", "schema", "-c", document)
        assert (done.returncode, "eprecated" in done.stdout + done.stderr) == (0, False), done.stderr
    for path, text in named(family, name, "meta-data").items():
        # The stick that installs has no name of its own.
        wanted = {"instance-id"} | ({"local-hostname"} if path.lstrip(":") != "/nocloud/meta-data" else set())
        assert wanted <= set(yaml.safe_load(text))


@pytest.mark.skipif(not CLOUD_INIT, reason="cloud-init is not installed")
@every_node
def test_a_network_is_made_of_what_is_said_of_it(family: str, name: str, tmp_path: Path) -> None:
    found = named(family, name, "network-config", "90-imagesmith.yaml")
    assert bool(found) is (family != "raspios-legacy")
    for number, text in enumerate(found.values()):
        document = tmp_path / f"network-config-{number}"
        document.write_text(text)
        out = tmp_path / f"out-{number}"
        made = ("-k", "yaml", "-D", "debian", "-O", "networkd", "-p", document, "-d", out)
        assert said("cloud-init", "devel", "net-convert", *made).returncode == 0
        (unit,) = (out / "etc/systemd/network").iterdir()
        assert f"Address={'192.168.7.10' if name == 'head' else '192.168.7.21'}/24\n" in unit.read_text()


@pytest.mark.skipif(not SSHD, reason="sshd is not installed")
@every_node
def test_sshd_takes_all_that_is_written_for_it(family: str, name: str, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "sshd_config.d"
    folder.mkdir()
    for path in files(family, name):
        if path.startswith("/etc/ssh/sshd_config.d/"):
            text = written(files(family, name)[path])
            (folder / PurePosixPath(path).name).write_text(text.replace("/etc/ssh/", f"{tmp_path}/"))
    assert len(list(folder.iterdir())) == 2
    for kind in ("ed25519", "ecdsa", "rsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / f"ssh_host_{kind}_key"], check=True)
    config = tmp_path / "sshd_config"
    config.write_text(f"Include {folder}/*.conf\n")
    done = said(SSHD, "-t", "-f", config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (folder / "12-other.conf").write_text("NoSuchWord yes\n")
    assert said(SSHD, "-t", "-f", config).returncode != 0


@pytest.mark.skipif(not VERIFY, reason="systemd-analyze is not installed")
@every_node
def test_systemd_understands_every_unit_and_what_is_added_to_others(family: str, name: str, tmp_path: Path) -> None:
    units, ours = tmp_path / "units", []
    for path, edit in files(family, name).items():
        folder = next((folder for folder in UNIT_FOLDERS if path.startswith(folder)), None)
        if folder is None:
            continue
        # The programs are not where a unit says, so that only its own lines count.
        text = re.sub(r"(?m)^(Exec\w+=-?)/\S+", r"\1/usr/bin/true", written(edit))
        copy = units / path.removeprefix(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        ours += [copy] if path.endswith(UNIT_TYPES) else []
    assert {"imagesmith-firstboot.service", "imagesmith-firewall.service"} <= {path.name for path in ours}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *ours],
        env={"SYSTEMD_UNIT_PATH": f"{units}:/usr/lib/systemd/system", "PATH": PATH},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if str(units) in line or "imagesmith" in line] == []


@pytest.mark.root
@pytest.mark.skipif(not NFT, reason="nft is not installed")
@every_node
def test_nft_takes_the_firewall(family: str, name: str, tmp_path: Path) -> None:
    (rules,) = named(family, name, "firewall.nft").values()
    (tmp_path / "rules").write_text(rules)
    done = said("unshare", "-n", NFT, "-c", "-f", tmp_path / "rules")
    assert (done.returncode, done.stderr) == (0, "")


@every_node
def test_what_is_yaml_can_be_read(family: str, name: str) -> None:
    found = [path for path in files(family, name) if path.endswith((".yaml", ".yml")) and not path.startswith(":")]
    assert "/etc/rancher/k3s/config.yaml" in found
    for path in found:
        secrets = {f"vault:nodes/{name}/node-password": b"x", "vault:cluster/server-token": b"x",
                   "vault:cluster/agent-token": b"x"}  # fmt: skip
        assert list(yaml.safe_load_all(written(files(family, name)[path], secrets)))
