"""Plans in words and as data: what a person must know before a build is in them."""

import json
from dataclasses import replace

import pytest

from imagesmith import resources
from imagesmith.formats.canonical import plan_id
from imagesmith.model import Base, DebianSource, Digest, FileSource, HttpSource, PutFile, Wifi
from imagesmith.planning.build import plan_build
from imagesmith.planning.explain import describe, explain, explain_profile, fetch_size
from imagesmith.secret import SecretRef, SecretText, WpaKey
from imagesmith.units import MiB
from imagesmith.workflow.target import catalogue_near, resolve

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
MATERIALS = resources.materials()


def plan(target, base="", **others):
    found = resolve(target, cluster=None, base=base, ssh_keys=[KEY], **others)
    return plan_build(found.profile, found.node, found.base, MATERIALS)


def words(*arguments, **others):
    return explain(plan(*arguments, **others), "the-id")


def test_the_head_says_what_is_made_and_that_it_joins_nothing():
    assert words("rpi4-worker").splitlines()[:2] == [
        "rpi4-worker: rpi4-worker (rpi4, arm64), k3s worker, standalone: it joins nothing",
        "  plan          the-id",
    ]


@pytest.mark.parametrize(
    ("target", "base", "said"),
    [
        ("rpi4-worker", "", "an unknown amount"),
        ("rpi4-worker", "", "trusted by a signature of the file by the key 796C114AD12B2292"),
        ("bananapi-m5-worker", "", "trusted by a signature of the file by the key 93D6889F9F0E78D5 or"),
        ("bananapi-m5-worker", "", "No boot test: QEMU has no machine like the bananapi-m5."),
        ("x86-master", "", "trusted by a signature of the publisher's checksum list by the key 1A5D6C4C7DB87C81"),
        ("x86-master", "debian", "of Debian trixie"),
        ("x86-master", "debian", "QEMU's q35"),
        ("rpi3-worker", "debian", "QEMU's raspi3b"),
        ("rpi3-worker", "debian", "- the Pi's own firmware"),
        ("rpi3-worker", "debian", "hostname is rpi3-worker"),
        ("rpi3-worker", "debian", "word   /cmdline.txt  has the word 'cgroup_enable=memory'"),
        ("qemu-x86-worker", "", "DHCP on every wired card"),
        ("qemu-x86-worker", "", "user admin with 1 SSH key, no password"),
    ],
)
def test_what_is_said(target, base, said):
    assert said in words(target, base)


def test_a_fixed_address_is_said():
    told = words("rpi4-worker", overrides={"address": "10.0.0.5/24", "gateway": "10.0.0.1", "nameservers": "10.0.0.1"})
    assert "10.0.0.5/24 on every wired card, gateway 10.0.0.1" in told
    assert "name servers 10.0.0.1" in told


def told_of(network=None, password=None, role="worker", keys=("ssh-ed25519 AAAA a",)):
    made = plan("rpi4-worker")
    node = replace(
        made.node,
        network=replace(made.node.network, wifi=network),
        settings=replace(made.node.settings, password=password, ssh_keys=keys),
    )
    return explain(replace(made, node=node, role=role), "x")


def test_wifi_is_told_with_where_its_key_is_from():
    told = told_of(Wifi("my net", "DE", SecretRef("file:wifi.key"), hidden=True))
    said = "Wi-Fi 'my net' (DE, hidden) by DHCP, its key made from the file wifi.key; the wire is preferred"
    assert said in told
    assert "WARNING" not in told


def test_an_open_network_is_told_as_what_it_is():
    assert "Wi-Fi 'cafe' (DE) by DHCP, OPEN: no key, everybody can listen" in told_of(Wifi("cafe", "DE"))


def test_a_server_on_wifi_is_warned_of():
    assert "WARNING: a server on Wi-Fi" in told_of(Wifi("cafe", "DE"), role="server")


def test_a_password_is_told_with_where_its_hash_is_from():
    told = told_of(password=SecretRef("file:admin.hash"))
    assert "a password for the console and sudo, never for SSH; its hash from the file admin.hash" in told
    assert "no password" not in told


def test_with_a_password_but_no_key_only_the_console_is_left():
    assert "NO SSH KEY: only the console lets you in" in told_of(password=SecretRef("file:admin.hash"), keys=())


def test_a_plan_without_a_key_warns():
    found = resolve("rpi4-worker", cluster=None)
    told = explain(plan_build(found.profile, found.node, found.base, MATERIALS), "x")
    assert "NO SSH KEY: nobody will be able to log in" in told


def test_a_plan_by_which_nobody_becomes_root_says_so():
    assert "NOBODY CAN BECOME ROOT" in words("rpi4-worker")


def test_a_plan_by_which_the_key_makes_root_says_so():
    told = words("rpi4-worker", overrides={"sudo_nopasswd": "true"})
    assert "NOBODY CAN BECOME ROOT" not in told
    assert "who has the key is root" in told


@pytest.mark.parametrize("target", sorted(catalogue_near(None).profiles))
def test_every_edit_is_told(target):
    made, told = plan(target), words(target)
    for edit in made.edits:
        assert edit.path in told


def test_a_secret_is_told_by_name_only():
    made = plan("qemu-x86-worker")
    edits = (*made.edits, PutFile("root", "/etc/token", SecretRef("node-1/token"), 0o600))
    told = explain(replace(made, edits=edits), "x")
    assert "write  /etc/token  (the secret node-1/token, mode 0600)" in told


def test_a_text_with_a_secret_is_told_by_its_name():
    text = SecretText((b"psk=", WpaKey(SecretRef("file:wifi.key"), "home")))
    made = plan("qemu-x86-worker")
    told = explain(replace(made, edits=(PutFile("root", "/etc/psk", text, 0o600),)), "x")
    assert "write  /etc/psk  (with the secret file:wifi.key, mode 0600)" in told


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (HttpSource("https://example.org/a", size=5), 5),
        (HttpSource("https://example.org/a"), None),
        (FileSource("a.img", Digest("sha256", "0" * 64)), 0),
    ],
)
def test_what_is_fetched(source, size):
    assert fetch_size(Base("b", "debian", source)) == size


def test_a_debian_base_is_fetched_in_packages():
    base = resolve("qemu-x86-worker", cluster=None).base
    assert isinstance(base.source, DebianSource)
    assert fetch_size(base) == base.source.download_size > 0


LISTED = HttpSource("https://example.org/a", checksums_url="https://example.org/SHA256SUMS")
PINNED = HttpSource("https://example.org/a", digest=Digest("sha256", "0" * 64), size=3 * MiB)


@pytest.mark.parametrize(
    ("source", "cached", "said", "size"),
    [
        (PINNED, False, "3.0 MiB: the base is not in the cache", 3 * MiB),
        (PINNED, True, "nothing: the base is in the cache\n", 0),
        (LISTED, False, "an unknown amount: its publisher tells the size at download", None),
        (LISTED, True, "nothing: the base is in the cache, unless the publisher's list names a newer one", 0),
        (FileSource("a.img"), False, "nothing: the base is a local file", 0),
    ],
)
def test_nothing_to_fetch_and_not_knowing_are_told_apart(source, cached, said, size):
    made = replace(plan("qemu-x86-worker"), base=Base("b", "debian", source))
    assert f"  fetches       {said}" in explain(made, "x", cached=cached)
    assert describe(made, cached=cached)["fetch_bytes"] == size


def test_packages_are_fetched_unless_the_base_is_in_the_cache():
    made = plan("qemu-x86-worker")
    assert "  fetches       about 300 MiB: the base is not in the cache" in explain(made, "x")
    assert "  fetches       nothing: the base is in the cache\n" in explain(made, "x", cached=True)


def test_the_plan_as_data_is_json_with_its_id():
    made = plan("qemu-x86-worker")
    told = json.loads(json.dumps(describe(made)))
    assert told["id"] == plan_id(made)
    assert told["plan"]["edits"][0]["kind"]
    assert told["fetch_bytes"] == fetch_size(made.base)


@pytest.mark.parametrize("name", sorted(catalogue_near(None).profiles))
def test_a_profile_in_words(name):
    profile = catalogue_near(None).profiles[name]
    proven = {base.name: "proven by nobody" for base in profile.board.bases}
    told = explain_profile(profile, proven)
    assert told.startswith(f"{name}: {profile.title}\n")
    assert "proven by nobody" in told
    for base in profile.board.bases:
        assert f"Base {base.name}, " in told


def test_a_digest_that_nobody_vouched_for_is_not_said_to_be_enough():
    planned = plan("rpi4-worker")
    source = replace(planned.base.source, digest=Digest.of(b"x"), size=550466056)
    pinned = replace(planned, base=replace(planned.base, source=source))
    assert "trusted by its sha256 in the profile or in imagesmith.lock" in explain(pinned, "the-id")
    assert "525 MiB" in explain(pinned, "the-id")
    unchecked = replace(planned, base=replace(planned.base, source=replace(source, unchecked=True)))
    assert "trusted by its sha256 in a lock, and a signature of the file by the key" in explain(unchecked, "the-id")


def test_a_duty_in_a_cluster_and_what_is_to_be_minded_of_it_are_told():
    found = plan("rpi4-worker", overrides={"mac": "dc:a6:32:01:02:03", "reserved": "10.0.0.9"})
    told = explain(replace(found, duty="founder", cautions=("etcd on an SD card " + "waits " * 30,)), "x")
    assert told.splitlines()[0].endswith("k3s founder, standalone: it joins nothing")
    assert "DHCP on the card dc:a6:32:01:02:03, where 10.0.0.9 is reserved for it" in told
    assert "  mind          etcd on an SD card waits" in told
    assert all(len(line) <= 100 for line in told.splitlines() if "waits" in line)
