"""Members let in before they were switched on, through Central's API and a controller's; and all that they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.node_parts import RACK
from identity.published_zerotier import ADDRESS, GOOD, PUBLIC
from remote.zerotier_apis import TOKEN, Fake, serving_api

from imagesmith.cluster.zerotier import secret_name
from imagesmith.errors import ContentMalformed, DocumentInvalid, NodeUnreachable, UsageError
from imagesmith.model import Cluster, Vpn, ZeroTier, ZeroTierApi
from imagesmith.secret import Secret, SecretRef, Written
from imagesmith.vault import sealing, store
from imagesmith.vault.draw import taken
from imagesmith.vault.names import of_node
from imagesmith.workflow.sealed import known_hosts
from imagesmith.workflow.vault import draw_missing
from imagesmith.workflow.vpn import LetIn, authorise, members

NETWORK = "8056c2e21c000001"
IDENTITY = f"{ADDRESS}:0:{PUBLIC}"
Naps = list[float]


@pytest.fixture(params=["central", "controller"])
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving_api(Fake(request.param, NETWORK)) as made:
        yield made


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """With the published identity for the one member."""
    folder = tmp_path / "rack.vault"
    store.create(folder, store.Key("key-file", sealing.new_identity()))
    name = secret_name("head")
    with store.changing(folder) as change:
        change.put(name, taken(name, Secret(GOOD.encode()), "identity.secret"))
    token = tmp_path / "zerotier.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    return folder


def rack(fake: Fake, vault: Path, address: str = "10.147.17.10", file: str = "zerotier.token") -> Cluster:
    ref = SecretRef(f"file:{file}", Written(str(vault.parent / "cluster.yaml"), 7, "vpn.zerotier.central.token_file"))
    api = ZeroTierApi("central" if fake.kind == "central" else "controller", fake.url, ref)
    return replace(RACK, vpn=Vpn(ZeroTier(NETWORK, api=api, members={"head": address})))


def let_in(fake: Fake, vault: Path, naps: Naps | None = None, **changes: str) -> LetIn:
    return authorise(rack(fake, vault, **changes), vault, lambda event: None, ([] if naps is None else naps).append)


def config(fake: Fake) -> dict[str, object]:
    told = fake.members[ADDRESS]
    found = told["config"] if fake.kind == "central" else told
    assert isinstance(found, dict)
    return found


def there(fake: Fake, member: str, name: str, **config: object) -> None:
    fake.members[member] = {"name": name, "config": config} if fake.kind == "central" else {"name": name, **config}


def test_a_member_nobody_has_seen_is_let_in_with_its_name_and_address(fake: Fake, vault: Path) -> None:
    assert let_in(fake, vault).changed == ("head",)
    assert fake.members[ADDRESS]["name"] == "head"
    assert (config(fake)["authorized"], config(fake)["ipAssignments"]) == (True, ["10.147.17.10"])


def test_one_that_may_have_any_address_is_let_in_without(fake: Fake, vault: Path) -> None:
    let_in(fake, vault, address="")
    assert "ipAssignments" not in config(fake)


def test_who_is_in_is_left_in_peace(fake: Fake, vault: Path) -> None:
    let_in(fake, vault)
    before = [line for line in fake.seen if "POST" in line]
    assert let_in(fake, vault).changed == ()
    assert [line for line in fake.seen if "POST" in line] == before


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_told_without_showing_it(fake: Fake, vault: Path, code: int) -> None:
    fake.fail = [(code, {})]
    with pytest.raises(UsageError, match=rf"refuses the token \({code}\) in the file zerotier.token") as caught:
        let_in(fake, vault)
    assert TOKEN not in f"{caught.value} {caught.value.hint} {caught.value.where}"


def test_a_network_that_is_not_there_is_told(fake: Fake, vault: Path) -> None:
    fake.network = "8056c2e21c000002"
    with pytest.raises(UsageError, match=f"there is no network {NETWORK} for this token"):
        let_in(fake, vault)


def test_being_asked_too_often_it_waits_as_long_as_it_is_told(fake: Fake, vault: Path) -> None:
    fake.fail, naps = [(429, {"Retry-After": "7"})], []
    assert let_in(fake, vault, naps).changed == ("head",)
    assert naps == [7.0]


def test_no_server_makes_it_wait_for_ever(fake: Fake, vault: Path) -> None:
    fake.fail, naps = [(429, {"Retry-After": "86400"})] * 9, []
    with pytest.raises(NodeUnreachable, match="asked too often, 5 times"):
        let_in(fake, vault, naps)
    assert naps == [60.0] * 4


def test_an_ill_server_is_asked_again_and_given_up(fake: Fake, vault: Path) -> None:
    fake.fail, naps = [(503, {})], []
    let_in(fake, vault, naps)
    fake.fail = [(500, {})] * 9
    with pytest.raises(NodeUnreachable, match=r"it is ill \(500\), 5 times"):
        let_in(fake, vault, naps)
    assert naps == [1.0, 1.0, 2.0, 4.0, 8.0]


def test_nobody_at_the_address_is_told(fake: Fake, vault: Path) -> None:
    fake.url = "http://127.0.0.1:1"
    with pytest.raises(NodeUnreachable, match="can't be reached"):
        let_in(fake, vault)


def test_the_token_is_not_shown_to_whom_it_is_sent_on(fake: Fake, vault: Path) -> None:
    with serving_api(Fake(fake.kind, NETWORK)) as other:
        fake.fail = [(302, {"Location": f"{other.url}/network/{NETWORK}"})]
        with pytest.raises(UsageError, match="answers 302"):
            let_in(fake, vault)
        assert other.seen == []


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_no_proxy_is_shown_the_token_that_goes_in_the_clear(
    fake: Fake, vault: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving_api(Fake(fake.kind, NETWORK)) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert let_in(fake, vault).changed == ("head",)
        assert proxy.seen == []


def test_an_answer_that_is_no_json_is_told(fake: Fake, vault: Path) -> None:
    fake.raw = b"<html>"
    with pytest.raises(ContentMalformed, match="no JSON"):
        let_in(fake, vault)


def test_an_identity_that_is_there_under_another_name_is_not_taken_over(fake: Fake, vault: Path) -> None:
    there(fake, ADDRESS, "laptop", authorized=True, identity=IDENTITY)
    with pytest.raises(UsageError, match="is already there as 'laptop'"):
        let_in(fake, vault)
    assert not [line for line in fake.seen if "POST" in line]


def test_an_address_of_zerotier_that_somebody_else_has_is_told(fake: Fake, vault: Path) -> None:
    there(fake, ADDRESS, "head", identity=IDENTITY.replace("ac3d", "bc3d"))
    with pytest.raises(UsageError, match="somebody else's identity"):
        let_in(fake, vault)


def test_an_address_that_another_member_has_is_told(fake: Fake, vault: Path) -> None:
    there(fake, "1111111111", "laptop", authorized=True, ipAssignments=["10.147.17.10"])
    with pytest.raises(UsageError, match=r"10.147.17.10 is the member 1111111111's \(laptop\)"):
        let_in(fake, vault)


def test_an_address_outside_of_the_managed_routes_is_told(fake: Fake, vault: Path) -> None:
    with pytest.raises(UsageError, match=r"10.9.9.9 is in none of the network's managed routes \(10.147.17.0/24\)"):
        let_in(fake, vault, address="10.9.9.9")


def test_a_token_s_file_that_is_not_there_is_told_where_it_is_named(fake: Fake, vault: Path) -> None:
    with pytest.raises(DocumentInvalid, match=r"cluster.yaml:7: vpn.zerotier.central.token_file: .*no such file"):
        let_in(fake, vault, file="away.token")
    assert fake.seen == []


def test_without_an_api_a_person_gets_the_list_and_nobody_is_asked(fake: Fake, vault: Path) -> None:
    cluster = replace(RACK, vpn=Vpn(ZeroTier(NETWORK, members={"head": "10.147.17.10"})))
    done = authorise(cluster, vault, lambda event: None)
    assert (done.asked, done.changed, fake.seen) == ("", (), [])
    assert [(one.member, one.name, one.addresses) for one in done.members] == [(ADDRESS, "head", ("10.147.17.10",))]


def test_an_inventory_without_a_network_is_told_what_to_add(vault: Path) -> None:
    with pytest.raises(UsageError, match="has no ZeroTier network"):
        members(RACK, vault)


def test_a_member_is_known_to_ssh_by_its_address_there_too(fake: Fake, vault: Path) -> None:
    draw_missing(vault, of_node("head"))
    (line, *_) = known_hosts(rack(fake, vault), vault)["head"]
    assert "10.147.17.10" in line.split()[0].split(",")
