"""Package states out of what apt and dpkg write."""

import pytest
from bootstrapping import PC

from imagesmith.errors import ContentMalformed
from imagesmith.model import Package
from imagesmith.sources.bootstrap.packages import installed, state_of
from imagesmith.sources.bootstrap.recipe import Recipe

RECIPE = Recipe.of(PC, "amd64")
SIMULATED = """NOTE: This is only a simulation!
Inst libc6:arm64 (2.41-12 Debian:13.2/stable, Debian-Security:13/stable-security [arm64]) []
Inst dash [0.5-1] (0.5.12-12 Debian:13.2/stable [amd64]) [bash:amd64 ]
Inst adduser (3.152 Debian:13.2/stable [all])
Conf dash (0.5.12-12 Debian:13.2/stable [amd64])
"""
RELEASES = ["Origin: Debian\nDate: Sat, 15 Nov 2025 10:00:00 UTC\n", "Date: Sun, 16 Nov 2025 00:00:01 UTC\n"]


def test_what_apt_would_install_is_read_and_sorted() -> None:
    assert state_of(RECIPE, SIMULATED, RELEASES).packages == (
        Package("adduser", "3.152", "all"),
        Package("dash", "0.5.12-12", "amd64"),
        Package("libc6", "2.41-12", "arm64"),
    )


def test_the_newest_release_is_the_epoch() -> None:
    assert state_of(RECIPE, SIMULATED, RELEASES).epoch == 1763251201
    assert state_of(RECIPE, SIMULATED, RELEASES[::-1]).epoch == 1763251201


def test_a_new_version_is_a_new_state() -> None:
    newer = SIMULATED.replace("3.152", "3.153")
    assert state_of(RECIPE, newer, RELEASES).key != state_of(RECIPE, SIMULATED, RELEASES).key


def test_a_new_date_is_a_new_state() -> None:
    assert state_of(RECIPE, SIMULATED, RELEASES[:1]).key != state_of(RECIPE, SIMULATED, RELEASES).key


def test_the_order_of_lines_is_not() -> None:
    turned = "\n".join(reversed(SIMULATED.splitlines()))
    assert state_of(RECIPE, turned, RELEASES).key == state_of(RECIPE, SIMULATED, RELEASES).key


@pytest.mark.parametrize(
    ("simulated", "releases"),
    [("", RELEASES), (SIMULATED, []), (SIMULATED, ["Origin: Debian\n"]), (SIMULATED, ["Date: yesterday\n"])],
)
def test_what_is_not_understood_is_an_error(simulated: str, releases: list[str]) -> None:
    with pytest.raises(ContentMalformed):
        state_of(RECIPE, simulated, releases)


def test_dpkgs_status_is_read_without_what_is_removed() -> None:
    status = """Package: zstd
Status: install ok installed
Description: fast compression
 Package: not-me
Version: 1.5.7
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all

Package: adduser
Status: install ok installed
Version: 3.152
Architecture: all
"""
    assert installed(status) == (Package("adduser", "3.152", "all"), Package("zstd", "1.5.7", "amd64"))
