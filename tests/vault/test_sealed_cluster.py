"""A k3s cluster's secrets in a vault: drawn once, together, and what a plan sees of them without a passphrase."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from identity.by_openssl import Openssl
from identity.drawing import said

from imagesmith.cluster.config import cluster_conf
from imagesmith.errors import ContentMalformed
from imagesmith.identity.authorities import Ca
from imagesmith.model import Cluster, K3s, Node, Part
from imagesmith.vault import sealing, store
from imagesmith.vault.index import read_index
from imagesmith.vault.names import LEAVES, missing, of_cluster, of_node
from imagesmith.workflow.rotate import rotate
from imagesmith.workflow.sealed import sealed_cluster
from imagesmith.workflow.vault import Opening, draw_missing, names_for

KEY = sealing.new_identity()
CLUSTER = Cluster("home", "home.arpa", (Node("node-1", "x86-master"), Node("node-2", "rpi4-worker")), k3s=K3s())


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """An empty vault that is opened by a key file, which costs no second."""
    folder = tmp_path / "cluster.vault"
    store.create(folder, store.Key("key-file", KEY))
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with all that CLUSTER needs; not changed by who reads it."""
    folder = tmp_path_factory.mktemp("drawn") / "cluster.vault"
    store.create(folder, store.Key("key-file", KEY))
    draw_missing(folder, names_for(["node-1", "node-2"], CLUSTER))
    return folder


def blocks(bundle: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [one + end for one in bundle.split(end) if one]


def test_the_names_of_authorities_are_those_of_k3s() -> None:
    assert tuple(LEAVES) == tuple(ca.value for ca in Ca)


def test_a_plan_sees_certificates_and_names_and_no_secret(drawn: Path) -> None:
    sealed = sealed_cluster(CLUSTER, drawn)
    assert sealed
    assert set(sealed.bundles) == {f"{ca}.crt" for ca in Ca}
    assert {name: ref.name for name, ref in sealed.keys.items()} == {
        "server-ca.key": "vault:cluster/ca/server",
        "client-ca.key": "vault:cluster/ca/client",
        "request-header-ca.key": "vault:cluster/ca/request-header",
        "etcd/peer-ca.key": "vault:cluster/ca/etcd-peer",
        "etcd/server-ca.key": "vault:cluster/ca/etcd-server",
        "service.key": "vault:cluster/service-account-key",
    }
    assert sealed.server_token.name == "vault:cluster/server-token"
    assert sealed.agent_token.name == "vault:cluster/agent-token"
    assert {ref.written.file for ref in (*sealed.keys.values(), sealed.agent_token)} == {str(drawn)}
    assert {node: ref.name for node, ref in sealed.node_passwords.items()} == {
        "node-1": "vault:nodes/node-1/node-password",
        "node-2": "vault:nodes/node-2/node-password",
    }
    assert sealed.founded == ""


def test_a_plan_sees_when_each_secret_was_drawn(drawn: Path) -> None:
    sealed, kept = sealed_cluster(CLUSTER, drawn), read_index(drawn).secrets
    assert sealed
    refs = (*sealed.keys.values(), sealed.server_token, sealed.agent_token, *sealed.node_passwords.values())
    assert {ref.name: ref.drawn for ref in refs} == {
        ref.name: kept[ref.name.removeprefix("vault:")].made for ref in refs
    }


def test_a_token_drawn_anew_makes_another_plan(vault: Path) -> None:
    draw_missing(vault, names_for(["node-1", "node-2"], CLUSTER))
    before = sealed_cluster(CLUSTER, vault)
    drawn_at = read_index(vault).secrets["cluster/agent-token"].made
    while store.now() == drawn_at:  # the index counts seconds
        time.sleep(0.1)
    rotate(vault, "cluster/agent-token", Opening(lambda what, new: pytest.fail(f"asked: {what}")))
    after = sealed_cluster(CLUSTER, vault)
    assert before and after and before.agent_token != after.agent_token
    assert before.server_token == after.server_token


def test_the_hash_is_that_of_the_root_that_openssl_sees(drawn: Path, tmp_path: Path) -> None:
    sealed = sealed_cluster(CLUSTER, drawn)
    assert sealed
    (tmp_path / "root.pem").write_bytes(blocks(sealed.bundles["server-ca.crt"])[-1])
    assert sealed.ca_hash == Openssl(tmp_path).der_digest("root")


def test_all_five_chain_to_one_root_and_their_keys_are_in_the_vault(drawn: Path, tmp_path: Path) -> None:
    sealed, opened = sealed_cluster(CLUSTER, drawn), store.open_by_key(drawn, KEY)
    assert sealed
    roots = set()
    for name, bundle in sealed.bundles.items():
        own, middle, root = blocks(bundle)
        for part, content in (("own", own), ("middle", middle), ("root", root)):
            (tmp_path / part).write_bytes(content)
        said("openssl", "verify", "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "middle", tmp_path / "own")
        key = opened.open(sealed.keys[name.replace(".crt", ".key")].name.removeprefix("vault:")).reveal()
        shown = said("openssl", "x509", "-in", tmp_path / "own", "-noout", "-pubkey")
        assert said("openssl", "pkey", "-pubout", given=key) == shown
        roots.add(root)
    assert len(roots) == 1


def test_certificates_hold_for_a_clock_that_is_hours_behind(drawn: Path, tmp_path: Path) -> None:
    sealed = sealed_cluster(CLUSTER, drawn)
    assert sealed
    own, middle, root = blocks(sealed.bundles["server-ca.crt"])
    (tmp_path / "root").write_bytes(root)
    (tmp_path / "middle").write_bytes(middle)
    made = read_index(drawn).secrets[LEAVES["server-ca"]].made
    behind = int(said("date", "-u", "-d", f"{made} 14 hours ago", "+%s"))
    words = ("-attime", behind, "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "middle")
    assert "OK" in said("openssl", "verify", *words, given=own)


@pytest.mark.parametrize("name", [name for name in of_cluster() if "/ca/" not in name])
def test_a_cluster_that_lacks_anything_is_not_there_yet(vault: Path, name: str) -> None:
    draw_missing(vault, [one for one in names_for(["node-1"], CLUSTER) if one != name])
    assert sealed_cluster(CLUSTER, vault) is None
    assert draw_missing(vault, names_for(["node-1"], CLUSTER)) == (name,)
    assert sealed_cluster(CLUSTER, vault)


def test_without_a_vault_or_in_an_empty_one_there_is_no_cluster(vault: Path) -> None:
    assert sealed_cluster(CLUSTER, None) is None
    assert sealed_cluster(CLUSTER, vault) is None


def test_another_nodes_password_need_not_be_there(vault: Path) -> None:
    draw_missing(vault, names_for(["node-1"], CLUSTER))
    sealed = sealed_cluster(CLUSTER, vault, "node-1")
    assert sealed
    assert list(sealed.node_passwords) == ["node-1"]
    assert sealed_cluster(CLUSTER, vault, "node-2") is None


def test_authorities_are_drawn_once(vault: Path) -> None:
    draw_missing(vault, of_cluster())
    before = (vault / "index.json").read_bytes()
    assert draw_missing(vault, of_cluster()) == ()
    assert draw_missing(vault, ["cluster/ca/etcd-peer"]) == ()
    assert (vault / "index.json").read_bytes() == before


def test_keys_without_certificates_of_an_older_vault_are_kept_aside(vault: Path) -> None:
    draw_missing(vault, of_cluster())
    index = json.loads((vault / "index.json").read_text())
    old = said("openssl", "pkey", "-pubout", given=store.open_by_key(vault, KEY).open("cluster/ca/server").reveal())
    index["secrets"]["cluster/ca/server"]["public"] = old
    (vault / "index.json").write_text(json.dumps(index))
    assert sealed_cluster(CLUSTER, vault) is None
    assert set(draw_missing(vault, of_cluster())) == {name for name in of_cluster() if "/ca/" in name}
    assert read_index(vault).secrets["cluster/ca/server.old"].public == old
    store.open_by_key(vault, KEY).open("cluster/ca/server.old")
    assert sealed_cluster(CLUSTER, vault)


def test_an_exchanged_certificate_is_noticed_when_its_key_is_opened(vault: Path) -> None:
    draw_missing(vault, of_cluster())
    index = json.loads((vault / "index.json").read_text())
    entries = index["secrets"]
    entries["cluster/ca/server"]["public"] = entries["cluster/ca/client"]["public"]
    (vault / "index.json").write_text(json.dumps(index))
    with pytest.raises(ContentMalformed, match="not the key whose public half the index tells"):
        store.open_by_key(vault, KEY).open("cluster/ca/server")


@pytest.mark.parametrize("fact", ["", "K10", "a" * 64 + "\n", "A" * 64])
def test_a_hash_that_is_none_is_told(vault: Path, fact: str) -> None:
    draw_missing(vault, names_for(["node-1"], CLUSTER))
    index = json.loads((vault / "index.json").read_text())
    index["facts"]["ca_hash"] = fact
    (vault / "index.json").write_text(json.dumps(index))
    with pytest.raises(ContentMalformed, match="no hash of the authorities"):
        sealed_cluster(CLUSTER, vault)


def test_a_plan_takes_no_cryptography_along(drawn: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagesmith.model import Cluster, K3s, Node, Part\n"
        "from imagesmith.workflow.sealed import sealed_cluster\n"
        "from imagesmith.cluster import contents\n"
        "from imagesmith.cluster.config import cluster_conf\n"
        "node = Node('node-1', 'x86-master'); cluster = Cluster('home', '', (node,), k3s=K3s())\n"
        "sealed = sealed_cluster(cluster, Path(sys.argv[1]))\n"
        "assert cluster_conf(Part(cluster, node, 'founder', (node,), sealed), sealed)\n"
        "assert not any(name.startswith(('cryptography', 'pyrage')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(drawn)], check=True)


def conf(vault: Path) -> bytes:
    node = Node("node-1", "x86-master")
    cluster = Cluster("home", "", (node,), k3s=K3s())
    sealed = sealed_cluster(cluster, vault)
    assert sealed
    return cluster_conf(Part(cluster, node, "founder", (node,), sealed), sealed)


@pytest.mark.parametrize("fact", ["", "none", "SHA256:another 1700000000"])
def test_what_the_index_does_not_tell_is_read_from_the_certificates(drawn: Path, fact: str) -> None:
    told, begins = conf(drawn), read_index(drawn).facts["begins"]
    for other in (fact, begins):
        with store.changing(drawn) as change:
            change.remember({"begins": other})
        assert conf(drawn) == told


def test_the_hash_of_a_lone_certificate_would_be_that_of_its_file(tmp_path: Path) -> None:
    """As k3s makes its own: no chain, and every byte of the file counts."""
    from imagesmith.identity.tokens import ca_hash

    pem = Openssl(tmp_path).make("own")
    assert ca_hash(pem) == hashlib.sha256(pem).hexdigest() == said("sha256sum", tmp_path / "own.pem").split()[0]
    assert ca_hash(pem + b"\n") == hashlib.sha256(pem + b"\n").hexdigest()


def test_what_is_missing_is_told_by_the_index_alone(drawn: Path) -> None:
    kept = read_index(drawn).secrets
    assert missing(kept, (*of_node("node-1"), *of_cluster())) == ()
    assert missing(kept, of_node("node-3")) == of_node("node-3")
