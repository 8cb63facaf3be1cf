"""Reads manifests of a user's own: whether Kubernetes could take them for objects. Called by `profile.addons`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

import yaml

from imagesmith.errors import Problem
from imagesmith.model.addons import OwnManifest
from imagesmith.profile.document import Scalar, Value
from imagesmith.profile.schema import Place

_MOST_BYTES = 1024 * 1024
_NEEDS = ("apiVersion", "kind")


def manifest_in(value: Value, place: Place, read: Callable[[str], bytes]) -> OwnManifest | None:
    """The manifest at the path that is written; complaints about its content are at its own lines."""
    if not isinstance(value, Scalar) or value.is_null or not value.text.isprintable():
        place.complain(value.line, "expected the path of a manifest", "write it like apps/wiki.yaml")
        return None
    path = PurePosixPath(value.text)
    if path.suffix not in (".yaml", ".yml", ".json"):
        place.complain(value.line, f"{value.text[:80]!r} is no manifest's name", "it ends in .yaml, .yml or .json")
        return None
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", path.stem):
        message = f"k3s applies no file of the name {path.name[:80]!r}"
        place.complain(value.line, message, "use a-z, 0-9 and - (not first or last), 52 characters at most")
        return None
    try:
        content = read(value.text)
    except OSError as error:
        place.complain(value.line, f"{value.text[:120]}: it can't be read: {error.strerror or 'there is no such file'}",
                       "the path is meant from the inventory's folder on")  # fmt: skip
        return None
    problems = list(_problems(content, value.text))
    place.problems.extend(problems)
    return None if problems else OwnManifest(path.stem, value.text, content)


def _problems(content: bytes, file: str) -> list[Problem]:
    if len(content) > _MOST_BYTES:
        return [Problem(file, 0, "", "it is larger than Kubernetes takes", "divide it into several files")]
    try:
        documents = [node for node in yaml.compose_all(content.decode(), Loader=yaml.SafeLoader) if node is not None]
    except UnicodeDecodeError:
        return [Problem(file, 0, "", "not UTF-8 text", "save it as UTF-8")]
    except yaml.reader.ReaderError:
        return [Problem(file, 0, "", "there is a character in it that YAML does not allow")]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return [Problem(file, mark.line + 1 if mark else 0, "", f"not YAML: {error.problem or error.context}")]
    except RecursionError:
        return [Problem(file, 0, "", "it is nested deeper than any object of Kubernetes")]
    if not documents:
        return [Problem(file, 0, "", "there is nothing in it")]
    return [problem for node in documents for problem in _in_document(node, file)]


def _in_document(node: yaml.Node, file: str) -> list[Problem]:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return [Problem(file, line, "", "this is no object of Kubernetes", "it begins with apiVersion and kind")]
    keys = {key.value: child for key, child in node.value if isinstance(key, yaml.ScalarNode)}
    found = [
        Problem(file, line, "", f"the object that begins here has no {key}")
        for key in _NEEDS
        if not (isinstance(keys.get(key), yaml.ScalarNode) and keys[key].value)
    ]
    kind = keys.get("kind")
    if not found and kind is not None and not str(kind.value).endswith("List") and not _is_named(keys.get("metadata")):
        found.append(
            Problem(file, line, "metadata", "the object that begins here has no name", "metadata: {name: ...}")
        )
    return found


def _is_named(metadata: yaml.Node | None) -> bool:
    return isinstance(metadata, yaml.MappingNode) and any(
        isinstance(key, yaml.ScalarNode) and key.value == "name" and isinstance(child, yaml.ScalarNode) and child.value
        for key, child in metadata.value
    )
