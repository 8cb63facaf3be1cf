"""The part of `imagesmith.lock` that says which packages bases lack: values to plain data, and YAML to values. Pure.

Called by `lock_text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from imagesmith.errors import Problem
from imagesmith.model import Digest
from imagesmith.profile import names
from imagesmith.profile.document import Listing, Scalar, Table, Value
from imagesmith.sources.lock_entry import PackageSet, PinnedPackage

_T = TypeVar("_T")
_VERSION = re.compile(r"[0-9A-Za-z.+~:-]{1,128}")
_URL = re.compile(r"https?://[!-~]{1,1000}")


def plain(packages: Mapping[str, tuple[PackageSet, ...]]) -> dict[str, object]:
    """As the lock shows them."""
    return {name: [_plain_set(one) for one in sets] for name, sets in sorted(packages.items())}


def sets(path: str, value: Value, file: str, problems: list[Problem]) -> tuple[PackageSet, ...]:
    """What stands there for one base; every fault goes to `problems`."""
    if not isinstance(value, Listing):
        problems.append(Problem(file, value.line, path, "must be a list"))
        return ()
    read = [_set(f"{path}[{number}]", item, file, problems) for number, item in enumerate(value.items)]
    return tuple(one for one in read if one is not None)


def _plain_set(found: PackageSet) -> dict[str, object]:
    listed = [
        {"name": one.name, "version": one.version, "architecture": one.architecture, "url": one.url, "size": one.size,
         "digest": str(one.digest)}
        for one in found.packages
    ]  # fmt: skip
    return {"wanted": list(found.wanted), "base": found.base, "resolved": found.resolved, "packages": listed}


def _set(path: str, value: Value, file: str, problems: list[Problem]) -> PackageSet | None:
    keys = _keys(path, value, ("wanted", "base", "resolved", "packages"), file, problems)
    if keys is None:
        return None
    wanted, listed = keys["wanted"], keys["packages"]
    if not isinstance(wanted, Listing) or not isinstance(listed, Listing):
        problems.append(Problem(file, value.line, path, "wanted and packages must be lists"))
        return None
    asked = [_text(f"{path}.wanted", item, names.package, file, problems) for item in wanted.items]
    found = [_package(f"{path}.packages[{number}]", item, file, problems) for number, item in enumerate(listed.items)]
    return PackageSet(
        wanted=tuple(sorted(name for name in asked if name)),
        base=_text(f"{path}.base", keys["base"], _word, file, problems) or "",
        packages=tuple(one for one in found if one is not None),
        resolved=_text(f"{path}.resolved", keys["resolved"], _word, file, problems) or "",
    )


def _package(path: str, value: Value, file: str, problems: list[Problem]) -> PinnedPackage | None:
    wanted: dict[str, Callable[[str], object]] = {
        "name": names.package, "version": _shaped(_VERSION), "architecture": _word, "url": _shaped(_URL), "size": _size,
        "digest": Digest.parse,
    }  # fmt: skip
    keys = _keys(path, value, tuple(wanted), file, problems)
    if keys is None:
        return None
    found = {key: _text(f"{path}.{key}", keys[key], parse, file, problems) for key, parse in wanted.items()}
    return None if None in found.values() else PinnedPackage(**found)  # type: ignore[arg-type]


def _keys(
    path: str, value: Value, wanted: tuple[str, ...], file: str, problems: list[Problem]
) -> dict[str, Value] | None:
    """The values by key; None, with the fault told, where one is missing or there is another."""
    found = {key.text: inner for key, inner in value.entries} if isinstance(value, Table) else {}
    if set(found) != set(wanted):
        problems.append(Problem(file, value.line, path, f"must have exactly {', '.join(wanted)}"))
        return None
    return found


def _text(path: str, value: Value, parse: Callable[[str], _T], file: str, problems: list[Problem]) -> _T | None:
    try:
        return parse(value.text if isinstance(value, Scalar) else "")
    except ValueError as error:
        problems.append(Problem(file, value.line, path, str(error)))
        return None


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.:+-]{0,160}", text, re.ASCII):
        raise ValueError("must be one word")
    return text


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError("must be a number of bytes")
    return int(text)


def _shaped(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text[:60]!r} is not of the form that it should have")
        return text

    return check
