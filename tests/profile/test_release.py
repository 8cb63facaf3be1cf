"""profiles/releases/k3s.yaml: where a program's releases are published, and which mistakes in it are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.profile.release import load_release

SHIPPED = (Path(__file__).parents[2] / "profiles/releases/k3s.yaml").read_text()


def test_the_shipped_one_leads_to_the_publishers_files() -> None:
    source = load_release(SHIPPED, "k3s.yaml")
    assert source.channel_url("v1.36") == "https://update.k3s.io/v1-release/channels/v1.36"
    folder = source.folder_url("v1.36.3+k3s1")
    assert folder == "https://github.com/k3s-io/k3s/releases/download/v1.36.3%2Bk3s1/"
    assert (source.program["amd64"], source.program["arm64"]) == ("k3s", "k3s-arm64")
    assert source.images["arm64"] == "k3s-airgap-images-arm64.tar.zst"
    assert source.sums["amd64"] == "sha256sum-amd64.txt"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels/{channel}", "channels", "channels: must be an address with {channel} in it"),
        ("{version}/", "{version}", "files: must be an address with {version} in it, and end with /"),
        ("https://github.com", "http://github.com", "files: .*an https:// address"),
        ("  arm64: k3s-arm64\n", "", "program: nothing is said for arm64"),
        ("amd64: k3s\n", "amd64: ../k3s\n", "program.amd64: .*plain file name"),
        ("  amd64: k3s\n", "  riscv64: k3s\n", "riscv64"),
        ("sums:", "sumz:", "sumz"),
    ],
)
def test_a_mistake_is_told(old: str, new: str, message: str) -> None:
    assert old in SHIPPED
    with pytest.raises(DocumentInvalid, match=message):
        load_release(SHIPPED.replace(old, new, 1), "k3s.yaml")
