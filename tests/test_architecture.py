"""The arrows of docs/architecture.md: imports point down only, and each door has one keeper."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesmith

ROOT = Path(imagesmith.__file__).parent
LAYERS = {
    "errors": 0, "units": 0, "secret": 0, "model": 0, "events": 0, "messages": 0,
    "formats": 1, "streams": 1, "identity": 1,
    "profile": 2, "families": 2, "cluster": 2, "planning": 2,
    "tools": 3, "resources": 3, "disk": 3, "ring": 3, "invoker": 3,
    "sources": 4, "image": 4, "output": 4, "flash": 4, "boot": 4, "vault": 4, "remote": 4,
    "workflow": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip
STRANGERS = {"sources", "image", "output", "flash", "boot", "vault", "remote"}
KEEPERS = {
    "click": {"cli"}, "tqdm": {"cli"}, "subprocess": {"tools"}, "requests": {"sources", "remote"},
    "jinja2": {"planning"}, "urllib3": {"sources"}, "filelock": {"sources", "output", "vault"},
    "platformdirs": {"sources"}, "pyrage": {"vault"}, "Crypto": {"identity"},
}  # fmt: skip
CHANCE_AND_TIME = {"random", "secrets", "time", "tempfile", "socket"}
FILE_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir"}

MODULES = sorted(ROOT.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{_name(path)}:{node.lineno}: relative import"
            if node.module == "imagesmith":
                yield from ((f"imagesmith.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_down(path: Path) -> None:
    part = _part(path)
    if part == "__init__":
        return
    assert part in LAYERS, f"{part} has no place in docs/architecture.md"
    for module, line in _imports(path):
        head, _, rest = module.partition(".")
        other = rest.split(".")[0]
        if head != "imagesmith" or other in ("", "__version__", "RELEASED"):
            continue
        arrow = f"{_name(path)}:{line}: {part} -> {other}"
        assert LAYERS[other] <= LAYERS[part], f"{arrow} points up"
        assert part == other or not {part, other} <= STRANGERS, f"{arrow}: they are strangers and meet in workflow"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_each_door_has_one_keeper(path: Path) -> None:
    for module, line in _imports(path):
        keepers = KEEPERS.get(module.split(".")[0])
        assert keepers is None or _part(path) in keepers, f"{_name(path)}:{line}: only {keepers} may import {module}"


@pytest.mark.parametrize("path", [path for path in MODULES if LAYERS.get(_part(path), 9) <= 2], ids=_name)
def test_pure_layers_open_no_file_read_no_clock_and_draw_nothing(path: Path) -> None:
    for module, line in _imports(path):
        assert module.split(".")[0] not in CHANCE_AND_TIME, f"{_name(path)}:{line}: {module} in a pure layer"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            assert name not in FILE_CALLS, f"{_name(path)}:{node.lineno}: {name}() in a pure layer"


@pytest.mark.parametrize("path", [path for path in MODULES if _part(path) != "cli"], ids=_name)
def test_only_the_voice_prints_and_exits(path: Path) -> None:
    if _part(path) == "__main__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"print", "input", "sys.exit", "exit"}, f"{_name(path)}:{node.lineno}: {name}()"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_file_is_one_thought(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 600, f"{_name(path)} is too long"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_function_is_one_step(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length < 100, f"{_name(path)}:{node.lineno}: {node.name} has {length} lines"


def test_every_test_file_has_a_name_of_its_own() -> None:
    """pytest takes two of one name in two folders for one module, and refuses the second."""
    paths = sorted(Path(__file__).parent.rglob("test_*.py"))
    names = [path.name for path in paths]
    assert [str(path) for path in paths if names.count(path.name) > 1] == []
