"""One rack for all tests of this folder: booted (test_rack_begins), backed up and restored (test_rack_keeps), and led
down by its UPS (test_rack_sleeps), in this order. Each leaves its nodes Ready for the next, the last one all off.

Its inventory asks for what imagesmith has around k3s: a UPS, backups to a NAS, add-ons.
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from lanes.racks import AGENTS, INVENTORY, NODES, PATIENCE_S, SERVER
from rack import k3s_program
from rack.desk import Desk
from rack.lan_or_skip import lan_or_skip
from rack.network import GATEWAY, Lan
from rack.running import Rack

AROUND = f"""\
power:
  ups: {{driver: dummy-ups, port: state.dev}}
  runtime: 30m
  # By the charge, so that nobody waits for minutes.
  stages:
    workers: {{after: 5m, below: 60%}}
    primary: {{after: 10m, below: 30%}}
  stop: {{workers: 60s, primary: 60s}}
backup:
  to: {{ssh: USER@{GATEWAY}, port: 2200, folder: FOLDER, host_key: HOST}}
  encrypt: true
  # Programs of the base, which no restore lays back and an emulated processor is long at.
  exclude: [/usr/lib, /usr/share]
  state: [/etc/my-service]
addons:
  wordpress: {{host: blog.home.arpa}}
"""
SSHD = shutil.which("sshd", path="/usr/sbin:/sbin") or ""


@pytest.fixture(scope="package")
def lan() -> Iterator[Lan]:
    with lan_or_skip() as made:
        yield made


@pytest.fixture(scope="package")
def nas(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a NAS that answers on the rack's network: this machine's own sshd."""
    if not SSHD:
        pytest.skip("sshd is not installed")
    folder = tmp_path_factory.mktemp("nas")
    (folder / "kept").mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress {GATEWAY}\nPort 2200\nHostKey {folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    with (folder / "log").open("wb") as log:
        sshd = subprocess.Popen(lan.within([SSHD, "-D", "-e", "-f", f"{folder}/sshd_config"]), stderr=log)
    try:
        yield folder
    finally:
        sshd.terminate()
        sshd.wait()


@pytest.fixture(scope="package")
def rack_desk(nas: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The inventory and, made before any power-on: images, kubeconfig, known_hosts, and the NAS's lines."""
    folder = tmp_path_factory.mktemp("whole-rack")
    host = " ".join((nas / "host.pub").read_text().split()[:2])
    around = AROUND.replace("USER", getpass.getuser()).replace("FOLDER", f"{nas}/kept").replace("HOST", host)
    inventory = INVENTORY.replace("NAME", "rack").replace("defaults:", f"{around}defaults:")
    desk = Desk(folder / "desk", inventory, k3s_program.chosen(folder))
    desk.draw()
    (nas / "imagesmith-receive").write_text(desk.imagesmith("backup", "receiver"))
    lines = desk.imagesmith("backup", "authorized-keys", "--program", f"{nas}/imagesmith-receive")
    (nas / "authorized_keys").write_text(lines)
    desk.build()
    return desk


@pytest.fixture(scope="package")
def rack(rack_desk: Desk, lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with Rack(rack_desk, lan, tmp_path_factory.mktemp("machines")) as made:
        yield made


@pytest.fixture(scope="package")
def ready(rack: Rack) -> Mapping[str, Mapping[str, str]]:
    """All nodes, Ready, the server switched on well after the agents; and what each reported of its first boot."""
    for node in AGENTS:
        rack.insert(node).switch_on()
    for node in AGENTS:
        rack.wait_for_ssh(node, PATIENCE_S)
    rack.insert(SERVER).switch_on()
    rack.wait_until_ready(NODES, PATIENCE_S)
    print(f"Ready {rack.machines[AGENTS[0]].elapsed:.0f} s after the first power-on")
    return {node: rack.machines[node].report(PATIENCE_S) for node in NODES}
