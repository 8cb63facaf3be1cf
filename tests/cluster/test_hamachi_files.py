"""What a node in a Hamachi network has in its image."""

from __future__ import annotations

from dataclasses import replace

from cluster.node_parts import RACK
from cluster.sealed_parts import edits, files, part, written

from imagesmith.cluster import contents, hamachi
from imagesmith.model import Hamachi, Link, Vpn
from imagesmith.secret import SecretRef

ASKED = Hamachi("123-456-789", ("head",), "me@example.org", SecretRef("file:secrets/hamachi"), file="h.deb")
CLUSTER = replace(RACK, vpn=Vpn(hamachi=ASKED))
PASSWORDS = {"file:secrets/hamachi": b"open sesame"}


def test_its_password_is_a_file_of_root_s_alone_and_nowhere_else() -> None:
    found = files(edits(part(cluster=CLUSTER)))
    assert found[hamachi.PASSWORD].mode == 0o600
    assert written(found[hamachi.PASSWORD], PASSWORDS) == "open sesame\n"
    named = [path for path, edit in found.items() if ASKED.password in getattr(edit.content, "parts", ())]
    assert named == [hamachi.PASSWORD]


def test_a_network_without_a_password_has_an_empty_line() -> None:
    cluster = replace(CLUSTER, vpn=Vpn(hamachi=replace(ASKED, password=None)))
    assert written(files(edits(part(cluster=cluster)))[hamachi.PASSWORD]) == "\n"


def test_what_its_script_goes_by_is_told() -> None:
    conf = written(files(edits(part(cluster=CLUSTER)))[hamachi.CONF])
    assert conf == "HAMACHI_NETWORK='123-456-789'\nHAMACHI_ACCOUNT='me@example.org'\nHAMACHI_NICK='head'\n"


def test_it_is_started_once_the_first_boot_has_installed_it() -> None:
    links = [edit.path for edit in edits(part(cluster=CLUSTER)) if isinstance(edit, Link)]
    assert f"/etc/systemd/system/imagesmith-firstboot.service.wants/{hamachi.UNIT}" in links


def test_other_nodes_have_nothing_of_it() -> None:
    assert edits(part("arm-1", CLUSTER)) == edits(part("arm-1"))
    assert "logmein-hamachi" in contents.packages(part(cluster=CLUSTER))
    assert "logmein-hamachi" not in contents.packages(part("arm-1", CLUSTER))
