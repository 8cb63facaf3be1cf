"""What a person hears while identities of ZeroTier are searched for, and that nothing is said where none is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from identity.published_zerotier import ADDRESS, GOOD, PUBLIC
from vault.conftest import Rack

from imagesmith.cluster.zerotier import secret_name
from imagesmith.events import Event, Progress, StepFinished, StepStarted
from imagesmith.formats.zerotier import Member
from imagesmith.vault import proofs, store
from imagesmith.vault.draw import draw_all
from imagesmith.vault.names import of_cluster, of_node
from imagesmith.workflow.vault import draw_missing

K3S = """\
schema: 1
name: home
k3s: {}
nodes:
  - {name: node-1, profile: mine, role: server, address: 192.168.1.10/24}
  - {name: node-2, profile: mine, address: 192.168.1.11/24OUT}
"""
NETWORK = "vpn: {zerotier: {network: 8056c2e21c000001}}\n"
ONE: proofs.Found = (Member(ADDRESS, bytes.fromhex(PUBLIC)), bytes(64))
OPENED = ("--vault-key", "rack.key")
IDENTITY = secret_name("node-1")


def tries(*, good: int) -> Iterator[proofs.Found | None]:
    """Each third one goes well; no more may be asked for than are wanted."""
    for _ in range(good):
        yield from (None, None, ONE)
    pytest.fail("one more was tried")


def test_the_search_counts_what_was_found_and_not_what_was_tried() -> None:
    heard: list[Event] = []
    assert proofs.counted(tries(good=2), 2, heard.append) == [ONE, ONE]
    first, *found, last = heard
    assert isinstance(first, StepStarted) and first.detail.startswith("2 for ZeroTier")
    assert found == [Progress(first.step, done, 2, "items") for done in (0, 1, 2)]
    assert last == StepFinished(first.step, "2 drawn")


def test_the_search_is_told_before_the_first_try_and_each_find_when_it_is_made() -> None:
    heard: list[Event] = []
    told_at = []

    def watched() -> Iterator[proofs.Found | None]:
        for one in tries(good=2):
            told_at.append(len(heard))
            yield one

    proofs.counted(watched(), 2, heard.append)
    assert told_at == [2, 2, 2, 3, 3, 3]


def test_of_what_is_drawn_at_once_nothing_is_said(tmp_path: Path) -> None:
    heard: list[Event] = []
    assert proofs.found(0, heard.append) == []
    assert set(draw_all(of_node("node-1"), heard.append)) == set(of_node("node-1"))
    store.create(tmp_path / "vault", store.Key("plain"))
    assert draw_missing(tmp_path / "vault", (*of_node("node-1"), *of_cluster()), heard.append)
    assert heard == []


@pytest.fixture
def lacking(rack: Rack) -> Rack:
    """A rack whose inventory has come to a network since its vault was made; one node of two is in it."""
    rack.profile()
    rack.inventory(K3S.replace("OUT", ""))
    rack.create()
    rack.inventory(K3S.replace("OUT", ", zerotier: none") + NETWORK)
    return rack


@pytest.mark.parametrize("words", [("known-hosts",), ("kubeconfig", *OPENED), ("vpn", "members"), ("vpn", "authorise")])
def test_nobody_hears_of_identities_that_are_there(lacking: Rack, words: tuple[str, ...]) -> None:
    (lacking.folder / "identity.secret").write_text(GOOD)
    lacking.done("vault", "import", IDENTITY, "identity.secret")
    assert lacking.done(*words).err == ""
    assert len(lacking.done(*words, "--json").lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [("known-hosts",), ("kubeconfig", *OPENED), ("vpn", "members"), ("vpn", "authorise")])
def test_who_waits_for_a_search_is_told_and_the_answer_is_apart(lacking: Rack, words: tuple[str, ...]) -> None:
    done = lacking.done(*words)
    first, *found, last = done.err.splitlines()
    assert (first, last) == (
        "draw identities: 1 for ZeroTier, some seconds of work each",
        "draw identities: 1 drawn",
    )
    # A line of its own where it was found after five seconds and more.
    assert found in ([], ["draw identities: 1 of 1, 0 s left"])
    assert "draw identities" not in done.out


@pytest.mark.slow
def test_a_build_tells_it_too_and_once(lacking: Rack) -> None:
    """There is no base here: the identity is drawn before the build fails."""
    done = lacking.run("build", "node-1", *OPENED)
    assert done.code == 3, done.err
    assert done.err.count("draw identities: 1 for ZeroTier") == done.err.count("draw identities: 1 drawn") == 1


@pytest.mark.slow
def test_a_new_vault_and_a_rotation_tell_it_and_json_has_it_as_events(rack: Rack) -> None:
    rack.profile()
    rack.inventory(K3S.replace("OUT", ", zerotier: none") + NETWORK)
    *events, answer = rack.create("--key", "rack.key", "--json").lines
    assert [(one["event"], one["step"]) for one in events] == [
        (kind, "draw identities") for kind in ("StepStarted", "Progress", "Progress", "StepFinished")
    ]
    assert [(one["done"], one["total"], one["unit"]) for one in events[1:3]] == [(0, 1, "items"), (1, 1, "items")]
    assert IDENTITY in answer["result"]["drawn"]
    assert "draw identities: 1 drawn\n" in rack.done("vault", "rotate", IDENTITY).err
