"""Build plans: the same wishes give the same plan, another wish another id, and nothing secret or local decides."""

from dataclasses import replace

import pytest

from imagesmith import resources
from imagesmith.errors import UsageError
from imagesmith.families import family_named
from imagesmith.families.family import Given
from imagesmith.formats.canonical import plan_id
from imagesmith.model import Base, Digest, FileSource, Network
from imagesmith.planning.build import plan_build
from imagesmith.planning.payload import documents
from imagesmith.workflow.target import resolve

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
MATERIALS = resources.materials()
FOUND = resolve("rpi4-worker", cluster=None, base="debian", ssh_keys=[KEY])


def plan(node=FOUND.node, base=FOUND.base, **others):
    return plan_build(FOUND.profile, node, base, MATERIALS, **others)


def test_a_plan_says_whom_it_is_for():
    made = plan()
    assert (made.name, made.profile, made.board, made.role, made.architecture) == (
        "rpi4-worker",
        "rpi4-worker",
        "rpi4",
        "worker",
        "arm64",
    )
    assert made.machine == FOUND.profile.board.machine
    assert made.epoch == 0


def test_edits_and_promises_are_the_familys():
    family = family_named("debian")
    texts = documents(FOUND.node, FOUND.profile, MATERIALS)
    given = Given(FOUND.node, FOUND.profile, FOUND.base, texts, MATERIALS)
    made = plan()
    assert made.edits == family.edits(given)
    assert made.promises == family.promises(given)


def test_the_same_wishes_give_the_same_id():
    assert plan_id(plan()) == plan_id(plan())


def test_naming_the_default_base_changes_nothing():
    default, named = (resolve("rpi4-worker", cluster=None, base=base) for base in ("", "raspios"))
    assert plan(default.node, default.base) == plan(named.node, named.base)


@pytest.mark.parametrize(
    "node",
    [
        replace(FOUND.node, name="other"),
        replace(FOUND.node, network=Network("10.0.0.5/24")),
        replace(FOUND.node, settings=replace(FOUND.node.settings, ssh_keys=())),
        replace(FOUND.node, settings=replace(FOUND.node.settings, watchdog_s=1)),
    ],
)
def test_another_wish_gives_another_id(node):
    assert plan_id(plan(node)) != plan_id(plan())


def test_another_epoch_gives_another_id():
    assert plan(epoch=1).epoch == 1
    assert plan_id(plan(epoch=1)) != plan_id(plan())


def test_a_base_of_another_board_is_refused():
    with pytest.raises(UsageError, match="is none of rpi4's") as caught:
        plan(base=Base("armbian", "armbian", FileSource("x.img")))
    assert "raspios, raspios-legacy, debian" in caught.value.hint


def test_a_digest_from_a_lock_gives_another_id():
    found = resolve("bananapi-m5-worker", cluster=None)
    locked = replace(found.base, source=replace(found.base.source, digest=Digest("sha256", "ab" * 32)))
    unlocked_plan, locked_plan = (
        plan_build(found.profile, found.node, base, MATERIALS) for base in (found.base, locked)
    )
    assert locked_plan.base == locked
    assert plan_id(locked_plan) != plan_id(unlocked_plan)
