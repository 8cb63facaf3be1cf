"""What an inventory says of Wi-Fi and passwords: who gets it, every mistake with its line, no secret in it."""

from __future__ import annotations

import pytest

from imagesmith.errors import DocumentInvalid, UsageError
from imagesmith.model import Base, Board, Cluster, FileSource, Node, Profile, Settings, Wifi
from imagesmith.profile.cluster import load_cluster
from imagesmith.profile.load import load_profile
from imagesmith.profile.settings import with_overrides
from imagesmith.secret import SecretRef, Written

BASE = Base("debian", "debian", FileSource("a.img"))
PI = Board("pi", "A Pi", "arm64", 2**32, (BASE,), None, ("server", "worker"), wifi=True)
PC = Board("pc", "A PC", "amd64", 2**32, (BASE,), None, ("server", "worker"))
PROFILES = {
    f"{board.name}-{role}": Profile(f"{board.name}-{role}", "", board, role, "debian")  # type: ignore[arg-type]
    for board in (PI, PC)
    for role in ("server", "worker")
}
INVENTORY = """\
schema: 1
name: home
defaults:
  password_file: secrets/admin.hash
  wifi: {ssid: my network, country: DE, key_file: wifi.key}
nodes:
  - {name: server, profile: pi-server}
  - {name: worker, profile: pi-worker}
  - {name: wired, profile: pi-worker, wifi: none}
  - {name: own, profile: pi-server, wifi: {ssid: other, country: US, hidden: true}}
  - {name: pc, profile: pc-worker, password_file: pc.hash}
"""


def load(text: str = INVENTORY) -> Cluster:
    return load_cluster(text, "inv/cluster.yaml", PROFILES)


def node(name: str) -> Node:
    found = load().node(name)
    assert found
    return found


def complaints(text: str) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        load(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_worker_with_a_radio_gets_the_shared_network() -> None:
    assert node("worker").network.wifi == Wifi("my network", "DE", SecretRef("file:wifi.key"))


@pytest.mark.parametrize("name", ["server", "wired", "pc"])
def test_servers_boards_without_a_radio_and_who_says_none_stay_on_the_wire(name: str) -> None:
    assert node(name).network.wifi is None


def test_a_server_gets_wifi_by_its_own_word() -> None:
    assert node("own").network.wifi == Wifi("other", "US", None, True)


def test_the_narrowest_password_counts() -> None:
    assert node("worker").settings.password == SecretRef("file:secrets/admin.hash")
    assert node("pc").settings.password == SecretRef("file:pc.hash")


def test_a_secret_knows_where_it_was_named() -> None:
    password, network = node("worker").settings.password, node("worker").network.wifi
    assert password and password.written == Written("inv/cluster.yaml", 4, "defaults.password_file")
    assert network and network.key and network.key.written == Written("inv/cluster.yaml", 5, "defaults.wifi.key_file")


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    wrong = INVENTORY.replace("secrets/admin.hash", "/etc/shadow").replace("country: DE", "country: UK")
    wrong = wrong.replace("profile: pc-worker,", "profile: pc-worker, wifi: {ssid: x, country: DE},")
    found = complaints(wrong)
    assert len(found) == 3
    assert "inv/cluster.yaml:4: defaults.password_file: the path begins with /" in found[0]
    assert "inv/cluster.yaml:5: defaults.wifi.country: 'UK' is no country code; the United Kingdom's is GB" in found[1]
    assert "inv/cluster.yaml:11: nodes[4].wifi: the board pc has no Wi-Fi" in found[2]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("country: DE", "country: de", "two capital letters"),
        ("country: DE, ", "", "the key 'country' is required"),
        ("ssid: my network, ", "", "the key 'ssid' is required"),
        ("ssid: my network", f"ssid: {'x' * 33}", "1 to 32 bytes"),
        ("ssid: my network", 'ssid: "a\\tb"', "nothing invisible"),
        ("key_file: wifi.key", "keyfile: wifi.key", "did you mean 'key_file'?"),
        ("{ssid: my network, country: DE, key_file: wifi.key}", "home", "expected keys and values"),
        ("wifi: none", "wifi: nothing", "expected keys and values"),
    ],
)
def test_a_wrong_network_is_told(old: str, new: str, told: str) -> None:
    assert old in INVENTORY
    found = complaints(INVENTORY.replace(old, new))
    assert any(told in line for line in found), found


@pytest.mark.parametrize(
    "pasted", ["hunter2hunter2", "'hunter2 hunter2'", "$6$hunter2$abc", "'~/hunter2'", "'a/hunter2?'"]
)
@pytest.mark.parametrize("key", ["secrets/admin.hash", "wifi.key"])
def test_a_secret_in_place_of_its_file_is_refused_and_not_repeated(key: str, pasted: str) -> None:
    found = complaints(INVENTORY.replace(key, pasted))
    assert any("not the name of a file" in line for line in found)
    assert "hunter2" not in " ".join(found)


@pytest.mark.parametrize("key", ["password", "key", "psk"])
def test_a_secret_under_another_key_is_not_repeated(key: str) -> None:
    found = complaints(INVENTORY.replace("password_file: secrets/admin.hash", f"{key}: hunter2"))
    assert "hunter2" not in " ".join(found)


def test_a_profile_names_no_secret() -> None:
    text = "schema: 1\ntitle: A\nboard: pi\nrole: worker\nsettings:\n  password_file: admin.hash\n"
    with pytest.raises(DocumentInvalid, match="the key 'password_file' is unknown"):
        load_profile(text, "profiles/a.yaml", {"pi": PI})


def test_a_command_line_names_a_password_from_the_current_folder() -> None:
    changed = with_overrides(Node("a", "b", settings=Settings()), {"password_file": "admin.hash"})
    assert changed.settings.password == SecretRef("file:admin.hash")
    assert changed.settings.password and "/" not in changed.settings.password.written.file


def test_a_secret_on_the_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="not the name of a file") as caught:
        with_overrides(Node("a", "b"), {"password_file": "hunter2"})
    assert "hunter2" not in str(caught.value)
