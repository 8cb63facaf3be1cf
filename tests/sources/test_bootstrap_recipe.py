"""Recipes: what is refused, what decides the digest, what names come of it."""

from dataclasses import replace

import pytest
from bootstrapping import EFI, PC, PI, RASPBERRY

from imagesmith.errors import UsageError
from imagesmith.sources.bootstrap.recipe import Identity, Recipe


def test_the_order_of_packages_does_not_matter() -> None:
    turned = replace(PC, packages=PC.packages[::-1])
    assert Recipe.of(turned, "amd64").digest == Recipe.of(PC, "amd64").digest


def test_the_guessed_download_size_does_not_matter() -> None:
    assert Recipe.of(replace(PC, download_size=5), "amd64").digest == Recipe.of(PC, "amd64").digest


@pytest.mark.parametrize(
    "other",
    [
        replace(PC, suite="forky"),
        replace(PC, components=("main", "contrib")),
        replace(PC, packages=(*PC.packages, "zstd")),
        replace(PC, cmdline="quiet"),
        replace(PC, layout=replace(EFI, table="mbr")),
    ],
)
def test_everything_else_does(other: object) -> None:
    assert Recipe.of(other, "amd64").digest != Recipe.of(PC, "amd64").digest  # type: ignore[arg-type]


def test_so_does_the_architecture() -> None:
    assert Recipe.of(PC, "arm64").digest != Recipe.of(PC, "amd64").digest


@pytest.mark.parametrize(
    "bad",
    [
        replace(PC, suite="trixie; rm -rf /"),
        replace(PC, packages=("--option",)),
        replace(PC, components=("Main",)),
        replace(PC, cmdline="quiet\ninit=/bin/sh"),
        replace(PC, layout=PI),
        replace(RASPBERRY, layout=EFI),
        replace(PC, layout=replace(EFI, partitions=EFI.partitions[:1])),
        replace(PC, layout=replace(EFI, partitions=(replace(EFI.partitions[0], size=0), EFI.partitions[1]))),
        replace(PC, layout=replace(EFI, partitions=(replace(EFI.partitions[0], mount="/efi"), EFI.partitions[1]))),
    ],
)
def test_what_cannot_be_made_is_refused(bad: object) -> None:
    with pytest.raises(UsageError):
        Recipe.of(bad, "amd64")  # type: ignore[arg-type]


def test_identities_follow_from_the_state_alone() -> None:
    one, again, two = Identity("a" * 64), Identity("a" * 64), Identity("b" * 64)
    assert one.uuid("root") == again.uuid("root")
    assert len({one.uuid("root"), one.uuid("disk"), two.uuid("root")}) == 3
    assert one.serial("boot") == again.serial("boot") != two.serial("boot")


def test_a_fat_uuid_is_the_serial_as_linux_writes_it() -> None:
    identity = Identity("c" * 64)
    assert identity.fat_uuid.replace("-", "") == f"{identity.serial('boot'):08X}"
