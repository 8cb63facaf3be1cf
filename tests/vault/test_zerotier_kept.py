"""Identities of ZeroTier in a vault: drawn with their work proven, taken in from elsewhere, told to everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from identity.published_zerotier import ADDRESS, GOOD, PUBLIC

from imagesmith.cluster.zerotier import secret_name
from imagesmith.errors import ContentMalformed
from imagesmith.events import Event, Progress, StepFinished, StepStarted
from imagesmith.formats.zerotier import read_member
from imagesmith.identity import zerotier
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.draw import taken
from imagesmith.vault.index import read_index
from imagesmith.workflow.target import load_inventory
from imagesmith.workflow.vault import draw_missing

KEY = sealing.new_identity()
NODES = ("node-1", "node-2", "node-3")
NAMES = tuple(secret_name(node) for node in NODES)


@pytest.fixture(scope="module")
def heard() -> list[Event]:
    """All that was told while the vault was filled."""
    return []


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, heard: list[Event]) -> Path:
    folder = tmp_path_factory.mktemp("zerotier") / "cluster.vault"
    store.create(folder, store.Key("key-file", KEY))
    draw_missing(folder, NAMES, heard.append)
    return folder


@pytest.mark.slow
def test_what_is_drawn_proves_its_work_again(vault: Path) -> None:
    opened = store.open_by_key(vault, KEY)
    for name in NAMES:
        content = opened.open(name)
        assert zerotier.tried(zerotier.private_of(content)) == zerotier.read_secret(content)


@pytest.mark.slow
def test_the_index_tells_everybody_the_public_half_and_nothing_else(vault: Path) -> None:
    told = [read_index(vault).secrets[name] for name in NAMES]
    assert {entry.kind for entry in told} == {"zerotier-identity"}
    assert len({read_member(entry.public).address for entry in told}) == len(NODES)


@pytest.mark.slow
def test_the_search_tells_how_many_are_found_from_none_to_all(vault: Path, heard: list[Event]) -> None:
    first, *found, last = heard
    assert isinstance(first, StepStarted) and isinstance(last, StepFinished)
    assert found == [Progress(first.step, done, len(NODES), "items") for done in range(len(NODES) + 1)]
    assert first.step == last.step


@pytest.mark.slow
def test_an_identity_that_is_there_is_not_drawn_anew(vault: Path) -> None:
    before, heard = read_index(vault).secrets, list[Event]()
    assert draw_missing(vault, NAMES, heard.append) == ()
    assert heard == []
    assert read_index(vault).secrets == before


def test_a_node_s_own_identity_is_taken_in() -> None:
    drawn = taken(secret_name("node-1"), Secret(GOOD.encode()), "identity.secret")
    assert (drawn.kind, drawn.public) == ("zerotier-identity", f"{ADDRESS}:0:{PUBLIC}")


def test_one_that_other_nodes_would_not_believe_is_refused() -> None:
    """The published bad identity: another address than its key has."""
    with pytest.raises(ContentMalformed, match="not the one that its key proves"):
        taken(secret_name("node-1"), Secret(GOOD.replace("8e4d", "9e4d", 1).encode()), "identity.secret")


def test_the_example_rack_becomes_members_once_its_lines_are_uncommented(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "examples/rack.yaml").read_text()
    vpn = text.replace("# vpn:\n#   zerotier:", "vpn:\n  zerotier:")
    assert vpn != text
    (tmp_path / "rack.yaml").write_text(vpn)
    cluster = load_inventory(tmp_path / "rack.yaml")
    assert cluster and cluster.vpn and cluster.vpn.zerotier
    assert set(cluster.vpn.zerotier.members) == {node.name for node in cluster.nodes}
