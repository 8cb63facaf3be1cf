"""`imagesmith addons list`, `show` and `images` as a person meets them; `apply` and `token` are in tests/workflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import Done, Workshop

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "addons" / "cluster.yaml"


@pytest.fixture
def desk(tmp_path: Path) -> Workshop:
    """A folder with the inventory of every add-on; no base is needed here."""
    shutil.copy(GOLDEN, tmp_path / "cluster.yaml")
    return Workshop(tmp_path, None, {"HOME": str(tmp_path), "IMAGESMITH_CACHE": str(tmp_path / "cache")})  # type: ignore[arg-type]


def lines(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_the_catalogue_is_listed_with_what_is_wanted(desk: Workshop) -> None:
    told = {line.split()[0]: line.split()[1] for line in lines(desk.run("addons", "list"))[1:]}
    assert told["wordpress"] == "wanted" and "nfs" not in told and "monitoring-light" not in told
    (desk.folder / "cluster.yaml").unlink()
    assert " - " in lines(desk.run("addons", "list"))[1]


def test_one_is_shown_with_where_it_is_what_it_keeps_and_what_survives(desk: Workshop) -> None:
    told = "\n".join(lines(desk.run("addons", "show", "wordpress")))
    for word in ("http://blog.home.arpa, 2 replicas, storage nas", "volume data, 5 GiB", "lost",
                 "imagesmith vault export addons/wordpress/database FILE"):  # fmt: skip
        assert word.replace("5 GiB", "5.0 GiB") in told or word in told, word


def test_a_size_is_shown_at_the_volume_that_it_is_of(desk: Workshop) -> None:
    inventory = desk.folder / "cluster.yaml"
    inventory.write_text(inventory.read_text().replace("{host: grafana.home.arpa}", "{size: 50GiB}"))
    told = "\n".join(lines(desk.run("addons", "show", "monitoring")))
    assert "volume measured, 50 GiB" in told and "volume settings, 1.0 GiB" in told


def test_one_without_a_volume_is_not_said_to_lie_anywhere(desk: Workshop) -> None:
    assert lines(desk.run("addons", "show", "nginx"))[1].endswith(
        "2 replicas, no volume: it has none without `storage`"
    )
    assert lines(desk.run("addons", "show", "mariadb"))[1].endswith("storage local")


def test_without_a_vault_it_is_said_that_a_new_one_would_not_do(desk: Workshop) -> None:
    done = desk.run("addons", "apply")
    assert done.code == 2 and "the one that the nodes were built with" in done.err and "--vault DIR" in done.err


def test_without_k3s_it_is_said_what_to_write(desk: Workshop) -> None:
    plain = desk.folder / "plain.yaml"
    plain.write_text("schema: 1\nname: a\nnodes: [{name: a, profile: x86-master, address: 192.168.1.10/24}]\n")
    done = desk.run("addons", "apply", "--cluster", "plain.yaml")
    assert done.code == 2 and "k3s: {channel: stable}" in done.err


def test_a_token_of_what_is_not_wanted_says_how_to_want_it(desk: Workshop) -> None:
    inventory = desk.folder / "cluster.yaml"
    inventory.write_text(inventory.read_text().replace("  headlamp: {}\n", ""))
    done = desk.run("token", "headlamp")
    assert done.code == 2 and "addons: {headlamp: {}}" in done.err and "there is: none" not in done.err


def test_one_that_there_is_not_is_told_with_the_nearest(desk: Workshop) -> None:
    done = desk.run("addons", "show", "wordpres")
    assert done.code == 2 and "did you mean 'wordpress'?" in done.err


def test_images_are_those_that_run_on_a_node(desk: Workshop) -> None:
    everywhere = lines(desk.run("addons", "images"))
    assert any(line.startswith("docker.io/library/mongo:") for line in everywhere)
    assert any("nfs-subdir-external-provisioner" in line for line in everywhere)
    on_a_pi = lines(desk.run("addons", "images", "--for", "rack-2"))
    assert on_a_pi == lines(desk.run("addons", "images", "--for", "arm64"))
    assert set(on_a_pi) < set(everywhere) and not any("library/mongo:" in line for line in on_a_pi)
    assert "charts and own manifests name more" in desk.run("addons", "images").err


def test_nowhere_is_no_place_for_images(desk: Workshop) -> None:
    done = desk.run("addons", "images", "--for", "rack-9")
    assert done.code == 2 and "is no node and no architecture" in done.err


def test_in_json_it_is_data(desk: Workshop) -> None:
    assert desk.run("addons", "list", "--json").result["nginx"]["wanted"] is True
    assert len(desk.run("addons", "images", "--json").result["images"]) > 10
