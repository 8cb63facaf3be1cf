"""Files out of a root by path: links are followed inside the image, and lead nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from made_disks import assemble, make_ext4

from imagesmith.image.raw import RawImage
from imagesmith.image.reading import Root
from imagesmith.units import MiB


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    folder = tmp_path_factory.mktemp("reading")
    tree = folder / "tree"
    for each in ("etc/apt/sources.list.d", "usr/share/keyrings", "usr/lib"):
        (tree / each).mkdir(parents=True)
    (tree / "usr/share/keyrings/new.pgp").write_bytes(b"keys\0")
    (tree / "usr/share/keyrings/old.gpg").symlink_to("new.pgp")
    (tree / "usr/share/keyrings/absolute.gpg").symlink_to("/usr/share/keyrings/new.pgp")
    (tree / "usr/share/keyrings/out.gpg").symlink_to("../../../../../../etc/passwd")
    (tree / "usr/share/keyrings/circle.gpg").symlink_to("circle.gpg")
    (tree / "lib").symlink_to("usr/lib")
    (tree / "usr/lib/file").write_text("x")
    for name in ("b.sources", "a name with spaces.list", "c.list"):
        (tree / f"etc/apt/sources.list.d/{name}").write_text(name)
    disk = assemble(folder / "x.img", "dos", [("root", make_ext4(folder / "r.ext4", 8 * MiB, tree), "83")])
    with RawImage(disk.path, writable=False) as raw:
        yield Root.of(raw)


@pytest.mark.parametrize("name", ["new.pgp", "old.gpg", "absolute.gpg"])
def test_a_link_is_what_it_leads_to(root: Root, name: str) -> None:
    path = f"/usr/share/keyrings/{name}"
    assert root.files([path]) == {path: b"keys\0"}


def test_a_link_in_a_parent_is_followed(root: Root) -> None:
    assert root.files(["/lib/file"]) == {"/lib/file": b"x"}


@pytest.mark.parametrize(
    "path", ["/usr/share/keyrings/out.gpg", "/usr/share/keyrings/circle.gpg", "/gone", "/usr/lib/file/below", "/etc"]
)
def test_what_leads_to_no_file_of_the_image_is_left_out(root: Root, path: str) -> None:
    assert root.files([path]) == {}


def test_a_folder_is_listed_sorted_and_whole(root: Root) -> None:
    names = ["a name with spaces.list", "b.sources", "c.list"]
    listed = root.inside("/etc/apt/sources.list.d")
    assert listed == tuple(f"/etc/apt/sources.list.d/{name}" for name in names)
    assert list(root.files(listed).values()) == [name.encode() for name in names]


@pytest.mark.parametrize("path", ["/gone", "/usr/lib/file"])
def test_what_is_no_folder_holds_nothing(root: Root, path: str) -> None:
    assert root.inside(path) == ()
