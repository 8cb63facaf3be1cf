"""The project's own data folders: found, whole, and read the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith import resources
from imagesmith.errors import UsageError


@pytest.mark.parametrize("name", resources.FOLDERS)
def test_each_folder_is_there_and_not_empty(name: str) -> None:
    assert any(path.is_file() for path in resources.folder(name).rglob("*"))


def test_the_working_folder_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles/boards").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not resources.folder("profiles").is_relative_to(tmp_path)


def test_a_folder_that_is_none_of_ours_is_told() -> None:
    with pytest.raises(UsageError, match="own secrets folder is missing") as caught:
        resources.folder("secrets")
    assert caught.value.hint == "reinstall imagesmith"


def test_materials_are_the_files_byte_for_byte() -> None:
    files = resources.materials().files
    for name, content in files.items():
        top, _, rest = name.partition("/")
        assert (resources.folder(top) / rest).read_bytes() == content
    assert {name.partition("/")[0] for name in files} == {"firstboot", "cloud-init", "installer", "profiles"}


def test_materials_hold_no_byte_code_and_no_absolute_name() -> None:
    names = list(resources.materials().files)
    assert [name for name in names if "__pycache__" in name or name.startswith("/") or ".." in name] == []


def test_materials_come_in_one_order() -> None:
    names = [name for name in resources.materials().files if name.startswith("firstboot/")]
    assert names == sorted(names, key=lambda name: Path(name).parts)
