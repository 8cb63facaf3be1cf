"""What is installed without a checkout: the wheel has all that imagesmith needs, and works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from imagesmith.resources import FOLDERS

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow

_MAKE_SDIST = "import hatchling.build, sys; print(hatchling.build.build_sdist(sys.argv[1]))"


def run(*argv: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with hatchling in it: a fresh one, that pip fetches it into."""
    folder = tmp_path_factory.mktemp("builder")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    fetched = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "hatchling>=1.25"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"hatchling can't be had: {fetched.stderr.strip()[-200:]}")
    return python


@pytest.fixture(scope="module")
def sdist(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    folder = tmp_path_factory.mktemp("sdist")
    name = run(str(builder), "-c", _MAKE_SDIST, str(folder), cwd=ROOT).split()[-1]
    return folder / name


@pytest.fixture(scope="module")
def wheel(builder: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source archive as a packager makes it."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    run(str(builder), "-m", "pip", "wheel", *options, str(sdist), cwd=folder)
    (found,) = folder.glob("imagesmith-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `imagesmith` of a fresh environment, which borrows nothing but this one's dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=folder)
    site = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # As a path, not by its .pth files: the editable install of the checkout stays unseen.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "imagesmith"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with nothing of the project in it or above it."""
    return tmp_path


def shipped() -> set[str]:
    """Every file of the data folders, as git has them."""
    listed = run("git", "ls-files", *FOLDERS, cwd=ROOT).splitlines()
    assert len(listed) > 20
    return set(listed)


def test_the_wheel_has_every_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"imagesmith/_data/{name}" for name in shipped()} <= names


def test_the_wheel_has_every_file_of_the_package_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert set(run("git", "ls-files", "imagesmith", cwd=ROOT).splitlines()) <= names
    assert [name for name in names if name.startswith("tests/")] == []


def test_the_source_archive_has_what_the_wheel_is_made_of(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped() | {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_first_boots_scripts_are_unchanged(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        run_script = archive.read("imagesmith/_data/firstboot/run")
    assert run_script == (ROOT / "firstboot" / "run").read_bytes()


def test_profiles_are_listed_outside_of_a_checkout(installed: Path, elsewhere: Path) -> None:
    told = run(str(installed), "profiles", cwd=elsewhere)
    expected = {path.stem for path in (ROOT / "profiles").glob("*.yaml")}
    assert expected == {line.split()[0] for line in told.splitlines()[1:]}


def test_it_is_the_wheel_that_runs(installed: Path, elsewhere: Path) -> None:
    script = "import imagesmith; print(imagesmith.__file__)"
    told = run(str(installed.with_name("python")), "-c", script, cwd=elsewhere)
    assert Path(told.strip()).is_relative_to(installed.parent.parent)


def test_a_plan_is_the_same_as_the_checkouts(installed: Path, elsewhere: Path) -> None:
    words = ("plan", "qemu-x86-worker", "--no-cluster")
    of_the_wheel = run(str(installed), *words, cwd=elsewhere)
    assert of_the_wheel == run(sys.executable, "-m", "imagesmith", *words, cwd=elsewhere)


def test_every_module_of_the_wheel_can_be_imported(installed: Path, elsewhere: Path) -> None:
    script = (
        "import importlib, pkgutil, imagesmith\n"
        "for found in pkgutil.walk_packages(imagesmith.__path__, 'imagesmith.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
    )
    run(str(installed.with_name("python")), "-c", script, cwd=elsewhere)
