"""What the family ubuntu-live decides, without an image: the installer's answers, the disk, what is carried along."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from golden.regenerate import KEY

from imagesmith import resources
from imagesmith.families.findings import Findings
from imagesmith.families.ubuntu_live import UNCHOSEN, UbuntuLive
from imagesmith.model import BootWords, BuildPlan, Network, PutFile, Remove, TargetDisk
from imagesmith.planning.build import plan_build
from imagesmith.workflow.target import resolve

SCHEMA = json.loads((Path(__file__).parent / "autoinstall_schema.json").read_text())
SERIAL = TargetDisk(serial="S4EVNX0M1")


def plan(
    *, base: str = "ubuntu-live", disk: TargetDisk = SERIAL, network: Network | None = None, **settings: Any
) -> BuildPlan:
    found = resolve("x86-master", cluster=None, base=base, ssh_keys=[KEY])
    node = replace(found.node, disk=disk, settings=replace(found.node.settings, **settings))
    node = replace(node, network=network or node.network)
    return plan_build(found.profile, node, found.base, resources.materials())


def content(made: BuildPlan, path: str, partition: str = "medium") -> bytes:
    found = [
        edit for edit in made.edits if isinstance(edit, PutFile) and (edit.partition, edit.path) == (partition, path)
    ]
    assert len(found) == 1
    assert isinstance(found[0].content, bytes)
    return found[0].content


def answers(made: BuildPlan) -> dict[str, Any]:
    document = yaml.safe_load(content(made, "/nocloud/user-data"))
    jsonschema.validate(document, SCHEMA)
    return document["autoinstall"]


PLANS = {
    "plain": {},
    "static": {"network": Network("192.168.1.10/24", "192.168.1.1", ("9.9.9.9",), "dc:a6:32:01:02:03")},
    "any card": {"network": Network("192.168.1.10/24")},
    "reboot": {"after_install": "reboot"},
}


@pytest.mark.parametrize("given", PLANS.values(), ids=PLANS.keys())
def test_the_answers_are_what_the_installer_understands(given: dict[str, Any]) -> None:
    assert answers(plan(**given))["version"] == 1


@pytest.mark.parametrize(
    "change", [{"sotrage": {}}, {"shutdown": "halt"}, {"version": 2}, {"ssh": {"allow_pw": False}}]
)
def test_the_schema_of_these_tests_sees_mistakes(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"autoinstall": {**answers(plan()), **change}}, SCHEMA)


@pytest.mark.skipif(not shutil.which("cloud-init"), reason="cloud-init is not installed")
def test_cloud_init_takes_the_seed(tmp_path: Path) -> None:
    made = plan()
    for document in ("/nocloud/user-data", "/var/lib/cloud/seed/nocloud/user-data"):
        partition = "medium" if document.startswith("/nocloud") else "root"
        (tmp_path / "user-data").write_bytes(content(made, document, partition))
        argv = ["cloud-init", "schema", "--config-file", tmp_path / "user-data"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{document}: {done.stdout}{done.stderr}"


def test_the_installer_and_cloud_init_get_the_same_answers() -> None:
    made = plan()
    assert content(made, "/autoinstall.yaml") == content(made, "/nocloud/user-data")
    assert b"instance-id: " in content(made, "/nocloud/meta-data")


def test_as_long_as_nothing_is_chosen_no_disk_matches() -> None:
    found = answers(plan(disk=TargetDisk(size="largest")))
    assert found["storage"] == {"layout": {"name": "direct", "match": {"path": UNCHOSEN}}}
    assert found["early-commands"][0][1].endswith("/choose-disk")


def test_the_disk_is_told_to_the_script() -> None:
    told = content(plan(disk=TargetDisk("A b'c", at_least=200, at_most=300, ssd=False)), "/imagesmith/disk.conf")
    shown = subprocess.run(
        ["sh", "-c", '. /dev/stdin; echo "$DISK_SERIAL|$DISK_SIZE|$DISK_AT_LEAST|$DISK_AT_MOST|$DISK_SSD"'],
        input=told, capture_output=True, check=True,
    )  # fmt: skip
    assert shown.stdout == b"A b'c||200|300|no\n"


def test_it_powers_off_unless_told_otherwise() -> None:
    assert answers(plan())["shutdown"] == "poweroff"
    assert answers(plan(after_install="reboot"))["shutdown"] == "reboot"


def test_no_key_of_a_user_is_in_the_answers() -> None:
    """The installer leaves a copy of them in the new system's log."""
    assert KEY.split()[1].encode() not in content(plan(), "/nocloud/user-data")


def test_the_installed_system_gets_what_the_cloud_image_gets() -> None:
    live, cloud = plan(), plan(base="ubuntu")
    assert [edit for edit in cloud.edits if edit not in live.edits] == []
    own = [edit for edit in live.edits if edit.partition == "root" and edit not in cloud.edits]
    assert all(isinstance(edit, Remove) for edit in own)
    # Where nothing is booted, nobody gives it an address.
    assert {promise.fact for promise in cloud.promises} - {promise.fact for promise in live.promises} <= {"address"}


def test_what_the_installer_leaves_for_its_own_first_boot_goes() -> None:
    removed = {edit.path for edit in plan().edits if isinstance(edit, Remove)}
    assert "/etc/cloud/cloud.cfg.d/99-installer.cfg" in removed
    assert "/etc/cloud/cloud.cfg.d/90-installer-network.cfg" in removed


def test_a_serial_console_goes_behind_the_dashes() -> None:
    words = [edit for edit in plan(serial_console=True).edits if isinstance(edit, BootWords)]
    assert [edit.installed for edit in words] == [("console=tty0", "console=ttyS0,115200")] * 2
    assert not any(edit.installed for edit in plan().edits if isinstance(edit, BootWords))


def test_a_disk_of_an_inventory_changes_no_other_image() -> None:
    paths = [edit for edit in plan(base="ubuntu").edits if edit.partition == "medium"]
    assert paths == []


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"/md5sum.txt": b"x"}, "starts no kernel of /casper"),
        ({"/boot/grub/grub.cfg": b"linux /casper/vmlinuz ---"}, "no md5sum.txt"),
        ({"/isolinux/isolinux.cfg": b""}, "ISOLINUX"),
    ],
)
def test_a_medium_that_does_not_fit(contents: dict[str, bytes], said: str) -> None:
    found = Findings("live.iso", (), {("medium", path): data for path, data in contents.items()})
    base = resolve("x86-master", cluster=None, base="ubuntu-live").base
    assert said in "; ".join(UbuntuLive().objections(found, base))
