"""The pages say what the code does: commands, exit codes, profiles, steps, links and the tests that they name."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from imagesmith import errors
from imagesmith.errors import ImagesmithError
from imagesmith.families import FAMILIES
from imagesmith.planning.trial import STEPS
from imagesmith.profile.base import read_base
from imagesmith.profile.settings import NETWORK, SETTINGS
from imagesmith.workflow.planned import plan
from imagesmith.workflow.target import TargetChoice, catalogue_near, load_inventory, wanted

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "keyrings").glob("*.md")])
RACK = ROOT / "examples" / "rack.yaml"


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text("utf-8")


def make_commands() -> ModuleType:
    return maker("make_commands")


def maker(name: str) -> ModuleType:
    """One of the programs in docs/ that write pages."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_class() -> dict[str, int]:
    """Each class of failure in errors.py with its exit code."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, ImagesmithError)]
    return {one.__name__: one.exit_code for one in found}


# -- commands -------------------------------------------------------------------------------------


def test_commands_md_is_what_make_docs_writes() -> None:
    assert text("docs", "commands.md") == make_commands().page(), "run `make docs`"


def test_boards_md_has_a_row_for_every_board_with_each_of_its_bases() -> None:
    page = text("docs", "boards.md")
    assert page == maker("make_boards").page(page), "run `make docs`"
    for board in catalogue_near(None).boards.values():
        for base in board.bases:
            assert f"\n| `{board.name}` | `{base.name}` | " in page


def test_boards_md_explains_every_step_of_a_selftest() -> None:
    page = text("docs", "boards.md")
    assert re.findall(r"^\| `([a-z]+)` \| [a-z]", page, re.MULTILINE) == list(STEPS)


def test_every_command_that_a_page_calls_exists() -> None:
    module = make_commands()
    known = {words[1] for words, _ in module.every_command(("imagesmith",), module.group) if len(words) > 1}
    for page in PAGES:
        written = page.read_text("utf-8")
        blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", written, re.MULTILINE | re.DOTALL))
        called = re.findall(r"^(?:\$ )?imagesmith ([a-z-]+)\b", blocks, re.MULTILINE)
        for name in [*called, *re.findall(r"`imagesmith ([a-z-]+)\b", written)]:
            assert name in known, f"{page.name} calls `imagesmith {name}`"


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)`", page.read_text("utf-8")):
            assert name in targets, f"{page.name} names `make {name}`"


# -- failures -------------------------------------------------------------------------------------


def test_the_table_of_exit_codes_is_the_tree_of_failures() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text("docs", "scripting.md"), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == every_class()


def test_the_tree_drawn_in_errors_is_the_tree() -> None:
    drawn = re.findall(r"^[ │├└─]*(\w+) +(\d+)  ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == every_class()


def test_the_json_examples_are_json() -> None:
    shown = [line for line in text("docs", "scripting.md").splitlines() if line.startswith('{"event"')]
    assert shown
    for line in shown:
        assert "event" in json.loads(line)


# -- profiles and steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*catalogue_near(None).profiles, *catalogue_near(None).boards}))
def test_profiles_md_names_every_profile_and_board(name: str) -> None:
    assert f"`{name}`" in text("docs", "profiles.md")


@pytest.mark.parametrize("name", sorted(catalogue_near(None).profiles))
def test_profiles_md_has_every_profile_with_its_bases(name: str) -> None:
    profile = catalogue_near(None).profiles[name]
    board = profile.board
    bases = [profile.base, *(base.name for base in board.bases if base.name != profile.base)]
    listed = ", ".join(f"`{base}`" for base in bases)
    assert f"\n| `{name}` | `{board.name}` | {profile.role} | {listed} |" in text("docs", "profiles.md")


def test_profiles_md_has_a_row_for_every_key_of_a_base() -> None:
    part = text("docs", "profiles.md").partition("\n## Base\n")[2].partition("\n| key of ")[0]
    function = inspect.getsource(read_base)
    keys = set(re.findall(r'fields\.(?:need|take)(?:_all)?\("(\w+)"', function)) - {"http", "file", "debian"}
    assert "family" in keys
    assert [key for key in sorted(keys) if f"\n| `{key}` |" not in part] == []


@pytest.mark.parametrize("key", [*SETTINGS, *NETWORK])
def test_profiles_md_explains_every_setting(key: str) -> None:
    assert f"| `{key}` |" in text("docs", "profiles.md")


@pytest.mark.parametrize("family", FAMILIES)
def test_profiles_md_names_every_family(family: str) -> None:
    assert f"`{family}`" in text("docs", "profiles.md")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_fact_of_a_family_is_explained(family: str) -> None:
    chapters = [part for page in PAGES for part in page.read_text("utf-8").split("\n## ")]
    parts = [part for part in chapters if part.startswith("Facts\n")]
    rows = re.findall(r"^\| (`.*?) \|", "\n".join(parts), re.MULTILINE)
    explained = set(re.findall(r"`(\w+)`", "\n".join(rows)))
    assert sorted(set(FAMILIES[family].facts) - explained) == []


@pytest.mark.parametrize("module", ["load", "base", "cluster"])
def test_profiles_md_explains_every_key(module: str) -> None:
    source = text("imagesmith", "profile", f"{module}.py")
    keys = set(re.findall(r'fields\.(?:need|take)(?:_all)?\(\s*"(\w+)"', source))
    assert keys
    page = text("docs", "profiles.md")
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.mark.parametrize("module", ["k3s", "shared"])
def test_inventory_md_explains_every_key(module: str) -> None:
    source = text("imagesmith", "profile", f"{module}.py")
    keys = set(re.findall(r'fields\.(?:need|take)(?:_all)?\(\s*"(\w+)"', source))
    page = text("docs", "inventory.md")
    assert len(keys) > 5
    assert [key for key in sorted(keys) if f"\n| `{key}` |" not in page] == []


@pytest.mark.parametrize("path", sorted((ROOT / "firstboot" / "steps").iterdir()), ids=lambda path: path.name)
def test_firstboot_md_describes_every_step(path: Path) -> None:
    assert f"| `{path.name}` |" in text("docs", "firstboot.md")


def test_architecture_md_has_every_part_of_the_house() -> None:
    page = text("docs", "architecture.md")
    parts = {path.stem for path in (ROOT / "imagesmith").iterdir() if not path.name.startswith("_")}
    assert [part for part in sorted(parts) if not re.search(rf"`{part}(\.py|/)?`", page)] == []


# -- names of things ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_tests_that_a_page_names_exist(page: Path) -> None:
    defined = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    words = re.findall(r"`([^`\n]+)`", page.read_text("utf-8"))
    for word in words:
        if re.fullmatch(r"test_\w+", word):
            assert f"def {word}(" in defined, f"{page.name} names {word}"
        elif re.fullmatch(r"(imagesmith|tests|tools|docs|firstboot|profiles|keyrings|examples)/[a-z0-9_./-]+", word):
            assert (ROOT / word).exists(), f"{page.name} names {word}"


# -- the example ----------------------------------------------------------------------------------


def rack() -> list[str]:
    cluster = load_inventory(RACK)
    assert cluster
    return [node.name for node in cluster.nodes]


@pytest.mark.parametrize("node", rack())
def test_every_node_of_the_rack_plans(node: str, tmp_path: Path) -> None:
    made = plan(wanted(TargetChoice(node, cluster=RACK)), tmp_path / "imagesmith.lock")
    assert made.node.cluster == "rack"
    assert made.node.settings.ssh_keys
    assert made.node.network.address


def test_the_rack_has_the_boards_that_people_have() -> None:
    cluster = load_inventory(RACK)
    assert cluster
    profiles = sorted(node.profile for node in cluster.nodes)
    assert profiles == ["bananapi-m5-worker", "rpi3-worker", "rpi4-worker", "rpi4-worker", "x86-master"]
