"""The catalogue of add-ons: that the shipped one is read, and what a recipe of one's own may not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.addon_wishes import catalogue

from imagesmith.errors import DocumentInvalid
from imagesmith.profile.recipe import load_recipes
from imagesmith.units import MiB
from imagesmith.workflow.target import recipes_near

GOOD = """\
schema: 1
title: A thing
survives: All of it.
parts:
  - name: thing
    image: docker.io/library/thing
    version: 1.2.3
    memory: [16MiB, 32MiB]
    cpu: [10, 100]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        load_recipes({"addons/thing.yaml": text}, {"a.sh": "true\n"})
    return [str(problem) for problem in caught.value.problems]


def test_a_recipe_is_read() -> None:
    (part,) = load_recipes({"addons/thing.yaml": GOOD}, {})["thing"].parts
    assert (part.reference, part.share.memory) == ("docker.io/library/thing:1.2.3", 16 * MiB)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version: 1.2.3", "version: latest", "is not the tag of one version"),
        ("    version: 1.2.3\n", "", "the key 'version' is required"),
        ("image: docker.io/library/thing", "image: thing", "write it as registry/folder/name"),
        ("[16MiB, 32MiB]", "[32MiB, 16MiB]", "what is asked for and the most"),
        ("[10, 100]", "[10]", "what is asked for and the most"),
        ("    cpu: [10, 100]\n", "", "the key 'cpu' is required"),
        ("cpu: [10, 100]", "cpu: [10, 100]\n    capabilities: [SYS_ADMIN]", "is none of"),
        ("cpu: [10, 100]", "cpu: [10, 100]\n    dump: gone.sh", "there is no file 'gone.sh'"),
        ("cpu: [10, 100]", "cpu: [10, 100]\n    environment: {'A;B': c}", "is not a variable's name"),
        ("cpu: [10, 100]", "cpu: [10, 100]\n    scratch: [../etc]", "is not a path"),
        ("title: A thing", "title: A thing\ndatabase: mariadb", "there is no recipe 'mariadb'"),
        ("title: A thing", "title: A thing\nlight: thin", "there is no recipe 'thin'; did you mean 'thing'?"),
    ],
)
def test_a_mistake_in_one_is_told(old: str, new: str, told: str) -> None:
    assert any(told in one for one in problems(GOOD.replace(old, new)))


def test_a_digest_may_follow_the_tag() -> None:
    pinned = f"1.2.3@sha256:{'ab' * 32}"
    (part,) = load_recipes({"thing.yaml": GOOD.replace("1.2.3", pinned)}, {})["thing"].parts
    assert part.reference.endswith(pinned)


def test_a_sites_database_is_its_own_and_has_a_user_for_it() -> None:
    database = catalogue()["wordpress"].parts[1]
    assert database.environment["MARIADB_USER"] == catalogue()["wordpress"].parts[0].environment["WORDPRESS_DB_USER"]
    assert database.passwords == {"MARIADB_ROOT_PASSWORD": "root", "MARIADB_PASSWORD": "database"}


def test_every_recipe_that_leaves_a_processor_out_says_why() -> None:
    for recipe in catalogue().values():
        for part in recipe.parts:
            assert bool(part.because) == (len(part.architectures) == 1), recipe.name


def test_every_database_can_be_dumped() -> None:
    for recipe in catalogue().values():
        assert all(part.dump for part in recipe.parts if part.keeping == "stateful"), recipe.name


def test_one_beside_the_inventory_goes_before_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "profiles" / "addons"
    own.mkdir(parents=True)
    (own / "nginx.yaml").write_text(GOOD)
    (own / "thing.yaml").write_text(GOOD)
    found = recipes_near(tmp_path)
    assert found["nginx"].title == found["thing"].title == "A thing" and "apache" in found
